"""How far a stage is, and how a person sees it: as plain lines, and live in a terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from recipec.engine.display import PlainDisplay, display_for
from recipec.engine.live_display import LiveDisplay
from recipec.engine.progress import (
    WINDOW,
    Progress,
    ProgressReader,
    Throttle,
    clean_lines,
    clock,
    is_progress_bar,
    last_progress_bar,
)


class Stage:
    """A stage that writes events and a log, and the reader of its progress."""

    def __init__(self, folder: Path) -> None:
        self.events, self.log = folder / "events", folder / "log"
        self.log.write_text("==== attempt 1\n")
        self.events.write_text('{"event": "log", "time": 1, "step": 99, "total": 99, "loss": 1}\n')
        self.reader = ProgressReader(self.events, self.log)

    def says(self, *rows: object) -> Progress:
        with self.events.open("a") as stream:
            stream.writelines(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
        return self.reader.read()

    def prints(self, text: str) -> Progress:
        with self.log.open("a") as stream:
            stream.write(text)
        return self.reader.read()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def row(event: str, time: float, step: int, total: int = 100, **more: Any) -> dict[str, Any]:
    return {"event": event, "time": time, "step": step, "total": total, **more}


def test_what_was_there_before_does_not_count(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.log.write_text("old:  50%|##  | 5/10")
    stage = Stage(tmp_path)
    assert stage.reader.read() == Progress()
    assert (stage.reader.began, stage.reader.ended) == (False, False)
    assert stage.says(row("begin", 0, 0, 0)).total is None


def test_speed_is_that_of_the_last_while(stage: Stage) -> None:
    stage.says(row("begin", 0, 0))
    assert stage.says(row("step", 10, 10)).speed == 1.0
    assert stage.reader.progress.eta == 90.0
    assert stage.says(row("step", WINDOW, 20)).speed == 20 / WINDOW  # all since the beginning
    later = stage.says(row("step", WINDOW + 10, 60))
    assert (later.speed, later.eta) == (50 / WINDOW, 40 / (50 / WINDOW))  # all since the tenth step
    slow = stage.says(row("step", 1000, 61))
    assert slow.speed == 1 / (1000 - WINDOW - 10)  # two looks are needed, however old the first


def test_speed_is_unknown_where_nothing_moves(stage: Stage) -> None:
    for looked in (stage.says(row("begin", 5, 3)), stage.says(row("step", 5, 4)), stage.says(row("step", 4, 5))):
        assert (looked.speed, looked.eta) == (None, None)
    stage.says(row("begin", 10, 0))
    assert stage.says(row("step", 11, 0)).speed is None
    assert stage.says(row("step", 12, 2, total=-1))._replace(note="") == Progress(step=2, speed=1.0)


def test_a_second_training_of_a_stage_begins_anew(stage: Stage) -> None:
    stage.says(row("begin", 0, 0), row("step", 10, 10), row("end", 10, 10))
    assert (stage.reader.ended, stage.reader.progress.speed, stage.reader.progress.eta) == (True, None, None)
    assert stage.says(row("begin", 50, 0), row("step", 51, 5)).speed == 5.0
    assert (stage.reader.began, stage.reader.ended) == (True, False)


def test_losses_stay_until_there_are_new_ones(stage: Stage) -> None:
    stage.says(row("log", 1, 1, loss=2.5, lr=1e-3), row("eval", 2, 1, loss=3.5), row("eval", 3, 2, loss="nan"), row("save", 3, 2))  # fmt: skip
    found = stage.reader.progress
    assert (found.loss, found.lr, found.eval_loss, found.step) == (2.5, 1e-3, 3.5, 2)
    found = stage.says(row("log", 4, 3, loss="nan"))
    assert (found.loss, found.lr, found.eval_loss) == (None, None, 3.5)


def test_tokens_are_those_that_the_trainer_counts(stage: Stage) -> None:
    stage.says(row("begin", 0, 0))
    first = row("log", 10, 1, loss=1, values={"num_tokens": 500}, positions=8000)
    assert stage.says(first).tokens_per_second is None  # of one count nothing is known
    assert stage.says(row("log", 20, 2, loss=1, values={"num_tokens": 1500}, positions=16000)).tokens_per_second == 100
    stage.says(row("log", 70, 3, loss=1, values={"num_tokens": 11500}))
    assert stage.reader.progress.tokens_per_second == 200  # of the last while
    summary = {"per_second": round(11000 / 60, 1), "counts": "tokens without padding, of all processes, as the trainer logs them"}  # fmt: skip
    assert stage.reader.usage() == {"memory": {}, "tokens": summary}


def test_positions_stand_for_tokens_that_nobody_counts(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.reader = ProgressReader(stage.events, stage.log, copies=4)
    stage.says(row("log", 0, 1, loss=1, positions=0), row("log", 10, 2, loss=1, positions=100))
    stage.says(row("log", 20, 3, loss=1, positions=200))
    assert stage.reader.progress.tokens_per_second == 40.0
    usage = stage.reader.usage()["tokens"]
    assert usage == {"per_second": 40.0, "counts": "positions of the batches, padding included, of all processes"}
    stage.says(row("begin", 30, 3), row("log", 40, 4, loss=1, positions=50))
    assert stage.reader.usage()["tokens"] is None  # a new attempt counts anew


def test_memory_is_the_most_that_there_was(stage: Stage) -> None:
    for at, (resident, allocated) in enumerate([(100, 7), (300, 9), (200, 8)]):
        stage.says(row("log", at, at, loss=1, memory={"resident": resident, "allocated": allocated, "other": 1}))
    assert stage.reader.usage() == {"memory": {"resident": 300, "allocated": 9}, "tokens": None}
    assert Progress(resident=5 << 30).text() == "5.0 GiB at most"
    assert Progress(resident=5 << 30, reserved=7 << 20).text() == "7 MiB at most"


def test_lines_that_are_no_events_are_passed_over(stage: Stage) -> None:
    wrong = ["", "{", "[]", "3", {"event": "step"}, row("step", 1, 1) | {"total": None}, row("step", 1, 1) | {"step": "x"}]  # fmt: skip
    assert stage.says(*wrong) == Progress()
    assert stage.says(row("step", 2, 5)).step == 5


def test_the_note_is_what_the_log_counts_now(stage: Stage) -> None:
    assert stage.prints("Map:  10%|#  | 1/10 [00:01]\rMap:  20%|##  | 2/10 [00:01]").note == "Map: 20% (2/10)"
    assert stage.prints("\nwarning: x\n").note == "Map: 20% (2/10)"
    assert stage.prints("Run:   5%|  | 1/20\n").note == "Run: 5% (1/20)"
    assert stage.says(row("begin", 0, 0)).note == ""  # its steps say more
    assert stage.says(row("end", 9, 9)).note == "Run: 5% (1/20)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Loading:  50%|##  | 1/2", "Loading: 50% (1/2)"),
        ("Loading  50%|##  | 1/2", "Loading: 50% (1/2)"),
        ("a: b:  50%|##  | 1/2", "a: b: 50% (1/2)"),
        ("Loading: 100%|####| 2/2", ""),
        ("  50%|##  | 1/2", ""),
        ("Old: 10%|#  | 1/10\nNew: 50%|##  | 1/2\nother\n", "New: 50% (1/2)"),
        ("Old: 10%|#  | 1/10\n100%|####| 2/2\n", ""),
        ("half done", ""),
        ("", ""),
    ],
)
def test_the_last_bar(tmp_path: Path, text: str, shown: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"Before: 10%|#  | 1/10\n{text}")
    assert last_progress_bar(log, len("Before: 10%|#  | 1/10\n")) == shown
    assert is_progress_bar(text.split("\n")[0]) == ("%|" in text)


def test_lines_are_as_a_terminal_leaves_them() -> None:
    text = "\x1b[31mred\x1b[0m  \n\n  \n1%\r2%\r\nlast\x1b[?25l\nover\rwritten"
    assert clean_lines(text) == ["red", "2%", "last", "written"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_progress_as_one_line() -> None:
    assert Progress().text() == ""
    assert Progress(step=0).text() == "step 0"
    assert Progress(step=3, total=9, loss=0.0, eval_loss=1.23456, lr=1.0, speed=0.0, eta=0.0, note="n").text() == (
        "step 3/9, loss 0, eval loss 1.235, lr 1, 0 s left, n"
    )
    assert Progress(speed=12.3456).text() == "12.3 steps/s"


class Clock:
    """A clock that only goes where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


def test_a_throttle_is_due_at_once_and_then_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    time, throttle = Clock(monkeypatch), Throttle(5.0)
    due = []
    for time.now in (1000.0, 1000.0, 1004.9, 1005.0, 1009.0, 1011.0, 1015.0, 1016.0):
        due.append(throttle.due())
    assert due == [True, False, False, True, False, True, False, True]


def test_plain_lines_say_each_change_and_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    time, stream = Clock(monkeypatch), io.StringIO()
    ui = display_for(stream, interval=10.0)
    assert isinstance(ui, PlainDisplay)
    ui.start("demo", ["a", "b"])
    ui.stage("a", "waiting")
    ui.stage("a", "running", "axolotl")
    for time.now, step in ((1001.0, 1), (1009.9, 2), (1010.0, 3), (1021.0, 3), (1022.0, 4), (1040.0, None)):
        ui.progress("a", Progress(step=step))
    ui.stage("a", "complete")
    ui.stage("b", "running")
    ui.progress("b", Progress(step=9))
    ui.stop()
    assert stream.getvalue().splitlines() == [
        "demo: a, b",
        "a: running (axolotl)",
        "a: step 3",
        "a: step 4",
        "a: complete",
        "b: running",
    ]


def test_each_line_is_there_at_once() -> None:
    class Buffered(io.StringIO):
        """A stream that shows only what was flushed."""

        shown = ""

        def flush(self) -> None:
            self.shown = self.getvalue()

    stream = Buffered()
    PlainDisplay(stream).say("now")
    assert stream.shown == "now\n"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def screen(ui: LiveDisplay) -> list[str]:
    """Return the lines that a live display has at this moment."""
    console = Console(width=80, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(ui._live.get_renderable())
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> tuple[LiveDisplay, Terminal]:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    ui = display_for(stream)
    assert isinstance(ui, LiveDisplay)
    return ui, stream


def test_the_display_lists_all_stages_with_their_states(live: tuple[LiveDisplay, Terminal]) -> None:
    ui, stream = live
    states = {"a": "complete", "b": "skipped", "c": "failed", "d": "interrupted", "f": "odd"}
    ui.start("demo", [*states, "g"])
    for stage, state in states.items():
        ui.stage(stage, state, f"by {state}")
    ui.say("a line that stays")
    assert screen(ui) == [
        "✓  a complete  by complete",
        "✓  b skipped  by skipped",
        "✗  c failed  by failed",
        "■  d interrupted  by interrupted",
        "?  f odd  by odd",
        "·  g waiting",
    ]
    ui.stop()
    ui.stop()
    assert stream.getvalue().index("demo") < stream.getvalue().index("a line that stays")
    assert "✗" in stream.getvalue().rpartition("a line that stays")[2]  # the last state is left


def test_a_stage_that_runs_shows_its_bar_its_numbers_and_its_time(
    live: tuple[LiveDisplay, Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    ui, _ = live
    ui.start("demo", ["a"])
    ui.stop()
    time = Clock(monkeypatch)
    ui.stage("a", "running", "axolotl")
    time.now += 65
    assert screen(ui)[0].split()[-3:] == ["a", "axolotl", "1:05"]
    ui.progress("a", Progress(note="Map: 20% (2/10)"))
    assert "Map: 20% (2/10)  1:05" in screen(ui)[0]
    ui.progress("a", Progress(step=25, total=100, loss=1.5, speed=2.0, eta=37.5))
    bar, numbers, pace = screen(ui)
    assert bar.partition("a ")[2] == "━━━━━━" + " " * 20 + "25/100  38 s left  1:05"  # a quarter of 24, two between
    assert (numbers.strip(), pace.strip()) == ("loss 1.5", "2 steps/s")
    ui.progress("a", Progress(step=25, total=100))
    assert screen(ui)[0].split()[-2:] == ["25/100", "1:05"]
    ui.progress("a", Progress(step=25))
    assert screen(ui)[0].split()[-3:] == ["step", "25", "1:05"]
    ui.stage("a", "complete", "2:00")
    assert screen(ui) == ["✓  a complete  2:00"]
