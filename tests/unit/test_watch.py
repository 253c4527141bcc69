"""`recipe status --watch`: a run is followed until it ends, as lines, as JSON, and in a terminal."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from fake_build import compiled

from recipec import manifest
from recipec.cli import main
from recipec.engine.record import Record, RunFolder
from recipec.processes import start_of
from recipec.run_command import Told
from recipec.watch import watch

ME = {"pid": os.getpid(), "pid_started": start_of(os.getpid())}


class Followed:
    """A run of which something new is recorded at each look."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = RunFolder(folder / "runs" / "demo")
        self.folder.path.mkdir(parents=True)
        self.folder.plan.write_text(manifest.write(compiled()))
        self.record = Record(self.folder.record)
        self.record.add("run-started", build="build/demo", **ME)
        self.events = self.folder.events("train")
        self.events.parent.mkdir()
        self.next: list[Any] = []
        self.now = 0.0
        monkeypatch.setattr("time.sleep", self.sleep)
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def sleep(self, _seconds: float) -> None:
        self.now += 6.0
        self.next.pop(0)()

    def step(self, number: int) -> None:
        row = {"event": "log", "time": number, "step": number, "total": 9, "loss": 9.5 - number}
        with self.events.open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def told(self) -> Told:
        return Told(self.folder, {}, None)


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Followed:
    monkeypatch.chdir(tmp_path)
    run = Followed(tmp_path, monkeypatch)
    add = run.record.add
    run.next = [
        lambda: add("stage-started", stage="train", **ME),
        lambda: run.step(1),
        lambda: run.step(2),  # less than ten seconds after the last line
        lambda: run.step(3),
        lambda: add("stage-finished", stage="train", seconds=65.0),
        lambda: add("run-finished", exit_code=0),
    ]
    return run


def test_without_a_terminal_what_changes_is_a_line(followed: Followed) -> None:
    stream = io.StringIO()
    watch(followed.told(), stream)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith(f"demo: running (process {os.getpid()})")
    assert [line.split()[0] for line in lines[1:5]] == ["init", "train", "evaluate-base", "evaluate-tuned"]
    assert [" ".join(line.split()) for line in lines[5:9]] == [
        "train running",
        "train running, step 1/9, loss 8.5",
        "train running, step 3/9, loss 6.5, 1 steps/s, 6 s left",
        "train complete, 1:05",
    ]
    assert lines[9].startswith("demo: complete")
    assert len(lines) == 10
    assert followed.next == []


def test_as_json_each_change_is_a_document(followed: Followed) -> None:
    stream = io.StringIO()
    watch(followed.told(), stream, as_json=True)
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["stages"][1]["step"] for one in found] == [None, None, 1, 2, 3, None, None]
    assert [one["state"] for one in found] == ["running"] * 6 + ["complete"]


def test_in_a_terminal_it_is_shown_in_place(followed: Followed) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    watch(followed.told(), stream)
    text = stream.getvalue()
    assert "\x1b[" in text  # the cursor goes back up
    assert "step 1/9, loss 8.5" in text
    assert "demo: complete" in text.rpartition("running")[2]


def test_a_run_that_has_ended_is_shown_once(followed: Followed, capsys: pytest.CaptureFixture[str]) -> None:
    followed.record.add("run-failed", exit_code=3)
    followed.next = []
    assert main(["status", "demo", "--watch"]) == 0
    assert capsys.readouterr().out.startswith("demo: failed")
