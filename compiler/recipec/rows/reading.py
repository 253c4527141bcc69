"""Rows of a local file as a stream: all of it up to WHOLE bytes, beyond that the beginning and a spread sample.

What a file may look like is what `datasets` 4.0 to 5.2 reads: JSON values one behind the other or in one array, whatever
the suffix says; UTF-8 with or without a byte order mark; CSV of which no row is longer than its header.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from recipec.source import Plain

WHOLE = 16 << 20  # bytes that are read whole: about half a second, within the second that a check may take
HEAD = 4 << 20  # bytes at the beginning of a larger file; no more of a row is read
SPOTS, AT_EACH = 200, 5  # places of a larger JSONL file, spread evenly, and the rows that are read at each
MARK = b"\xef\xbb\xbf"
BLANK = " \t\r\n"
SIGNS = {  # how files of another kind begin
    b"\x1f\x8b": "compressed by gzip", b"PK\x03\x04": "a zip archive", b"\x28\xb5\x2f\xfd": "compressed by zstd", b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz", b"PAR1": "Parquet", b"ARROW1": "Arrow", b"SQLite": "an SQLite database", b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16", b"%PDF": "a PDF", b"version https://git-lfs": "a pointer of Git LFS, whose file was not fetched",
    b"<!DOCTYPE": "a web page", b"<html": "a web page",
}  # fmt: skip
AS_TEXT = "save it as UTF-8 text"


class Row(NamedTuple):
    """A row, and where it is: `row 7`, or `the row after byte 1,234` in a sample."""

    where: str
    value: Plain


class Unreadable(Exception):
    """The file cannot be read as what its name says; the message says where and why, `advice` what to do."""

    def __init__(self, message: str, advice: str = "correct the file, or save it as UTF-8") -> None:
        super().__init__(message)
        self.advice = advice


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSONL, JSON or CSV file. Raises OSError, and Unreadable at the first row that is none."""
    if path.exists() and not path.is_file():  # to open a pipe would wait for who writes to it
        raise Unreadable(f"{path} is no file", "name a file of rows")
    with path.open("rb") as stream:
        start = stream.read(64)
    for sign, kind in SIGNS.items():
        if start.startswith(sign):
            raise Unreadable(f"{path} is {kind}, not {path.suffix[1:].upper()}", _advice(kind))
    if b"\0" in start:
        raise Unreadable(f"{path} is no text: it begins with the bytes {start[:8].hex(' ')}", AS_TEXT)
    if path.suffix == ".csv":
        yield from _table(path)
    elif start.removeprefix(MARK).lstrip().startswith(b"[") and not _lists(path):
        yield from _array(path)
    else:
        yield from _lines(path)


def _advice(kind: str) -> str:
    if kind.startswith("a pointer"):
        return "fetch it: git lfs pull"
    return AS_TEXT if kind.startswith("UTF") else "unpack or convert it, or give the suffix of what it is"


def row_count(path: Path) -> int | None:
    """Return the number of rows of a file that is here; None where it is not, cannot be read, or is too large to count."""
    try:
        if path.suffix == ".parquet":
            from recipec.rows.parquet import footer

            return footer(path).rows
        return sum(1 for _ in rows(path)) if complete(path) else None
    except (OSError, ValueError, Unreadable):
        return None


def complete(path: Path) -> bool:
    """Return whether `rows` yields every row of a file."""
    return path.stat().st_size <= WHOLE


def marked(path: Path) -> bool:
    """Return whether a file is a JSON array behind a byte order mark, which `datasets` before 5.0 does not read."""
    with path.open("rb") as stream:
        start = stream.read(64)
    return path.suffix != ".csv" and start.startswith(MARK) and start.removeprefix(MARK).lstrip().startswith(b"[")


def _lines(path: Path) -> Iterator[Row]:
    """Yield the values of a file that holds one behind the other, mostly one on each line."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(WHOLE), b""), 1):
            if number == 1 and not _is_whole(line.removeprefix(MARK)):
                yield from _values(path, line + stream.read(HEAD if size > WHOLE else WHOLE))
                return
            if line.strip():
                yield Row(f"row {number}", _parsed(path, f"row {number}", line.removeprefix(MARK)))
            if size > WHOLE and stream.tell() > HEAD:
                break
        if size <= WHOLE:
            return
        for spot in range(SPOTS):
            place = HEAD + (size - HEAD) * spot // SPOTS
            if place < stream.tell():  # long rows reach beyond the next place: none is read twice
                continue
            stream.seek(place)
            stream.readline(HEAD)
            where = f"the row after byte {stream.tell():,}"
            for _ in range(AT_EACH):
                line = stream.readline(HEAD)
                if line.strip() and line.endswith(b"\n"):
                    yield Row(where, _parsed(path, where, line))


def _lists(path: Path) -> bool:
    """Return whether a file that begins with a list holds one on each line."""
    with path.open("rb") as stream:
        lines = [stream.readline(HEAD).removeprefix(MARK) for _ in range(2)]
    try:
        return all(isinstance(json.loads(line), list) for line in lines)
    except (ValueError, RecursionError):
        return False


def _is_whole(line: bytes) -> bool:
    """Return whether the first line of a file is a value, blank, or so wrong that the next lines do not mend it."""
    if not line.lstrip().startswith(b"{"):
        return True
    try:
        json.loads(line)
    except UnicodeDecodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return True


def _values(path: Path, content: bytes) -> Iterator[Row]:
    """Yield values that stand one behind the other, on as many lines as they like."""
    whole = complete(path)
    text = _decoded(path, "", content) if whole else content.decode("utf-8-sig", errors="ignore")
    yield from _separate(path, text, 0, BLANK, whole=whole)


def _separate(path: Path, text: str, at: int, between: str, *, whole: bool) -> Iterator[Row]:
    """Yield the values from a place on; where the text is not `whole`, the last of them may be cut off."""
    decoder, number = json.JSONDecoder(), 0
    while True:
        while at < len(text) and text[at] in between:
            at += 1
        if at == len(text):
            return
        number += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if not whole and isinstance(error, json.JSONDecodeError) and 2 * error.pos > len(text):
                return
            raise Unreadable(f"{path}, row {number} is no JSON: {error}") from None
        yield Row(f"row {number}", value)


def _array(path: Path) -> Iterator[Row]:
    """Yield the values of an array, of a large one those at its beginning."""
    whole = complete(path)
    with path.open("rb") as stream:
        content = stream.read(WHOLE if whole else HEAD)
    if not whole:
        text = content.decode("utf-8-sig", errors="ignore")  # its end may be within a character
        yield from _separate(path, text, text.index("[") + 1, BLANK + ",", whole=False)
        return
    try:
        values: list[Plain] = json.loads(_decoded(path, "", content))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path} is no JSON: {error}") from None
    yield from (Row(f"row {number}", value) for number, value in enumerate(values, 1))


def _decoded(path: Path, where: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"{path}{where}: byte 0x{content[error.start]:02x}"
        raise Unreadable(f"{place} is not UTF-8") from None


def _parsed(path: Path, where: str, line: bytes) -> Plain:
    text = _decoded(path, f", {where}", line)
    try:
        value: Plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path}, {where} is no JSON: {error}") from None
    return value


def _table(path: Path) -> Iterator[Row]:
    csv.field_size_limit(WHOLE)  # its own limit, 128 KiB, is shorter than some documents
    try:
        with path.open("rb") as stream:
            reader = csv.reader(TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
            header = next((row for row in reader if row), list[str]())
            for number, row in enumerate((row for row in reader if row), 1):
                if len(row) > len(header):
                    message = f"{path}, row {number} has {len(row)} fields, and its header {len(header)}"
                    advice = "put texts that hold commas, quotes or line breaks in quotes, or write JSON lines"
                    raise Unreadable(message, advice)
                yield Row(f"row {number}", dict(zip(header, [*row, *[None] * (len(header) - len(row))], strict=True)))
                if stream.tell() > WHOLE:
                    return
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: byte 0x{error.object[error.start]:02x} is not UTF-8") from None
    except csv.Error as error:
        raise Unreadable(f"{path} cannot be read: {error}") from None


def first(path: Path, count: int) -> list[Plain]:
    """Return the first rows of a file. Raises OSError and Unreadable."""
    return [row.value for row in islice(rows(path), count)]
