"""`recipe doctor`: files that people already have, checked without a recipe.

Each file is recognised, read as its tool reads it, held against the tool's contract and the rules of its tool, and then
all of them against each other. The findings are those of recipes: located, with what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from recipec.diagnostics import Finding, RecipeError, tidy
from recipec.doctor import reading
from recipec.doctor.contract_check import File, as_taken, contract_findings, held, taken_for_text, written_twice
from recipec.doctor.cross_file import cross_file_findings
from recipec.doctor.recognise import TITLES, Guess, beside, is_script, named, recognise, stranger
from recipec.doctor.rules import contradictions
from recipec.doctor.rules.script import script_findings
from recipec.doctor.shell import Script, parse
from recipec.source import Source, plain
from recipec.yaml_reader import read_utf8

SCRIPT = "script"
WEAKER = {"D203": "D171", "T021": "D104"}  # of the right one at the same place nothing is said


class Examined(NamedTuple):
    """What doctor made of the files: one line for each that was recognised, and everything it found."""

    recognised: list[tuple[str, Guess]]
    findings: list[Finding]


def examine(files: Sequence[str], said: Sequence[str] = ()) -> Examined:
    """Check files. `said` are `TOOL[-RELEASE]` for all of them or `FILE=TOOL[-RELEASE]` for one.

    Raises ValueError, with what there is, where `said` names no tool or release that doctor knows.
    """
    wanted = _wanted(files, said)
    findings: list[Finding] = []
    recognised: list[tuple[str, Guess]] = []
    read: list[tuple[str, Guess, reading.Read]] = []
    scripts: list[Script] = []
    for name in dict.fromkeys(files):
        try:
            source = Source(name, read_utf8(name))
            if wanted[name][0] == SCRIPT if name in wanted else is_script(name, source.text):
                scripts.append(parse(source))
                recognised.append((name, Guess(SCRIPT, "", "", _calls(scripts[-1]))))
            else:
                read.append(_read(source, wanted.get(name)))
        except RecipeError as error:
            findings += [reading.reworded(finding) for finding in error.findings]
    guesses = beside([guess for _name, guess, _read in read])
    known: list[File] = []
    for (name, _guess, found), guess in zip(read, guesses, strict=True):
        values = plain(found.tree)
        assert isinstance(values, dict)
        file = as_taken(File(name, guess, found.tree, values, aliased=found.aliased))
        known.append(file)
        recognised.append((name, guess))
        findings += [
            *written_twice(file, found),
            *contract_findings(file),
            *taken_for_text(file),
            *contradictions(file),
        ]
        if inside := held(file):
            known.append(inside)
            recognised.append((name, inside.guess))
            findings += [*contract_findings(inside), *contradictions(inside)]
    for script in scripts:
        findings += script_findings(script)
    together = list(cross_file_findings(known, scripts))
    stronger = {(WEAKER[finding.code], finding.span) for finding in (*together, *findings) if finding.code in WEAKER}
    findings = [finding for finding in findings if (finding.code, finding.span) not in stronger]
    return Examined(sorted(recognised, key=lambda row: files.index(row[0])), tidy([*findings, *together]))


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
    name, read = source.name, reading.read(source)
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
