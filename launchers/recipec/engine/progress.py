"""The progress of a stage, from the trainer's events or, for tools without events, from the end of their log."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recipec.plan import Stage
from recipec.tail import Tail, last_bytes
from recipec.terminal import shown

WINDOW = 30.0  # seconds over which speed is measured
MEMORY = ("resident", "allocated", "reserved")
UNPADDED = "tokens without padding, of all processes, as the trainer logs them"
PADDED = "positions of the batches, padding included, of all processes"
_BAR = re.compile(r"^(?P<what>[^|]*?):?\s*(?P<percent>\d{1,3})%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)")


class Progress(NamedTuple):
    """How far a running stage is. `speed` is in steps per second, `eta` in seconds; what is not known is None.

    Memory is the peak of the first process, in bytes: `resident` of the machine, `allocated` and `reserved` of its GPU.
    """

    step: int | None = None
    total: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    lr: float | None = None
    speed: float | None = None
    eta: float | None = None
    note: str = ""
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    resident: int | None = None
    allocated: int | None = None
    reserved: int | None = None

    def text(self) -> str:
        """Return the progress as one line of plain text."""
        left = f"{clock(self.eta)} left" if self.eta is not None else ""
        return ", ".join(part for part in (self.place(), self.learning(), self.pace(), left, self.note) if part)

    def place(self) -> str:
        """Return the step as text; empty where there is none."""
        if self.step is None:
            return ""
        return f"step {self.step}/{self.total}" if self.total else f"step {self.step}"

    def learning(self) -> str:
        """Return how it learns as text: losses, learning rate, norm of the gradient."""
        numbers = (("loss", self.loss), ("eval loss", self.eval_loss), ("lr", self.lr), ("grad norm", self.grad_norm))
        return ", ".join(f"{name} {value:.4g}" for name, value in numbers if value is not None)

    def pace(self) -> str:
        """Return how fast it is, and the most memory that it took, as text."""
        memory = self.reserved if self.reserved is not None else self.resident
        parts = [
            f"{self.speed:.3g} steps/s" if self.speed else "",
            f"{self.tokens_per_second:,.0f} tokens/s" if self.tokens_per_second else "",
            f"{gib(memory)} at most" if memory is not None else "",
        ]
        return ", ".join(part for part in parts if part)


def clock(seconds: float) -> str:
    """Return a duration as `42 s`, `3:05` or `2:03:05`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def gib(count: float) -> str:
    """Return bytes as `12.3 GiB`, or in MiB below one GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


class ProgressReader:
    """Reads the progress of one attempt from its events and its log, starting where both end now.

    `copies` of the model train on different rows: the first process counts the positions of its own batches only.
    With `whole`, events are read from the first one, as whoever did not see them being written does.
    """

    def __init__(self, events: Path, log: Path, copies: int = 1, *, whole: bool = False) -> None:
        self._events = Tail(events) if whole else Tail.at_end(events)
        self._log = log
        self._begin = log.stat().st_size if log.exists() else 0
        self._times: deque[tuple[float, int]] = deque()
        self.tokens = TokenMeter(copies)
        self.progress = Progress()
        self.loss: float | str | None = None  # the last one as it was told: text for NaN and infinity
        self.began = False
        self.ended = False
        self.saved = False  # it was asked to save and stop, and has done so

    def read(self) -> Progress:
        """Read what is new and return the progress."""
        for line in self._new_lines():
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

    def _new_lines(self) -> Iterator[bytes]:
        while lines := self._events.lines():
            yield from lines

    def usage(self) -> dict[str, Any]:
        """Return what the stage used, for its record: peak memory in bytes, tokens per second and what counts as one."""
        last = self.progress
        memory = {name: getattr(last, name) for name in MEMORY if getattr(last, name) is not None}
        return {"memory": memory, "tokens": self.tokens.summary()}

    def _take(self, row: dict[str, Any]) -> None:
        event, step, total = row["event"], int(str(row["step"])), int(str(row["total"]))
        if event == "begin":
            self.began, self.ended = True, False
            self._times.clear()
            self.tokens.begin()
        elif event == "end":
            self.ended = True
        elif event == "stop":
            self.saved = True
        found = self.progress._replace(step=step, total=total if total > 0 else None)
        if event == "log":
            values: dict[str, Any] = row.get("values") or {}
            self.loss = row.get("loss")
            self.tokens.take(float(row["time"]), row)
            found = found._replace(
                loss=_number(row.get("loss")),
                lr=_number(row.get("lr")),
                grad_norm=_number(values.get("grad_norm")),
                tokens_per_second=self.tokens.lately(),
            )
        elif event == "eval" and (loss := _number(row.get("loss"))) is not None:
            found = found._replace(eval_loss=loss)
        memory: dict[str, int] = row.get("memory") or {}
        most: dict[str, Any] = {name: max(memory[name], getattr(found, name) or 0) for name in MEMORY if name in memory}
        found = Progress(**{**found._asdict(), **most})
        self._times.append((float(str(row["time"])), step))
        while len(self._times) > 2 and self._times[-1][0] - self._times[0][0] > WINDOW:
            self._times.popleft()
        seconds, steps = self._times[-1][0] - self._times[0][0], self._times[-1][1] - self._times[0][1]
        speed = steps / seconds if seconds > 0 and steps > 0 else None
        eta = (found.total - step) / speed if speed and found.total else None
        self.progress = found._replace(speed=speed, eta=eta)


class TokenMeter:
    """Counts the tokens of a training: as the trainer logs them, without padding, else the positions of its batches."""

    def __init__(self, copies: int) -> None:
        self._copies = copies
        self._seen: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None
        self.counts: str | None = None

    def begin(self) -> None:
        """Start anew: a trainer that resumes counts from where it resumes."""
        self._seen.clear()
        self._first, self.counts = None, None

    def take(self, time: float, row: Mapping[str, Any]) -> None:
        """Take the count of an event, if it has one."""
        values: dict[str, Any] = row.get("values") or {}
        logged, positions = values.get("num_tokens"), row.get("positions")
        if isinstance(logged, int | float):
            self.counts, count = UNPADDED, int(logged)
        elif isinstance(positions, int) and positions:
            self.counts, count = PADDED, positions * self._copies
        else:
            return
        self._first = self._first or (time, count)
        self._seen.append((time, count))
        while len(self._seen) > 2 and self._seen[-1][0] - self._seen[0][0] > WINDOW:
            self._seen.popleft()

    def lately(self) -> float | None:
        """Return the tokens per second of the last while; None where that is not known."""
        return _rate(self._seen[0], self._seen[-1]) if self._seen else None

    def summary(self) -> dict[str, Any] | None:
        """Return the tokens per second from the first log to the last; None where they are not known."""
        rate = _rate(self._first, self._seen[-1]) if self._first and self._seen else None
        return None if rate is None else {"per_second": round(rate, 1), "counts": self.counts}


def _rate(first: tuple[float, int], last: tuple[float, int]) -> float | None:
    seconds, tokens = last[0] - first[0], last[1] - first[1]
    return tokens / seconds if seconds > 0 and tokens > 0 else None


def copies_of(stage: Stage[Any]) -> int:
    """Return how many copies of the model of a stage train on different rows."""
    batch = getattr(stage.body, "batch", None)
    return batch.data_parallel if batch is not None else 1


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
