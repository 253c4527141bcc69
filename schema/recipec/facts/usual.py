"""What numbers of a training usually are: the rows of `usual.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from recipec.facts import FOLDER
from recipec.source import Plain, Source, plain
from recipec.traced import written
from recipec.yaml_reader import read_text

FILE = "usual.yaml"
LEAST = 1e-3  # smaller numbers are written with an exponent


class Usual(NamedTuple):
    """What one value usually is, where every condition holds; a bound is None where any value is usual on that side.

    `usual` is what is published, `write` what to write, `of` what it is usual for, and `source` where that is said.
    """

    low: float | None
    high: float | None
    usual: str
    write: str
    of: str
    source: str
    conditions: Mapping[str, tuple[str, ...]]


@cache
def usual() -> Mapping[str, Mapping[str, tuple[Usual, ...]]]:
    """Return the rows of each value, in their order, by the group that a rule judges."""
    read = plain(read_text(Source(FILE, (FOLDER / FILE).read_text(encoding="utf-8"))))
    assert isinstance(read, dict)
    return {group: {name: _rows(rows) for name, rows in _mapping(values).items()} for group, values in read.items()}


def _rows(rows: Plain) -> tuple[Usual, ...]:
    assert isinstance(rows, list)
    return tuple(_row(_mapping(row)) for row in rows)


def _row(row: dict[str, Plain]) -> Usual:
    low, high = (_number(row.pop(word, None)) for word in ("from", "to"))
    usual, write, of, source = (shown(row.pop(word)) for word in ("usual", "write", "of", "source"))
    held = {word: tuple(map(str, one if isinstance(one, list) else [one])) for word, one in row.items()}
    return Usual(low, high, usual, write, of, source, held)


def _mapping(value: Plain) -> dict[str, Plain]:
    assert isinstance(value, dict)
    return dict(value)


def shown(value: object) -> str:
    """Return a value as people write it: 2e-4, not 0.0002."""
    if (mark := written(value, shown)) is not None:
        return mark
    if not isinstance(value, float):
        return str(value)
    mantissa, _, exponent = f"{value:e}".partition("e")
    small = 0 < abs(value) < LEAST
    return f"{float(mantissa):g}e{int(exponent)}" if small else f"{value:g}"


def _number(value: Plain) -> float | None:
    assert value is None or isinstance(value, int | float)
    return None if value is None else float(value)
