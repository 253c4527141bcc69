"""How a run is shown: as plain lines, or in a terminal as a live display (`live_display.py`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO, Protocol

from recipec.engine.patient_stream import PatientStream
from recipec.engine.progress import Progress, Throttle
from recipec.terminal import shown


class Display(Protocol):
    """Shows a run, told of by a thread for each stage. States of one: waiting, running, complete, skipped, failed, interrupted."""

    def start(self, name: str, stages: Sequence[str], /) -> None:
        """Start to show a run with these stages."""

    def say(self, text: str) -> None:
        """Print lines that stay on the screen."""

    def stage(self, stage: str, state: str, detail: str = "") -> None:
        """Show the new state of a stage."""

    def progress(self, stage: str, progress: Progress) -> None:
        """Show the progress of a stage; called several times a second."""

    def stop(self) -> None:
        """Stop showing the run; lines can still be said."""


class PlainDisplay:
    """Plain lines, for logs and pipes; progress at most every `interval` seconds."""

    def __init__(self, stream: IO[str], interval: float = 10.0) -> None:
        self._stream = PatientStream(stream)
        self._interval = interval
        self._throttles: dict[str, Throttle] = {}
        self._shown: dict[str, str] = {}

    def start(self, name: str, stages: Sequence[str]) -> None:
        """Write the names of the run and its stages."""
        self.say(f"{name}: {', '.join(stages)}")

    def say(self, text: str) -> None:
        """Write lines."""
        self._stream.write(shown(text) + "\n")

    def stage(self, stage: str, state: str, detail: str = "") -> None:
        """Write the new state of a stage."""
        if state == "waiting":
            return
        self._throttles[stage] = Throttle(self._interval)
        self._throttles[stage].due()
        self.say(f"{stage}: {state}" + (f" ({detail})" if detail else ""))

    def progress(self, stage: str, progress: Progress) -> None:
        """Write the progress of a stage when it is new and the last line is old enough."""
        text = progress.text()
        throttle = self._throttles.setdefault(stage, Throttle(self._interval))
        if text and text != self._shown.get(stage) and throttle.due():
            self.say(f"{stage}: {text}")
            self._shown[stage] = text

    def stop(self) -> None:
        """Wait until the lines are written, as long as somebody reads them."""
        self._stream.drain()


class Among:
    """One of several runs that are shown at once, whose lines begin with its name."""

    def __init__(self, display: Display, name: str) -> None:
        self._display, self._name = display, name

    def start(self, _name: str, stages: Sequence[str]) -> None:
        """Write the names of its stages."""
        self.say(", ".join(stages))

    def say(self, text: str) -> None:
        """Write lines."""
        self._display.say("\n".join(f"{self._name}: {line}" for line in text.splitlines()))

    def stage(self, stage: str, state: str, detail: str = "") -> None:
        """Write the new state of a stage."""
        self._display.stage(f"{self._name}: {stage}", state, detail)

    def progress(self, stage: str, progress: Progress) -> None:
        """Write the progress of a stage, at times."""
        self._display.progress(f"{self._name}: {stage}", progress)

    def stop(self) -> None:
        """Wait until the lines are written."""
        self._display.stop()


def display_for(stream: IO[str] | None = None, interval: float = 10.0) -> Display:
    """Return the display for a stream (default: standard output): live in a terminal, else plain lines."""
    target = stream if stream is not None else sys.stdout
    if target.isatty():
        from recipec.engine.live_display import LiveDisplay

        return LiveDisplay(target)
    return PlainDisplay(target, interval)
