"""Reading a file that another process appends to."""

from __future__ import annotations

from pathlib import Path


class Tail:
    """Reads the complete lines that were added to a file since the last call; the file may not exist yet."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    @classmethod
    def at_end(cls, path: Path) -> Tail:
        """Return a tail that skips what the file contains now."""
        return cls(path, path.stat().st_size if path.exists() else 0)

    def lines(self, limit: int = 1 << 20) -> list[bytes]:
        """Return new complete lines without their line breaks, at most about `limit` bytes."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                chunk = stream.read(limit)
        except FileNotFoundError:
            return []
        end = chunk.rfind(b"\n") + 1
        if not end and len(chunk) == limit:
            end = limit
        self.offset += end
        found = chunk[:end].split(b"\n")
        return found if found[-1] else found[:-1]


def last_bytes(path: Path, count: int, begin: int = 0) -> bytes:
    """Return up to `count` bytes from the end of a file, none before offset `begin`; empty when there is no file."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(begin, size - count, 0))
            return stream.read()
    except FileNotFoundError:
        return b""
