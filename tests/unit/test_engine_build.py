"""The emitted tree as the engine reads it: its stages, the places of its values, and what would stop a run."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fake_build import RECIPE, make

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.build import Build, Stage, load, preflight


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An emitted tree in the folder one runs in, with its environment's disk space known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path / "home"))
    return make(tmp_path)


def change(build: Path, **words: Any) -> Build:
    """Lay words over plan.json and load it."""
    plan = json.loads((build / "plan.json").read_text()) | words
    (build / "plan.json").write_text(json.dumps(plan))
    return load(build)


def with_recipe(build: Path, text: str) -> Build:
    Path("recipe.yaml").write_text(text)
    return change(build, recipe={"name": "demo", "file": "recipe.yaml", "sha256": sha256(text.encode()).hexdigest()})


def errors(build: Build, *, allow_edited: bool = False) -> list[tuple[str, str]]:
    return [(finding.code, finding.message) for finding in preflight(build, allow_edited=allow_edited)]


def refusal(build: Path) -> Finding:
    with pytest.raises(RecipeError) as caught:
        load(build)
    (finding,) = caught.value.findings
    return finding


def test_a_stage_is_what_the_plan_says_of_it(build: Path) -> None:
    row = {"id": "05-x", "kind": "train", "environment": "tiny", "script": "s.sh", "output": "o"}
    more = {"name": "long", "tool": "t", "release": "2", "inputs": ["a", "b"], "resumable": True, "steps": 7}
    stages = change(build, stages=[row, row | more]).stages
    assert stages[0] == Stage("05-x", "train", "train", "", "", "tiny", "s.sh", "o", (), False, None)
    assert stages[1] == Stage("05-x", "long", "train", "t", "2", "tiny", "s.sh", "o", ("a", "b"), True, 7)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (None, "E001", "there is no plan here: this is not the output of a compile"),
        ("{", "E002", "the plan is no valid JSON: "),
        ("[]", "E003", "the plan has format null, this version of recipec runs format 1"),
        ('{"format": "1"}', "E003", 'the plan has format "1", this version'),
        ('{"format": 2}', "E003", "the plan has format 2, this version"),
        ('{"format": 1}', "E002", "the plan lacks 'stages'"),
        ('{"format": 1, "stages": [{}]}', "E002", "the plan lacks 'id'"),
        ('{"format": 1, "stages": [], "recipe": {}}', "E002", "the plan lacks 'name'"),
        ('{"format": 1, "stages": [], "recipe": {"name": "x"}}', "E002", "the plan lacks 'environments'"),
        ('{"format": 1, "stages": 3}', "E002", "the plan lacks "),
    ],
)
def test_a_plan_that_cannot_be_used_is_told_why(build: Path, text: str | None, code: str, message: str) -> None:
    (build / "plan.json").unlink()
    if text is not None:
        (build / "plan.json").write_text(text)
    finding = refusal(build)
    assert (finding.code, finding.message[: len(message)]) == (code, message)
    assert finding.file == str(build / "plan.json")
    with_this = " with this version" if code == "E003" else ""
    assert finding.help == f"run `recipe compile` again{with_this}"


def test_a_plan_that_cannot_be_read_is_told_why(build: Path) -> None:
    (build / "plan.json").unlink()
    (build / "plan.json").mkdir()
    assert (refusal(build).code, refusal(build).message) == ("E001", "the plan cannot be read: Is a directory")


def test_an_environment_that_no_pins_stand_for_is_missing_from_the_plan(build: Path) -> None:
    plan = json.loads((build / "plan.json").read_text())
    plan["stages"][1]["environment"] = "other"
    (build / "plan.json").write_text(json.dumps(plan))
    assert (refusal(build).code, refusal(build).message) == ("E002", "the plan lacks 'other'")


def test_the_recipe_is_shown_only_as_it_was_compiled(build: Path, tmp_path: Path) -> None:
    found = load(build)
    assert found.recipe is not None
    assert (found.recipe.text, found.recipe.name) == (RECIPE, "recipe.yaml")
    (tmp_path / "moved.yaml").write_text(RECIPE)
    Path("recipe.yaml").write_text(RECIPE + "# later\n")
    assert load(build).recipe is None
    moved = load(build, tmp_path / "moved.yaml")
    assert moved.recipe is not None
    assert (moved.recipe.name, moved.recipe.label) == (str(tmp_path / "moved.yaml"), "recipe.yaml")
    assert moved.where("recipe.yaml:2:7") == f"{tmp_path / 'moved.yaml'}:2:7"
    Path("recipe.yaml").unlink()
    assert load(build).recipe is None
    assert load(build).where("recipe.yaml:2:7") == "recipe.yaml:2:7"
    assert load(build).where(None) == ""


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('a: "x, y"  # c', '"x, y"'),
        ("a: 'it, is'", "'it, is'"),
        ("a: 'open", "'"),
        ("a: plain text # c", "plain text"),
        ("a: plain#text", "plain#text"),
        ("a: last   ", "last"),
        ("{a: x, b: y}", "x"),
        ("{a: x}", "x"),
        ("[a: x]", "x"),
        ("a: [x, y]", "[x"),
        ("a: x}, b", "x"),
        ("a: ", ""),
    ],
)
def test_the_stretch_of_a_value_ends_where_the_value_does(build: Path, line: str, value: str) -> None:
    column = line.index("a: ") + 4
    span = with_recipe(build, f"name: demo\n{line}\n").span(f"recipe.yaml:2:{column}")
    assert span is not None
    assert (span.line, span.end_line, span.column) == (2, 2, column)
    assert span.end_column == column + max(1, len(value))


@pytest.mark.parametrize(
    "at", [None, "", "recipe.yaml", "recipe.yaml:1", "recipe.yaml:0:1", "recipe.yaml:x:1", "recipe.yaml:1:x", "other.yaml:1:1", "--set:1:1"]
)  # fmt: skip
def test_a_place_that_is_none_in_the_recipe_is_none(build: Path, at: str | None) -> None:
    assert load(build).span(at) is None
    assert load(build).where(at) == (at or "")


def test_data_has_the_place_that_names_it(build: Path) -> None:
    values = {"a": {"value": "x.jsonl"}, "b": {"value": "x.jsonl", "at": "r.yaml:1:2"}, "c": {"value": 1, "at": "no"}}
    data = ["x.jsonl", {"path": "y.jsonl", "at": "r.yaml:3:4"}, {"path": "x.jsonl"}, {"path": "z.jsonl", "at": None}]
    found = list(change(build, values=values, data=data).data())
    assert found == [("x.jsonl", "r.yaml:1:2"), ("y.jsonl", "r.yaml:3:4"), ("x.jsonl", "r.yaml:1:2"), ("z.jsonl", None)]
    plan = json.loads((build / "plan.json").read_text())
    del plan["values"], plan["data"]
    (build / "plan.json").write_text(json.dumps(plan))
    assert list(load(build).data()) == []


def test_a_run_reads_the_files_of_its_stages_and_environments(build: Path) -> None:
    found = load(build)
    more = {name: {"sha256": ""} for name in ("run.sh", "PLAN.md", "10-train-more/x", "environments/other.txt")}
    assert sorted(change(build, files=found.plan["files"] | more).used()) == sorted(found.plan["files"])
    assert errors(load(build)) == []  # so that PLAN.md may be edited


def test_everything_that_would_stop_a_run_is_told_at_once(build: Path, tmp_path: Path) -> None:
    (build / "10-train" / "axolotl.yaml").write_text("mine\n")
    (build / "00-init" / "run.sh").unlink()
    Path("data/train.jsonl").unlink()
    found = {finding.code + str(Path(str(finding.file)).name): finding for finding in preflight(load(build), allow_edited=False)}  # fmt: skip
    assert sorted(found) == ["E004axolotl.yaml", "E004run.sh", "E005None"]
    assert found["E004axolotl.yaml"].help == "recompile, or pass --allow-edited"
    assert found["E004run.sh"].message == "cannot be read: No such file or directory"
    assert found["E004run.sh"].help == "recompile"
    data = found["E005None"]
    assert (data.message, data.help) == (
        'no file "data/train.jsonl"',
        f"paths start at the folder you run from: {tmp_path}",
    )
    assert data.span is not None
    assert data.span.where() == "recipe.yaml:3:23"
    assert errors(load(build), allow_edited=True) == [("E005", 'no file "data/train.jsonl"')]
    Path("recipe.yaml").unlink()
    (finding,) = preflight(load(build), allow_edited=True)
    assert (finding.span, finding.file) == (None, "data/train.jsonl")


def test_without_bash_nothing_runs(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "bash" else name)
    assert errors(load(build)) == [("E007", "bash is not installed")]


def test_environments_that_are_missing_have_to_fit_on_their_disk(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(place: Path) -> Any:
        asked.append(place)
        return shutil._ntuple_diskusage(0, 0, 3_000_000_000)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", usage)
    pins = {"file": "environments/tiny.txt", "sha256": ""}
    assert errors(change(build, environments={"tiny": pins | {"disk_gb": 3.0}})) == []
    assert asked == [tmp_path]  # the home is not made yet
    two = {"tiny": pins | {"disk_gb": 3.0}, "other": pins | {"disk_gb": 0.1}}
    message = f"the environments need 3.1 GB, {tmp_path} has 3.0 GB free"
    assert errors(change(build, environments=two)) == [("E006", message)]
    Path("data/train.jsonl").unlink()
    assert [code for code, _ in errors(load(build))] == ["E005"]  # first what costs no download
