"""The scripts that run each stage, and the whole, without us."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote
from typing import Any, NamedTuple

from recipec.kinds import kind
from recipec.plan import Plan, Stage, Track
from recipec.references import references
from recipec.systems.emit import Emitted

HEAD = """#!/usr/bin/env bash
# {what} Written by recipec from {recipe}.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
"""


def stage_script(stage: Stage[Any], emitted: Emitted, plan: Plan, recipe: str) -> str:
    """Return `run.sh` of one stage."""
    lines = [
        f"environment={quote(stage.environment)}",
        'bin="${RECIPE_ENVIRONMENTS:-runs/environments}/$environment/bin"',
        '[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }',
        'PATH="$(cd "$bin" && pwd):$PATH"',
        "export PATH",
    ]
    variables = {"TOKENIZERS_PARALLELISM": "false"}
    track = getattr(stage.body, "track", None)
    if not isinstance(track, Track) or not track.telemetry:
        variables |= {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    variables |= {**emitted.variables, **plan.variables}
    lines += [f"export {name}={expanded(value)}" for name, value in sorted(variables.items())]
    return HEAD.format(what=kind(stage.kind).does, recipe=recipe) + "\n".join([*lines, "", *emitted.commands]) + "\n"


def expanded(value: str) -> str:
    """Return a value quoted for the shell, which puts the environment of the run in the place of each `${env:NAME}`."""
    parts: list[str] = []
    begin = 0
    for reference in references(value):
        if reference.kind == "env":
            parts += [quote(value[begin : reference.start])] if reference.start > begin else []
            parts.append(_needed(reference.name))
            begin = reference.end
    return "".join([*parts, *([quote(value[begin:])] if begin < len(value) or not parts else [])])


def _needed(name: str) -> str:
    return f'"${{{name}:?set it in the environment of the run}}"'


class Making(NamedTuple):
    """How an environment is made beyond `pip install -r`: the words of the directives in its pins.

    `late` are packages that build against the others, `bare` says what is left out though a package asks for it,
    `remove` are patterns of files below site-packages that go afterwards.
    """

    late: str
    bare: str = ""
    remove: str = ""


def run_script(
    stages: list[tuple[str, str]],
    environments: dict[str, Making],
    files: list[str],
    recipe: str,
    variables: Iterable[str] = (),
) -> str:
    """Return the `run.sh` of the whole: missing environments are made, then the stages run in order.

    `stages` are (id, environment), `environments` map a name to how it is made. What the values of `variables` take
    from the environment of the run is asked for before anything is done.
    """
    flags = ' ${3:+"$3"}' if any(making.bare for making in environments.values()) else ""
    torch = [
        "  # a CUDA build of torch comes with libraries that are not among the pins",
        '  if [ -n "${3:-}" ] && torch=$(grep ^torch== "$pins"); then "$folder/bin/python" -m pip install "$torch"; fi',
    ]
    remove = [
        '  for gone in ${4:-}; do find "$folder"/lib/python3*/site-packages -path "*/site-packages/$gone" -delete; done'
    ]
    lines = [
        'environments="${RECIPE_ENVIRONMENTS:-runs/environments}"',
        'python="${PYTHON:-python3}"',
        "make_environment() {  # name, packages that build against the others",
        '  local folder="$environments/$1" pins="$here/environments/$1.txt" late',
        '  [ -L "$folder" ] || cmp -s "$pins" "$folder/.complete" && return',
        '  "$python" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" || {',
        '    echo "the environment needs Python 3.11 to 3.13; $python is not that: set PYTHON=/path/to/python3.11" >&2',
        "    exit 3",
        "  }",
        '  echo "making the environment $1 under $environments" >&2',
        '  rm -rf "$folder"  # of a creation that was killed: half of a package looks whole to pip',
        '  mkdir -p "$environments"',
        '  "$python" -m venv "$folder"',
        '  cp "$pins" "$folder/pins.txt"',
        "  for late in $2; do",
        '    grep -v "^$late==" "$folder/pins.txt" > "$folder/fewer.txt"',
        '    mv "$folder/fewer.txt" "$folder/pins.txt"',
        "  done",
        *(torch if flags else []),
        f'  "$folder/bin/python" -m pip install{flags} -r "$folder/pins.txt"',
        '  if [ -n "$2" ]; then',
        f'    DS_BUILD_OPS=0 "$folder/bin/python" -m pip install{flags} --no-build-isolation -r "$pins"',
        "  fi",
        *(remove if any(making.remove for making in environments.values()) else []),
        '  cp "$pins" "$folder/.new" && mv "$folder/.new" "$folder/.complete"',
        "}",
    ]
    lines += [
        "need() {  # data file",
        '  [ -e "$1" ] && return',
        '  echo "no file $1: run this from the folder that the paths of the recipe start at" >&2',
        "  exit 2",
        "}",
        *(f"need {quote(file)}" for file in sorted(set(files))),
    ]
    asked = {one.name for value in variables for one in references(value) if one.kind == "env"}
    lines += [f": {_needed(name)}" for name in sorted(asked)]
    for name, making in environments.items():
        if making.bare or making.remove:
            lines.append(f"# {name}: {making.bare}" + (f"; {making.remove} removed" if making.remove else ""))
            bare = "--no-deps" if making.bare else ""
            lines.append(f"make_environment {quote(name)} {quote(making.late)} {quote(bare)} {quote(making.remove)}")
        else:
            lines.append(f"make_environment {quote(name)} {quote(making.late)}")
    lines += [f'bash "$here/{name}/run.sh"' for name, _environment in stages]
    return HEAD.format(what="Runs every stage in order.", recipe=recipe) + "\n".join(lines) + "\n"
