"""What happened to a run: an append-only file of JSON lines, each on disk before the run goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recipec.json_files import read_lines


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class RunFolder(NamedTuple):
    """Where everything about one run lies."""

    path: Path

    @property
    def record(self) -> Path:
        """The record."""
        return self.path / "record.jsonl"

    @property
    def lock(self) -> Path:
        """The lock that one run at a time holds."""
        return self.path / "lock"

    @property
    def hashes(self) -> Path:
        """Hashes of data that did not change."""
        return self.path / ".hashes.json"

    @property
    def environments(self) -> Path:
        """Links to the environments of the run."""
        return self.path / ".environments"

    @property
    def plan(self) -> Path:
        """The plan as it was when the run last started."""
        return self.path / "plan.json"

    @property
    def recipe(self) -> Path:
        """The recipe as it was when the run last started."""
        return self.path / "recipe.yaml"

    def log(self, stage: str) -> Path:
        """The full output of a stage, all attempts."""
        return self.path / "logs" / f"{stage}.log"

    def events(self, stage: str) -> Path:
        """What the trainer said of its steps, all attempts."""
        return self.path / "events" / f"{stage}.jsonl"


class Record:
    """Writes and reads the record of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, event: str, **more: Any) -> None:
        """Append a line and wait until the disk has it. A torn line of a killed writer is closed first."""
        line = json.dumps({"event": event, "time": now(), **more}, ensure_ascii=False) + "\n"
        with self.path.open("ab+") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                if stream.read(1) != b"\n":
                    line = "\n" + line
            stream.write(line.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())

    def read(self) -> list[dict[str, Any]]:
        """Return all lines that are whole, in order; none when there is no record."""
        return read_lines(self.path)


class Past(NamedTuple):
    """What the record says of one stage."""

    attempts: int
    state: str | None  # started, finished, failed, interrupted; None when it never ran
    fingerprint: str | None  # of the last start whose output still stands
    finished_at: int  # place of the last finish in the record, -1 without one
    last: Mapping[str, Any]


def past_of(lines: list[dict[str, Any]], stage: str) -> Past:
    """Return what became of a stage so far."""
    past = Past(0, None, None, -1, {})
    for place, row in enumerate(lines):
        if row.get("stage") != stage:
            continue
        match row.get("event"):
            case "stage-started":
                past = Past(past.attempts + 1, "started", row.get("fingerprint"), -1, row)
            case "stage-finished":
                past = past._replace(state="finished", finished_at=place, last=row)
            case "stage-failed" | "stage-interrupted" as event:
                past = past._replace(state=str(event).removeprefix("stage-"), last=row)
            case "stage-set-aside":
                past = past._replace(state=None, fingerprint=None, finished_at=-1)
            case _:  # such as "stage-skipped", which changes nothing
                pass
    return past
