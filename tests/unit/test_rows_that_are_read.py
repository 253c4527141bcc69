"""Rows that stages read without training on them: those that a quantisation learns ranges from, and prompts that are answered."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

RECIPE = """recipe: 1
name: rows
model: {{base: Qwen/Qwen2.5-0.5B-Instruct, max_length: 2048}}
hardware: {{gpu: h100-80gb}}
stages:
  - {{name: own, start_from: base, {stage}}}
"""
SMALL = "quantize: {{scheme: w4a16, calibration: {{{more}data: [{{path: rows.jsonl, format: chat}}]}}}}"
ASKED = "generate: {prompts: [{path: rows.jsonl, format: prompt}]}"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def turns(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"What is {number}?"},
            {"role": "assistant", "content": f"It is {number}."},
        ]
    }


def told(rows: list[Any], stage: str) -> dict[str, str]:
    """Return what is marked for each code."""
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = compile_tree(read_text(Source("rows.yaml", RECIPE.format(stage=stage)))).findings
    marks = [(one.code, one.span) for one in found if one.code.startswith("D")]
    return {code: span.source.text[slice(*span.offsets())] for code, span in marks if span is not None}


def test_rows_of_another_shape_are_found() -> None:
    bare = [{"text": f"row {number}"} for number in range(600)]
    assert told(bare, SMALL.format(more="")) == {"D003": "rows.jsonl"}
    assert told(bare, ASKED) == {"D003": "rows.jsonl"}
    assert told([{"prompt": "What is 2?"}, {"prompt": "What is 3?"}], ASKED) == {}


@pytest.mark.parametrize(("rows", "few"), [(511, True), (512, False)])
def test_fewer_rows_than_are_to_be_read_are_told(rows: int, few: bool) -> None:
    made = [turns(number) for number in range(rows)]
    assert told(made, SMALL.format(more="")) == ({"D037": "rows.jsonl"} if few else {})


@pytest.mark.parametrize(("wanted", "few"), [(8, False), (9, True)])
def test_the_number_is_blamed_where_it_is_written(wanted: int, few: bool) -> None:
    made = [turns(number) for number in range(8)]
    assert told(made, SMALL.format(more=f"rows: {wanted}, ")) == ({"D037": str(wanted)} if few else {})


def test_a_file_that_is_cut_short_is_found() -> None:
    Path("rows.jsonl").write_text('{"messages": [{"role": "user", ', encoding="utf-8")
    found = compile_tree(read_text(Source("rows.yaml", RECIPE.format(stage=SMALL.format(more=""))))).findings
    assert "D001" in {one.code for one in found}
