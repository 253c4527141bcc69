"""The scripts that run each stage, and the whole, without us."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from recipec.job import Beside, Job, RayCluster, RayJob, Word
from recipec.kinds import kind
from recipec.launch import ray, steps, words
from recipec.launch.launcher import Launcher, Started, spread
from recipec.launch.words import quote
from recipec.plan import Plan, Record, Track
from recipec.references import references

HEAD = """#!/usr/bin/env bash
# {what} Written by recipec from {recipe}.
# Run it from the folder that the recipe's paths start at.
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
"""


WIDTH = 80  # columns after which an option begins a new line


def watching(one: Started) -> list[str]:
    """Return the lines that a stage's watcher adds to the script of the stage that it watches."""
    watcher, folder = one.job.watcher, f"../{one.stage.name}"
    if watcher is None:
        return []
    lines = [f"# {watcher.why.format(name=one.stage.name)}"]
    lines = [*steps.lines(watcher.steps), *lines]
    lines += [f"export {name}={words.value(value)}" for name, value in sorted(watcher.variables.items())]
    if watcher.imports:
        lines.append(f'export PYTHONPATH="$here/{folder}${{PYTHONPATH:+:$PYTHONPATH}}"')
    program = (replaced(part, folder) for part in watcher.program)
    return [*lines, f"{words.line(tuple(program))} $$ &"]


def replaced(word: Word, folder: str) -> Word:
    """Return a word of another stage's job, whose emitted files are in a folder beside the own."""
    return Beside(f"{folder}/{word.file}") if isinstance(word, Beside) else word


def checking(one: Started) -> list[str]:
    """Return the line that asks, before any stage is started, whether the machine can do one that has a check for that."""
    if not one.job.check:
        return []
    python = f'"$environments/{quote(one.stage.environment)}/bin/python"'
    program = words.line(tuple(replaced(part, one.stage.name) for part in one.job.check))
    return [f"{python} {program}  # before anything is paid for"]


def stage_script(one: Started, launcher: Launcher, plan: Plan, recipe: str, watchers: Iterable[Started] = ()) -> str:
    """Return `run.sh` of one stage, beside which some `watchers` run."""
    stage, job = one.stage, one.job
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
    variables |= {**job.variables, **plan.variables}
    lines += [f"export {name}={words.value(value)}" for name, value in sorted(variables.items())]
    if job.shares_cores:
        share = f"$(nproc) / {job.processes}" if job.processes > 1 else "$(nproc)"
        lines.append("# The optimiser steps on the CPU, where launchers leave each process one thread.")
        lines.append(f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-$(({share} > 0 ? {share} : 1))}}"')
    lines.append("")
    lines += ['export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"'] if job.imports_emitted else []
    lines += launcher.before(plan, one)
    if job.one_gpu:
        lines.append("# One process: of several GPUs, it would spread each batch over all that it sees.")
        lines += ['gpu="${CUDA_VISIBLE_DEVICES-0}"', 'export CUDA_VISIBLE_DEVICES="${gpu%%,*}"']
    for watcher in watchers:
        shown = watching(watcher)
        lines += [*shown[:-1], f'[ "${words.NODE}" != 0 ] || {shown[-1]}' if job.on_each_node else shown[-1]]
    return _text(kind(stage.kind).does, recipe, [*lines, *_command(job)])


def _command(job: Job) -> list[str]:
    """Return what runs the program. The script becomes it, so that signals reach the tool itself."""
    if isinstance(job.start, RayCluster):
        return ray.cluster(job)
    lines = list(ray.SUBMITTED) if isinstance(job.start, RayJob) else []
    program = words.line(job.program)
    if job.arguments:
        own = [(words.line(one.words), words.remark(one.remark)) for one in job.arguments]
        lines += ["arguments=(", *(f"  {said}{remark}" for said, remark in own), ")"]
        program += ' "${arguments[@]}"'
    if job.resume:
        program += f" {words.checkpoint(job.resume)}"
    if isinstance(job.start, RayJob) or not job.start:
        return [*lines, f"exec {program}"]
    return [*lines, *_wrapped(["exec", *(words.word(one) for one in job.start)]), f"  {program}"]


def _wrapped(said: list[str]) -> list[str]:
    """Return words as lines that the next continues; one that is too long is broken before an option."""
    lines = [""]
    for one in said:
        if one.startswith("-") and len(lines[-1]) > WIDTH:
            lines.append(" ")
        lines[-1] += f" {one}" if lines[-1] else one
    return [f"{line} \\" for line in lines]


def _text(what: str, recipe: str, lines: list[str]) -> str:
    return HEAD.format(what=what, recipe=recipe) + "\n".join(lines) + "\n"


class Making(Record, frozen=True):
    """How an environment is made beyond `pip install -r`: the words of the directives in its pins.

    `late` are packages that build against the others, `bare` says what is left out though a package asks for it,
    `remove` are patterns of files below site-packages that go afterwards.
    """

    late: str
    bare: str = ""
    remove: str = ""


def run_script(
    stages: Sequence[Started],
    launcher: Launcher,
    environments: Mapping[str, Making],
    files: Iterable[str],
    plan: Plan,
    recipe: str,
) -> str:
    """Return the `run.sh` of the whole: missing environments are made, then the stages run in order.

    `environments` map a name to how it is made; `files` are needed. What the plan's variables take from the environment
    of the run is asked for before anything is done.
    """
    flags = ' ${hashed:+"$hashed"}' + (' ${3:+"$3"}' if any(making.bare for making in environments.values()) else "")
    remove = [
        '  for gone in ${4:-}; do find "$folder"/lib/python3*/site-packages -path "*/site-packages/$gone" -delete; done'
    ]
    lines = [
        *launcher.head(plan, tuple(stages)),
        'environments="${RECIPE_ENVIRONMENTS:-runs/environments}"',
        "whole() {  # folder, pins",
        '  [ -L "$1" ] || cmp -s "$2" "$1/.complete"',
        "}",
        "find_python() {  # versions that the pins can be installed for, the best first",
        "  local version one",
        "  local -a places",
        "  for version in $1; do",
        '    places=(python3 "python$version" "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python)',
        '    [ -z "${PYTHON:-}" ] || places=("$PYTHON")',
        '    for one in "${places[@]}"; do',
        """      "$one" -c 'import sys, venv, ensurepip; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' \\""",
        '        "$version" 2>/dev/null && echo "$one" && return',
        "    done",
        "  done",
        '  echo "the environment needs Python ${1// / or } with venv: install it, or set PYTHON to its path" >&2',
        "  exit 3",
        "}",
        "needs_cuda='import importlib.metadata as m, sys",
        """sys.exit(not any(one.startswith("nvidia-") for one in m.requires("torch") or ()))'""",
        "make_environment() {  # name, packages that build against the others",
        '  local folder="$environments/$1" pins="$here/environments/$1.txt" python late hashed=""',
        '  local unhashed="${RECIPEC_UNHASHED:-}"',
        '  whole "$folder" "$pins" && return',
        """  python=$(find_python "$(sed -n 's/^# python: //p' "$pins")")""",
        '  mkdir -p "$environments"',
        "  # one run or node makes it, the others wait; the lock goes with the process that holds it",
        '  exec 9>"$folder.lock"',
        '  "$python" -c "import fcntl; fcntl.flock(9, fcntl.LOCK_EX)" || {',
        '    echo "$environments takes no locks: set RECIPE_ENVIRONMENTS to a folder on another file system" >&2',
        "    exit 3",
        "  }",
        '  if whole "$folder" "$pins"; then exec 9>&-; return; fi',
        '  echo "making the environment $1 under $environments" >&2',
        '  rm -rf "$folder"  # of a creation that was killed: half of a package looks whole to pip',
        '  "$python" -m venv "$folder"',
        "  # what the pins have a hash of is compared with it; RECIPEC_UNHASHED names packages that are not, or all",
        '  if [ "$unhashed" = all ]; then late=" --hash=.*"; else late="^$"; fi',
        '  sed "s/$late//" "$pins" > "$folder/whole.txt"',
        '  if grep -q " --hash=" "$folder/whole.txt"; then hashed=--require-hashes; fi',
        "  for late in ${unhashed//,/ }; do",
        '    sed -n "s/^\\($late==[^ ]*\\).*/\\1/p" "$folder/whole.txt" > "$folder/unhashed.txt"',
        '    [ ! -s "$folder/unhashed.txt" ] || "$folder/bin/python" -m pip install -r "$folder/unhashed.txt"',
        "  done",
        '  if grep "^torch==" "$folder/whole.txt" > "$folder/torch.txt"; then',
        '    "$folder/bin/python" -m pip install ${hashed:+"$hashed"} --no-deps -r "$folder/torch.txt"',
        "    # its build for CUDA needs libraries that another does not",
        '    if "$folder/bin/python" -c "$needs_cuda"; then',
        """      late=$(sed -n 's/^# cuda: //p' "$folder/whole.txt")""",
        '      echo "$late" >> "$folder/whole.txt"',
        "    fi",
        "  fi",
        '  cp "$folder/whole.txt" "$folder/pins.txt"',
        "  for late in $2; do",
        '    grep -v "^$late==" "$folder/pins.txt" > "$folder/fewer.txt"',
        '    mv "$folder/fewer.txt" "$folder/pins.txt"',
        "  done",
        f'  "$folder/bin/python" -m pip install{flags} -r "$folder/pins.txt"',
        '  if [ -n "$2" ]; then',
        f'    DS_BUILD_OPS=0 "$folder/bin/python" -m pip install{flags} --no-build-isolation -r "$folder/whole.txt"',
        "  fi",
        *(remove if any(making.remove for making in environments.values()) else []),
        '  cp "$pins" "$folder/.new" && mv "$folder/.new" "$folder/.complete"',
        "  exec 9>&-",
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
    asked = {one.name for value in plan.variables.values() for one in references(value) if one.kind == "env"}
    lines += [f": {words.needed(name)}" for name in sorted(asked)]
    for name, making in environments.items():
        if making.bare or making.remove:
            lines.append(f"# {name}: {making.bare}" + (f"; {making.remove} removed" if making.remove else ""))
            bare = "--no-deps" if making.bare else ""
            lines.append(f"make_environment {quote(name)} {quote(making.late)} {quote(bare)} {quote(making.remove)}")
        else:
            lines.append(f"make_environment {quote(name)} {quote(making.late)}")
    several = spread(stages)
    if not several:
        lines.append('for stage; do bash "$here/$stage/run.sh"; done  # those that are named')
        lines.append("[ $# = 0 ] || exit 0")
    lines += [line for one in stages for line in checking(one)]
    for one in stages:
        script = f'bash "$here/{one.stage.name}/run.sh"'
        first = several and not one.job.on_each_node  # by one node of several
        lines.append(f'[ "${words.NODE}" != 0 ] || {script}  # once' if first else script)
    lines += launcher.tail(tuple(stages))
    return _text("Runs every stage in order.", recipe, lines)
