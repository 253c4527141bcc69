"""The run engine against real processes: what it runs, skips, continues, refuses, and records."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fake_build import PINS, RECIPE, TRAIN, events, finish, make, python, start, wait_for

from recipec.diagnostics import RecipeError, render
from recipec.engine import logs, run, status, status_text
from recipec.engine.status import GONE


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of environments for all tests, so that the tiny one is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECIPEC_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_every_stage_and_records_it(place: Path) -> None:
    make(place)
    code, said = finish(start(place))
    assert code == 0, said
    assert "10-train: complete" in said
    assert "10-train: complete (0 s, step 6/6, loss 4.5)" in said
    assert events(place)[0] == "run-started"
    assert events(place)[-1] == "run-finished"
    found = status(place / "runs/demo")
    assert found["state"] == "complete"
    assert [row["state"] for row in found["stages"]] == ["complete"] * 3
    assert "made a model" in "".join(logs(Path("runs/demo"), "00-init"))
    assert Path("runs/demo/plan.json").read_bytes() == Path("build/demo/plan.json").read_bytes()
    assert "optimizer" in Path("runs/demo/recipe.yaml").read_text()


def test_complete_stages_are_skipped_and_a_comment_changes_nothing(place: Path) -> None:
    make(place)
    assert finish(start(place))[0] == 0
    make(place, config="# another comment\na: 1")
    code, said = finish(start(place))
    assert code == 0
    assert said.count("unchanged since it was completed") == 3
    assert events(place).count("stage-started") == 3


def test_a_failure_shows_the_error_and_the_line_to_blame(place: Path) -> None:
    tool = """
        import sys
        def main():
            sys.stderr.write("50%|#####     | 5/10 [00:01<00:01]\\n")
            raise ValueError("'adamw_wrong' is no optimizer")
        main()
    """
    make(place, train=python(tool))
    code, said = finish(start(place))
    assert code == 3, said
    assert "ValueError: 'adamw_wrong' is no optimizer" in said
    assert "see recipe.yaml:4:20: train.optimizer.name" in said
    assert "runs/demo/logs/10-train.log" in said
    assert "5/10" not in said
    assert "Traceback" in Path("runs/demo/logs/10-train.log").read_text()
    found = status(Path("runs/demo"))
    assert [row["state"] for row in found["stages"]] == ["complete", "failed", "waiting"]
    assert events(place)[-1] == "run-failed"


def test_exit_0_without_a_result_is_a_failure(place: Path) -> None:
    make(place, init="true")
    code, said = finish(start(place))
    assert code == 3
    assert "there is nothing in runs/demo/00-init" in said


def test_exit_0_before_the_last_step_is_a_failure(place: Path) -> None:
    make(place, train=TRAIN.replace("say end", "exit 0"))
    code, said = finish(start(place))
    assert code == 3
    assert "it stopped at step 6 of 6" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_and_never_called_complete(place: Path, number: signal.Signals) -> None:
    """Like Axolotl on SIGINT, the tool saves and exits with 0; what follows it in the script must not run."""
    tool = """
        import signal, sys, time
        def save(*_):
            open("saved", "w")
            sys.exit(0)
        for number in (1, 2, 15):
            signal.signal(number, save)
        open("ready", "w")
        time.sleep(60)
    """
    make(place, train=python(tool) + "\ntouch went-on")
    process = start(place)
    wait_for(lambda: Path("ready").exists())
    process.send_signal(number)
    code, said = finish(process)
    assert code == 130, said
    assert Path("saved").exists()
    assert not Path("went-on").exists()
    assert events(place, "10-train") == ["stage-started", "stage-interrupted"]
    assert events(place)[-1] == "run-interrupted"
    found = status(Path("runs/demo"))
    assert (found["state"], found["stages"][1]["state"]) == ("interrupted", "interrupted")


def test_a_deaf_tool_is_ended_by_a_second_and_third_signal(place: Path) -> None:
    make(place, train='trap "" INT TERM; touch ready; while true; do sleep 0.1; done')
    process = start(place)
    wait_for(lambda: Path("ready").exists())
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.6)
    code, said = finish(process, 20)
    assert code == 130, said


def test_after_a_kill_it_resumes_from_the_last_whole_checkpoint(place: Path) -> None:
    make(place)
    process = start(place, TEAR="4")
    wait_for(lambda: Path("torn").exists())
    process.kill()
    finish(process)
    found = status(Path("runs/demo"))
    assert found["state"] == GONE
    wait_for(lambda: status(Path("runs/demo"))["stages"][1]["state"] == GONE)
    assert found["stages"][1]["checkpoint"] == "runs/demo/10-train/checkpoint-3"
    assert f"10-train     {GONE}" in status_text(status(Path("runs/demo")))
    code, said = finish(start(place))
    assert code == 0, said
    assert "a half-written checkpoint is now runs/demo/10-train/checkpoint-4.incomplete" in said
    assert "continuing from runs/demo/10-train/checkpoint-3" in said
    assert "00-init: skipped" in said
    assert "resumed from runs/demo/10-train/checkpoint-3" in Path("runs/demo/logs/10-train.log").read_text()
    assert Path("runs/demo/10-train/checkpoint-4.incomplete/model").exists()
    assert status(Path("runs/demo"))["stages"][1]["attempts"] == 2


def test_a_kill_of_the_engine_ends_its_stage(place: Path) -> None:
    make(place, train="echo $$ > pid; sleep 60")
    process = start(place)
    wait_for(lambda: Path("pid").exists() and Path("pid").read_text().strip() != "")
    process.kill()
    finish(process)
    stage = int(Path("pid").read_text())

    def gone() -> bool:
        try:
            return Path(f"/proc/{stage}/stat").read_text().rpartition(") ")[2].startswith("Z")
        except FileNotFoundError:
            return True

    wait_for(gone)


def test_checkpoints_of_another_recipe_are_never_mixed(place: Path) -> None:
    make(place)
    assert finish(start(place))[0] == 0
    make(place, config="a: 2")
    code, said = finish(start(place))
    assert code == 1
    assert "changed since the checkpoints in runs/demo/10-train were written" in said
    assert "--fresh: it moves them to runs/demo/10-train.previous" in said
    assert events(place).count("stage-started") == 3
    code, said = finish(start(place, arguments="--fresh"))
    assert code == 0, said
    assert Path("runs/demo/10-train.previous/checkpoint-6").is_dir()
    assert "00-init: skipped" in said
    assert events(place, "20-evaluate").count("stage-finished") == 2


def test_changed_data_counts_as_another_recipe(place: Path) -> None:
    make(place)
    assert finish(start(place))[0] == 0
    Path("data/train.jsonl").write_text('{"text": "b"}\n')
    assert finish(start(place))[0] == 1


def test_checkpoints_without_a_record_are_not_trusted(place: Path) -> None:
    make(place)
    Path("runs/demo/10-train/checkpoint-2").mkdir(parents=True)
    code, said = finish(start(place))
    assert code == 1
    assert "no recorded run of 10-train wrote" in said


def test_a_changed_evaluation_moves_its_old_results_aside(place: Path) -> None:
    make(place)
    assert finish(start(place))[0] == 0
    make(place, evaluate="mkdir -p runs/demo/20-evaluate/new; touch runs/demo/20-evaluate/new/results")
    code, said = finish(start(place))
    assert code == 0, said
    assert "10-train: skipped" in said
    assert Path("runs/demo/20-evaluate.previous/base").is_dir()
    assert not Path("runs/demo/20-evaluate/base").exists()


def test_one_run_at_a_time(place: Path) -> None:
    make(place, train="touch ready; sleep 60")
    first = start(place)
    wait_for(lambda: Path("ready").exists())
    assert status(Path("runs/demo"))["state"] == "running"
    code, said = finish(start(place))
    assert code == 1
    assert f"already in progress (process {first.pid}" in said
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 130


def test_missing_data_is_found_before_anything_starts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPEC_HOME", str(place / "nowhere"))
    build = make(place)
    Path("data/train.jsonl").unlink()
    with pytest.raises(RecipeError) as caught:
        run(build, Path("runs"))
    text = render(caught.value.findings)
    assert 'error[E005]: no file "data/train.jsonl"' in text
    assert "recipe.yaml:3:23" in text
    assert "^" * len('"data/train.jsonl"') in text
    assert not Path("nowhere").exists()
    assert not Path("runs").exists()


def test_edited_files_stop_a_run_unless_allowed(place: Path) -> None:
    build = make(place)
    (build / "10-train" / "axolotl.yaml").write_text("a: 3\n")
    with pytest.raises(RecipeError) as caught:
        run(build, Path("runs"))
    assert "edited by hand" in render(caught.value.findings)
    assert run(build, Path("runs"), allow_edited=True) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "there is no plan"), ("{", "no valid JSON"), ('{"format": 9}', "format 9"), ('{"format": 1}', "lacks")],
)
def test_a_plan_that_cannot_be_used_is_an_error(place: Path, text: str | None, message: str) -> None:
    Path("build").mkdir()
    if text is not None:
        Path("build/plan.json").write_text(text)
    with pytest.raises(RecipeError, match=message):
        run(Path("build"), Path("runs"))


def test_too_little_room_is_found_before_anything_starts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPEC_HOME", str(place / "empty"))
    build = make(place)
    plan = json.loads((build / "plan.json").read_text())
    plan["environments"]["tiny"]["disk_gb"] = 1e6
    (build / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(RecipeError, match=r"need 1000000\.0 GB"):
        run(build, Path("runs"))


def test_a_torn_last_line_of_the_record_is_survived(place: Path) -> None:
    make(place)
    assert finish(start(place))[0] == 0
    with Path("runs/demo/record.jsonl").open("a") as stream:
        stream.write('{"event": "stage-sta')
    code, said = finish(start(place))
    assert code == 0, said
    assert status(Path("runs/demo"))["state"] == "complete"


def test_there_is_no_status_of_a_run_that_never_was(place: Path) -> None:
    with pytest.raises(RecipeError, match="there is no run"):
        status(Path("runs/none"))


def test_environment_failure_is_exit_3(place: Path) -> None:
    build = make(place)
    text = "iniconfig==0.0.999\n"
    (build / "environments" / "tiny.txt").write_text(text)
    assert run(build, Path("runs"), allow_edited=True) == 3
    assert "environment-failed" in events(place)
    assert Path("runs/demo/record.jsonl").exists()


def test_exit_0_without_any_step_is_a_failure(place: Path) -> None:
    """As Axolotl does when it is interrupted before its first step."""
    make(place, train="mkdir -p runs/demo/10-train; echo half > runs/demo/10-train/model")
    code, said = finish(start(place))
    assert code == 3
    assert "it never began to train" in said


def test_a_killed_tool_is_called_killed(place: Path) -> None:
    make(place, train='bash -c "kill -9 \\$\\$"; true')
    code, said = finish(start(place))
    assert code == 3
    assert "killed by SIGKILL, by hand or for want of memory" in said


def test_the_end_says_where_everything_is(place: Path) -> None:
    make(place)
    said = finish(start(place))[1].splitlines()
    assert said[-1].startswith("complete: results in runs/demo, output of the tools in runs/demo/logs; `recipe report")


def test_a_folder_that_cannot_be_written_is_an_error(place: Path) -> None:
    make(place)
    Path("runs").write_text("in the way")
    code, said = finish(start(place))
    assert (code, "error[E012]: cannot be written: Not a directory" in said) == (1, True), said


def test_a_record_that_cannot_be_written_ends_the_stage(place: Path) -> None:
    make(place, train="echo $$ > pid; until mkdir runs/demo/record.jsonl; do rm -f runs/demo/record.jsonl; done 2> out")
    code, said = finish(start(place))
    assert (code, "error[E012]: cannot be written: Is a directory" in said) == (1, True), said


def recorded(event: str, **wanted: Any) -> dict[str, Any]:
    """Return the last recorded event of a kind that has these words."""
    rows = [json.loads(line) for line in Path("runs/demo/record.jsonl").read_text().splitlines()]
    return [row for row in rows if row["event"] == event and row.items() >= wanted.items()][-1]


def test_the_record_tells_what_ran_with_what_and_how_it_ended(place: Path) -> None:
    make(place)
    process = start(place)
    assert finish(process)[0] == 0
    began = recorded("run-started")
    assert (began["pid"], began["host"], began["build"]) == (process.pid, os.uname().nodename, "build/demo")
    assert began["recipe_sha256"] == sha256(RECIPE.encode()).hexdigest()
    assert began["packages"] == {"tiny": [line for line in PINS.splitlines() if "#" not in line]}
    ready = recorded("environment-ready", name="tiny")
    assert Path(ready["folder"]) == Path("runs/demo/.environments/tiny").resolve()
    stage, ended = recorded("stage-started", stage="10-train"), recorded("stage-finished", stage="10-train")
    assert (stage["attempt"], stage["resumed_from"], len(stage["fingerprint"])) == (1, None, 64)
    assert [ended[word] for word in ("attempt", "exit_code", "step", "total", "loss")] == [1, 0, 6, 6, 4.5]
    assert ended["fingerprint"] == stage["fingerprint"] != recorded("stage-started", stage="00-init")["fingerprint"]
    assert 0 < ended["seconds"] < 30
    assert recorded("run-finished")["exit_code"] == 0
    assert Path("runs/demo/lock").read_text().startswith(f"process {process.pid}, since 2")
    log = Path("runs/demo/logs/00-init.log").read_text().splitlines()
    assert log[0].startswith("==== 00-init, attempt 1, 2")
    assert log[1] == "made a model"
    assert log[2].startswith("==== exit 0 after ")
    Path("recipe.yaml").write_text("another\n")
    assert finish(start(place))[0] == 0
    assert not Path("runs/demo/recipe.yaml").exists()  # it is not what ran
    assert recorded("stage-skipped", stage="10-train")["fingerprint"] == stage["fingerprint"]


def test_the_record_of_a_failure_says_why_and_whom_to_blame(place: Path) -> None:
    build = make(place, train='echo "ValueError: adamw_wrong"; exit 7')
    code, said = finish(start(place))
    assert code == 3
    assert "demo failed in 10-train (exit code 7). The last it said:\n    ValueError: adamw_wrong\n" in said
    row = recorded("stage-failed")
    assert (row["reason"], row["exit_code"], row["error"]) == ("exit code 7", 7, ["ValueError: adamw_wrong"])
    emitted = f"{build.relative_to(place)}/10-train/axolotl.yaml:2 optimizer"
    assert row["blame"] == [{"where": "recipe.yaml:4:20", "path": "train.optimizer.name", "emitted": emitted}]
    assert f"  see recipe.yaml:4:20: train.optimizer.name (became {emitted})" in said
    assert recorded("run-failed")["exit_code"] == 3
    assert said.splitlines()[-1].startswith("failed; when the cause is mended, the same command continues from here")
    code, said = finish(start(place))
    assert "10-train: running (attempt 2)" in said
    assert recorded("stage-failed")["attempt"] == 2


def test_what_a_changed_recipe_leaves_behind_is_set_aside_and_told(place: Path) -> None:
    make(place)
    assert finish(start(place))[0] == 0
    make(place, config="a: 2")
    code, said = finish(start(place, arguments="--fresh"))
    assert code == 0, said
    assert "10-train: --fresh; the old results are now runs/demo/10-train.previous" in said
    assert "its recipe, data or inputs changed" not in said
    row = recorded("stage-set-aside", stage="10-train")
    assert (row["moved_to"], row["why"]) == ("runs/demo/10-train.previous", "--fresh")
    for name in ("10-train.jsonl.previous", "10-train.jsonl"):
        assert Path("runs/demo/events", name).read_text().count('"begin"') == 1
    assert recorded("stage-started", stage="10-train")["attempt"] == 2


def test_a_training_that_is_continued_is_told_from_where(place: Path) -> None:
    make(place, train=TRAIN.replace("done", "if [ $step = 3 ] && [ ! -e again ]; then touch again; exit 1; fi; done"))
    assert finish(start(place))[0] == 3
    Path("runs/demo/10-train/checkpoint-3/trainer_state.json").unlink()
    code, said = finish(start(place))
    assert code == 0, said
    assert "10-train: continuing from runs/demo/10-train/checkpoint-2" in said
    assert "10-train: running (attempt 2, continuing from runs/demo/10-train/checkpoint-2)" in said
    assert recorded("checkpoint-set-aside")["moved_to"] == "runs/demo/10-train/checkpoint-3.incomplete"
    assert recorded("stage-started")["stage"] == "20-evaluate"
    assert recorded("stage-started", stage="10-train")["resumed_from"] == "runs/demo/10-train/checkpoint-2"
    log = Path("runs/demo/logs/10-train.log").read_text()
    assert ", continuing from runs/demo/10-train/checkpoint-2 ====" in log


def test_a_folder_in_the_place_of_an_environment_is_kept(place: Path) -> None:
    make(place)
    mine = place / "runs/demo/.environments/tiny/mine"
    mine.mkdir(parents=True)
    (mine.parent.parent / ".tiny.new").symlink_to("/nowhere")  # of a run that was killed
    assert finish(start(place))[0] == 0
    assert Path("runs/demo/.environments/tiny").is_symlink()
    assert sorted(path.name for path in mine.parent.parent.iterdir()) == ["tiny", "tiny.previous"]
    assert (mine.parent.parent / "tiny.previous" / "mine").is_dir()


def test_a_signal_is_told_with_its_name(place: Path) -> None:
    make(place, train="trap 'exit 0' INT; touch ready; sleep 60 & wait")
    process = start(place)
    wait_for(lambda: Path("ready").exists())
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 130
    assert "interrupt passed on to 10-train; waiting for it to stop (Ctrl-C again ends it now)" in said
    assert recorded("stage-interrupted")["signal"] == "SIGINT"
    assert recorded("run-interrupted")["exit_code"] == 130
    assert said.splitlines()[-1] == "interrupted; the same command continues from here"
