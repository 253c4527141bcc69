"""What a stage's result depends on, and what it does not: from a recipe to fingerprints, without a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipec import output
from recipec.engine.build import load
from recipec.engine.fingerprint import fingerprints, meaning_hash
from recipec.pipeline import compile_file

RECIPE = """\
recipe: 1
name: demo
model: {base: base-model, max_length: 64, chat_template_file: shop.jinja}
data: {train: [{path: rows.jsonl, format: chat}]}
train: {epochs: 1, learning_rate: 1e-3, batch_size: 1}
hardware: {gpu: none}
evaluate: {tasks: [shelf], task_folder: tasks, models: [base]}
"""
TRAIN, BASE, TUNED = "train", "evaluate-base", "evaluate-tuned"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "shop.jinja": "{{ messages }}",
        "rows.jsonl": '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n',
        "tasks/shelf.yaml": "task: shelf\ndataset_kwargs: {data_files: asked/rows.jsonl}\n",
        "tasks/deep/words.yaml": "task: words\ndataset_kwargs: {data_files: asked/words.jsonl}\n",
        "asked/rows.jsonl": "{}\n",
        "asked/words.jsonl": "{}\n",
        "base-model/weights": "1",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    Path("runs/demo").mkdir(parents=True)
    return tmp_path


def found(text: str = RECIPE) -> dict[str, str]:
    """Return the fingerprints of the stages of a recipe."""
    Path("demo.yaml").write_text(text)
    compiled = compile_file("demo.yaml")
    assert compiled.files, compiled.findings
    output.write(Path("build/demo"), compiled.files)
    return fingerprints(load(Path("build/demo")), Path("runs/demo/.hashes.json"))


BOTH = RECIPE.replace("[base]", "[base, tuned]")


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("shop.jinja", {TRAIN, TUNED}),
        ("rows.jsonl", {TRAIN, TUNED}),
        ("base-model/weights", {TRAIN, BASE, TUNED}),
        ("tasks/shelf.yaml", {BASE, TUNED}),
        ("asked/rows.jsonl", {BASE, TUNED}),
        ("asked/words.jsonl", {BASE, TUNED}),
        ("runs/demo/train/model", set()),
        ("unrelated.jsonl", set()),
    ],
)
def test_a_changed_file_changes_the_stages_that_read_it_and_those_behind(
    place: Path, file: str, changed: set[str]
) -> None:
    before = found(BOTH)
    path = place / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(2 * path.read_text() if path.exists() else "new")
    after = found(BOTH)
    assert {stage for stage in before if before[stage] != after[stage]} == changed


def test_another_evaluated_model_does_not_evaluate_the_first_again(place: Path) -> None:
    one, both = found(), found(BOTH)
    assert both.keys() - one.keys() == {TUNED}
    assert {stage: both[stage] for stage in one} == one


def test_a_changed_training_does_not_evaluate_the_base_again(place: Path) -> None:
    before, after = found(BOTH), found(BOTH.replace("1e-3", "2e-3"))
    assert {stage for stage in before if before[stage] != after[stage]} == {TRAIN, TUNED}


def test_a_comment_changes_nothing(place: Path) -> None:
    assert found() == found("# about this recipe\n" + RECIPE)


def test_what_a_run_writes_is_no_part_of_a_folder_around_it(place: Path) -> None:
    around = RECIPE.replace("task_folder: tasks", "task_folder: .")
    before = found(around)
    for name in ("train/model", "logs/train.log", "record.jsonl"):
        path = Path("runs/demo", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("new")
    assert fingerprints(load(Path("build/demo")), Path("runs/demo/.hashes.json")) == before


def test_comments_and_layout_do_not_change_a_meaning(tmp_path: Path) -> None:
    def of(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return meaning_hash(tmp_path / name)

    assert of("a.yaml", "# x\na: [1, 2]\n") == of("b.yaml", "a: [1,  2]  # y\n") != of("c.yaml", "a: [1, 3]\n")
    assert of("a.json", '{"a": 1}') == of("b.json", '{ "a":1 }\n')
    assert of("a.sh", "# x\nrun\n") == of("b.sh", "run\n") != of("c.sh", "run it\n")
