"""What a record says of a run, also where it was torn, and what is told of it from outside."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from fake_build import compiled

from recipec import manifest
from recipec.diagnostics import RecipeError
from recipec.engine import logs, status, status_text
from recipec.engine.record import Record, RunFolder, StageHistory, history_of
from recipec.engine.status import GONE, RunStatus, StageStatus
from recipec.json_files import read_lines
from recipec.processes import start_of

ME = {"pid": os.getpid(), "pid_started": start_of(os.getpid())}
DEAD = {"pid": 2**22 + 1, "pid_started": "never"}


class Run:
    """A run's folder with three stages, its record written event by event."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder / "runs" / "demo")
        self.folder.path.mkdir(parents=True)
        whole = compiled()
        stages = tuple(
            whole.plan.stages[0].replaced(name=f"s{n}", output=f"out/{n}", resumable=n == 2, inputs=())
            for n in (1, 2, 3)
        )
        self.folder.plan.write_text(manifest.write(whole.replaced(plan=whole.plan.replaced(stages=stages))))
        self.record = Record(self.folder.record)

    def add(self, event: str, stage: int | None = None, **more: Any) -> None:
        self.record.add(event, **({} if stage is None else {"stage": f"s{stage}"}), **more)

    @property
    def now(self) -> RunStatus:
        return status(self.folder.path)

    def states(self) -> list[str]:
        return [self.now["state"], *(row["state"] for row in self.now["stages"])]

    def stage(self, number: int) -> StageStatus:
        found = self.now["stages"][number - 1]
        assert found["stage"] == f"s{number}"
        return found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path)


def test_states_from_the_start_to_the_end(run: Run) -> None:
    assert run.states() == ["waiting", "waiting", "waiting", "waiting"]
    run.add("run-started", **ME)
    assert run.states() == ["running", "waiting", "waiting", "waiting"]
    run.add("stage-started", 1, **ME)
    assert run.states() == ["running", "running", "waiting", "waiting"]
    run.add("stage-finished", 1)
    run.add("stage-started", 2, **ME)
    run.add("stage-failed", 2)
    run.add("run-failed")
    assert run.states() == ["failed", "complete", "failed", "waiting"]
    run.add("run-started", **ME)
    assert run.states() == ["running", "complete", "failed", "waiting"]
    run.add("stage-started", 2, **ME)
    run.add("stage-interrupted", 2)
    run.add("run-interrupted")
    assert run.states() == ["interrupted", "complete", "interrupted", "waiting"]
    run.add("run-started", **ME)
    run.add("stage-set-aside", 2)
    assert run.states() == ["running", "complete", "waiting", "waiting"]
    run.add("run-finished")
    assert run.states()[0] == "complete"


def test_what_was_killed_is_gone(run: Run) -> None:
    run.add("run-started", **DEAD)
    run.add("stage-started", 1, **DEAD)
    assert run.states() == [GONE, GONE, "waiting", "waiting"]
    assert run.now["pid"] is None
    run.add("run-started", pid=os.getpid(), pid_started="another process of that number")
    assert run.states()[0] == GONE


def test_a_stage_that_outlives_its_engine_still_runs(run: Run) -> None:
    run.add("run-started", **DEAD)
    run.add("stage-started", 1, pid=os.getpgid(0), pid_started=start_of(os.getpgid(0)) or start_of(os.getpid()))
    assert run.states()[:2] == [GONE, "running"]


def test_a_run_is_told_with_its_times_and_process(run: Run) -> None:
    found = run.now
    assert (found["name"], found["folder"]) == ("demo", str(run.folder.path))
    assert (found["started"], found["ended"], found["pid"]) == (None, None, None)
    run.add("run-started", **ME)
    assert (run.now["pid"], run.now["ended"]) == (os.getpid(), None)
    started, _ = (row["time"] for row in [*run.record.read(), {"time": None}])
    assert run.now["started"] == started
    assert time.strptime(started, "%Y-%m-%dT%H:%M:%SZ")
    run.folder.record.write_text(run.folder.record.read_text().replace(started, "2020-01-01T00:00:00Z"))
    run.add("run-finished")
    assert (run.now["started"], run.now["pid"]) == ("2020-01-01T00:00:00Z", None)
    assert run.now["ended"] == run.record.read()[-1]["time"]


def test_a_stage_is_told_as_it_ended(run: Run) -> None:
    run.add("stage-started", 1, **ME)
    run.add("stage-started", 1, **ME)
    about = {"seconds": 61.5, "exit_code": 3, "step": 4, "total": 9, "reason": "exit code 3"}
    run.add("stage-failed", 1, **about)
    assert run.stage(1) == {"stage": "s1", "state": "failed", "attempts": 2, "checkpoint": None, "log": None, **about}
    nothing = dict.fromkeys(about)
    assert run.stage(3) == {
        "stage": "s3",
        "state": "waiting",
        "attempts": 0,
        "checkpoint": None,
        "log": None,
        **nothing,
    }
    run.folder.log("s1").parent.mkdir()
    run.folder.log("s1").touch()
    assert run.stage(1)["log"] == str(run.folder.log("s1"))


def test_a_stage_that_runs_is_told_by_its_events(run: Run) -> None:
    run.add("run-started", **ME)
    run.add("stage-started", 1, **ME)
    assert "loss" not in run.stage(1)
    rows = [{"event": "begin", "time": 1, "step": 0, "total": 9}, {"event": "log", "time": 2, "step": 1, "total": 9, "loss": 2.5}]  # fmt: skip
    run.folder.events("s1").parent.mkdir()
    run.folder.events("s1").write_text("".join(json.dumps(row) + "\n" for row in rows[:1]))
    assert [run.stage(1)[word] for word in ("step", "total", "loss")] == [0, 9, None]
    rows += [{"event": "log", "time": 3, "step": 2, "total": 9, "loss": 1.5}, {"event": "eval", "time": 4, "step": 3, "total": 8, "loss": 7}, {"event": "no step"}]  # fmt: skip
    run.folder.events("s1").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"event": "lo')
    assert [run.stage(1)[word] for word in ("step", "total", "loss")] == [3, 8, 1.5]
    with run.folder.events("s1").open("a") as stream:
        stream.write("\n" + json.dumps({"event": "log", "time": 5, "step": 4, "total": 8, "loss": "nan"}) + "\n")
    assert run.stage(1)["loss"] == "nan"


def test_a_stage_that_runs_is_told_with_all_that_its_trainer_says(run: Run) -> None:
    run.add("run-started", **ME)
    run.add("stage-started", 1, **ME)
    memory = {"resident": 3 << 30, "allocated": 5 << 30, "reserved": 6 << 30}
    rows = [{"event": "begin", "time": 10, "step": 0, "total": 100}]
    rows += [
        {"event": "log", "time": 10 + at, "step": at, "total": 100, "loss": 2.0, "lr": 1e-4, "memory": memory}
        | {"values": {"grad_norm": 0.5, "num_tokens": 1000 * at}}
        for at in (10, 20)
    ]
    run.folder.events("s1").parent.mkdir()
    run.folder.events("s1").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run.stage(1)["now"] == {
        "step": 20, "total": 100, "loss": 2.0, "lr": 1e-4, "grad_norm": 0.5, "speed": 1.0, "eta": 80.0,
        "tokens_per_second": 1000.0, **memory,
    }  # fmt: skip
    assert "step 20/100, loss 2, lr 0.0001, grad norm 0.5, 1 steps/s, 1,000 tokens/s, 6.0 GiB at most, 1:20 left" in (
        status_text(run.now)
    )
    readers: dict[str, Any] = {}
    status(run.folder.path, readers)
    with run.folder.events("s1").open("a") as stream:
        stream.write(json.dumps({"event": "step", "time": 40, "step": 30, "total": 100}) + "\n")
    assert status(run.folder.path, readers)["stages"][0]["step"] == 30


def test_what_a_training_used_is_told_when_it_has_ended(run: Run) -> None:
    usage = {"memory": {"resident": 3 << 30, "allocated": 5 << 30, "reserved": 6 << 30}, "tokens": {"per_second": 1234.5, "counts": "x"}}  # fmt: skip
    run.add("stage-started", 1, **ME)
    run.add("stage-finished", 1, seconds=60.0, usage=usage)
    assert run.stage(1)["usage"] == usage
    assert "complete, 1:00, 1,234 tokens/s, 6.0 GiB of GPU memory, 3.0 GiB of memory" in status_text(run.now)
    run.add("stage-finished", 1, seconds=60.0, usage={"memory": {"resident": 5 << 20}, "tokens": None})
    assert "complete, 1:00, 5 MiB of memory" in status_text(run.now)


def test_only_what_can_resume_has_a_checkpoint(run: Run) -> None:
    for number in (1, 2):
        folder = Path(f"out/{number}/checkpoint-5")
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text('{"global_step": 5}')
    assert [run.stage(number)["checkpoint"] for number in (1, 2, 3)] == [None, "out/2/checkpoint-5", None]


def test_a_status_for_people() -> None:
    nothing = dict.fromkeys(("step", "total", "seconds", "reason", "checkpoint"))
    rows = [
        nothing | {"stage": "a", "state": "complete", "step": 9, "total": 9, "seconds": 61.0, "checkpoint": "c"},
        nothing | {"stage": "long", "state": "failed", "step": 0, "total": 9, "seconds": 0.0, "reason": "exit code 1"},
        nothing | {"stage": "b", "state": "running", "step": 1, "total": 9, "checkpoint": "c"},
        nothing | {"stage": "c", "state": "interrupted", "checkpoint": "out/checkpoint-5"},
        nothing | {"stage": "d", "state": "waiting"},
    ]
    told = status_text({"name": "demo", "state": "running", "pid": 7, "started": "now", "stages": rows})
    assert told.splitlines() == [
        "demo: running (process 7), started now",
        "  a     complete, 1:01",
        "  long  failed, step 0/9, 0 s, exit code 1",
        "  b     running, step 1/9",
        "  c     interrupted, resumes from out/checkpoint-5",
        "  d     waiting",
    ]
    assert status_text({"name": "x", "state": "waiting", "pid": None, "started": None, "stages": []}) == "x: waiting"


@pytest.mark.parametrize(
    ("plan", "code", "message", "advice"),
    [
        (None, "E020", 'there is no run "demo"', "start it with `recipe run`"),
        ("{", "E002", "the plan is not valid: ", "run the recipe again"),
    ],
)
def test_where_there_is_no_run_there_is_no_status(
    run: Run, plan: str | None, code: str, message: str, advice: str
) -> None:
    run.folder.plan.unlink()
    if plan is not None:
        run.folder.plan.write_text(plan)
    for look in (lambda: status(run.folder.path), lambda: logs(run.folder.path)):
        with pytest.raises(RecipeError) as caught:
            look()
        (finding,) = caught.value.findings
        assert (finding.code, finding.message[: len(message)], finding.help) == (code, message, advice)
        assert finding.file == str(run.folder.plan if plan else run.folder.path)


def write_log(run: Run, stage: int, text: bytes) -> None:
    run.folder.log("x").parent.mkdir(exist_ok=True)
    with run.folder.log(f"s{stage}").open("ab") as stream:
        stream.write(text)


def test_logs_come_stage_by_stage_or_of_one(run: Run) -> None:
    write_log(run, 2, b"two\n")
    write_log(run, 1, b"one \xff\n")
    assert "".join(logs(run.folder.path)) == "one \ufffd\ntwo\n"
    assert "".join(logs(run.folder.path, "s2")) == "two\n"
    assert list(logs(run.folder.path, "s3")) == []
    write_log(run, 2, b"x" * 200_000)
    assert "".join(logs(run.folder.path, "s2")) == "two\n" + "x" * 200_000
    with pytest.raises(RecipeError) as caught:
        logs(run.folder.path, "s22")
    (finding,) = caught.value.findings
    assert (finding.code, finding.suggestion, finding.file) == ("E021", "s2", str(run.folder.path))
    assert finding.message == 'there is no stage "s22"; there are s1, s2, s3'


def test_logs_are_followed_until_the_run_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.add("run-started", **ME)
    write_log(run, 1, b"one\n")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert len(pauses) < 4, "it never ended"
        write_log(run, len(pauses), b"more\n")
        if len(pauses) == 2:
            run.add("run-finished")

    monkeypatch.setattr(time, "sleep", pause)
    found: Iterator[str] = logs(run.folder.path, follow=True)
    assert list(islice(found, 3)) == ["one\n", "more\n", "more\n"]
    assert list(found) == []
    assert (len(pauses), max(pauses) < 2) == (2, True)
    assert list(logs(run.folder.path)) == ["one\nmore\n", "more\n"]
    assert len(pauses) == 2  # what has ended is not waited for


def test_a_record_outlives_a_torn_line(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    assert record.read() == []
    record.add("first", name="é")
    with record.path.open("a") as stream:
        stream.write('{"event": "to')
    record.add("second")
    record.add("third")
    assert [row["event"] for row in record.read()] == ["first", "second", "third"]
    assert len(record.path.read_text().splitlines()) == 4
    assert "é" in record.path.read_text(encoding="utf-8")
    record.path.write_text('[1]\n{"a": 1}\n\n3\n{"b": \n')
    assert read_lines(record.path) == [{"a": 1}]


def test_each_event_is_on_the_disk_before_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    record = Record(tmp_path / "record.jsonl")
    for count in (1, 2):
        record.add("event")
        assert synced[count - 1 :] == [record.path.stat().st_size]


def test_what_became_of_a_stage() -> None:
    lines: list[dict[str, Any]] = [
        {"event": "run-started"},
        {"event": "stage-started", "stage": "b", "fingerprint": "b"},
    ]

    def then(event: str, **more: Any) -> StageHistory:
        lines.append({"event": event, "stage": "a", **more})
        return history_of(lines, "a")

    assert history_of(lines, "a") == StageHistory(0, None, None, -1, {})
    assert then("stage-started", fingerprint="f") == StageHistory(1, "started", "f", -1, lines[-1], 2)
    assert then("checkpoint-set-aside") == StageHistory(1, "started", "f", -1, lines[-2], 2)
    assert then("stage-failed") == StageHistory(1, "failed", "f", -1, lines[-1], 2)
    assert then("stage-started", fingerprint="g") == StageHistory(2, "started", "g", -1, lines[-1], 5)
    assert then("stage-finished") == StageHistory(2, "finished", "g", 6, lines[-1], 5)
    assert then("stage-skipped") == StageHistory(2, "finished", "g", 6, lines[-2], 5)
    last = lines[-2]
    assert then("stage-set-aside") == StageHistory(2, None, None, -1, last, 5)
    assert then("stage-started", fingerprint="g").state == "started"
    assert then("stage-interrupted") == StageHistory(3, "interrupted", "g", -1, lines[-1], 9)
