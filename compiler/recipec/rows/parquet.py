"""What the footer of a Parquet file says without reading it: its columns and the number of its rows.

The footer is a record of Thrift's compact protocol in front of its own length and the magic bytes
(https://parquet.apache.org/docs/file-format/metadata/; `FileMetaData` and `SchemaElement` of `parquet.thrift`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from recipec.rows.reading import Unreadable

MAGIC, LOCKED = b"PAR1", b"PARE"
LONGEST = 64 << 20  # bytes of a footer that is read; those of ordinary files have kilobytes
DEEPEST = 32  # records within records
SCHEMA, ROWS = 2, 3  # fields of FileMetaData
NAME, CHILDREN = 4, 5  # fields of SchemaElement


class Footer(NamedTuple):
    """The names of the columns of a Parquet file, and the number of its rows."""

    columns: list[str]
    rows: int


def footer(path: Path) -> Footer:
    """Return what the footer of a file says. Raises OSError, and Unreadable where the file is no whole Parquet file."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        begin = stream.read(4)
        stream.seek(max(0, size - 8))
        end = stream.read(8)
        if not begin:
            raise Unreadable(f"{path} is empty", "is it the right file?")
        if begin not in (MAGIC, LOCKED):
            raise Unreadable(f"{path} is no Parquet file: it begins with {_shown(begin)}", _ADVICE)
        if begin == LOCKED or end.endswith(LOCKED):
            raise Unreadable(f"{path} is encrypted", "save it without encryption")
        length = int.from_bytes(end[:4], "little")
        if not end.endswith(MAGIC) or size < 12 or length > min(size - 12, LONGEST):
            raise Unreadable(f"{path} is a Parquet file without its end", "copy or write it again")
        stream.seek(size - 8 - length)
        content = stream.read(length)
    try:
        record = _Compact(content).record()
        elements, rows = record[SCHEMA], record[ROWS]
        return Footer(_columns(elements), int(rows))
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise Unreadable(f"{path} is a Parquet file whose footer cannot be read", "copy or write it again") from None


_ADVICE = "give the suffix of what it is (.jsonl, .json, .csv), or write it as Parquet"


def _shown(begin: bytes) -> str:
    return f'"{begin.decode()}"' if begin.isascii() and begin.decode("ascii").isprintable() and begin else "other bytes"


def _columns(elements: list[dict[int, Any]]) -> list[str]:
    """Return the names of the children of the first element; the elements stand in the order of a walk in depth."""
    found: list[str] = []
    at = 1
    for _ in range(elements[0].get(CHILDREN, 0)):
        found.append(elements[at][NAME].decode("utf-8", errors="replace"))
        left = 1
        while left:
            left += elements[at].get(CHILDREN, 0) - 1
            at += 1
    return found


class _Compact:
    """A reader of Thrift's compact protocol; numbers of fields stand for their names, texts are bytes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at, self.depth = content, 0, 0

    def record(self) -> dict[int, Any]:
        """Return the fields of a record by their number."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("too deep")
        found: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) != 0:
            field = field + (head >> 4) if head >> 4 else self._signed()
            found[field] = self._value(head & 0x0F, within=False)
        self.depth -= 1
        return found

    def _value(self, kind: int, *, within: bool) -> Any:
        if kind in (1, 2):  # a truth value; in a list it has a byte of its own
            return self._byte() == 1 if within else kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._unsigned()
            if count > len(self.content):
                raise ValueError("too many")
            return [self._value(head & 0x0F, within=True) for _ in range(count)]
        if kind == 12:
            return self.record()
        raise ValueError(f"no kind {kind}")  # maps are in no record of a footer

    def _byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self.content):
            raise ValueError("too short")
        return self.content[self.at - count : self.at]

    def _unsigned(self) -> int:
        number = shift = 0
        while True:
            one = self._byte()
            number |= (one & 0x7F) << shift
            shift += 7
            if one < 0x80:
                return number
            if shift > 63:
                raise ValueError("too long")

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)
