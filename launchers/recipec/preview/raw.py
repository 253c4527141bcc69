"""The first rows of a local file by role, as they stand in it: what can be shown without a tokenizer."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from recipec.kinds.train.records import DataSource

Parts = list[tuple[str, str]]  # (role or column, text)


def first_rows(source: DataSource, count: int) -> list[Parts] | None:
    """Return the parts of the first rows; None where the file is of a kind that is left to the tools.

    Raises OSError, and ValueError for a file that is not what its name says.
    """
    if source.path is None or source.path.endswith(".parquet"):
        return None
    return [parts(row, source) for row in islice(_rows(Path(source.path)), count) if isinstance(row, dict)]


def _rows(path: Path) -> Iterator[Any]:
    if path.suffix == ".json":
        whole = json.loads(path.read_text(encoding="utf-8"))
        yield from whole if isinstance(whole, list) else []
        return
    with path.open(encoding="utf-8", newline="" if path.suffix == ".csv" else None) as stream:
        if path.suffix == ".csv":
            yield from csv.DictReader(stream)
        else:
            yield from (json.loads(line) for line in stream if line.strip())


def parts(row: dict[str, Any], source: DataSource) -> Parts:
    """Return what a row says: each message under its role, each other column under its standard name."""
    found: Parts = []
    for name, column in source.columns.items():
        if name in ("role", "content") or row.get(column) in (None, ""):
            continue
        value = row[column]
        messages = value if isinstance(value, list) else [value]
        if all(isinstance(message, dict) for message in messages):
            label = "" if name == "messages" else f"{name}: "
            found += [(label + role, text) for role, text in (_message(message, source) for message in messages)]
        else:
            found.append((name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return found


def _message(message: dict[str, Any], source: DataSource) -> tuple[str, str]:
    known = {spelt: role for role, names in source.roles.items() for spelt in names}
    role = message.get(source.columns.get("role", "role"))
    content = message.get(source.columns.get("content", "content"))
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return str(known.get(str(role), role)), text
