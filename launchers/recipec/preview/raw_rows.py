"""The first rows of a local file as texts by role or column: what can be shown without a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from recipec.kinds.train.records import DataSource
from recipec.rows.reading import Unreadable, first

Parts = list[tuple[str, str]]  # (role or column, text)


def first_rows(source: DataSource, count: int) -> list[Parts] | None:
    """Return the texts of the first rows; None for a Parquet file or data on a hub.

    Raises OSError, and ValueError when the contents do not match the file's extension.
    """
    if source.path is None or source.path.endswith(".parquet"):
        return None
    try:
        found = first(Path(source.path), count)
    except Unreadable as error:
        raise ValueError(str(error)) from None
    return [parts(cast("dict[str, Any]", row), source) for row in found if isinstance(row, dict)]


def parts(row: dict[str, Any], source: DataSource) -> Parts:
    """Return the texts of a row: each message under its role, every other column under its standard name."""
    found: Parts = []
    for name, column in source.columns.items():
        if name in ("role", "content") or row.get(column) in (None, ""):
            continue
        value: object = row[column]
        messages = cast("list[object]", value) if isinstance(value, list) else [value]
        objects = [cast("dict[str, Any]", message) for message in messages if isinstance(message, dict)]
        if len(objects) == len(messages):
            label = "" if name == "messages" else f"{name}: "
            found += [(label + role, text) for role, text in (_message(message, source) for message in objects)]
        else:
            found.append((name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return found


def _message(message: dict[str, Any], source: DataSource) -> tuple[str, str]:
    known = {spelt: role for role, names in source.roles.items() for spelt in names}
    role = message.get(source.columns.get("role", "role"))
    content = message.get(source.columns.get("content", "content"))
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return str(known.get(str(role), role)), text
