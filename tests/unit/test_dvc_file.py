"""`launch.emit: [dvc]`: what DVC is told of the stages, and what it writes beside, which a compile leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec.output import difference, write
from recipec.pipeline import compile_file

RECIPE = """recipe: 1
name: demo
trainer: trl
model: {base: models/own, max_length: 512}
launch: {emit: [dvc]}
hardware: {gpu: a100-80gb}
train: {learning_rate: 1e-5}
stages:
  - name: sft
    data: {train: [{path: data/a.jsonl, format: chat}, {hub: org/rows, format: chat}]}
  - {name: kept, start_from: sft, script: {path: keep.py, makes: rows, format: preference, reads: [/lists/stop.txt]}}
  - name: dpo
    start_from: sft
    data: {train: [{stage: kept, format: preference}]}
    train: {method: dpo}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    compiled = compile_file("recipe.yaml")
    assert compiled.files, compiled.findings
    return compiled.files


def stages(files: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(files["dvc.yaml"])["stages"]
    return found


def test_a_stage_depends_on_its_files_its_rows_and_the_stages_it_waits_for(files: dict[str, str]) -> None:
    told = stages(files)
    assert list(told) == ["sft", "kept", "dpo"]
    own = {name for name in files if name.startswith("sft/")}
    pins = "environments/trl-1.16.0.txt"
    assert set(told["sft"]["deps"]) == own | {pins, "../../data/a.jsonl"}
    assert set(told["kept"]["deps"]) == {
        "kept/run.sh",
        pins,
        "../../keep.py",
        "/lists/stop.txt",
        "../../runs/demo/sft",
    }
    assert {"../../runs/demo/sft", "../../runs/demo/kept"} <= set(told["dpo"]["deps"])
    assert [one["outs"] for one in told.values()] == [[f"../../runs/demo/{name}"] for name in told]
    assert told["dpo"]["cmd"].endswith('bash "$here/run.sh" dpo')
    assert "for stage; do" in files["run.sh"]


def test_without_it_nothing_is_emitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE.replace("launch: {emit: [dvc]}\n", ""))
    assert "dvc.yaml" not in compile_file("recipe.yaml").files


def test_what_dvc_writes_beside_stays(files: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "build" / "demo"
    write(folder, files)
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    assert difference(folder, files) == ""
    assert write(folder, files) is False
    changed = compile_file("recipe.yaml", ["train.learning_rate=2e-5"]).files
    assert write(folder, changed) is True
    assert (folder / "dvc.lock").read_text() == "schema: '2.0'\n"
    assert write(folder, compile_file("recipe.yaml", ["launch.emit=[]"]).files) is True
    assert not (folder / "dvc.lock").exists()
