"""What a system cannot do, or does another way than the plan says; and the conditions of rows and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, Self, overload

from recipec.facts import is_between
from recipec.plan import Record
from recipec.source import is_tuple

Said = Literal["", "written", "other"]
RowsOf = Literal["", "long", "odd turns", "blanks", "text answers"]
Values = Mapping[str, Any]  # every plan path of a stage, those of sections too, with its value


class Unsupported(Exception):
    """The system cannot express the value at this plan path."""

    def __init__(self, path: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.path, self.message, self.advice = path, message, advice


class Only(Record, frozen=True):
    """A condition of a row or a check on one plan path: its value is among `values`, or (`negate`) is not.

    Without `values`: the value is there, that is neither None nor False, zero or empty.
    """

    path: str
    values: frozenset[Any] | None = None
    negate: bool = False

    def holds(self, values: Values) -> bool:
        """Return whether it holds for a stage's values."""
        value = values.get(self.path)
        return (bool(value) if self.values is None else value in self.values) is not self.negate


def weighed(only: Sequence[Only], values: Values) -> tuple[bool, list[str]]:
    """Return whether all conditions hold for a stage's values, and the plan paths of which another value could change it.

    These are all paths where every condition holds, and that of a single one that fails. A condition on a section asks
    only whether it is there, and uses nothing that stands in it.
    """
    failed = [one for one in only if not one.holds(values)]
    asked = only if not failed else failed if len(failed) == 1 else ()
    return not failed, [one.path for one in asked if not is_section(values.get(one.path))]


def is_section(value: Any) -> bool:
    """Return whether a value is a record, or a tuple of them."""
    return isinstance(value, Record) or (is_tuple(value) and bool(value) and isinstance(value[0], Record))


class Check(Record, frozen=True):
    """What a system cannot do (`error`), or does another way than the plan says (`warning`), where `when` holds.

    `paths` are the plan paths whose values `when`, and `message` and `advice` where these are functions, are given; the
    first is to blame. A `*` in them stands for each item of a tuple of records: the check is made of every one.
    `said`: it is told only to a user who wrote the value (`written`), or wrote another than would be taken anyway
    (`other`), since nobody else counts on it. `rows`: only of rows of that kind, such as those that are too long: it is not
    told where local files have none. `harmless`: it is said, and nothing need be done about it.
    """

    severity: Literal["error", "warning"]
    paths: tuple[str, ...]
    holds: Callable[..., Any]
    message: str | Callable[..., str]
    advice: str | Callable[..., str]
    only: tuple[Only, ...] = ()
    said: Said = ""
    since: str = ""
    until: str = ""
    rows: RowsOf = ""
    harmless: bool = False

    def when(self, path: str, *values: Any) -> Self:
        """Return the check for stages whose value at `path` is one of `values`; of none given: is there."""
        return self.replaced(only=(*self.only, Only(path, frozenset(values) if values else None)))

    def unless(self, path: str, *values: Any) -> Self:
        """Return the check for stages whose value at `path` is none of `values`; of none given: is absent or empty."""
        return self.replaced(only=(*self.only, Only(path, frozenset(values) if values else None, negate=True)))

    def at(self, *, since: str = "", until: str = "") -> Self:
        """Return the check for these releases only."""
        return self.replaced(since=since, until=until)

    def of_rows(self, rows: RowsOf) -> Self:
        """Return the check of such rows only."""
        return self.replaced(rows=rows)

    def in_passing(self) -> Self:
        """Return the check as one that is said in a note: nothing need be done about it."""
        return self.replaced(harmless=True)

    def has(self, release: str) -> bool:
        """Return whether the check is there for a release."""
        return is_between(release, self.since, self.until)

    def items(self, values: Values) -> Sequence[Self]:
        """Return the check of each item where `*` stands for items, else the check itself."""
        section, star, _ = self.paths[0].partition(".*")
        if not star:
            return (self,)
        count = len(values.get(section) or ())
        return [
            self.replaced(paths=tuple(path.replace("*", str(number)) for path in self.paths)) for number in range(count)
        ]

    def each(self, values: Values, release: str, used: set[str]) -> list[Limitation]:
        """Return what there is to tell of a stage: of each item where `*` stands for items, else at most one thing.

        The plan paths of which another value could change that are added to those `used`.
        """
        found: list[Limitation] = []
        for one in self.items(values) if self.has(release) else ():
            holds, asked = weighed(one.only, values)
            used.update(asked)
            if not holds:
                continue
            used.update(one.paths)
            told = one.told(values)
            if told is not None:
                found.append(told)
        return found

    def told(self, values: Values) -> Limitation | None:
        """Return what there is to tell of a stage for which the check is; None where it has nothing against it."""
        given = [values.get(path) for path in self.paths]
        if not self.holds(*given):
            return None
        message = self.message if isinstance(self.message, str) else self.message(*given)
        advice = self.advice if isinstance(self.advice, str) else self.advice(*given)
        others = (*self.paths[1:], *(one.path for one in self.only))
        return Limitation(self.paths[0], message, advice, self.said, others, self.rows, self.harmless)


class OfAny(Protocol):
    """A function of the values at any number of plan paths."""

    def __call__(self, *values: object) -> Any:
        """Return what it makes of them."""


# What is made of the values at so many plan paths; and a text, or what makes it of them.
Of1 = Callable[[Any], object]
Of2 = Callable[[Any, Any], object]
Of3 = Callable[[Any, Any, Any], object]
Of4 = Callable[[Any, Any, Any, Any], object]
Text1 = str | Callable[[Any], str]
Text2 = str | Callable[[Any, Any], str]
Text3 = str | Callable[[Any, Any, Any], str]
Text4 = str | Callable[[Any, Any, Any, Any], str]


@overload
def refuses(a: str, /, *, when: Of1, message: Text1, advice: Text1) -> Check: ...
@overload
def refuses(a: str, b: str, /, *, when: Of2, message: Text2, advice: Text2) -> Check: ...
@overload
def refuses(a: str, b: str, c: str, /, *, when: Of3, message: Text3, advice: Text3) -> Check: ...
@overload
def refuses(a: str, b: str, c: str, d: str, /, *, when: Of4, message: Text4, advice: Text4) -> Check: ...
def refuses(
    path: str,
    *more: str,
    when: Callable[..., Any],
    message: str | Callable[..., str],
    advice: str | Callable[..., str],
) -> Check:
    """The system cannot do what the values at `path` (to blame) and `more` say where `when` of them holds: T001."""
    return Check("error", (path, *more), when, message, advice)


@overload
def differs(a: str, /, *, when: Of1, message: Text1, advice: Text1, said: Said = ...) -> Check: ...
@overload
def differs(a: str, b: str, /, *, when: Of2, message: Text2, advice: Text2, said: Said = ...) -> Check: ...
@overload
def differs(a: str, b: str, c: str, /, *, when: Of3, message: Text3, advice: Text3, said: Said = ...) -> Check: ...
@overload
def differs(
    a: str, b: str, c: str, d: str, /, *, when: Of4, message: Text4, advice: Text4, said: Said = ...
) -> Check: ...
@overload
def differs(a: str, /, *more: str, when: OfAny, message: str, advice: str, said: Said = ...) -> Check: ...
def differs(
    path: str,
    *more: str,
    when: Callable[..., Any],
    message: str | Callable[..., str],
    advice: str | Callable[..., str],
    said: Said = "",
) -> Check:
    """The system does it another way than the plan says where `when` of the values holds: T003."""
    return Check("warning", (path, *more), when, message, advice, said=said)


class Limitation(Record, frozen=True):
    """What a system cannot express, or does another way: the plan path to blame, what, and what to do.

    `said`: it is told only to a user who wrote the value, and `rows` only of such rows, as in a check. `others`: the plan paths
    that it depends on beside the one to blame, of which one may be written where that is not. `harmless`: it is a note.
    """

    path: str
    message: str
    advice: str
    said: Said = ""
    others: tuple[str, ...] = ()
    rows: RowsOf = ""
    harmless: bool = False
