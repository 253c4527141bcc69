"""The first rows of a local data file held against what a recipe says of them: before anything runs, and without pandas.

A file that is not here is not judged: a recipe may be compiled elsewhere than where it runs. Parquet is left to the run.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from recipec.suggest import nearest

ROWS = 20  # rows that are looked at
OPTIONAL = ("role", "content", "input", "system")
ROLES = ("system", "user", "assistant", "tool")


class Trouble(NamedTuple):
    """What is wrong: the standard column to blame, what, what to do, and the nearest right name."""

    column: str
    message: str
    advice: str
    suggestion: str | None = None


def trouble(path: str, columns: Mapping[str, str], roles: Mapping[str, tuple[str, ...]]) -> Trouble | None:
    """Return the first thing that no trainer could read; None when the rows are fine, or the file cannot be looked at."""
    try:
        for number, row in islice(_rows(Path(path)), ROWS):
            where = f"{path}, row {number}"
            if not isinstance(row, dict):
                return Trouble("", f"{where} is no mapping of columns to values", "write one JSON object for each row")
            found = _judge(where, row, columns, roles, table=path.endswith(".csv"))
            if found is not None:
                return found
    except OSError:
        return None  # a run looks again, where the file must be
    except (ValueError, csv.Error, RecursionError) as error:
        return Trouble("", f"{path} cannot be read: {error}", "correct the file")
    return None


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as stream:
            yield from ((number, json.loads(line)) for number, line in enumerate(stream, 1) if line.strip())
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            yield from enumerate(csv.DictReader(stream), 1)
    elif path.suffix == ".json":
        whole = json.loads(path.read_text(encoding="utf-8"))
        yield from enumerate(whole if isinstance(whole, list) else [], 1)


def _judge(
    where: str, row: dict[str, Any], columns: Mapping[str, str], roles: Mapping[str, tuple[str, ...]], *, table: bool
) -> Trouble | None:
    for name, column in columns.items():
        if name in OPTIONAL:
            continue
        if column not in row:
            there = ", ".join(str(key) for key in row)
            advice = f"it has {there}; say which of them it is: columns: {{{name}: …}}"
            return Trouble(name, f"{where} has no column {column}", advice, nearest(column, [str(key) for key in row]))
        expected = None if table and name == "label" else _expected(name, row[column], columns)
        if expected is not None:
            return Trouble(name, f"{where}: {column} is {_shown(row[column])}", f"expected {expected}")
        for message in _messages(row[column]):
            wrong = _message(where, name, message, columns, roles)
            if wrong is not None:
                return wrong
    if "chosen" in columns and row[columns["chosen"]] == row[columns["rejected"]]:
        return Trouble("chosen", f"{where}: the chosen and the rejected answer are the same", "drop the row")
    return None


def _expected(name: str, value: object, columns: Mapping[str, str]) -> str | None:
    """Return what a column should hold where it holds something else."""
    if name == "messages":
        return None if isinstance(value, list) and value else "a list of messages"
    if name == "label":
        return None if value in (True, False) else "true or false"
    if name in ("chosen", "rejected") and "messages" in columns:
        return None if isinstance(value, str | dict) or (isinstance(value, list) and value) else "text, or messages"
    if name == "prompt" and not set(columns) & {"chosen", "completion"}:
        return None if isinstance(value, str) or (isinstance(value, list) and value) else "text, or messages"
    if name == "answer":
        return None if isinstance(value, str | int | float) else "text or a number"
    return None if isinstance(value, str) else "text"


def _messages(value: object) -> list[object]:
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []


def _message(
    where: str, name: str, message: object, columns: Mapping[str, str], roles: Mapping[str, tuple[str, ...]]
) -> Trouble | None:
    role, content = columns.get("role", "role"), columns.get("content", "content")
    if not isinstance(message, dict):
        return Trouble(
            name, f"{where}: a message is {_shown(message)}", f"expected a mapping with {role} and {content}"
        )
    for word, column in (("role", role), ("content", content)):
        if column not in message:
            advice = f"it has {', '.join(map(str, message))}; map it: columns: {{{word}: …}}"
            return Trouble(word if word in columns else name, f"{where}: a message has no {column}", advice)
    known = {spelt for names in roles.values() for spelt in names} | set(ROLES)
    if not isinstance(message[role], str) or message[role] not in known:
        shown = _shown(message[role])
        advice = "say which role it is: roles: {user: [human], assistant: [gpt]}"
        return Trouble(name, f"{where}: {shown} is not a role that the recipe knows", advice)
    return None


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"
