"""Whether a tool still gets on: it logs, tells events, or writes to its output. Time on a processor is no sign of it.

A collective that waits for a process which has died keeps every processor busy, for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LOOKS = 5.0  # seconds between two looks at what a tool writes
QUIET = 900.0  # seconds without a sign after which it is told once, where nothing ends the tool


def in_words(seconds: float) -> str:
    """Return a time as `30 min`, `2 h` or `90 s`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:g} s"


class SignsOfLife:
    """Looks at files and folders now and then; says how long nothing in them has changed."""

    def __init__(self, places: tuple[Path, ...], *, now: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._now = now
        self._looked = self._changed = now()
        self._seen = _state(places)

    def quiet(self, soon: float = LOOKS) -> float:
        """Return for how many seconds nothing has changed; looks again when the last look is `soon` seconds ago."""
        at = self._now()
        if at - self._looked >= soon:
            self._looked = at
            seen = _state(self._places)
            if seen != self._seen:
                self._seen, self._changed = seen, at
        return at - self._changed


def _state(places: tuple[Path, ...]) -> list[tuple[str, int, int]]:
    return sorted(row for place in places for row in _files(str(place)))


def _files(place: str) -> Iterator[tuple[str, int, int]]:
    """Yield what is at a place and below it, with size and time; what goes while one looks is left out."""
    try:
        about = Path(place).stat()
        yield place, about.st_size, about.st_mtime_ns
        if not Path(place).is_dir():
            return
        with os.scandir(place) as entries:
            below = [entry.path for entry in entries if not entry.is_symlink()]
    except OSError:
        return
    for path in below:
        yield from _files(path)


__all__ = ["LOOKS", "QUIET", "SignsOfLife", "in_words"]
