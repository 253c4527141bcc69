"""`recipe doctor`: files that people already have, judged without a recipe.

Each file is recognised, read as its tool reads it, held against the tool's contract and the rules of its tool, and then
all of them against each other. The findings are those of recipes: located, with what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from recipec.diagnostics import Finding, RecipeError, tidy
from recipec.doctor import reading
from recipec.doctor.judge import File, judged, written_twice
from recipec.doctor.recognise import TITLES, Guess, beside, named, recognise, stranger
from recipec.doctor.rules import contradictions
from recipec.source import plain


class Examined(NamedTuple):
    """What doctor made of the files: one line for each that was recognised, and everything it found."""

    recognised: list[tuple[str, Guess]]
    findings: list[Finding]


def examine(files: Sequence[str], said: Sequence[str] = ()) -> Examined:
    """Judge files. `said` are `TOOL[-RELEASE]` for all of them or `FILE=TOOL[-RELEASE]` for one.

    Raises ValueError, with what there is, where `said` names no tool or release that doctor knows.
    """
    wanted = _wanted(files, said)
    findings: list[Finding] = []
    read: list[tuple[str, Guess, reading.Read]] = []
    for name in dict.fromkeys(files):
        try:
            read.append(_read(name, wanted.get(name)))
        except RecipeError as error:
            findings += error.findings
    guesses = beside([guess for _name, guess, _read in read])
    known: list[File] = []
    for (name, _guess, found), guess in zip(read, guesses, strict=True):
        values = plain(found.tree)
        assert isinstance(values, dict)
        file = File(name, guess, found.tree, values)
        known.append(file)
        findings += [*written_twice(file, found), *judged(file), *contradictions(file)]
    return Examined([(file.name, file.guess) for file in known], tidy(findings))


def _wanted(files: Sequence[str], said: Sequence[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for text in said:
        name, given, tool = text.rpartition("=")
        if given and name not in files:
            raise ValueError(f"--as {text}: {name} is not among the files")
        found |= dict.fromkeys([name] if given else files, named(tool))
    return found


def _read(name: str, wanted: tuple[str, str] | None) -> tuple[str, Guess, reading.Read]:
    """Recognise and read a file. Raises RecipeError where it cannot be read, or is nothing that doctor knows."""
    read = reading.read(name)
    values = plain(read.tree)
    assert isinstance(values, dict)
    other = None if wanted else stranger(values)
    guess = None if other else recognise(name, values, wanted)
    if guess is None:
        known = ", ".join(TITLES.values())
        message = (
            f"this is a file of {other}, which doctor does not judge"
            if other
            else "no tool that doctor knows reads this"
        )
        advice = f"it judges files of {known}; name one with --as"
        first = min(read.tree.keys.values(), key=lambda span: span[1:3], default=read.tree.span)
        raise RecipeError([Finding("D100", message, first, help=advice)])
    return name, guess, reading.read(name, omega=True) if guess.tool == "llamafactory" else read
