"""The run engine against real processes: what it runs, skips, continues, refuses, and records."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_build import (
    FOREVER,
    TRAIN,
    compiled,
    events,
    finish,
    make,
    python,
    recorded,
    run_here,
    start,
    wait_for,
)

from recipec import manifest
from recipec.diagnostics import RecipeError, render
from recipec.engine import course, logs, run, status, status_text
from recipec.engine.build import load, preflight
from recipec.engine.status import GONE
from recipec.environments import EnvironmentInterrupted
from recipec.kinds import kind
from recipec.plan import FileRead
from recipec.systems.registry import doing, system


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
    assert "train: complete" in said
    assert "train: complete (0 s, step 6/6, loss 4.5)" in said
    assert events(place)[0] == "run-started"
    assert events(place)[-1] == "run-finished"
    found = status(place / "runs/demo")
    assert found["state"] == "complete"
    assert [row["state"] for row in found["stages"]] == ["complete"] * 4
    assert "made a model" in "".join(logs(Path("runs/demo"), "init"))
    assert Path("runs/demo/plan.json").read_bytes() == Path("build/demo/plan.json").read_bytes()
    assert "optimizer" in Path("runs/demo/recipe.yaml").read_text()


def test_complete_stages_are_skipped_and_a_comment_changes_nothing(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    make(place, config="# another comment\na: 1")
    code, said = run_here()
    assert code == 0
    assert said.count("complete and unchanged") == 4
    assert events(place).count("stage-started") == 4


def test_a_failure_shows_the_error_and_the_line_to_blame(place: Path) -> None:
    tool = """
        import sys
        def main():
            sys.stderr.write("50%|#####     | 5/10 [00:01<00:01]\\n")
            raise ValueError("'adamw_wrong' is no optimizer")
        main()
    """
    make(place, train=python(tool))
    code, said = run_here()
    assert code == 3, said
    assert "ValueError: 'adamw_wrong' is no optimizer" in said
    assert "see recipe.yaml:4:20: train.optimizer.name" in said
    assert "runs/demo/logs/train.log" in said
    assert "5/10" not in said
    assert "Traceback" in Path("runs/demo/logs/train.log").read_text()
    found = status(Path("runs/demo"))
    assert [row["state"] for row in found["stages"]] == ["complete", "failed", "waiting", "waiting"]
    assert events(place)[-1] == "run-failed"


def test_exit_0_without_a_result_is_a_failure(place: Path) -> None:
    make(place, init="true")
    code, said = run_here()
    assert code == 3
    assert "runs/demo/init is empty or missing" in said


def test_exit_0_before_the_last_step_is_a_failure(place: Path) -> None:
    make(place, train=TRAIN.replace("say end", "exit 0"))
    code, said = run_here()
    assert code == 3
    assert "it stopped at step 6 of 6" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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
        while True:
            time.sleep(0.1)
    """
    make(place, train=python(tool) + "\ntouch went-on")
    process = start(place)
    wait_for(lambda: Path("ready").exists())
    process.send_signal(number)
    code, said = finish(process)
    ends = 130 if number == signal.SIGINT else 75
    assert code == ends, said
    names = {signal.SIGINT: "interrupt", signal.SIGTERM: "termination"}
    assert f"{names[number]} sent to train; waiting for it to stop" in said
    assert ("press Ctrl-C again" in said) is (number == signal.SIGINT)
    assert recorded("stage-interrupted")["signal"] == number.name
    assert recorded("run-interrupted")["exit_code"] == ends
    last = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by SIGTERM"}[number]
    assert said.splitlines()[-1] == f"{last}; run the same command again to continue from here"
    assert Path("saved").exists()
    assert not Path("went-on").exists()
    assert events(place, "train") == ["stage-started", "stage-interrupted"]
    assert events(place)[-1] == "run-interrupted"
    found = status(Path("runs/demo"))
    assert (found["state"], found["stages"][1]["state"]) == ("interrupted", "interrupted")


def test_a_deaf_tool_is_ended_by_a_second_and_third_signal(place: Path) -> None:
    make(place, train='trap "touch INT" INT; trap "touch TERM" TERM; touch ready; while :; do sleep 0.1 || true; done')
    process = start(place)
    for heard in ("ready", "INT", "TERM"):
        wait_for(lambda: Path(heard).exists())  # noqa: B023  # called before the next turn
        process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 130, said
    assert [line.split(" sent to ")[0] for line in said.splitlines() if " sent to " in line] == [
        "interrupt",
        "termination",
        "kill",
    ]


def test_after_a_kill_it_resumes_from_the_last_whole_checkpoint(place: Path) -> None:
    make(place)
    process = start(place, TEAR="4")
    wait_for(lambda: Path("torn").exists())
    process.kill()
    finish(process)
    found = status(Path("runs/demo"))
    assert found["state"] == GONE
    wait_for(lambda: status(Path("runs/demo"))["stages"][1]["state"] == GONE)
    assert found["stages"][1]["checkpoint"] == "runs/demo/train/checkpoint-3"
    assert f"train{' ' * 11}{GONE}" in status_text(status(Path("runs/demo")))
    code, said = run_here()
    assert code == 0, said
    assert "an incomplete checkpoint is now runs/demo/train/incomplete-checkpoint-4" in said
    assert "resuming from runs/demo/train/checkpoint-3" in said
    assert "init: skipped" in said
    assert "resumed from runs/demo/train/checkpoint-3" in Path("runs/demo/logs/train.log").read_text()
    assert Path("runs/demo/train/incomplete-checkpoint-4/model").exists()
    assert status(Path("runs/demo"))["stages"][1]["attempts"] == 2


def test_a_kill_of_the_engine_ends_its_stage(place: Path) -> None:
    make(place, train=f"echo $$ > pid; {FOREVER}")
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
    assert run_here()[0] == 0
    make(place, config="a: 2")
    code, said = run_here()
    assert code == 1
    assert "the checkpoints in runs/demo/train were made from something else (axolotl.yaml:a: 1 → 2)" in said
    assert "--fresh to move them to runs/demo/train.previous" in said
    assert events(place).count("stage-started") == 4
    code, said = run_here(fresh=True)
    assert code == 0, said
    assert Path("runs/demo/train.previous/checkpoint-6").is_dir()
    assert "init: skipped" in said
    assert "evaluate-base: skipped" in said
    assert events(place, "evaluate-base").count("stage-finished") == 1
    assert events(place, "evaluate-tuned").count("stage-finished") == 2


def test_changed_data_counts_as_another_recipe(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    Path("data/train.jsonl").write_text('{"text": "b"}\n')
    assert run_here()[0] == 1


def test_checkpoints_without_a_record_are_not_trusted(place: Path) -> None:
    make(place)
    Path("runs/demo/train/checkpoint-2").mkdir(parents=True)
    code, said = run_here()
    assert code == 1
    assert "no recorded run of train wrote" in said


def test_a_changed_evaluation_moves_its_old_results_aside(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    make(place, evaluate="mkdir -p runs/demo/evaluate-MODEL; touch runs/demo/evaluate-MODEL/new")
    code, said = run_here()
    assert code == 0, said
    assert "train: skipped" in said
    assert [path.name for path in Path("runs/demo/evaluate-base.previous").iterdir()] == ["results_2026.json"]
    assert [path.name for path in Path("runs/demo/evaluate-base").iterdir()] == ["new"]


def test_what_was_answered_stays_where_what_asks_has_changed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "kind", lambda name: kind(name).replaced(keeps=("asked", "not-there")))
    ask = "mkdir -p runs/demo/evaluate-MODEL/asked; echo 1 >> runs/demo/evaluate-MODEL/asked/one"
    make(place, evaluate=ask)
    assert run_here()[0] == 0
    make(place, evaluate=f"{ask}; true")
    assert run_here()[0] == 0
    asked = Path("runs/demo/evaluate-base/asked/one")
    assert asked.read_text() == "1\n1\n"
    assert list(Path("runs/demo/evaluate-base.previous").iterdir()) == []
    make(place, evaluate=f"{ask}; true; true")
    assert run_here(fresh=True)[0] == 0  # to ask anew is what that says
    assert asked.read_text() == "1\n"
    assert Path("runs/demo/evaluate-base.previous-2/asked/one").read_text() == "1\n1\n"


def test_one_run_at_a_time(place: Path) -> None:
    make(place, train=f"touch ready; {FOREVER}")
    first = start(place)
    wait_for(lambda: Path("ready").exists())
    assert status(Path("runs/demo"))["state"] == "running"
    code, said = run_here()
    assert code == 1
    assert f"already in progress (process {first.pid}" in said
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 75


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


def test_what_is_needed_is_there_or_made_by_a_stage(place: Path) -> None:
    build = load(make(place))
    reads = (
        FileRead("shop.jinja", at="shared.yaml:7:3"),
        FileRead("runs/demo/init/rows.jsonl", at="recipe.yaml:3:23"),
        FileRead("Qwen/Qwen3-0.6B", at="recipe.yaml:6:3", needed=False),
    )
    stages = tuple(stage.replaced(reads=(*stage.reads, *reads)) for stage in build.stages)
    more = build._replace(manifest=build.manifest.replaced(plan=build.manifest.plan.replaced(stages=stages)))
    found = [(one.code, one.message, one.file) for one in preflight(more, allow_edited=False)]
    assert found == [("E005", 'no file "shop.jinja"', "shared.yaml:7:3")]


def test_edited_files_stop_a_run_unless_allowed(place: Path) -> None:
    build = make(place)
    (build / "train" / "axolotl.yaml").write_text("a: 3\n")
    with pytest.raises(RecipeError) as caught:
        run(build, Path("runs"))
    assert "edited by hand" in render(caught.value.findings)
    assert run(build, Path("runs"), allow_edited=True) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "there is no plan"), ("{", "not valid"), ('{"format": 1}', "format 1"), ('{"format": 2}', "not valid")],
)
def test_a_plan_that_cannot_be_used_is_an_error(place: Path, text: str | None, message: str) -> None:
    Path("build").mkdir()
    if text is not None:
        Path("build/plan.json").write_text(text)
    with pytest.raises(RecipeError, match=message):
        run(Path("build"), Path("runs"))


def test_a_plan_that_is_not_whole_is_an_error(place: Path) -> None:
    whole = compiled()
    Path("build").mkdir()
    for broken, message in (
        (whole.replaced(environments={}), "lacks the environment tiny"),
        (whole.replaced(plan=whole.plan.replaced(stages=whole.plan.stages[1:])), "lacks the stage init"),
    ):
        Path("build/plan.json").write_text(manifest.write(broken))
        with pytest.raises(RecipeError, match=message):
            run(Path("build"), Path("runs"))


def test_too_little_room_is_found_before_anything_starts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPEC_HOME", str(place / "empty"))
    build = make(place)
    (build / "environments/tiny.txt").write_text("# disk-gb: 1000000\niniconfig==2.1.0\n")
    with pytest.raises(RecipeError, match=r"need 1000000\.0 GB"):
        run(build, Path("runs"), allow_edited=True)


def test_a_torn_last_line_of_the_record_is_survived(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    with Path("runs/demo/record.jsonl").open("a") as stream:
        stream.write('{"event": "stage-sta')
    code, said = run_here()
    assert code == 0, said
    assert status(Path("runs/demo"))["state"] == "complete"


def test_there_is_no_status_of_a_run_that_never_was(place: Path) -> None:
    with pytest.raises(RecipeError, match="there is no run"):
        status(Path("runs/none"))


def test_a_run_of_another_version_is_told(place: Path) -> None:
    Path("runs/old").mkdir(parents=True)
    Path("runs/old/plan.json").write_text('{"format": 1, "stages": []}')
    with pytest.raises(RecipeError, match="the plan has format 1"):
        status(Path("runs/old"))


def test_environment_failure_is_exit_3(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = make(place)
    text = "iniconfig==0.0.999\n"
    (build / "environments" / "tiny.txt").write_text(text)
    assert run(build, Path("runs"), allow_edited=True) == 3
    assert events(place) == ["run-started", "environment-failed", "run-failed"]
    row, said = recorded("environment-failed"), capsys.readouterr().out
    assert "\n".join([row["message"], *(f"    {line}" for line in row["error"])]) in said
    assert "iniconfig==0.0.999" in "".join(row["error"])
    assert "  full output: " in said


def test_a_signal_while_an_environment_is_made_ends_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Path:
        raise EnvironmentInterrupted(signal.SIGINT)

    monkeypatch.setattr("recipec.engine.runner.ensure", interrupted)
    assert run(make(place), Path("runs")) == 130
    assert events(place) == ["run-started", "run-interrupted"]


def test_exit_0_without_any_step_is_a_failure(place: Path) -> None:
    """As Axolotl does when it is interrupted before its first step."""
    make(place, train="mkdir -p runs/demo/train; echo half > runs/demo/train/model")
    code, said = run_here()
    assert code == 3
    assert "training never started" in said


OWN_LOOP = "mkdir -p runs/demo/train; echo trained > runs/demo/train/model"


@pytest.mark.parametrize("trainer", [name for name in doing("train") if system(name).own_loop])
def test_a_loop_that_no_event_tells_of_is_judged_by_its_exit_code_and_its_output(place: Path, trainer: str) -> None:
    make(place, train=OWN_LOOP, trainer=trainer)
    code, said = run_here()
    assert (code, "train: complete" in said) == (0, True), said
    make(place, train="true", trainer=trainer)
    code, said = run_here(fresh=True)
    assert (code, "runs/demo/train is empty or missing" in said) == (3, True), said
    make(place, train=OWN_LOOP + "; exit 4", trainer=trainer)
    code, said = run_here(fresh=True)
    assert (code, "exit code 4" in said) == (3, True), said


def test_a_script_with_a_trainer_that_stops_early_has_failed(place: Path) -> None:
    make(place, train=TRAIN.replace("say end", OWN_LOOP), trainer="script")
    code, said = run_here()
    assert (code, "it stopped at step 6 of 6" in said) == (3, True), said


def test_a_killed_tool_is_called_killed(place: Path) -> None:
    make(place, train='bash -c "kill -9 \\$\\$"; true')
    code, said = run_here()
    assert code == 3
    assert "killed by SIGKILL: by hand, or because memory ran out" in said


def test_the_end_says_where_everything_is(place: Path) -> None:
    make(place)
    said = run_here()[1].splitlines()
    assert said[-1].startswith("complete: results in runs/demo, output of the tools in runs/demo/logs; `recipe report")


def test_a_folder_that_cannot_be_written_is_an_error(place: Path) -> None:
    make(place)
    Path("runs").write_text("in the way")
    code, said = run_here()
    assert (code, "error[E012]: cannot be written: Not a directory" in said) == (1, True), said


def test_a_record_that_cannot_be_written_ends_the_stage(place: Path) -> None:
    make(place, train="echo $$ > pid; until mkdir runs/demo/record.jsonl; do rm -f runs/demo/record.jsonl; done 2> out")
    code, said = run_here()
    assert (code, "error[E012]: cannot be written: Is a directory" in said) == (1, True), said
