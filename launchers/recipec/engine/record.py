"""The record of a run: an append-only file of JSON lines, each on disk before the run continues."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recipec.json_files import read_lines
from recipec.plan import Stage


def now() -> str:
    """Return the current time in UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class RunFolder(NamedTuple):
    """The folder of one run, and the files in it."""

    path: Path

    @property
    def record(self) -> Path:
        """What happened, as JSON lines."""
        return self.path / "record.jsonl"

    @property
    def lock(self) -> Path:
        """The lock that lets only one process run at a time."""
        return self.path / "lock"

    @property
    def hashes(self) -> Path:
        """Cached hashes of data files."""
        return self.path / ".hashes.json"

    @property
    def environments(self) -> Path:
        """Links to the environments that the run uses."""
        return self.path / ".environments"

    @property
    def plan(self) -> Path:
        """A copy of the plan, from when the run last started."""
        return self.path / "plan.json"

    @property
    def recipe(self) -> Path:
        """A copy of the recipe, from when the run last started."""
        return self.path / "recipe.yaml"

    def log(self, stage: str) -> Path:
        """The full output of a stage, over all attempts."""
        return self.path / "logs" / f"{stage}.log"

    def key(self, stage: str) -> Path:
        """What a stage's result depends on, by name, from when it last started."""
        return self.path / ".keys" / f"{stage}.json"

    def stop(self, stage: str) -> Path:
        """The file whose presence asks a training to save and stop."""
        return self.path / "events" / f".{stage}.stop"

    def events(self, stage: str) -> Path:
        """The trainer's events, over all attempts."""
        return self.path / "events" / f"{stage}.jsonl"


class Record:
    """Writes and reads the record of a run; stages that run at once write it in turn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()

    def add(self, event: str, **more: Any) -> None:
        """Append a line and wait until it is on disk. A line that a killed process left unfinished is ended first."""
        line = json.dumps({"event": event, "time": now(), **more}, ensure_ascii=False) + "\n"
        with self._turn, self.path.open("ab+") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                if stream.read(1) != b"\n":
                    line = "\n" + line
            stream.write(line.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())

    def read(self) -> list[dict[str, Any]]:
        """Return all complete lines in order; none when there is no record."""
        return read_lines(self.path)


class Layout(NamedTuple):
    """How the state of a training is spread over its processes: this decides who can load its checkpoints."""

    strategy: str
    world: int

    @classmethod
    def of(cls, stage: Stage[Any]) -> Layout | None:
        """Return the layout of a training; None for other kinds of stages."""
        if stage.kind != "train":
            return None
        return cls(stage.body.parallel.strategy, stage.body.hardware.world)

    @classmethod
    def read(cls, said: Any) -> Layout | None:
        """Return what a record says of it; None where it says nothing."""
        match said:
            case [str(strategy), int(world)]:
                return cls(strategy, world)
            case _:
                return None


class StageHistory(NamedTuple):
    """What the record says about one stage.

    `layout` is that of its last start; `despite` are the changes under which it went on from its checkpoints.
    """

    attempts: int
    state: str | None  # started, finished, failed or interrupted; None when it has not run
    fingerprint: str | None  # at the last start; None after its output was moved aside
    finished_at: int  # index of the line that says it finished, -1 without one
    last: Mapping[str, Any]  # line of the last start or end
    started_at: int = -1  # index of the line that says it started, -1 without one
    layout: Layout | None = None
    despite: tuple[str, ...] = ()


def history_of(lines: list[dict[str, Any]], stage: str) -> StageHistory:
    """Return the history of a stage, from the lines of a record."""
    history = StageHistory(0, None, None, -1, {})
    for place, row in enumerate(lines):
        if row.get("stage") != stage:
            continue
        match row.get("event"):
            case "stage-started":
                despite = history.despite if row.get("resumed_from") else ()
                fingerprint, layout = row.get("fingerprint"), Layout.read(row.get("layout"))
                history = StageHistory(history.attempts + 1, "started", fingerprint, -1, row, place, layout, despite)
            case "stage-resumed-anyway":
                history = history._replace(despite=(*history.despite, *row.get("changes", ())))
            case "stage-finished":
                history = history._replace(state="finished", finished_at=place, last=row)
            case "stage-taken":  # from another variant of a sweep, where it was made from the same
                history = StageHistory(history.attempts, "finished", row.get("fingerprint"), place, row, place)
            case "stage-failed" | "stage-interrupted" as event:
                history = history._replace(state=str(event).removeprefix("stage-"), last=row)
            case "stage-set-aside":
                history = history._replace(state=None, fingerprint=None, finished_at=-1, layout=None, despite=())
            case _:  # such as "stage-skipped", which changes nothing
                pass
    return history
