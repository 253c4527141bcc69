"""The emitted tree as the engine reads it: its stages, the places of its values, and what would stop a run."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fake_build import RECIPE, compiled, make

from recipec import manifest
from recipec.diagnostics import Finding, RecipeError
from recipec.engine.build import Build, load, preflight
from recipec.manifest import About, Emitted, Environment
from recipec.plan import FileRead, Input


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An emitted tree in the folder one runs in, with environments in a folder that is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path / "home"))
    return make(tmp_path)


def with_recipe(build: Path, text: str) -> Build:
    """Write another recipe, of which the tree is said to be made."""
    Path("recipe.yaml").write_text(text)
    found = load(build).manifest
    about = About("demo", "recipe.yaml", sha256(text.encode()).hexdigest())
    (build / manifest.FILE).write_text(manifest.write(found.replaced(recipe=about)))
    return load(build)


def errors(build: Build, *, allow_edited: bool = False) -> list[tuple[str, str]]:
    return [(finding.code, finding.message) for finding in preflight(build, allow_edited=allow_edited)]


def refusal(build: Path) -> Finding:
    with pytest.raises(RecipeError) as caught:
        load(build)
    (finding,) = caught.value.findings
    return finding


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (None, "E001", "there is no plan here: this folder is not the output of `recipe compile`"),
        ("{", "E002", "the plan is not valid: "),
        ("[]", "E002", "the plan is not valid: "),
        ('{"format": 1}', "E003", "the plan has format 1, this version of recipec runs format 2"),
        ('{"format": 3}', "E003", "the plan has format 3, this version"),
        ('{"format": 2}', "E002", "the plan is not valid: "),
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


def test_a_stage_waits_only_for_stages_before_it(build: Path) -> None:
    whole = compiled()
    first, second, *rest = whole.plan.stages
    itself = second.replaced(inputs=(*second.inputs, Input(second.name, second.outputs[0])))
    for stages in ((second, first, *rest), (first, itself, *rest)):
        changed = whole.replaced(plan=whole.plan.replaced(stages=stages))
        (build / "plan.json").write_text(manifest.write(changed))
        lost = "init" if stages[0] is second else "train"
        assert refusal(build).message == f"the plan lacks the stage {lost}, which train waits for"


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
    "at", ["", "recipe.yaml", "recipe.yaml:1", "recipe.yaml:0:1", "recipe.yaml:x:1", "recipe.yaml:1:x", "other.yaml:1:1", "--set:1:1"]
)  # fmt: skip
def test_a_place_that_is_none_in_the_recipe_is_none(build: Path, at: str) -> None:
    assert load(build).span(at) is None
    assert load(build).where(at) == at


def test_a_run_reads_the_files_of_its_stages_and_environments(build: Path) -> None:
    found = load(build)
    more = dict.fromkeys(("run.sh", "PLAN.md", "train-more/x", "environments/other.txt"), Emitted(""))
    with_more = found._replace(manifest=found.manifest.replaced(files=found.manifest.files | more))
    assert sorted(with_more.files_read()) == sorted(found.manifest.files)
    assert with_more.files_of(found.stages[1]) == ["train/axolotl.yaml", "train/run.sh"]
    assert errors(with_more) == []  # so that PLAN.md may be edited


def test_what_a_stage_makes_is_not_missing(build: Path) -> None:
    found = load(build)
    output = found.stages[0].output
    assert [found.made(path) for path in (output, f"{output}/rows.jsonl", f"{output}-more", "data")] == [True, True, False, False]  # fmt: skip


def test_everything_that_would_stop_a_run_is_told_at_once(build: Path, tmp_path: Path) -> None:
    (build / "train" / "axolotl.yaml").write_text("mine\n")
    (build / "init" / "run.sh").unlink()
    Path("data/train.jsonl").unlink()
    found = {finding.code + str(Path(str(finding.file)).name): finding for finding in preflight(load(build), allow_edited=False)}  # fmt: skip
    assert sorted(found) == ["E004axolotl.yaml", "E004run.sh", "E005None"]
    assert found["E004axolotl.yaml"].help == "recompile, or pass --allow-edited"
    assert found["E004run.sh"].message == "cannot be read: No such file or directory"
    assert found["E004run.sh"].help == "recompile"
    data = found["E005None"]
    assert data.message == 'no file "data/train.jsonl"'
    assert data.help == f"paths are relative to the folder you run from: {tmp_path}"
    assert data.span is not None
    assert data.span.where() == "recipe.yaml:3:23"
    assert errors(load(build), allow_edited=True) == [("E005", 'no file "data/train.jsonl"')]
    Path("recipe.yaml").unlink()
    (finding,) = preflight(load(build), allow_edited=True)
    assert (finding.span, finding.file) == (None, "recipe.yaml:3:23")


def test_a_file_that_the_recipe_does_not_name_is_told_by_its_path(build: Path) -> None:
    found = load(build)
    stage = found.stages[0].replaced(reads=(FileRead("lost.jsonl"),))
    plan = found.manifest.plan.replaced(stages=(stage,))
    (finding,) = preflight(found._replace(manifest=found.manifest.replaced(plan=plan)), allow_edited=True)
    assert (finding.code, finding.span, finding.file) == ("E005", None, "lost.jsonl")


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

    def needing(**sizes: float) -> Build:
        """Return the tree with environments that take so many GB."""
        found, rows = load(build), {}
        for name, size in sizes.items():
            text = f"# disk-gb: {size}\niniconfig==2.1.0\n"
            (build / f"environments/{name}.txt").write_text(text)
            rows[name] = Environment(f"environments/{name}.txt", sha256(text.encode()).hexdigest())
        files = found.manifest.files | {row.file: Emitted(row.sha256) for row in rows.values()}
        return found._replace(manifest=found.manifest.replaced(environments=rows, files=files))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert errors(needing(tiny=3.0)) == []
    assert asked == [tmp_path]  # the home is not made yet
    message = f"the environments need 3.1 GB, {tmp_path} has 3.0 GB free"
    assert errors(needing(tiny=3.0, other=0.1)) == [("E006", message)]
    Path("data/train.jsonl").unlink()
    assert [code for code, _ in errors(needing(tiny=3.0, other=0.1))] == ["E005"]  # first what costs no download


def test_the_plan_of_a_run_is_the_emitted_text(build: Path) -> None:
    text = (build / "plan.json").read_bytes()
    assert (load(build).text, json.loads(text)["format"]) == (text, manifest.FORMAT)
