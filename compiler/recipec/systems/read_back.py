"""A tool's file to the plan values that it says: a table, read in the other direction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recipec.source import is_mapping
from recipec.systems.table import OMIT, Row


def read_back(rows: Iterable[Row], document: Mapping[str, Any], release: str) -> dict[str, Any]:
    """Return the plan values that a tool's file says, by plan path.

    Rows whose conditions contradict what rows with fewer conditions have read are passed over; of code and of what a
    file leaves out nothing is concluded.
    """
    found: dict[str, Any] = {}
    for row in sorted(rows, key=lambda row: len(row.only)):
        if row.back is None or not row.has(release):
            continue
        at = _inside(document, row.inside)
        given = [at.get(key, OMIT) for key in row.keys]
        if all(value is OMIT for value in given):
            continue
        if any(one.path in found and not one.holds(found) for one in row.only):
            continue
        found |= row.back(*given)
    return found


def _inside(document: Mapping[str, Any], keys: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the mapping at these keys; an empty one where there is none."""
    for key in keys:
        value = document.get(key)
        document = value if is_mapping(value) else {}
    return document
