"""JSON objects out of files that may be missing, cut short by a kill, or edited by hand; files that a kill cannot cut."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

from recipec.regular_file import read_regular


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None when it cannot be read, is not JSON, or holds something else."""
    try:
        return _object(read_regular(path, None))
    except OSError:
        return None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines, without lines cut short; none when there is no file.

    Raises OSError when the file exists but cannot be read.
    """
    try:
        lines = read_regular(path, None).split(b"\n")
    except FileNotFoundError:
        return []
    return [found for line in lines if (found := _object(line)) is not None]


def write_whole(path: Path, text: bytes) -> None:
    """Write a file whole or not at all, also where the machine fails."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None
