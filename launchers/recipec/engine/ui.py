"""What a person sees of a run: plain lines anywhere, a live display in a terminal (`live.py`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO, Protocol

from recipec.engine.progress import Pace, Progress


class Ui(Protocol):
    """Where the engine says what it does. States: waiting, running, complete, skipped, failed, interrupted."""

    def start(self, name: str, stages: Sequence[str]) -> None:
        """Begin to show a run of these stages."""

    def say(self, text: str) -> None:
        """Show lines that stay."""

    def stage(self, stage: str, state: str, detail: str = "") -> None:
        """Show that a stage is in a state now."""

    def progress(self, stage: str, progress: Progress) -> None:
        """Show how far a stage is; called often."""

    def stop(self) -> None:
        """Show nothing further."""


class PlainUi:
    """Lines for logs and pipes; how far a stage is, at most every `interval` seconds."""

    def __init__(self, stream: IO[str], interval: float = 10.0) -> None:
        self._stream = stream
        self._interval = interval
        self._pace = Pace(interval)
        self._shown = ""

    def start(self, name: str, stages: Sequence[str]) -> None:
        """Name the run and its stages."""
        self.say(f"{name}: {', '.join(stages)}")

    def say(self, text: str) -> None:
        """Write lines."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def stage(self, stage: str, state: str, detail: str = "") -> None:
        """Write that a stage changed."""
        if state == "waiting":
            return
        self._pace = Pace(self._interval)
        self._pace.due()
        self.say(f"{stage}: {state}" + (f" ({detail})" if detail else ""))

    def progress(self, stage: str, progress: Progress) -> None:
        """Write how far a stage is, when a line is due and there is something new."""
        text = progress.text()
        if text and text != self._shown and self._pace.due():
            self.say(f"{stage}: {text}")
            self._shown = text

    def stop(self) -> None:
        """Do nothing: lines stay."""


def make_ui(stream: IO[str] | None = None, interval: float = 10.0) -> Ui:
    """Return the display for a stream (default standard output): live in a terminal, else plain lines."""
    target = stream if stream is not None else sys.stdout
    if target.isatty():
        from recipec.engine.live import LiveUi

        return LiveUi(target)
    return PlainUi(target, interval)
