"""Edits planted in a course whose run is complete: each makes exactly the stages run again whose results it shapes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from course_on_disk import CHAT, FILES, RECIPE, compiled, complete, folder_of, write

from recipec import output
from recipec.engine import foresee
from recipec.engine.build import Build, load
from recipec.engine.decision import decide, graph_of
from recipec.engine.fingerprint import keys
from recipec.engine.record import Record
from recipec.engine.selection import Choice, choose
from recipec.engine.standing import standings
from recipec.pipeline import compile_file

NONE: set[str] = set()
RL = {"grpo", "evaluate-grpo"}
DPO = {"dpo", *RL}
SFT = {"sft", "sft-merge", "evaluate-sft", *DPO}
SCORES = {"evaluate-base", "evaluate-sft", "evaluate-grpo"}
ALL = SFT | SCORES


class Edit(NamedTuple):
    """A change on disk, and the stages that it makes run again."""

    name: str
    again: set[str]
    make: Callable[[], object]
    build: Callable[[], Build] = compiled


def recipe(*pairs: str) -> Callable[[], object]:
    """Return an edit that replaces texts of the recipe, given in turn: old, new."""

    def make() -> None:
        text = RECIPE
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        write({"course.yaml": text})

    return make


def text(name: str, old: str, new: str) -> Callable[[], object]:
    """Return an edit that replaces a text of a file."""
    assert old in FILES[name]
    return lambda: write({name: FILES[name].replace(old, new)})


def more(name: str, added: str) -> Callable[[], object]:
    """Return an edit that adds to a file, or makes it."""
    return lambda: write({name: FILES.get(name, "") + added})


def with_pins(old: str, new: str) -> Callable[[], Build]:
    """Return what compiles, and changes the pins in what was emitted: as a release of recipec with other pins does."""

    def build() -> Build:
        found = compiled()
        (pins,) = {found.folder / one.file for one in found.manifest.environments.values()}
        assert pins.read_text().count(old) == 1
        pins.write_text(pins.read_text().replace(old, new))
        return found

    return build


def elsewhere() -> Build:
    done = compile_file("course.yaml")
    output.write(Path("other/place"), done.files)
    return load(Path("other/place"))


def renamed() -> None:
    recipe("name: course", "name: lesson")()
    Path("runs/course").rename("runs/lesson")


BESIDE = "  - name: other\n    start_from: base\n    adapter: {rank: 4}\n    data: {train: [{path: chat.jsonl, format: chat}]}\nevaluate:"
BETWEEN = "  - name: more\n    start_from: dpo\n    data: {train: [{path: chat.jsonl, format: chat}]}\n  - name: grpo\n    start_from: more"
EDITS = [
    Edit("nothing", NONE, lambda: None),
    Edit("a comment in the recipe", NONE, recipe("recipe: 1\n", "# mine\nrecipe: 1\n")),
    Edit("layout of the recipe", NONE, recipe("adapter: {rank: 8}", "adapter:\n      rank:   8")),
    Edit("a description", NONE, recipe("trainer: trl", "description: a course\ntrainer: trl")),
    Edit("learning rate of the first", SFT, recipe("learning_rate: 1e-4", "learning_rate: 2e-4")),
    Edit("learning rate of the second", DPO, recipe("dpo, learning_rate: 1e-6", "dpo, learning_rate: 2e-6")),
    Edit("the same learning rate, said otherwise", NONE, recipe("learning_rate: 1e-4", "learning_rate: 0.0001")),
    Edit("rank", SFT, recipe("rank: 8", "rank: 16")),
    Edit("batch size of all trainings", SFT, recipe("batch_size: 8", "batch_size: 16")),
    Edit("seed", ALL, recipe("trainer: trl", "seed: 7\ntrainer: trl")),
    Edit("length", ALL, recipe("max_length: 512", "max_length: 768")),
    Edit("another task", SCORES, recipe("tasks: [shelf]", "tasks: [shelf, arc_easy]")),
    Edit("another evaluated model", {"evaluate-dpo"}, recipe("[base, sft, grpo]", "[base, sft, dpo, grpo]")),
    Edit("models in another order", NONE, recipe("[base, sft, grpo]", "[grpo, base, sft]")),
    Edit("a tracker", NONE, recipe("trainer: trl", "track: {wandb: {project: mine}}\ntrainer: trl")),
    Edit("telemetry of the tools", NONE, recipe("trainer: trl", "track: {telemetry: true}\ntrainer: trl")),
    Edit("rows of the first", SFT, more("chat.jsonl", CHAT)),
    Edit("rows of the second", DPO, text("pairs.jsonl", '"b"', '"d"')),
    Edit("rows of the third", RL, text("asked.jsonl", "1 + 1", "1 + 2")),
    Edit("reward code", RL, text("rewards/pay.py", "helper.pay(one)", "2 * helper.pay(one)")),
    Edit("a comment in reward code", NONE, text("rewards/pay.py", "import helper\n", "import helper  # ours\n")),
    Edit("code that a reward imports", RL, text("rewards/helper.py", "-PRICE", "PRICE")),
    Edit("code that this imports", RL, text("rewards/deep.py", "1", "2")),
    Edit("code that no reward imports", NONE, text("rewards/unused.py", "1", "2")),
    Edit("chat template", SFT, more("shop.jinja", " ")),
    Edit("a task", SCORES, more("tasks/shelf.yaml", "num_fewshot: 1\n")),
    Edit("a comment in a task", NONE, more("tasks/shelf.yaml", "# ours\n")),
    Edit("code of tasks", SCORES, text("tasks/utils.py", "return text", "return text.strip()")),
    Edit("what Python keeps beside code", NONE, more("tasks/__pycache__/utils.pyc", "x")),
    Edit("data that a task names", SCORES, more("held/rows.jsonl", "{}\n")),
    Edit("weights of the base", ALL, more("base-model/model.safetensors", "x")),
    Edit("another release of the trainer", ALL, recipe("trainer: trl", "versions: {trl: 1.9.0}\ntrainer: trl")),
    Edit("one pinned package", ALL, lambda: None, with_pins("\naccelerate==1.15.0", "\naccelerate==1.15.1")),
    Edit("a comment in the pins", NONE, lambda: None, with_pins("# disk-gb", "# ours\n# disk-gb")),
    Edit("the last stage renamed", {"rl", "evaluate-rl"}, recipe("name: grpo", "name: rl", "sft, grpo]", "sft, rl]")),
    Edit(
        "the first stage renamed: it has no results under its new name",
        {"chat", "chat-merge", "evaluate-chat", *DPO},
        recipe("name: sft", "name: chat", "base, sft,", "base, chat,"),
    ),
    Edit("a stage inserted beside the others", {"other"}, recipe("evaluate:", BESIDE)),
    Edit("a stage inserted between two", {"more", *RL}, recipe("  - name: grpo\n    start_from: dpo", BETWEEN)),
    Edit("the emitted files in another folder", NONE, lambda: None, elsewhere),
    Edit("the recipe renamed, and its results moved with it", NONE, renamed),
    Edit("results of the first deleted", SFT, lambda: shutil.rmtree("runs/course/sft")),
    Edit("results of a merge deleted", {"sft-merge", *DPO}, lambda: shutil.rmtree("runs/course/sft-merge")),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write()
    return tmp_path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_runs_again_what_it_shapes(edit: Edit) -> None:
    complete(compiled())
    edit.make()
    build = edit.build()
    folder = folder_of(build)
    now = standings(build, folder, Record(folder.record).read(), keys(build, folder.hashes))
    decisions = decide(build, now, choose(graph_of(build), Choice()), fresh=False)
    assert {one.stage.name for one in decisions if one.runs} == edit.again
    assert {name for name, one in now.items() if not one.done} == edit.again
    assert all(one.reasons or one.history.attempts == 0 for one in now.values() if not one.done)


@pytest.mark.usefixtures("place")
def test_an_edit_that_is_taken_back_runs_nothing() -> None:
    complete(compiled())
    before = keys(compiled(), Path("none/x"), save=False)
    recipe("rank: 8", "rank: 16")()
    assert keys(compiled(), Path("none/x"), save=False) != before
    write()
    assert keys(compiled(), Path("none/x"), save=False) == before


@pytest.mark.usefixtures("place")
def test_a_stage_is_the_same_under_another_name() -> None:
    before = keys(compiled(), Path("none/x"), save=False)
    recipe("name: grpo", "name: rl", "sft, grpo]", "sft, rl]")()
    after = keys(compiled(), Path("none/x"), save=False)
    assert (after["rl"].hash, after["evaluate-rl"].hash) == (before["grpo"].hash, before["evaluate-grpo"].hash)


@pytest.mark.usefixtures("place")
def test_nothing_goes_on_from_results_of_what_runs_again_before_it() -> None:
    build = compiled()
    complete(build)
    shutil.rmtree("runs/course/sft")
    found = {one.stage.name: one.action for one in foresee(build, Path("runs"), Choice())}
    assert found["sft"] == "run"
    assert {found[name] for name in SFT - {"sft"}} == {"renew"}
