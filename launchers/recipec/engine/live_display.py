"""The live display of a run in a terminal. No other module of the engine imports rich."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import IO, NamedTuple, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from recipec.engine.patient_stream import PatientStream
from recipec.engine.progress import Progress, clock
from recipec.terminal import shown

_MARKS = {
    "waiting": ("·", "dim"),
    "complete": ("✓", "green"),
    "skipped": ("✓", "dim green"),
    "failed": ("✗", "bold red"),
    "interrupted": ("■", "yellow"),
}


class _Row(NamedTuple):
    state: str = "waiting"
    detail: str = ""
    since: float = 0.0
    progress: Progress = Progress()


class LiveDisplay:
    """A list of stages; one that runs has a progress bar with step, loss, speed and time left."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = PatientStream(stream)
        self._console = Console(file=cast("IO[str]", self._stream), highlight=False)
        self._rows: dict[str, _Row] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=5, transient=False)
        self._started = False

    def start(self, name: str, stages: Sequence[str]) -> None:
        """Show the stages, all waiting."""
        self._rows = {stage: _Row() for stage in stages}
        self._console.print(Text(name, style="bold"))
        self._live.start()
        self._started = True

    def say(self, text: str) -> None:
        """Print lines above the display."""
        self._console.print(Text(shown(text)), soft_wrap=True)

    def stage(self, stage: str, state: str, detail: str = "") -> None:
        """Show the new state of a stage."""
        before = self._rows.get(stage, _Row())
        since = time.monotonic() if state == "running" else before.since
        self._rows[stage] = before._replace(state=state, detail=shown(detail), since=since)

    def progress(self, stage: str, progress: Progress) -> None:
        """Show the progress of a stage at the next refresh."""
        self._rows[stage] = self._rows.get(stage, _Row())._replace(progress=progress)

    def stop(self) -> None:
        """Stop refreshing; the last state stays on the screen."""
        if self._started:
            self._live.stop()
            self._started = False
        self._stream.drain()

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=2)
        table.add_column(no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True)
        for stage, row in self._rows.items():
            if row.state == "running":
                waited = clock(time.monotonic() - row.since)
                table.add_row(self._spinner, Text(stage, style="bold"), self._running(row, waited))
            else:
                mark, style = _MARKS.get(row.state, ("?", ""))
                table.add_row(Text(mark, style), Text(stage, style), Text(f"{row.state}  {row.detail}".strip(), "dim"))
        return Group(table)

    def _running(self, row: _Row, waited: str) -> Group:
        """Return lines of at most 80 columns: the progress bar, then how it learns and how fast."""
        line = Table.grid(padding=(0, 2))
        progress = row.progress
        if progress.step is not None and progress.total:
            left = f"{clock(progress.eta)} left" if progress.eta is not None else ""
            bar = ProgressBar(progress.total, progress.step, width=24)
            line.add_row(bar, Text(f"{progress.step}/{progress.total}"), Text(left), Text(waited, "dim"))
            more = (text for text in (progress.learning(), progress.pace(), progress.note) if text)
            return Group(line, *(Text(text, "dim", overflow="ellipsis", no_wrap=True) for text in more))
        note = Text(progress.text() or row.detail, "dim", overflow="ellipsis", no_wrap=True)
        line.add_row(note, Text(waited, "dim"))
        return Group(line)
