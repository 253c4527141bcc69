"""Numbers that remember what was done with them, so that work done once for one number counts for others.

A `Number` stands for one value of a list of them. What is asked of it (is it below 0.1?) is answered for the value at hand
and kept as a condition; what is computed of it is another Number; written as text it becomes a mark, which is later
replaced by what that text is for other values. Where all conditions hold for other values, the same work would have been
done for them, up to those texts. It is no `float`: whatever must know its value and cannot say why raises.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

NAME = "qz=1_name=1zq"  # stands for a name in a text
MARK = "qz"
_MARKS = re.compile(r'"qz(\d+)jzq"|qz(\d+)zq|qz=1_(name)=1zq')
_HELPERS: dict[str, Any] = {"__builtins__": {}, "abs": abs, "round": round, "ceil": math.ceil, "floor": math.floor}
Template = tuple[str | int, ...]  # texts, and numbers of marks between them; -1 is the name
_NAME_MARK = -1


class Written(NamedTuple):
    """A text that a function makes of an expression; of one with a format, `format` does."""

    write: Callable[[Any], str]
    expression: str
    spec: str


class Digest(NamedTuple):
    """The SHA-256 of a text."""

    of: Template


class Untraceable(Exception):
    """Something must know a value that it cannot give a reason for; `places` are those of the values."""

    def __init__(self, places: frozenset[int]) -> None:
        super().__init__("a value would have to be known")
        self.places = places


class Trace:
    """What was asked of the values of a list, and the texts that were made of them."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = tuple(values)
        self.conditions: dict[str, bool] = {}
        self.texts: list[Written | Digest] = []
        self._known: dict[Written, int] = {}
        self._holds: Any = None
        self._made: list[Callable[[tuple[float, ...], list[str], str], str]] = []

    def number(self, place: int) -> Any:
        """Return what stands for a value."""
        return Number(self, f"v[{place}]", self.values[place], frozenset([place]))

    def hold(self, condition: str, answer: bool) -> bool:
        """Keep a condition with its answer."""
        self.conditions[condition] = answer
        return answer

    def mark(self, write: Callable[[Any], str], expression: str, spec: str = "") -> int:
        """Return the number of a text: what a function makes of an expression, with its format if it has one."""
        text = Written(write, expression, spec)
        if text not in self._known:
            self._known[text] = len(self.texts)
            self.texts.append(text)
        return self._known[text]

    def digest(self, text: str) -> str:
        """Return a mark that stands for the SHA-256 of what a text with marks becomes."""
        self.texts.append(Digest(template(text)))
        return f"qz{len(self.texts) - 1}zq"

    def finish(self) -> None:
        """Make ready for other values: nothing more is asked or written."""
        parts = [text if answer else f"not ({text})" for text, answer in self.conditions.items()]
        source = " and ".join(f"({part})" for part in parts) or "True"
        self._holds = eval(f"lambda v: {source}", dict(_HELPERS))  # of numbers and operators alone
        self._made = [_maker(one) for one in self.texts]

    def holds(self, values: tuple[float, ...]) -> bool:
        """Return whether the work would have been the same for other values."""
        try:
            return bool(self._holds(values))
        except (ArithmeticError, ValueError):
            return False

    def texts_for(self, values: tuple[float, ...], name: str) -> list[str]:
        """Return the texts of all marks for other values, and the name last, where -1 finds it."""
        found: list[str] = []
        for make in self._made:
            found.append(make(values, found, name))
        found.append(name)
        return found


def _maker(text: Written | Digest) -> Callable[[tuple[float, ...], list[str], str], str]:
    if isinstance(text, Written):
        value = eval(f"lambda v: {text.expression}", dict(_HELPERS))  # of numbers and operators alone
        write, spec = text.write, text.spec
        if spec:
            return lambda values, _found, _name: format(value(values), spec)
        return lambda values, _found, _name: write(value(values))
    whole = text.of

    def digest(_values: tuple[float, ...], found: list[str], name: str) -> str:
        held = "".join([one if isinstance(one, str) else name if one == _NAME_MARK else found[one] for one in whole])
        return hashlib.sha256(held.encode("utf-8", "surrogateescape")).hexdigest()

    return digest


def _record(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()


def template(text: str) -> Template:
    """Return a text as what stands between its marks, and their numbers."""
    found: list[str | int] = []
    at = 0
    for mark in _MARKS.finditer(text):
        found += [text[at : mark.start()], _NAME_MARK if mark[3] else int(mark[1] or mark[2])]
        at = mark.end()
    return (*found, text[at:])


def filled(parts: Template, texts: list[str]) -> str:
    """Return a template with its texts."""
    return "".join([one if isinstance(one, str) else texts[one] for one in parts])


class Number:
    """A number that is not told; see the module."""

    __slots__ = ("_expression", "_now", "_places", "_trace")

    def __init__(self, trace: Trace, expression: str, now: float, places: frozenset[int]) -> None:
        self._trace = trace
        self._expression = expression
        self._now = now
        self._places = places

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The class of the value, so that it counts as such a number."""
        return type(self._now)

    @property
    def spelled(self) -> tuple[str, float, frozenset[int]]:
        """What it is made of as an expression, its value, and the places of the values in it."""
        return self._expression, self._now, self._places

    def mark(self, write: Callable[[Any], str], spec: str = "") -> int:
        """Return the number of the text that a function makes of it."""
        return self._trace.mark(write, self._expression, spec)

    def __str__(self) -> str:
        return f"qz{self.mark(str)}zq"

    def __repr__(self) -> str:
        return f"qz{self.mark(repr)}zq"

    def __format__(self, spec: str) -> str:
        return f"qz{self.mark(str, spec)}zq"

    def __hash__(self) -> int:
        raise Untraceable(self._places)

    def asked(self, condition: str, answer: bool) -> bool:
        """Keep what was asked of it, with the answer."""
        return self._trace.hold(condition, answer)

    def __bool__(self) -> bool:
        return self._trace.hold(f"{self._expression} != 0", bool(self._now))

    def _told(self) -> float:
        self._trace.hold(f"{self._expression} == {self._now!r}", answer=True)
        return self._now

    def __int__(self) -> int:
        return int(self._told())

    __trunc__ = __int__

    def __index__(self) -> int:
        if not isinstance(self._now, int):
            raise TypeError("no whole number")
        return int(self._told())

    def __float__(self) -> float:
        return float(self._told())

    def is_integer(self) -> bool:
        """Return whether it is whole."""
        answer = float(self._now).is_integer()
        return self._trace.hold(f"floor({self._expression}) == {self._expression}", answer)

    def made(self, expression: str, now: Any, other: Any = None) -> Any:
        """Return what was computed of it, and of another operand if there is one."""
        more: frozenset[int] = other._places if isinstance(other, Number) else frozenset()
        places = self._places | more
        return Number(self._trace, expression, now, places)

    def __abs__(self) -> Any:
        return self.made(f"abs({self._expression})", abs(self._now))

    def __neg__(self) -> Any:
        return self.made(f"(-{self._expression})", -self._now)

    def __pos__(self) -> Any:
        return self

    def __ceil__(self) -> Any:
        return self.made(f"ceil({self._expression})", math.ceil(self._now))

    def __floor__(self) -> Any:
        return self.made(f"floor({self._expression})", math.floor(self._now))

    def __round__(self, digits: int | None = None) -> Any:
        return self.made(f"round({self._expression}, {digits!r})", round(self._now, digits))


def _number(value: Any) -> Number | None:
    return value if isinstance(value, Number) else None


def _spelled(other: Any) -> tuple[str, Any] | None:
    """Return another operand as part of an expression, with its value; None of what is no number."""
    if (number := _number(other)) is not None:
        return number.spelled[:2]
    if type(other) in (int, float, bool) and math.isfinite(other):
        return f"({other!r})", other
    return None


def _operators() -> None:
    """Give Number the operators of numbers: those that compute, and those that ask."""
    import operator

    computing = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**"}
    asking = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}

    def compute(name: str, sign: str, swapped: bool) -> Callable[[Number, Any], Any]:
        do: Callable[[Any, Any], Any] = getattr(operator, name)

        def method(self: Any, other: Any) -> Any:
            spelled = _spelled(other)
            if spelled is None:
                return NotImplemented
            (mine, now, _), (its, value) = self.spelled, spelled
            if swapped:
                return self.made(f"({its} {sign} {mine})", do(value, now), other)
            return self.made(f"({mine} {sign} {its})", do(now, value), other)

        return method

    def ask(name: str, sign: str) -> Callable[[Number, Any], Any]:
        do: Callable[[Any, Any], Any] = getattr(operator, name)

        def method(self: Any, other: Any) -> Any:
            spelled = _spelled(other)
            if spelled is None:
                return name == "ne" if name in ("eq", "ne") and not isinstance(other, (int, float)) else NotImplemented
            mine, now, _ = self.spelled
            return self.asked(f"{mine} {sign} {spelled[0]}", bool(do(now, spelled[1])))

        return method

    for name, sign in computing.items():
        setattr(Number, f"__{name}__", compute(name, sign, swapped=False))
        setattr(Number, f"__r{name}__", compute(name, sign, swapped=True))
    for name, sign in asking.items():
        setattr(Number, f"__{name}__", ask(name, sign))


_operators()
CURRENT: list[Trace] = []  # the trace that is being made, if one is


def as_json(value: Any) -> str:
    """Return what stands for a number where `json` writes it. Raises TypeError for what is no traced number."""
    return _quoted(value, json.dumps)


def as_record(value: Any) -> str:
    """Return what stands for a number where msgspec writes it. Raises TypeError for what is no traced number."""
    return _quoted(value, _record)


def _quoted(value: Any, write: Callable[[Any], str]) -> str:
    if type(value) is not Number:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return f"qz{value.mark(write)}jzq"


def written(value: Any, write: Callable[[Any], str]) -> str | None:
    """Return what stands for the text that a function makes of a traced number; None of any other value."""
    return f"qz{value.mark(write)}zq" if type(value) is Number else None


__all__ = ["CURRENT", "MARK", "NAME", "Number", "Template", "Trace", "Untraceable", "as_json", "as_record", "filled", "template", "written"]  # fmt: skip
