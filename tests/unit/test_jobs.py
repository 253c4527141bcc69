"""Stages that do not wait for one another run at once: what is started when, and with what; how such a run ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from at_once import ALL, BOTH, GATE, RECIPE, SAID, WAIT, finish, given, make, ran, rows, run_here, start, started_by
from fake_build import FOREVER, wait_for

from recipec.cli import main
from recipec.engine import runner, status, status_text
from recipec.engine.allotment import Allotment
from recipec.engine.machine import Machine, machine
from recipec.engine.status import GONE
from recipec.job import RAY_PORT, Job
from recipec.plan import Resources
from recipec.processes import group_members
from recipec.report.data import report_data
from recipec.systems.registry import system

TWO = Resources("gpu", "a100-80gb", 1, 2)
# Ends well when it is asked to: what has a loop of its own saves so.
SAVES = """
trap 'touch NAME.saved; exit 0' INT TERM
while :; do sleep 0.05; done
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of environments for all tests, so that the tiny one is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECIPEC_HOME", str(home))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def both_running() -> bool:
    return Path("left.began").exists() and Path("right.began").exists()


def test_without_jobs_one_stage_runs_after_the_other_and_sees_all() -> None:
    make(dict.fromkeys(("init", "left", "right", "end"), 'test -z "$(ls *.began | grep -v NAME)"; rm NAME.began'))
    code, said = run_here(1)
    assert code == 0, said
    assert ran("stage-started") == ran("stage-finished") == ["init", "left", "right", "end"]
    assert given("left") == ["all", "none\n"]
    assert not {"gpus", "port"} & rows("stage-started")[0].keys()


def test_stages_that_do_not_wait_for_one_another_run_at_once() -> None:
    make({"left": BOTH, "right": BOTH + "; until [ -e end.ended ]; do sleep 0.02; done"})
    code, said = run_here(2)
    assert code == 0, said
    assert ran("stage-started") in (["init", "left", "right", "end"], ["init", "right", "left", "end"])
    assert ran("stage-finished")[:2] == ["init", "left"]
    told = [(row["event"], row.get("stage")) for row in rows()]
    assert told.index(("stage-started", "end")) < told.index(("stage-finished", "right"))  # it waits for `left` alone
    assert rows()[-1]["event"] == "run-finished"
    assert [row["state"] for row in status(Path("runs/demo"))["stages"]] == ["complete"] * 4
    code, said = run_here(2)
    assert (code, said.count("complete and unchanged")) == (0, 4)


def test_no_more_than_were_asked_for_run_at_once() -> None:
    count = "set -- *.busy; echo $# >> busy"  # a name that was there and is gone is no error, as it is for ls
    counted = f"touch NAME.busy; {count}; sleep 0.3; {count}; rm NAME.busy"
    make(dict.fromkeys(["left", "right", "end", "evaluate-left"], counted), recipe=RECIPE + GATE)
    code, said = run_here(2)
    assert code == 0, said
    assert max(map(int, Path("busy").read_text().split())) == 2


def test_each_has_gpus_of_its_own_and_cpu_stages_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5,GPU-3,1")
    make({"left": BOTH, "right": BOTH}, {"left": TWO, "right": TWO, "end": TWO})
    code, said = run_here(3)
    assert code == 0, said
    assert {given("left")[0], given("right")[0]} == {"7,5", "GPU-3,1"}
    assert given("init")[0] == ""
    assert "left: running (openrlhf, GPUs 7, 5)" in said
    started = {row["stage"]: row for row in rows("stage-started")}
    assert (started["left"]["gpus"], started["init"]["gpus"]) == (["7", "5"], [])


def test_what_takes_all_gpus_waits_for_the_others() -> None:
    make(
        {"left": "sleep 0.3", "end": "test -e right.ended || test ! -e right.began"},
        {"left": TWO, "right": ALL, "end": TWO},
    )
    code, said = run_here(4)
    assert code == 0, said
    at = [(row["event"], row["stage"]) for row in rows() if row["event"] in ("stage-started", "stage-finished")]
    begin, end = at.index(("stage-started", "right")), at.index(("stage-finished", "right"))
    assert end == begin + 1
    assert given("right")[0] == "0,1,2,3"


def test_stages_of_several_processes_have_ports_of_their_own() -> None:
    make({"left": BOTH, "right": BOTH}, {"left": TWO, "right": TWO})
    assert run_here(2)[0] == 0
    ports = [int(given(stage)[1]) for stage in ("left", "right")]
    assert len(set(ports)) == 2
    assert all(port > 1023 for port in ports)
    assert {row["stage"]: row["port"] for row in rows("stage-started") if "port" in row} == dict(
        zip(["left", "right"], ports, strict=True)
    )
    assert given("init")[1] == "none\n"


def test_stages_of_several_processes_on_cpus_run_one_after_the_other() -> None:
    two = Resources("cpu", None, 1, 2)
    make({}, {"left": two, "right": two})
    assert run_here(2)[0] == 0
    events = [row["event"] for row in rows() if row.get("stage") in ("left", "right") and "stage-" in row["event"]]
    assert events == ["stage-started", "stage-finished"] * 2


def test_a_port_that_is_said_is_kept_where_one_stage_runs_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_PORT", "29876")
    make({}, {"left": Resources("cpu", None, 1, 2)})
    assert run_here(1)[0] == 0
    assert given("left")[1] == "29876\n"


def states() -> list[str]:
    return [row["state"] for row in status(Path("runs/demo"))["stages"]]


def test_a_failure_lets_the_others_end_and_starts_nothing_new() -> None:
    make(
        {
            "left": f"{BOTH}; until [ -e right.failed ]; do sleep 0.02; done; sleep 0.5",
            "right": f"{BOTH}; touch right.failed; exit 9",
        }
    )
    code, said = run_here(2)
    assert code == 3, said
    assert states() == ["complete", "complete", "failed", "waiting"]
    assert rows("stage-failed")[0]["reason"] == "exit code 9"
    assert rows()[-1] | {"time": ""} == {"event": "run-failed", "time": "", "exit_code": 3}
    assert said.splitlines()[-1].startswith("failed; fix the cause")
    make({"left": f"{BOTH}; until [ -e right.failed ]; do sleep 0.02; done; sleep 0.5", "right": "true"})
    code, said = run_here(2)  # what had ended is not run again
    assert code == 0, said
    assert ran("stage-started")[3:] in (["right", "end"], ["end", "right"])


def test_a_refusal_ends_the_course_when_the_others_have_ended() -> None:
    refused = "touch gate.refused; exit 4"
    slow = "until [ -e gate.refused ]; do sleep 0.02; done; sleep 0.5"
    make({"gate": refused, "right": slow, "end": slow}, recipe=RECIPE + GATE)
    code, said = run_here(3)
    assert code == 4, said
    assert {row["stage"]: row["state"] for row in status(Path("runs/demo"))["stages"]} == dict.fromkeys(
        ["init", "left", "right", "end", "evaluate-left"], "complete"
    ) | {"gate": "failed"}
    assert said.splitlines()[-1].startswith("ended: the scores are not what the recipe requires")


def test_a_failure_counts_for_more_than_a_refusal() -> None:
    make(
        {
            "gate": "touch gate.refused; exit 4",
            "right": "until [ -e gate.refused ]; do sleep 0.02; done; sleep 0.3; exit 1",
        },
        recipe=RECIPE + GATE,
    )
    assert run_here(3)[0] == 3


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
def test_a_signal_reaches_all_that_runs(number: signal.Signals, ends: int) -> None:
    make({"left": SAVES, "right": SAVES})
    process = start(2)
    wait_for(both_running)
    time.sleep(0.3)  # until their traps are set
    process.send_signal(number)
    code, said = finish(process)
    assert code == ends, said
    assert Path("left.saved").exists()
    assert Path("right.saved").exists()
    assert sorted(ran("stage-interrupted")) == ["left", "right"]
    assert {row["signal"] for row in rows("stage-interrupted")} == {number.name}
    assert rows()[-1]["event"] == "run-interrupted"
    assert states() == ["complete", "interrupted", "interrupted", "waiting"]
    make({"left": "true", "right": "true"})
    assert run_here(2)[0] == 0


def test_a_signal_that_is_faster_than_the_first_stage_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    signalled: list[int] = []

    def asked() -> Machine:
        if not signalled:
            signalled.append(os.getpid())
            os.kill(signalled[0], signal.SIGTERM)
        return machine()

    monkeypatch.setattr(runner, "machine", asked)
    code, said = run_here(2)
    assert code == 75, said
    assert ran("stage-started") == []
    assert rows()[-1]["event"] == "run-interrupted"


def test_a_second_signal_ends_all_that_is_deaf() -> None:
    deaf = f"trap '' INT; {FOREVER}"
    make({"left": deaf, "right": deaf})
    process = start(2)
    wait_for(both_running)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: SAID.read_text().count("interrupt sent to") == 2)
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 130, said
    for stage in ("left", "right"):
        assert f"interrupt sent to {stage}" in said
        assert f"termination sent to {stage}" in said


def test_a_failure_before_a_signal_says_how_the_run_ended() -> None:
    make({"left": SAVES, "right": f"{BOTH}; exit 9"})
    process = start(2)
    wait_for(lambda: bool(Path("runs/demo/record.jsonl").exists() and rows("stage-failed")))
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert code == 3, said
    assert states() == ["complete", "interrupted", "failed", "waiting"]


def test_one_that_stands_still_is_ended_and_the_other_goes_on() -> None:
    works = "for i in $(seq 40); do echo step $i; sleep 0.1; done"
    make({"left": FOREVER, "right": works})
    code, said = run_here(2, stall=1.5)
    assert code == 3, said
    assert rows("stage-failed")[0]["reason"] == "no progress for 1.5 s"
    assert states() == ["complete", "failed", "complete", "waiting"]


def test_after_a_kill_of_the_engine_nothing_of_either_is_left() -> None:
    """Its watchers end both; where these were killed too, the next run does."""
    make({"left": FOREVER, "right": FOREVER})
    process = start(2)
    wait_for(lambda: both_running() and len(rows("stage-started")) == 3)
    groups = [(row["pid"], row["pid_started"]) for row in rows("stage-started") if row["stage"] != "init"]
    watchers = started_by(process, "watcher.py")
    assert len(watchers) == 2
    for one in watchers:
        os.kill(one, signal.SIGSTOP)
    process.kill()
    finish(process)
    found = status(Path("runs/demo"))
    assert found["state"] == GONE
    make({"left": "true", "right": "true"})
    code, said = run_here(2)
    assert code == 0, said
    assert sorted(ran("leftovers-ended")) == ["left", "right"]
    assert not any(group_members(*group) for group in groups)
    for one in watchers:
        os.kill(one, signal.SIGKILL)


def test_status_and_report_tell_of_two_that_run() -> None:
    make({"left": f"{BOTH}; {WAIT}", "right": f"{BOTH}; {WAIT}"})
    process = start(2)
    wait_for(both_running)
    wait_for(lambda: len(ran("stage-started")) == 3)
    found = status(Path("runs/demo"))
    assert [row["state"] for row in found["stages"]] == ["complete", "running", "running", "waiting"]
    assert status_text(found).count("running") == 3  # the run, and two of its stages
    time.sleep(1.1)  # records count whole seconds
    for name in ("left.go", "right.go"):
        Path(name).touch()
    code, said = finish(process)
    assert code == 0, said
    report = report_data(Path("runs/demo"))
    assert {one["stage"]: len(one["history"]) for one in report["stages"]} == dict.fromkeys(
        ["init", "left", "right", "end"], 1
    )
    assert report["seconds"] < sum(one["total_seconds"] for one in report["stages"])


def test_what_is_made_from_the_same_is_made_once() -> None:
    make({}, script="out=runs/demo/${here##*/}; mkdir -p $out; echo $out >> made; sleep 0.3; echo made > $out/model")
    code, said = run_here(3)
    assert code == 0, said
    assert Path("made").read_text().splitlines() == ["runs/demo/init", "runs/demo/left", "runs/demo/end"]
    assert ran("stage-taken") == ["right"]  # it starts from the same as `left`


def declared(monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    """Let every system have this job."""
    changed = system("openrlhf").replaced(job=lambda _body: job)
    monkeypatch.setattr("recipec.engine.allotment.system", lambda _name: changed)


def test_ports_that_a_tool_takes_wherever_it_runs_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make()
    declared(monkeypatch, Job((), ports=(RAY_PORT,)))
    allotment = Allotment(2, 0, {})
    allotment.add(plan)
    left, right = plan.stages[1:3]
    assert allotment.take(left) is not None
    assert allotment.take(right) is None
    allotment.give_back(left)
    assert allotment.take(right) is not None


def test_a_tool_that_takes_the_first_gpus_has_all_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make(resources={"left": TWO, "right": TWO})
    declared(monkeypatch, Job((), first_gpus=True))
    allotment = Allotment(2, 0, {})
    allotment.add(plan)
    share = allotment.take(plan.stages[1])
    assert share is not None
    assert share.gpus == ("0", "1", "2", "3")
    assert allotment.take(plan.stages[2]) is None
    assert allotment.take(plan.stages[0]) is not None  # on the CPU


@pytest.mark.parametrize(
    ("there", "visible", "seen"),
    [(0, None, ["0,1", "2,3"]), (3, None, ["0,1", None]), (8, None, ["0,1", "2,3"]), (8, "6,7", ["6,7", None]),
     (8, "3", ["3", None]), (8, "4,5,6,7,0,1", ["4,5", "6,7"])],
)  # fmt: skip
def test_gpus_are_those_that_are_declared_there_and_allowed(
    there: int, visible: str | None, seen: list[str | None]
) -> None:
    plan = make(resources={"left": TWO, "right": TWO})
    allotment = Allotment(2, there, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    allotment.add(plan)
    shares = [allotment.take(stage) for stage in plan.stages[1:3]]
    assert [share and share.variables()["CUDA_VISIBLE_DEVICES"] for share in shares] == seen


def test_a_plan_of_several_nodes_runs_in_order() -> None:
    nodes = Resources("cpu", None, 2, 1)
    make(
        dict.fromkeys(("init", "left", "right", "end"), 'test -z "$(ls *.began | grep -v NAME)"; rm NAME.began'),
        {"end": nodes},
    )
    code, said = run_here(4)
    assert code == 0, said
    assert "a plan of several nodes: its stages run one after the other" in said


@pytest.mark.parametrize("said", ["0", "-1", "two", "1.5", ""])
def test_the_number_is_one_from_1_on(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "recipe.yaml", f"--jobs={said}"]) == 2
    assert f'--jobs: "{said}" is no number from 1 on' in capsys.readouterr().err
