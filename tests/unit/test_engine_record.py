"""What a run records and says, from its start to its end, and what it does with what an earlier one has left."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from fake_build import LIMIT, PINS, RECIPE, TRAIN, events, finish, make, recorded, run_here, start

from recipec.engine import run
from recipec.engine.display import PlainDisplay
from recipec.engine.record import Record
from recipec.processes import start_of


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of environments for all tests, so that the tiny one is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECIPEC_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_record_tells_what_ran_with_what_and_how_it_ended(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    began = recorded("run-started")
    assert (began["pid"], began["host"], began["build"]) == (os.getpid(), os.uname().nodename, "build/demo")
    assert began["pid_started"] == start_of(os.getpid())
    assert began["recipe_sha256"] == sha256(RECIPE.encode()).hexdigest()
    assert began["packages"] == {"tiny": [line for line in PINS.splitlines() if "#" not in line]}
    ready = recorded("environment-ready", name="tiny")
    assert Path(ready["folder"]) == Path("runs/demo/.environments/tiny").resolve()
    stage, ended = recorded("stage-started", stage="train"), recorded("stage-finished", stage="train")
    assert (stage["attempt"], stage["resumed_from"], len(stage["fingerprint"])) == (1, None, 64)
    assert [ended[word] for word in ("attempt", "exit_code", "step", "total", "loss")] == [1, 0, 6, 6, 4.5]
    assert ended["fingerprint"] == stage["fingerprint"] != recorded("stage-started", stage="init")["fingerprint"]
    assert 0 < ended["seconds"] < LIMIT
    assert recorded("run-finished")["exit_code"] == 0
    assert Path("runs/demo/lock").read_text().startswith(f"process {os.getpid()}, since 2")
    log = Path("runs/demo/logs/init.log").read_text().splitlines()
    assert log[0].startswith("==== init, attempt 1, 2")
    assert log[1] == "made a model"
    assert log[2].startswith("==== exit 0 after ")
    Path("recipe.yaml").write_text("another\n")
    assert run_here()[0] == 0
    assert not Path("runs/demo/recipe.yaml").exists()  # it is not what ran
    assert Path("runs/demo/lock").read_text().count("process") == 1
    assert recorded("stage-skipped", stage="train")["fingerprint"] == stage["fingerprint"]


def test_the_record_of_a_failure_says_why_and_whom_to_blame(place: Path) -> None:
    make(place, train='echo "ValueError: adamw_wrong"; exit 7')
    code, said = run_here()
    assert code == 3
    assert "demo failed in train (exit code 7). Its last output:\n    ValueError: adamw_wrong\n" in said
    row = recorded("stage-failed")
    assert (row["reason"], row["exit_code"], row["error"]) == ("exit code 7", 7, ["ValueError: adamw_wrong"])
    emitted = "build/demo/train/axolotl.yaml:2 optimizer"
    assert row["blame"] == [{"where": "recipe.yaml:4:20", "path": "train.optimizer.name", "emitted": emitted}]
    assert f"  see recipe.yaml:4:20: train.optimizer.name (emitted as {emitted})" in said
    assert recorded("run-failed")["exit_code"] == 3
    assert said.splitlines()[-1].startswith("failed; fix the cause and run the same command again")
    assert "train: running (attempt 2)" in run_here()[1]
    assert recorded("stage-failed")["attempt"] == 2


def test_what_a_changed_recipe_leaves_behind_is_set_aside_and_told(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    make(place, config="a: 2")
    code, said = run_here(fresh=True)
    assert code == 0, said
    assert "train: --fresh; its earlier results are now in runs/demo/train.previous" in said
    assert "its recipe, data or inputs changed" not in said
    row = recorded("stage-set-aside", stage="train")
    assert (row["moved_to"], row["why"]) == ("runs/demo/train.previous", "--fresh")
    for name in ("train.jsonl.previous", "train.jsonl"):
        assert Path("runs/demo/events", name).read_text().count('"begin"') == 1
    assert recorded("stage-started", stage="train")["attempt"] == 2


def test_what_is_complete_is_renewed_where_everything_is_and_that_is_asked_for(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    code, said = run_here(fresh=True)
    assert (code, "skipped" in said) == (0, False), said
    assert events(place).count("stage-set-aside") == 4


def test_a_training_that_resumes_is_told_from_where(place: Path) -> None:
    make(place, train=TRAIN.replace("done", "if [ $step = 3 ] && [ ! -e again ]; then touch again; exit 1; fi; done"))
    assert run_here()[0] == 3
    Path("runs/demo/train/checkpoint-3/trainer_state.json").unlink()
    code, said = run_here()
    assert code == 0, said
    assert "train: an incomplete checkpoint is now runs/demo/train/incomplete-checkpoint-3" in said
    assert "train: resuming from runs/demo/train/checkpoint-2" in said
    assert "train: running (attempt 2, resuming from runs/demo/train/checkpoint-2)" in said
    moved = "runs/demo/train/incomplete-checkpoint-3"
    assert recorded("checkpoint-set-aside").items() >= {"stage": "train", "moved_to": moved}.items()
    assert recorded("stage-started", stage="train")["resumed_from"] == "runs/demo/train/checkpoint-2"
    log = Path("runs/demo/logs/train.log").read_text()
    assert ", resuming from runs/demo/train/checkpoint-2 ====" in log


def test_a_signal_between_two_stages_ends_the_run(place: Path) -> None:
    class Between(PlainDisplay):
        """A display during which the person presses Ctrl-C."""

        def stage(self, stage: str, state: str, detail: str = "") -> None:
            if state == "complete":
                os.kill(os.getpid(), signal.SIGINT)

    assert run(make(place), Path("runs"), display=Between(io.StringIO())) == 130
    assert events(place) == ["run-started", "environment-ready", "stage-started", "stage-finished", "run-interrupted"]


def test_what_outlived_a_killed_run_is_ended_before_the_next(place: Path) -> None:
    make(place)
    left = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        record = Record(Path("runs/demo/record.jsonl"))
        record.path.parent.mkdir(parents=True)
        record.add("stage-started", stage="init", pid=left.pid, pid_started=start_of(left.pid))
        record.add("stage-interrupted", stage="init")
        code, said = finish(start(place))
        assert code == 0, said
        assert left.wait(timeout=LIMIT) == -signal.SIGTERM
    finally:
        left.kill()
        left.wait()
    assert f"init: ending processes of the killed run (process group {left.pid})" in said
    assert recorded("leftovers-ended").items() >= {"stage": "init", "group": left.pid}.items()
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        record.add("stage-started", stage="init", pid=other.pid, pid_started="a process of that number before it")
        assert "ending" not in run_here()[1]
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_folder_in_the_place_of_an_environment_is_kept(place: Path) -> None:
    make(place)
    mine = place / "runs/demo/.environments/tiny/mine"
    mine.mkdir(parents=True)
    (mine.parent.parent / ".tiny.new").symlink_to("/nowhere")  # of a run that was killed
    assert run_here()[0] == 0
    assert Path("runs/demo/.environments/tiny").is_symlink()
    assert sorted(path.name for path in mine.parent.parent.iterdir()) == ["tiny", "tiny.previous"]
    assert (mine.parent.parent / "tiny.previous" / "mine").is_dir()
