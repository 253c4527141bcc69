"""The progress of a stage, from the trainer's events or, for tools without events, from the end of their log."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from recipec.tail import Tail, last_bytes
from recipec.terminal import shown

WINDOW = 30.0  # seconds over which speed is measured
_BAR = re.compile(r"^(?P<what>[^|]*?):?\s*(?P<percent>\d{1,3})%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)")


class Progress(NamedTuple):
    """How far a running stage is. `speed` is in steps per second, `eta` in seconds; what is not known is None."""

    step: int | None = None
    total: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    lr: float | None = None
    speed: float | None = None
    eta: float | None = None
    note: str = ""

    def text(self) -> str:
        """Return the progress as one line of plain text."""
        parts: list[str] = []
        if self.step is not None:
            parts.append(f"step {self.step}/{self.total}" if self.total else f"step {self.step}")
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4g}")
        if self.eval_loss is not None:
            parts.append(f"eval loss {self.eval_loss:.4g}")
        if self.speed:
            parts.append(f"{self.speed:.3g} steps/s")
        if self.eta is not None:
            parts.append(f"{clock(self.eta)} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)


def clock(seconds: float) -> str:
    """Return a duration as `42 s`, `3:05` or `2:03:05`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressReader:
    """Reads the progress of one attempt from its events and its log, starting where both end now."""

    def __init__(self, events: Path, log: Path) -> None:
        self._events = Tail.at_end(events)
        self._log = log
        self._begin = log.stat().st_size if log.exists() else 0
        self._times: deque[tuple[float, int]] = deque()
        self.progress = Progress()
        self.began = False
        self.ended = False
        self.saved = False  # it was asked to save and stop, and has done so

    def read(self) -> Progress:
        """Read what is new and return the progress."""
        for line in self._events.lines():
            try:
                row = json.loads(line)
                self._take(row)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
        training = self.progress.step is not None and not self.ended
        self.progress = self.progress._replace(note="" if training else last_progress_bar(self._log, self._begin))
        if self.ended:
            self.progress = self.progress._replace(speed=None, eta=None)
        return self.progress

    def _take(self, row: dict[str, object]) -> None:
        event, step, total = row["event"], int(str(row["step"])), int(str(row["total"]))
        if event == "begin":
            self.began, self.ended = True, False
            self._times.clear()
        elif event == "end":
            self.ended = True
        elif event == "stop":
            self.saved = True
        found = self.progress._replace(step=step, total=total if total > 0 else None)
        if event == "log":
            found = found._replace(loss=_number(row.get("loss")), lr=_number(row.get("lr")))
        elif event == "eval" and (loss := _number(row.get("loss"))) is not None:
            found = found._replace(eval_loss=loss)
        self._times.append((float(str(row["time"])), step))
        while len(self._times) > 2 and self._times[-1][0] - self._times[0][0] > WINDOW:
            self._times.popleft()
        seconds, steps = self._times[-1][0] - self._times[0][0], self._times[-1][1] - self._times[0][1]
        speed = steps / seconds if seconds > 0 and steps > 0 else None
        eta = (found.total - step) / speed if speed and found.total else None
        self.progress = found._replace(speed=speed, eta=eta)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def last_progress_bar(log: Path, begin: int) -> str:
    """Return the progress bar in what a tool wrote to `log` after offset `begin`, as `what: 40% (2/5)`.

    Returns an empty string when there is no bar, or when the last one is full or does not say what it counts.
    """
    for line in reversed(clean_lines(last_bytes(log, 4096, begin).decode("utf-8", "replace"))):
        if bar := _BAR.match(line):
            done = bar["done"] == bar["total"] or not bar["what"].strip()
            return "" if done else f"{bar['what'].strip()}: {bar['percent']}% ({bar['done']}/{bar['total']})"
    return ""


def clean_lines(text: str) -> list[str]:
    """Return the lines that a terminal would show: no colours, and only what follows the last carriage return.

    Nothing in them can drive a terminal.
    """
    lines = (shown(line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in text.split("\n"))
    return [line for line in lines if line.strip()]


def is_progress_bar(line: str) -> bool:
    """Return whether a line is a progress bar."""
    return bool(_BAR.match(line))


class Throttle:
    """Limits how often something is done: once at the start, then every `interval` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0

    def due(self) -> bool:
        """Return whether it is time; if so, start the next interval."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._interval
        return True
