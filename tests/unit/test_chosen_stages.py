"""What a run does with the stages that were chosen, and with the others: real processes in a small tree."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from course_on_disk import RECIPE, compiled, complete, folder_of, write
from fake_build import events, make, recorded, run_here

from recipec.cli import main
from recipec.diagnostics import RecipeError
from recipec.engine import Choice, foresee, status
from recipec.engine.record import Record
from recipec.processes import start_of

TRAIN_ONLY = (
    'mkdir -p runs/demo/train; echo "${MARK:-1}" > runs/demo/train/model; printf "%s\\n" '
    + " ".join(f'\'{{"event": "{event}", "time": 1, "step": 1, "total": 1}}\'' for event in ("begin", "end"))
    + ' >> "$RECIPE_EVENTS"'
)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of environments for all tests, so that the tiny one is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECIPEC_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(folder: Path) -> list[str]:
    """Return the stages that were started, in order."""
    rows = [json.loads(line) for line in (folder / "runs/demo/record.jsonl").read_text().splitlines()]
    return [row["stage"] for row in rows if row["event"] == "stage-started"]


def test_only_what_is_selected_runs(place: Path) -> None:
    make(place, train=TRAIN_ONLY)
    code, said = run_here(select=("+train",))
    assert code == 0, said
    assert started(place) == ["init", "train"]
    assert "evaluate-tuned: skipped (not selected; never run; it waits for train)" in said
    assert "not selected, and not complete: evaluate-base, evaluate-tuned" in said
    assert not Path("runs/demo/evaluate-base").exists()
    found = status(Path("runs/demo"))
    assert found["state"] == "partly complete"
    assert [row["state"] for row in found["stages"]] == ["complete", "complete", "waiting", "waiting"]
    code, said = run_here()
    assert (code, started(place)[2:]) == (0, ["evaluate-base", "evaluate-tuned"])
    assert status(Path("runs/demo"))["state"] == "complete"


def test_a_selected_stage_never_runs_on_what_is_missing_or_stale(place: Path) -> None:
    make(place, train=TRAIN_ONLY)
    code, said = run_here(only=("evaluate-tuned",))
    assert code == 1
    assert "error[E025]: evaluate-tuned starts from train, which is not selected and not complete" in said
    assert "recipe.yaml:9:" in said  # where the recipe says what is evaluated
    assert "pass --select +evaluate-tuned to run what it needs too, or run train first" in said
    assert not Path("runs/demo/record.jsonl").exists()
    assert run_here()[0] == 0
    make(place, train=TRAIN_ONLY, config="a: 2")
    code, said = run_here(only=("evaluate-tuned",))
    assert (code, "(stale: axolotl.yaml:a: 1 → 2)" in said) == (1, True), said
    code, said = run_here(only=("evaluate-base",))  # which does not need it
    assert (code, len(started(place))) == (0, 4), said


def test_what_is_not_selected_is_left_alone(place: Path) -> None:
    make(place, train=TRAIN_ONLY)
    assert run_here()[0] == 0
    make(
        place,
        train=TRAIN_ONLY,
        config="a: 2",
        evaluate="mkdir -p runs/demo/evaluate-MODEL; echo 2 > runs/demo/evaluate-MODEL/r",
    )
    code, said = run_here(select=("evaluate-base",))
    assert code == 0, said
    assert started(place)[4:] == ["evaluate-base"]
    assert Path("runs/demo/evaluate-base.previous/results_2026.json").exists()
    assert Path("runs/demo/evaluate-tuned/results_2026.json").exists()
    assert "train: skipped (not selected; stale: axolotl.yaml:a: 1 → 2)" in said
    code, said = run_here()
    assert (code, started(place)[5:]) == (0, ["train", "evaluate-tuned"]), said


def test_force_moves_complete_results_aside_and_makes_stale_what_is_behind(place: Path) -> None:
    make(place, train=TRAIN_ONLY)
    assert run_here()[0] == 0
    code, said = run_here(only=("train",), force=True)
    assert (code, started(place)[4:]) == (0, ["train"]), said
    assert Path("runs/demo/train.previous/model").exists()
    assert recorded("stage-set-aside", stage="train")["moved_to"] == "runs/demo/train.previous"
    code, said = run_here()
    assert (code, started(place)[5:]) == (0, ["evaluate-tuned"]), said
    assert "train has run again since" in said
    assert Path("runs/demo/evaluate-tuned.previous").is_dir()


def test_from_runs_a_stage_and_all_behind_it_anew(place: Path) -> None:
    make(place)  # its training leaves checkpoints
    assert run_here()[0] == 0
    code, said = run_here(start="train")
    assert (code, started(place)[4:]) == (0, ["train", "evaluate-tuned"]), said
    assert Path("runs/demo/train.previous/checkpoint-6").is_dir()
    assert (
        "resumed from nothing"
        in Path("runs/demo/logs/train.log").read_text().rpartition("====")[0].rpartition("attempt")[2]
    )


def test_checkpoints_made_from_earlier_results_are_not_continued(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    assert run_here(only=("init",), force=True)[0] == 0
    code, said = run_here()
    assert code == 1
    assert "the checkpoints in runs/demo/train were made from something else (init has run again since)" in said
    code, said = run_here(fresh=True)
    assert (code, started(place)[5:]) == (0, ["train", "evaluate-base", "evaluate-tuned"]), said


def test_missing_files_of_what_is_not_selected_do_not_matter(place: Path) -> None:
    write()
    Path("pairs.jsonl").unlink()
    build = compiled()
    with pytest.raises(RecipeError) as caught:
        foresee(build, Path("runs"), Choice())
    assert [one.code for one in caught.value.findings] == ["E005"]
    assert [one.action for one in foresee(build, Path("runs"), Choice(select=("+sft",)))][:2] == ["run", "leave"]


def everything(folder: Path) -> dict[str, int]:
    """Return all files with the time that they were changed."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def dry_run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    """Return what a dry run says of each stage."""
    code = main(["run", "course.yaml", "--dry-run", "--json", *arguments])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["ok"], found["name"]) == (0, True, "course")
    return {row["stage"]: (row["action"], row["why"]) for row in found["stages"]}


def test_a_dry_run_tells_what_would_happen_and_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write()
    before = everything(place)
    found = dry_run(capsys=capsys)
    assert set(found.values()) == {("run", "never run")}
    assert everything(place) == before
    complete(compiled())
    write({"course.yaml": RECIPE.replace("rank: 8", "rank: 16")})
    before = everything(place)
    found = dry_run("--select", "+dpo", "evaluate-base", capsys=capsys)
    assert everything(place) == before
    assert found == {
        "sft": ("renew", "stale: train.py:LoraConfig.r: 8 → 16"),
        "sft-merge": ("renew", "stale: sft is stale"),
        "dpo": ("renew", "stale: sft-merge is stale"),
        "grpo": ("leave", "not selected; stale: dpo is stale"),
        "evaluate-base": ("skip", "complete and unchanged"),
        "evaluate-sft": ("leave", "not selected; stale: sft is stale"),
        "evaluate-grpo": ("leave", "not selected; stale: grpo is stale"),
    }
    assert main(["run", "course.yaml", "--dry-run", "--only", "evaluate-base", "--force"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "course: 1 stage would run; nothing was started"
    assert "  evaluate-base  run anew  it is to run anew" in told


def test_a_dry_run_refuses_what_a_run_refuses(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write()
    for arguments, code in (
        (["--select", "dpoo"], "E023"),
        (["--only", "dpo", "--from", "sft"], "U003"),
        (["--only", "dpo"], "E025"),
    ):
        assert main(["run", "course.yaml", "--dry-run", "--json", *arguments]) == 1
        found = json.loads(capsys.readouterr().out)["findings"]
        assert [one["code"] for one in found] == [code]
    assert (found[0]["file"], found[0]["line"]) == ("course.yaml", 13)
    build = compiled()
    record = Record(folder_of(build).record)
    record.add("run-started", pid=os.getpid(), pid_started=start_of(os.getpid()), build="x")
    record.add("stage-started", stage="sft", pid=os.getpid(), pid_started=start_of(os.getpid()), fingerprint="f")
    with pytest.raises(RecipeError) as caught:
        foresee(build, Path("runs"), Choice())
    assert [one.code for one in caught.value.findings] == ["E011"]


def test_a_failed_stage_that_is_not_selected_stays_as_it_is(place: Path) -> None:
    make(place, train="exit 4")
    assert run_here()[0] == 3
    code, said = run_here(select=("evaluate-base",))
    assert code == 0, said
    assert "train: skipped (not selected; failed: exit code 4)" in said
    assert events(place, "train") == ["stage-started", "stage-failed"]
