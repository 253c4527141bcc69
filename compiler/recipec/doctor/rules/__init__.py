"""Contradictions within one file, rule by rule: what no list of keys and types can tell.

A rule is a function with a code; it yields what it has to say of a file of its tools. Its docstring says what the tool
does, as its own code at the pinned release does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Literal, NamedTuple, TypeGuard

from recipec.diagnostics import Finding
from recipec.doctor.contract_check import File


class Fault(NamedTuple):
    """One thing that a rule says: the dotted key to change, what is wrong, and what to do."""

    path: str
    message: str
    advice: str
    severity: Literal["error", "warning"] = "error"


MODULES = (
    "axolotl",
    "axolotl_options",
    "axolotl_start",
    "evaluation",
    "launching",
    "llamafactory",
    "trainer",
    "trl",
)  # their rules enter themselves
Judge = Callable[[File], Iterator[Fault]]
RULES: dict[str, list[tuple[str, Judge]]] = {}


def rule(code: str, *tools: str) -> Callable[[Judge], Judge]:
    """Enter a rule under its code for the files of some tools."""

    def entered(judge: Judge) -> Judge:
        for tool in tools:
            RULES.setdefault(tool, []).append((code, judge))
        return judge

    return entered


def number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number that one can reckon with: no truth value, no text."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(value: object) -> TypeGuard[int]:
    """Return whether a value is an integer above nought."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def both(file: File, first: str, second: str) -> bool:
    """Return whether both keys are set to something that counts."""
    return bool(file.get(first)) and bool(file.get(second))


def contradictions(file: File) -> Iterator[Finding]:
    """Yield what the rules of its tool have against a file."""
    if file.guess.document == "dataset_info":
        return
    for module in MODULES:
        import_module(f"{__name__}.{module}")
    for code, judge in RULES.get(file.guess.tool, ()):
        for told in judge(file):
            yield Finding(code, told.message, file.span(told.path), None, told.advice, told.severity)
