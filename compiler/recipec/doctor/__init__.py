"""`recipe doctor`: files that people already have, checked without a recipe.

Each file is recognised, read as its tool reads it, held against the tool's contract and the rules of its tool, and then
all of them against each other. The findings are those of recipes: located, with what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from recipec.diagnostics import Finding, RecipeError, tidy
from recipec.doctor import reading
from recipec.doctor.contract_check import (
    File,
    as_taken,
    contract_findings,
    held,
    holds_template,
    taken_for_text,
    written_twice,
)
from recipec.doctor.cross_file import Place, answered, cross_file_findings
from recipec.doctor.gathering import Given, given, names_in, names_in_script, read_source, scripts_named
from recipec.doctor.grouping import grouped
from recipec.doctor.recognise import TITLES, Guess, beside, is_script, named, recognise, stranger
from recipec.doctor.rules import contradictions
from recipec.doctor.rules.script import script_findings
from recipec.doctor.shell import Script, parse
from recipec.doctor.silence import Waiver, waivers_in, waivers_of, without_allowed
from recipec.source import Source, plain

SCRIPT = "script"
WEAKER = {"T021": "D104"}  # of the right one at the same place nothing is said
_FILLED_IN = re.compile(r"\{\{.*|.*\}\}|\{%.*|.*%\}")
_STATEMENT = re.compile(r"(?m)^\s*(?:-\s*)?\{%[-+]?\s*\w")


class Examined(NamedTuple):
    """What doctor made of the files: one line for each that was recognised, and everything it found."""

    recognised: list[tuple[str, Guess]]
    findings: list[Finding]


def examine(
    files: Sequence[str], said: Sequence[str] = (), allowed: Sequence[str] = (), *, one_by_one: bool = False
) -> Examined:
    """Check files, those in folders, standard input (`-`), and the files that they name.

    `said` are `TOOL[-RELEASE]` for all of them or `FILE=TOOL[-RELEASE]` for one; `allowed` are findings to leave out, as
    `[FILE:[LINE:]]CODE`. Findings that say one thing of several keys are one, unless `one_by_one`.
    Raises ValueError, with what there is, where `said` names no tool or release that doctor knows.
    """
    queue = given(files)
    wanted = _wanted([one.name for one in queue], said)
    waivers: list[Waiver] = waivers_of(allowed)
    findings: list[Finding] = []
    recognised: list[tuple[str, Guess]] = []
    read: list[tuple[Given, Guess, reading.Read]] = []
    scripts: list[Script] = []
    places: dict[str, Place] = {}
    known_paths = {os.path.realpath(one.name) for one in queue}
    for one in queue:  # which grows by what the files name
        name = one.name
        follow: list[Given] = []
        try:
            source = read_source(name)
            waivers += waivers_in(source)
            if wanted[name][0] == SCRIPT if name in wanted else is_script(name, source.text):
                script = parse(source)
                scripts.append(script)
                recognised.append((name, Guess(SCRIPT, "", "", _because(one, _calls(script)))))
                follow = list(names_in_script(script))
            else:
                _, guess, found = _read(source, wanted.get(name) or ((one.tool, "", "") if one.tool else None))
                if one.tool and name not in wanted:
                    guess = guess._replace(because=f"read as a file of {TITLES[one.tool]}")
                read.append((one, guess, found))
                values = plain(found.tree)
                assert isinstance(values, dict)
                follow = list(names_in(File(name, guess, found.tree, values)))
        except RecipeError as error:
            findings += [reading.reworded(f) for f in error.findings if not _passed_over(one, f)]
            continue
        places[name] = Place(one.folder, one.by)
        for other in follow:
            if (path := os.path.realpath(other.name)) not in known_paths:
                known_paths.add(path)
                queue.append(other)
    guesses = beside([(one.name, guess, plain(found.tree)) for one, guess, found in read])
    known: list[File] = []
    for (one, _guess, found), guess in zip(read, guesses, strict=True):
        values = plain(found.tree)
        assert isinstance(values, dict)
        file = as_taken(File(one.name, guess, found.tree, values, aliased=found.aliased))
        known.append(file)
        recognised.append((one.name, guess._replace(because=_because(one, guess.because))))
        findings += [
            *written_twice(file, found),
            *contract_findings(file),
            *taken_for_text(file),
            *contradictions(file),
            *holds_template(file),
        ]
        if inside := held(file):
            known.append(inside)
            recognised.append((one.name, inside.guess))
            findings += [*contract_findings(inside), *contradictions(inside)]
    for script in scripts:
        place = places[script.source.name]
        follows = {word.text for word in scripts_named(script)}
        findings += script_findings(script, follows, given=not place.folder and place.by is None)
    findings += cross_file_findings(known, scripts, places)
    said_elsewhere = set(answered(known, scripts, places))
    findings = [f for f in findings if not f.span or (f.code, f.span.source.name) not in said_elsewhere]
    stronger = {(WEAKER[finding.code], finding.span) for finding in findings if finding.code in WEAKER}
    findings = [finding for finding in tidy(findings) if (finding.code, finding.span) not in stronger]
    findings = without_allowed(findings, waivers)
    order = [one.name for one in queue]
    return Examined(
        sorted(recognised, key=lambda row: order.index(row[0])), tidy(findings if one_by_one else grouped(findings))
    )


def _because(one: Given, because: str) -> str:
    return f"named at {one.by.where()}; {because}" if one.by else because


def _passed_over(one: Given, finding: Finding) -> bool:
    """Return whether nothing is said of a file that nobody gave, as it need not be a configuration at all."""
    return (one.folder or one.by is not None) and finding.code in ("D100", "D101", "S010", "S011")


def _calls(script: Script) -> str:
    """Say how one knows a launch script."""
    names = [launch.launcher for launch in script.launches]
    slurm = ["has #SBATCH lines"] if script.directives else []
    calls = [f"calls {', '.join(dict.fromkeys(names))}"] if names else []
    return " and ".join(["it " + " and ".join([*calls, *slurm])] if calls or slurm else ["by its name or first line"])


def _wanted(files: Sequence[str], said: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    found: dict[str, tuple[str, str, str]] = {}
    for text in said:
        name, given, tool = text.rpartition("=")
        if given and name not in files:
            raise ValueError(f"--as {text}: {name} is not among the files")
        found |= dict.fromkeys([name] if given else files, named(tool))
    return found


def _read(source: Source, wanted: tuple[str, str, str] | None) -> tuple[str, Guess, reading.Read]:
    """Recognise and read a file. Raises RecipeError where it cannot be read, or is nothing that doctor knows."""
    name = source.name
    try:
        read = reading.read(source)
    except RecipeError as error:
        raise _template(source, error) or error from None
    values = plain(read.tree)
    assert isinstance(values, dict)
    other = None if wanted else stranger(values)
    guess = None if other else recognise(name, values, wanted)
    if guess is None:
        known = ", ".join(TITLES.values())
        message = (
            f"this is a file of {other}, which doctor does not check"
            if other
            else "no tool that doctor knows reads this"
        )
        advice = f"it checks files of {known}; name the tool with --as"
        first = min(read.tree.keys.values(), key=lambda span: span[1:3], default=read.tree.span)
        raise RecipeError([Finding("D100", message, first, help=advice)])
    return name, guess, reading.read(source, omega=True) if guess.tool == "llamafactory" else read


def _template(source: Source, error: RecipeError) -> RecipeError | None:
    """Return that a file is a Jinja template, where that is why it cannot be read."""
    at = next((f.span for f in error.findings if f.span and _FILLED_IN.search(source.line(f.span.line))), None)
    if at is None and (found := _STATEMENT.search(source.text)):
        at = source.at(found.end() - 1)
    if at is None:
        return None
    message = "this is a Jinja template of a configuration, which no tool reads as it stands"
    advice = "fill it in, and give doctor what comes out"
    return RecipeError([Finding("D194", message, at, help=advice, severity="warning")])
