"""Courses of stages: what each begins with, and what is said where one is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from recipec import api
from recipec.diagnostics import Finding
from recipec.pipeline import compile_file

HEAD = "recipe: 1\nname: c\nhardware: {gpu: a100-80gb}\ntrain: {learning_rate: 1e-4}\n"
CHAT = "data: {train: [{path: a.jsonl, format: chat}]}\n"


def findings(folder: Path, text: str) -> list[Finding]:
    path = folder / "c.yaml"
    path.write_text(HEAD + text)
    return [one for one in compile_file(str(path)).findings if one.severity == "error"]


def test_a_stage_of_another_base_takes_that_base(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    stages = "stages: [{name: one}, {name: two, start_from: base, model: {base: lab/other, revision: v2}}]\n"
    path.write_text(HEAD + CHAT + "model: {base: lab/model}\n" + stages)
    taken = {stage.name: stage.inputs[0].output for stage in api.plan(path).stages}
    assert [(taken[name].path, taken[name].revision) for name in ("one", "two")] == [  # type: ignore[union-attr]
        ("lab/model", None),
        ("lab/other", "v2"),
    ]


def test_a_model_from_scratch_has_positions_for_the_longest_training(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    scratch = "model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 2}, max_length: 256}\n"
    path.write_text(HEAD + CHAT + scratch + "stages: [{name: one}, {name: two, model: {max_length: 512}}]\n")
    assert json.loads(api.compile(path).files["00-init/config.json"])["max_position_embeddings"] == 512


def test_a_misspelt_stage_to_start_from_is_suggested(tmp_path: Path) -> None:
    stages = "stages: [{name: maths}, {name: two, start_from: math}, {name: three, start_from: bsae}]\n"
    found = findings(tmp_path, CHAT + "model: {base: lab/model}\n" + stages)
    assert [(one.code, one.suggestion) for one in found] == [("R009", "maths"), ("R009", "base")]


def test_what_is_wrong_inside_one_form_of_a_value_is_told_once(tmp_path: Path) -> None:
    stages = "stages: [{name: one, adapter: {rank: 8}}, {name: two, merge: {adapters: {}}}]\n"
    found = findings(tmp_path, CHAT + "model: {base: lab/model}\n" + stages)
    assert [one.message for one in found] == ["stages[1].merge.adapters cannot be a mapping"]


def test_a_code_of_another_kind_is_no_slip_of_a_rule(tmp_path: Path) -> None:
    words = "model: {base: lab/model}\nallow: {T003: reason, l032: reason, L0032: reason}\n"
    assert [(one.code, one.suggestion) for one in findings(tmp_path, CHAT + words)] == [
        ("L001", None),
        ("L001", "L032"),
        ("L001", "L032"),
    ]


def test_the_default_of_a_merge_may_be_written(tmp_path: Path) -> None:
    stages = "stages: [{name: one}, {name: two, start_from: base}, {name: m, merge: {adapters: {one: 1, two: 1}, majority: MAJORITY}}]\n"
    text = CHAT + "model: {base: lab/model}\nadapter: {rank: 8}\n" + stages
    assert findings(tmp_path, text.replace("MAJORITY", "total")) == []
    assert [one.code for one in findings(tmp_path, text.replace("MAJORITY", "frequency"))] == ["P112"]
