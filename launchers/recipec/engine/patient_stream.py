"""A stream for the display of a run, which neither ends nor holds up a run when nobody reads it.

The reader of a pipe may have ended (`| head`), a terminal may be closed, or stand still: a stopped one, or one behind
a lost connection, takes no more text. A thread writes, and what is not taken is dropped.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import threading
import time
from typing import IO

HELD = 1000  # pieces of text that wait for a reader at most
PATIENCE = 2.0  # seconds that the end of a run waits for one


class PatientStream(io.TextIOBase):
    """Writes to another text stream as long as that takes what is written. Nothing here raises OSError."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._encoding: str = getattr(stream, "encoding", None) or "utf-8"
        self._waiting: queue.Queue[str] = queue.Queue(HELD)
        self._gone = False
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        try:
            self._handle: int | None = stream.fileno()
        except (OSError, ValueError, AttributeError):  # no file of the system, which could stand still
            self._handle = None
            return
        threading.Thread(target=self._write_all, daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute in the base
        """The encoding of the stream."""
        return self._encoding

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Take text to write; drop it when there is no reader, or when too much waits for one."""
        if self._handle is None:
            self._directly(text)
        elif not self._gone:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(text)
        return len(text)

    def drain(self, seconds: float = PATIENCE) -> None:
        """Wait until everything is written, up to `seconds`."""
        deadline = time.monotonic() + seconds
        while self._waiting.unfinished_tasks and not self._gone and time.monotonic() < deadline:
            time.sleep(0.01)

    def _directly(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed
            self._stream.write(text)
            self._stream.flush()

    def _write_all(self) -> None:
        assert self._handle is not None
        while True:
            raw = self._waiting.get().encode(self._encoding, "backslashreplace")
            try:
                while raw and not self._gone:
                    raw = raw[os.write(self._handle, raw) :]
            except OSError:
                self._gone = True
            self._waiting.task_done()
