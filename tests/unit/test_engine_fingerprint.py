"""What makes a stage another one, and what does not; and what a run then does with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_build import make

from recipec.diagnostics import RecipeError
from recipec.engine import fingerprint
from recipec.engine.build import load
from recipec.engine.fingerprint import fingerprints, meaning
from recipec.engine.record import Record
from recipec.engine.runner import Decision, decide

STAGES = ("00-init", "10-train", "20-evaluate")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


def prints(build: Path) -> dict[str, str]:
    return fingerprints(load(build), Path("hashes"))


def edit(build: Path, change: Callable[[dict[str, Any]], object]) -> None:
    plan = json.loads((build / "plan.json").read_text())
    change(plan)
    (build / "plan.json").write_text(json.dumps(plan))


def differs(build: Path, change: Callable[[], object]) -> list[str]:
    """Return the stages that a change makes others."""
    before = prints(build)
    change()
    after = prints(build)
    return [name for name in STAGES if before[name] != after[name]]


def test_a_stage_depends_on_its_own_files_and_on_the_stages_before_it(build: Path) -> None:
    assert differs(build, lambda: (build / "10-train" / "run.sh").write_text("true\n")) == ["10-train", "20-evaluate"]
    assert differs(build, lambda: (build / "20-evaluate" / "run.sh").write_text("true\n")) == ["20-evaluate"]
    assert differs(build, lambda: (build / "00-init" / "run.sh").write_text("true\n")) == list(STAGES)
    assert differs(build, lambda: (build / "10-train" / "axolotl.yaml").write_text("a: 2\n")) == list(STAGES[1:])
    assert differs(build, lambda: (build / "10-train" / "axolotl.yaml").write_text("# new\na:   2\n")) == []
    assert differs(build, lambda: (build / "run.sh").write_text("another\n")) == []


def test_a_stage_depends_on_its_tool_and_pins(build: Path) -> None:
    pins = build / "environments" / "tiny.txt"
    assert differs(build, lambda: pins.write_text(pins.read_text() + "# a comment\n")) == []
    assert differs(build, lambda: pins.write_text("iniconfig==2.0.0\n")) == list(STAGES)
    for word in ("kind", "tool", "release"):
        assert differs(build, lambda: edit(build, lambda p: p["stages"][2].update({word: "new"}))) == ["20-evaluate"]  # noqa: B023
    assert differs(build, lambda: edit(build, lambda p: p["stages"][2].update(steps=3, resumable=True))) == []


def test_a_stage_depends_on_the_data_that_it_reads(build: Path) -> None:
    """Where the plan's values name a stage's data, on these alone, else on all of the recipe."""
    data, other = Path("data/train.jsonl"), Path("data/other.jsonl")
    other.write_text("1\n")
    assert differs(build, lambda: data.write_text("new\n")) == list(STAGES)
    path = {"value": "data/other.jsonl"}
    edit(build, lambda plan: plan["values"].update({"init.data": {"value": [{"path": "data/other.jsonl"}]}}))
    assert differs(build, lambda: other.write_text("2\n")) == list(STAGES)
    edit(build, lambda plan: plan["values"].update({"20-evaluate.path": path, "evaluation.path": path}))
    assert differs(build, lambda: data.write_text("newer\n")) == list(STAGES[1:])
    edit(build, lambda plan: plan["stages"][2].update(inputs=[]))
    assert differs(build, lambda: data.write_text("newest\n")) == ["10-train"]


@pytest.mark.parametrize("word", ["path", "task_folder", "tokenizer", "start_from", "adapter"])
def test_every_word_for_local_files_counts(build: Path, word: str) -> None:
    Path("own").mkdir()
    Path("own/file").write_text("1")
    edit(build, lambda plan: plan["values"].update({f"evaluate.deep.{word}": {"value": "own"}}))
    assert differs(build, lambda: Path("own/file").write_text("2")) == ["20-evaluate"]
    assert differs(build, lambda: Path("own/more").write_text("")) == ["20-evaluate"]
    assert differs(build, lambda: Path("own/more").rename("own/moved")) == ["20-evaluate"]
    assert differs(build, lambda: Path("own/.git").mkdir() or Path("own/.git/HEAD").write_text("x")) == []


def test_other_words_and_names_of_the_hub_do_not_count(build: Path) -> None:
    Path("own").write_text("1")
    rows = {"train.name": {"value": "own"}, "train.adapter.start_from": {"value": "org/name"}}
    edit(build, lambda plan: plan["values"].update(rows | {"train.model.path": {"value": None}}))
    assert differs(build, lambda: Path("own").write_text("2")) == []


def test_files_that_the_tasks_of_an_evaluation_name_count(build: Path) -> None:
    Path("tasks").mkdir()
    Path("tasks/own.yaml").write_text("dataset_kwargs: {data_files: data/test.jsonl}\ninclude: utils.py and x.bin\n")
    Path("tasks/two.yml").write_text("data: rows.csv\n")
    for name in ("data/test.jsonl", "utils.py", "x.bin", "rows.csv"):
        Path(name).write_text("1")
    edit(build, lambda plan: plan["values"].update({"evaluate.task_folder": {"value": "tasks"}}))
    for name in ("data/test.jsonl", "utils.py", "rows.csv"):
        assert differs(build, lambda: Path(name).write_text("2")) == ["20-evaluate"], name  # noqa: B023
    assert differs(build, lambda: Path("x.bin").write_text("2")) == []
    edit(build, lambda plan: plan["stages"][2].update(kind="train"))
    assert differs(build, lambda: Path("rows.csv").write_text("3")) == []


def test_what_the_run_itself_makes_does_not_count(build: Path) -> None:
    Path("runs/demo/00-init").mkdir(parents=True)
    edit(build, lambda plan: plan["values"].update({"train.model.path": {"value": "runs/demo/00-init"}}))
    assert differs(build, lambda: Path("runs/demo/00-init/model").write_text("2")) == []
    edit(build, lambda plan: plan["values"].update({"train.model.path": {"value": "runs/demo"}}))
    assert differs(build, lambda: Path("runs/demo/record.jsonl").write_text("2")) == []
    Path("runs/other").mkdir()
    edit(build, lambda plan: plan["values"].update({"train.model.path": {"value": "runs/other"}}))
    assert differs(build, lambda: Path("runs/other/model").write_text("2")) == ["10-train", "20-evaluate"]


def test_data_that_did_not_change_is_not_read_again(build: Path) -> None:
    data = Path("data/train.jsonl")
    before = prints(build)
    size, time = data.stat().st_size, data.stat().st_mtime_ns
    data.write_text("x" * size)
    os.utime(data, ns=(time, time))
    assert prints(build) == before  # by its size and time it is the same
    Path("hashes").unlink()
    assert prints(build) != before
    for damaged in ("{", "[1]", json.dumps({str(data.absolute()): None})):
        after = prints(build)
        Path("hashes").write_text(damaged)
        assert prints(build) == after
    os.utime(data, ns=(time, time + 1))
    data.write_text("y" * size)
    assert prints(build) != after
    assert sorted(path.name for path in Path().iterdir() if path.is_file()) == ["hashes", "recipe.yaml"]


def test_large_files_are_known_by_samples_from_end_to_end(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "WHOLE", 999)
    monkeypatch.setattr(fingerprint, "SAMPLE", 10)
    data = Path("data/train.jsonl")
    text = bytearray(1500)
    seen = []
    for place in (None, 0, 9, 10, 98, 99, 1489, 1490, 1499):
        changed = bytearray(text)
        if place is not None:
            changed[place] = 1
        data.write_bytes(changed)
        Path("hashes").unlink(missing_ok=True)
        seen.append((place, prints(build)["10-train"]))
    same = [place for place, found in seen if found == seen[0][1]]
    assert same == [None, 10, 98, 1489]
    data.write_bytes(text + b"\0")
    assert prints(build)["10-train"] != seen[0][1]
    data.write_bytes(text[:999])
    before = prints(build)
    data.write_bytes(b"".join([text[:500], b"\1", text[:498]]))
    Path("hashes").unlink()
    assert prints(build) != before  # up to that size every byte counts


def test_a_file_that_cannot_be_parsed_means_its_text(tmp_path: Path) -> None:
    def of(name: str, text: str | bytes) -> str:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return meaning(tmp_path / name)

    assert of("a.json", "{ ") != of("b.json", "{")
    assert of("a.yaml", "a: [") != of("b.yaml", "a:  [")
    assert of("a.yml", "a: 1 # x") == of("b.yml", "a:   1")
    assert of("a.txt", "# x\n\nb  \n") == of("b.txt", "b\n  # y\n")
    assert of("a.txt", "a\nb\n") != of("b.txt", "ab\n")
    assert of("a.py", "# x\na\n") != of("b.py", "a\n")  # in a program of the user comments may have a meaning
    assert of("a.json", '{"b": 1, "a": 2}') == of("b.json", '{"a": 2, "b": 1}')
    assert of("a.sh", b"\xff") != of("b.sh", b"\xfe")


class Run:
    """A recorded run, written event by event, and what the next run would do with its stages."""

    def __init__(self, build: Path) -> None:
        self.build, self.record, self.prints = load(build), Record(Path("record.jsonl")), dict.fromkeys(STAGES, "same")

    def finished(self, *stages: str, prints: str = "same", output: str = "model") -> None:
        for stage in stages:
            self.record.add("stage-started", stage=stage, fingerprint=prints)
            self.record.add("stage-finished", stage=stage)
            (Path("runs/demo") / stage / output).mkdir(parents=True, exist_ok=True)

    def next(self, *, fresh: bool = False) -> list[tuple[str, str]]:
        found: list[Decision] = decide(self.build, self.record, self.prints, fresh=fresh)
        assert [decision.stage.id for decision in found] == list(STAGES)
        return [(decision.action, decision.why) for decision in found]

    def refusal(self) -> list[str]:
        with pytest.raises(RecipeError) as caught:
            self.next()
        assert {finding.code for finding in caught.value.findings} == {"E010"}
        assert {finding.file for finding in caught.value.findings} == {str(self.build.folder)}
        return [f"{finding.message}; {finding.help}" for finding in caught.value.findings]


SKIP, RUN = ("skip", "unchanged since it was completed"), ("run", "")
CHANGED, FRESH = ("renew", "its recipe, data or inputs changed"), ("renew", "--fresh")


def test_complete_stages_are_skipped(build: Path) -> None:
    run = Run(build)
    assert run.next() == [RUN, RUN, RUN] == run.next(fresh=True)
    run.finished("00-init")
    assert run.next() == [SKIP, RUN, RUN]
    run.finished("10-train", "20-evaluate")
    assert run.next() == [SKIP, SKIP, SKIP]
    assert run.next(fresh=True) == [FRESH, FRESH, FRESH]


def test_a_stage_without_its_output_runs_again(build: Path) -> None:
    run = Run(build)
    run.finished(*STAGES)
    Path("runs/demo/10-train/model").rmdir()
    assert run.next() == [SKIP, RUN, RUN]  # what was evaluated is not what there will be
    Path("runs/demo/10-train").rmdir()
    assert run.next() == [SKIP, RUN, RUN]


def test_a_stage_is_only_as_good_as_its_inputs(build: Path) -> None:
    run = Run(build)
    run.finished(*STAGES)
    run.finished("10-train")
    assert run.next() == [SKIP, SKIP, RUN]


@pytest.mark.parametrize("event", ["stage-failed", "stage-interrupted", None])
def test_an_unfinished_stage_is_continued(build: Path, event: str | None) -> None:
    run = Run(build)
    run.finished("00-init")
    run.record.add("stage-started", stage="10-train", fingerprint="same")
    if event is not None:
        run.record.add(event, stage="10-train")
    Path("runs/demo/10-train/checkpoint-1").mkdir(parents=True)
    assert run.next() == [SKIP, RUN, RUN]
    assert run.next(fresh=True) == [SKIP, FRESH, RUN]


def test_a_changed_stage_is_renewed_but_never_mixed_with_checkpoints(build: Path) -> None:
    run = Run(build)
    run.finished(*STAGES)
    run.prints["20-evaluate"] = "new"
    assert run.next() == [SKIP, SKIP, CHANGED]
    assert run.next(fresh=True) == [SKIP, SKIP, FRESH]
    run.finished("10-train", output="checkpoint-2")
    run.prints["10-train"] = "new"
    told = "the recipe, its data or its pins changed since the checkpoints in runs/demo/10-train were written; pass --fresh: it moves them to runs/demo/10-train.previous and starts 10-train anew"
    assert run.refusal() == [told]
    assert run.next(fresh=True) == [SKIP, FRESH, FRESH]


def test_checkpoints_that_nobody_recorded_are_not_continued(build: Path) -> None:
    run = Run(build)
    for stage in STAGES[:2]:
        Path(f"runs/demo/{stage}/checkpoint-1").mkdir(parents=True)
    Path("runs/demo/10-train.previous").mkdir()
    assert [text.partition(";")[0] for text in run.refusal()] == [
        f"runs/demo/{stage} holds checkpoints that no recorded run of {stage} wrote" for stage in STAGES[:2]
    ]
    assert "runs/demo/10-train.previous-2" in run.refusal()[1]


def test_what_was_set_aside_counts_no_more(build: Path) -> None:
    run = Run(build)
    run.finished(*STAGES)
    run.record.add("stage-set-aside", stage="20-evaluate")
    assert run.next() == [SKIP, SKIP, CHANGED]
