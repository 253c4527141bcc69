"""What a stage's result depends on, and what it does not: from a recipe to fingerprints, without a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipec import output
from recipec.engine import file_hashes, meaning
from recipec.engine.build import load
from recipec.engine.file_hashes import FileHashes, imported
from recipec.engine.fingerprint import Key, fingerprints
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


def said(name: str, text: str, **keys: int) -> dict[str, str]:
    """Return the values of an emitted file in a run called demo."""
    return dict(
        meaning.values(
            name, text, keys, lambda key: key.endswith("left"), lambda text: text.replace("runs/demo", "<run>")
        )
    )


def test_comments_and_layout_do_not_change_a_meaning() -> None:
    assert said("a.yaml", "# x\na: [1, 2]\n") == said("a.yaml", "a: [1,  2]  # y\n") == {"a.yaml:a": "[1, 2]"}
    assert said("a.yaml", "a: [1, 3]\n") == {"a.yaml:a": "[1, 3]"}
    assert said("a.json", '{"a": {"b": 1}}') == said("a.json", '{ "a":{"b":1} }\n') == {"a.json:a.b": "1"}
    assert said("a.sh", "# x\nrun\n") == said("a.sh", "\nrun  # y\n") != said("a.sh", "run it\n")
    assert said("a.py", "# x\nrun()\n") == said("a.py", "run()  # y\n") != said("a.py", "run(1)\n")


def test_values_have_the_names_of_their_keys() -> None:
    tree = "a: {b: 1, left: 2}\nc: [{d: runs/demo/x}, {d: 2}]\ne: {}\n"
    values = {"a.yaml:a.b": "1", "a.yaml:c.0.d": '"<run>/x"', "a.yaml:c.1.d": "2", "a.yaml:e": "{}"}
    assert said("a.yaml", tree) == values
    script = "export A=runs/demo/x\nexport left=1\nrun \\\n  --rate 0.5 \\\n  --fast\n"
    found = said("a.sh", script)
    values = {"a.sh:A": "<run>/x", "a.sh:--rate": "0.5", "a.sh:--fast": ""}
    assert {key: value for key, value in found.items() if key != "a.sh"} == values
    assert found["a.sh"] == said("a.sh", script.replace("0.5", "0.25"))["a.sh"]  # what has a name is told by it alone
    assert found["a.sh"] != said("a.sh", script.replace("run \\", "walk \\"))["a.sh"]
    program = said("a.py", "f(\n    x=1,  # y\n    y=2,\n)\n", **{"f.x": 2})
    assert program["a.py:f.x"] == "1"
    assert program["a.py"] != said("a.py", "f(\n    x=1,\n    y=3,\n)\n", **{"f.x": 2})["a.py"]


def test_what_looks_like_a_comment_and_is_none_counts() -> None:
    script = "a '# b' # c\nd ${x##*-} \\# e\n\"f\n # g\" # h"
    assert meaning.shell_lines(script) == ["a '# b'", "d ${x##*-} \\# e", '"f', ' # g"']
    assert meaning.python_lines('a = "# b"  # c\n"""\n# d\n"""') == ['a = "# b"', '"""', "# d", '"""']
    assert meaning.python_lines("a = (  # c") == ["a = (  # c"]


def test_a_long_value_is_kept_as_its_hash_and_a_secret_is_not_kept() -> None:
    long, token = "x" * 500, "hf_" + "a1" * 15
    found = said("a.yaml", f"a: {long}\nb: {token}\nhf_token: abcdefgh\npad_token: <pad>\n")
    assert found["a.yaml:a"] == "sha256:" + meaning.sha256(f'"{long}"')
    assert token not in str(found)
    assert "abcdefgh" not in str(found)
    assert found["a.yaml:pad_token"] == '"<pad>"'


def test_a_key_is_written_whole_and_read_again(tmp_path: Path) -> None:
    key = Key({"kind": "train"}, {"a.yaml:b": "1"}, {"rows.jsonl": "f" * 64}, {"torch": "2"}, {"z": "1", "a": "2"})
    path = tmp_path / "keys" / "train.json"
    assert Key.read(path) is None
    key.write(path)
    again = Key.read(path)
    assert again is not None
    assert (again, again.hash) == (key, key.hash)
    assert [one.name for one in path.parent.iterdir()] == ["train.json"]
    whole = {"format": 1, **key._asdict()}
    for wrong in ("{", "[]", *(json.dumps(whole | one) for one in ({"format": 0}, {"values": []}, {"pins": {"a": 1}}))):
        path.write_text(wrong)
        assert Key.read(path) is None


def test_a_key_counts_everything_but_the_names_of_earlier_stages() -> None:
    key = Key({"kind": "a"}, {"v": "1"}, {"f": "1"}, {"p": "1"}, {"one": "1", "two": "2"})
    others = [key._replace(**{part: {"new": "3"}}).hash for part in Key._fields]
    assert len({key.hash, *others}) == 6
    assert key.hash == key._replace(parents={"first": "1", "second": "2"}).hash
    assert key.hash != key._replace(parents={"one": "2", "two": "1"}).hash


def test_code_beside_a_program_is_followed(tmp_path: Path) -> None:
    files = {
        "main.py": "import a, os\nfrom c.d import e\n",
        "a.py": "def f():\n    from . import b\n    import main\n",
        "b.py": "import a\nfrom .. import above\nimport broken\n",
        "c/d.py": "",
        "c/x.py": "import alone\n",
        "broken.py": "def (",
        "above.py": "",
        "alone.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [str(one.relative_to(tmp_path)) for one in imported(tmp_path / "main.py")]
    assert found == ["a.py", "b.py", "broken.py", "c/d.py", "c/x.py"]


def test_a_large_folder_counts_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "data", tmp_path / "run" / "cache"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).write_text(name)
    assert [name for name, _ in FileHashes(cache, []).of(folder)] == ["a", "b", "c"]
    monkeypatch.setattr(file_hashes, "MOST_FILES", 2)
    before = dict(FileHashes(cache, []).of(folder))
    assert list(before) == [""]
    (folder / "c").write_text("other")
    assert dict(FileHashes(cache, []).of(folder)) != before
