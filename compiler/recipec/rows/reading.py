"""Rows of a local file as a stream: all of it up to WHOLE bytes, beyond that the beginning and a spread sample."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from recipec.source import Plain

WHOLE = 16 << 20  # bytes that are read whole: about half a second, within the second that a check may take
HEAD = 4 << 20  # bytes at the beginning of a larger file
SPOTS, AT_EACH = 200, 5  # places of a larger JSONL file, spread evenly, and the rows that are read at each


class Row(NamedTuple):
    """A row, and where it is: `row 7`, or `the row after byte 1,234` in a sample."""

    where: str
    value: Plain


class Unreadable(Exception):
    """The file cannot be read as what its name says; the message says where and why."""


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSONL, JSON or CSV file. Raises OSError, and Unreadable at the first row that is none."""
    if path.suffix == ".jsonl":
        yield from _lines(path)
    elif path.suffix == ".csv":
        yield from _table(path)
    elif path.suffix == ".json" and path.stat().st_size <= WHOLE:
        try:
            whole: Plain = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{path}: {error}") from None
        if not isinstance(whole, list):
            raise Unreadable(f"{path} is no list of rows")
        yield from (Row(f"row {number}", value) for number, value in enumerate(whole, 1))


def complete(path: Path) -> bool:
    """Return whether `rows` yields every row of a file."""
    return path.suffix in (".jsonl", ".csv", ".json") and path.stat().st_size <= WHOLE


def _lines(path: Path) -> Iterator[Row]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield Row(f"row {number}", _parsed(path, f"row {number}", line))
            if size > WHOLE and stream.tell() > HEAD:
                break
        if size <= WHOLE:
            return
        for spot in range(SPOTS):
            stream.seek(HEAD + (size - HEAD) * spot // SPOTS)
            stream.readline()
            where = f"the row after byte {stream.tell():,}"
            for _ in range(AT_EACH):
                line = stream.readline()
                if line.strip():
                    yield Row(where, _parsed(path, where, line))


def _parsed(path: Path, where: str, line: bytes) -> Plain:
    try:
        value: Plain = json.loads(line)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}, {where}: byte 0x{line[error.start]:02x} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path}, {where} is no JSON: {error}") from None
    return value


def _table(path: Path) -> Iterator[Row]:
    try:
        with path.open("rb") as stream:
            text = TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            for number, value in enumerate(csv.DictReader(text), 1):
                yield Row(f"row {number}", value)
                if stream.tell() > WHOLE:
                    return
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{path} cannot be read: {error}") from None
