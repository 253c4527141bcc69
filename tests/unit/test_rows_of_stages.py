"""Rows that one stage makes and another trains on, and evaluations in the middle of a course."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source
from recipec.systems.generate_rows import SCRIPT
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parent.parent.parent
HEAD = """recipe: 1
name: course
model: {base: Qwen/Qwen2.5-0.5B-Instruct, max_length: 1024}
hardware: {gpu: a100-80gb, per_node: GPUS}
trainer: trl
train: {batch_size: 8}
"""


def compiled(stages: str, gpus: int = 1) -> Compiled:
    return compile_tree(read_text(Source("course.yaml", HEAD.replace("GPUS", str(gpus)) + stages)))


def documented() -> str:
    """The course of the documentation."""
    text = (ROOT / "docs" / "courses.md").read_text(encoding="utf-8")
    found = re.findall(r"```yaml\n(stages:\n.*?)```", text, re.DOTALL)
    return str(found[0])


def test_a_stage_waits_for_the_rows_and_the_model_that_it_takes() -> None:
    found = compiled(documented())
    assert found.findings == []
    assert found.resolved is not None
    stages = {stage.name: stage for stage in found.resolved.plan.stages}
    assert {name: stage.after for name, stage in stages.items()} == {
        "sft": (),
        "pairs": ("sft",),
        "dpo": ("sft", "pairs"),
        "checked": ("dpo",),
    }
    (rows,) = stages["pairs"].outputs
    assert (rows.place, rows.format) == ("runs/course/pairs/rows.jsonl", "preference")
    assert [read.path for read in stages["pairs"].reads] == ["data/questions.jsonl"]
    assert [read.path for read in stages["dpo"].reads] == []
    assert stages["checked"].body.model.path == "runs/course/dpo"
    settings = json.loads(found.files["dpo/settings.json"])
    assert [source["path"] for source in settings["train"]] == ["runs/course/pairs/rows.jsonl"]
    made = json.loads(found.files["pairs/generate.json"])
    assert (made["model"], made["completions"], made["margin"]) == ("runs/course/sft", 8, 0.5)
    assert made["rewards"] == [{"function": "exact_answer", "weight": 2.0}, {"function": "short_enough", "weight": 1.0}]
    assert "def exact_answer" in found.files["pairs/rewards.py"]


def test_each_gpu_answers_a_share_of_the_prompts() -> None:
    stages = "stages: [{name: rows, generate: {prompts: [{path: q.jsonl, format: prompt}]}}]\n"
    head = HEAD.partition("trainer")[0]
    trees = (read_text(Source("rows.yaml", head.replace("GPUS", gpus) + stages)) for gpus in ("1", "4"))
    one, several = (compile_tree(tree).files["rows/run.sh"] for tree in trees)
    assert 'exec python "$here/generate_rows.py"' in one
    assert "torchrun --standalone --nproc_per_node 4" in several


def test_adapters_are_asked_over_their_base() -> None:
    stages = """stages:
  - {name: sft, adapter: {rank: 8}, data: {train: [{path: chat.jsonl, format: chat}]}, train: {learning_rate: 1e-4}}
  - {name: rows, generate: {prompts: [{path: q.jsonl, format: prompt}]}}
"""
    made = json.loads(compiled(stages).files["rows/generate.json"])
    assert (made["model"], made["adapter"]) == ("Qwen/Qwen2.5-0.5B-Instruct", "runs/course/sft")


def test_a_reward_model_of_the_course_judges() -> None:
    stages = """stages:
  - {name: judge, train: {method: reward, learning_rate: 1e-5}, data: {train: [{path: pairs.jsonl, format: preference}]}}
  - name: rows
    start_from: base
    generate: {prompts: [{path: q.jsonl, format: prompt}], min_reward: 0}
    rewards: [{type: model, stage: judge}]
"""
    found = compiled(stages)
    assert found.findings == []
    assert found.resolved is not None
    assert found.resolved.plan.stages[-1].after == ("judge",)
    assert json.loads(found.files["rows/generate.json"])["rewards"] == [{"model": "runs/course/judge", "weight": 1.0}]
    assert "rows/rewards.py" not in found.files


def test_what_leaves_no_model_cannot_be_started_from() -> None:
    stages = documented().replace("start_from: sft", "start_from: pairs")
    (finding,) = compiled(stages).findings
    assert (finding.code, finding.message) == ("R009", '"pairs" leaves no model')
    assert finding.help == "stages before it that do: sft"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The script that generates rows, of which these functions need no torch."""
    path = ROOT / "compiler" / "recipec" / "systems" / "scripts" / SCRIPT
    spec = importlib.util.spec_from_file_location("generate_rows", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TURNS = [{"role": "user", "content": "q"}]
ANSWERS = [("good", 1.0), ("bad", 0.25), ("fair", 0.75)]
CASES: list[tuple[dict[str, Any], list[Any], list[tuple[str, ...]]]] = [
    ({"makes": "chat", "keep": "all"}, ANSWERS, [("good",), ("bad",), ("fair",)]),
    ({"makes": "chat", "keep": "all", "min_reward": 0.75}, ANSWERS, [("good",), ("fair",)]),
    ({"makes": "chat", "keep": "best"}, ANSWERS, [("good",)]),
    ({"makes": "chat", "keep": "best", "min_reward": 1.1}, ANSWERS, []),
    ({"makes": "chat", "keep": "all"}, [("a", None), ("b", None)], [("a",), ("b",)]),
    ({"makes": "preference", "keep": "best"}, ANSWERS, [("good", "bad")]),
    ({"makes": "preference", "keep": "best", "margin": 0.75}, ANSWERS, [("good", "bad")]),
    ({"makes": "preference", "keep": "best", "margin": 0.76}, ANSWERS, []),
    ({"makes": "preference", "keep": "best", "min_reward": 1.0}, ANSWERS, [("good", "bad")]),
    ({"makes": "preference", "keep": "best", "min_reward": 1.01}, ANSWERS, []),
    ({"makes": "preference", "keep": "best"}, [("a", 1.0), ("b", 1.0)], []),
    ({"makes": "preference", "keep": "best"}, [("a", 1.0)], []),
]


@pytest.mark.parametrize(("settings", "answers", "expected"), CASES)
def test_which_answers_become_rows(
    settings: dict[str, Any], answers: list[Any], expected: list[tuple[str, ...]], program: ModuleType
) -> None:
    rows = program.chosen(settings, TURNS, answers)
    if settings["makes"] == "chat":
        assert [(row["messages"][-1]["content"],) for row in rows] == expected
        assert all(row["messages"][:-1] == TURNS for row in rows)
    else:
        assert [(row["chosen"]["content"], row["rejected"]["content"]) for row in rows] == expected
        assert all(row["messages"] == TURNS for row in rows)


def test_what_becomes_of_answers_is_counted(program: ModuleType, tmp_path: Path) -> None:
    part = tmp_path / "answers.jsonl"
    ones = [{"text": text, "whole": text != "cut"} for text in ("yes", "cut", " ", "yes", "no")]
    part.write_text(json.dumps({"answers": {"1": ones}, "long": 1}) + "\n")
    prompts = [{"turns": TURNS, "text": None, "columns": {}}] * 2
    settings = {"makes": "chat", "keep": "all", "keep_truncated": False, "rewards": []}
    rows, count = program.rows_of(settings, prompts, [part, tmp_path / "none.jsonl"], "cpu")
    assert [row["messages"][-1]["content"] for row in rows] == ["yes", "no"]
    assert count == {
        "prompts": 2,
        "prompts too long": 1,
        "answers": 5,
        "answers cut off": 1,
        "answers empty": 1,
        "answers repeated": 1,
        "rows": 2,
    }


def test_a_batch_that_was_cut_short_is_answered_again(program: ModuleType, tmp_path: Path) -> None:
    part = tmp_path / "answers.jsonl"
    assert program.whole_lines(part) == 0
    part.write_text('{"answers": {}}\n{"answers": {}}\n{"answ')
    assert program.whole_lines(part) == 2
    assert part.read_text() == '{"answers": {}}\n{"answers": {}}\n'
