"""What a person most likely meant by a value of the wrong type or size; nothing else lives here.

Only a mistake pays for this: nothing of it is asked of a value that fits.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple, get_args, get_origin
from unicodedata import category, normalize

from annotated_types import Le, Lt

from recipec.language.base import Percent
from recipec.source import Scalar, Span
from recipec.yaml_reader import scalar_value

DASHES = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-")
QUOTES = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u300c\u300d", '"'),
}
_SHELL = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
_DECIMAL_COMMA = re.compile(r"([-+]?[0-9]+),([0-9]+(?:[eE][-+]?[0-9]+)?)(%?)")
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(k|m|kb|mb|gb|tb|kib|mib|gib|tib|tokens?|steps?|x)", re.IGNORECASE)


class Wanted(NamedTuple):
    """What a key of the language takes: numbers up to `largest`, whole ones only or any, percentages, free text."""

    number: bool
    whole: bool
    percent: bool
    text: bool
    largest: float


def wanted(annotation: Any, metadata: list[Any]) -> Wanted:
    """Return what the type of a field takes, looking into unions and aliases."""
    number = whole = percent = text = False
    largest = float("inf")
    for kind, about in _members(annotation, metadata):
        if kind == Percent:
            percent = True
        elif kind is str:
            text = True
        elif kind in (int, float):
            number = number or kind is float
            whole = whole or kind is int
            tops = [getattr(one, "le", getattr(one, "lt", None)) for one in about if isinstance(one, Le | Lt)]
            largest = min([largest, *(float(top) for top in tops if top is not None)])
    return Wanted(number or whole, whole and not number, percent, text, largest)


def _members(annotation: Any, metadata: list[Any]) -> list[tuple[Any, list[Any]]]:
    if annotation == Percent:
        return [(Percent, [])]
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        about = [one for field in more for one in getattr(field, "metadata", [field])]
        return _members(inner, [*metadata, *about])
    if get_args(annotation) and not isinstance(annotation, type):
        if get_origin(annotation) in (list, dict, tuple):
            return []
        return [found for member in get_args(annotation) for found in _members(member, metadata)]
    return [(annotation, metadata)]


def ascii_of(text: str) -> str:
    """Return a text with typographic dashes, quotes, blanks and full-width letters as plain ASCII has them."""
    plain = "".join(DASHES.get(char) or QUOTES.get(char) or (" " if category(char) == "Zs" else char) for char in text)
    return normalize("NFKC", plain)


def slip(value: object, text: str, want: Wanted) -> str:
    """Return how to write what was most likely meant by a value, written as `text`, where `want` is taken.

    Empty where nobody can say.
    """
    if isinstance(value, bool | int | float):
        if want.text and not want.number:
            return "put it in quotes"
        return "" if isinstance(value, bool) else _of_number(value, want)
    if not isinstance(value, str):
        return ""
    named = _SHELL.fullmatch(text.strip())
    if named:
        return f"variables of the shell are not read here: write the value, or ${{var:{named[1].lower()}}}"
    plain = ascii_of(text).strip()
    fitting = _fitting(plain, want)
    if plain != text.strip() and fitting and not text.isascii():
        return f"write {fitting}, in plain characters"
    if fitting == plain and not plain.endswith("%"):
        return f"write {plain} without quotes"
    return f"write {fitting}" if fitting else _of_text(plain, want)


def _of_number(value: float, want: Wanted) -> str:
    if want.percent and isinstance(value, float) and 0 < value < 1:
        return f"write {value * 100:.10g}%"
    if want.whole and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}, or a percentage" if want.percent else f"write {int(value)}"
    if want.whole and 0 < value < 1:
        return "it takes no share of the whole"
    if want.number and not want.whole and want.largest <= 1 < 2 <= value <= 100:
        return f"{value:g}% is written {value / 100:.10g}"
    return ""


def _of_text(plain: str, want: Wanted) -> str:
    if not (want.number or want.percent):
        return ""
    bare = plain.replace(" ", "")
    if bare != plain and (fitting := _fitting(bare, want)):
        return f"write {fitting} without blanks"
    even = bare.replace("_", "")
    if _THOUSANDS.fullmatch(even):
        even = even.replace(",", "")
    if even != bare and (fitting := _fitting(even, want)):
        return f"write {fitting} without separators"
    comma = _DECIMAL_COMMA.fullmatch(bare)
    if comma and (fitting := _fitting(f"{comma[1]}.{comma[2]}{comma[3]}", want)):
        return f"write {fitting}, with a point"
    if bare.endswith("%") and not want.percent:
        share = scalar_value(bare[:-1] or "-")
        if isinstance(share, bool) or not isinstance(share, int | float) or want.whole:
            return "it takes no percentage"
        return f"write {share / 100:.10g}"
    unit = _UNIT.fullmatch(bare)
    if unit and unit[2].lower() in ("k", "m"):
        return "write the number out"
    if unit and (fitting := _fitting(unit[1], want)):
        return f"write {fitting} without a unit"
    return ""


def _fitting(text: str, want: Wanted) -> str | None:
    """Return a text as a value that is taken, or None: a share below 1 as a percentage where one is."""
    value = scalar_value(text) if text else None
    if isinstance(value, str):
        number = scalar_value(value[:-1]) if want.percent and value.endswith("%") and len(value) > 1 else None
        fits = isinstance(number, int | float) and 0 <= number <= 100
        return f"{number:.10g}%" if fits else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if want.percent and isinstance(value, float) and 0 < value < 1:
        return f"{value * 100:.10g}%"
    if want.whole and isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return text if want.number else None


def split_by_comma(key: str, before: Scalar | None, begin: Span) -> str | None:
    """Return the number that a decimal comma has cut in two within braces, `{rate: 0,02}`; None where there is none.

    `key` is what stands behind the comma, `before` the value before it, `begin` where the key begins.
    """
    if before is None or not re.fullmatch(r"[0-9]+(?:[eE][-+]?[0-9]+)?%?", key):
        return None
    close = before.span.end_line == begin.line and before.span.end_column + 1 == begin.column
    return f"{before.text}.{key}" if close and re.fullmatch(r"[-+]?[0-9]+", before.text) else None
