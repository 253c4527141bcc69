"""An adapter that is stacked on its parent: the stages that come of it, and what everybody behind takes."""

import json
from typing import Any

import pytest

from recipec.pipeline import Compiled, compile_tree
from recipec.plan import ModelOutput, Stage
from recipec.source import Source
from recipec.yaml_reader import read_text

RECIPE: dict[str, Any] = {
    "recipe": 1,
    "name": "stacked",
    "trainer": "trl",
    "model": {"base": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "abc", "max_length": 512},
    "hardware": {"gpu": "a100-80gb"},
    "train": {"batch_size": 8, "learning_rate": 1e-4},
}
SFT = {
    "name": "sft",
    "adapter": {"rank": 16, "targets": ["q_proj", "v_proj"]},
    "data": {"train": [{"path": "a.jsonl", "format": "chat"}]},
}
DPO: dict[str, Any] = {
    "name": "dpo",
    "parent_adapter": "stack",
    "adapter": {"rank": 8, "targets": ["q_proj", "o_proj"]},
    "data": {"train": [{"path": "b.jsonl", "format": "preference"}]},
    "train": {"method": "dpo", "learning_rate": 1e-6},
}
MORE = {"name": "more", "data": SFT["data"], "start_from": "dpo"}
BASE, STACK = "Qwen/Qwen2.5-0.5B-Instruct", "runs/stacked/dpo-stack"


def compiled(*stages: dict[str, Any], **more: Any) -> Compiled:
    return compile_tree(read_text(Source("stacked.yaml", json.dumps(RECIPE | {"stages": stages} | more))))


def made(*stages: dict[str, Any], **more: Any) -> dict[str, Stage[Any]]:
    found = compiled(*stages, **more)
    assert [one for one in found.findings if one.severity == "error"] == []
    assert found.resolved is not None
    return {stage.name: stage for stage in found.resolved.plan.stages}


def codes(*stages: dict[str, Any], **more: Any) -> list[str]:
    return [one.code for one in compiled(*stages, **more).findings if one.severity != "note"]


def test_it_is_trained_over_the_merged_parent_and_handed_on_over_the_base() -> None:
    stages = made(SFT, DPO)
    assert list(stages) == ["sft", "sft-merge", "dpo", "dpo-stack"]
    assert stages["dpo"].body.model.path == "runs/stacked/sft-merge"
    assert stages["dpo"].body.adapter.start_from is None
    body = stages["dpo-stack"].body
    assert (body.base, body.revision, body.parent, body.adapter) == (
        BASE,
        "abc",
        "runs/stacked/sft",
        "runs/stacked/dpo",
    )
    assert stages["dpo-stack"].after == ("dpo", "sft")
    left = stages["dpo-stack"].outputs[0]
    assert isinstance(left, ModelOutput)
    assert (left.form, left.path, left.revision, left.adapter) == ("adapter", BASE, "abc", STACK)


def test_the_parent_is_merged_once() -> None:
    merged = {**DPO, "name": "other", "start_from": "sft", "parent_adapter": "merge"}
    assert list(made(SFT, DPO, merged)) == ["sft", "sft-merge", "dpo", "dpo-stack", "other"]


def test_whoever_names_it_takes_the_stack() -> None:
    stages = made(SFT, DPO, {"name": "whole", "merge": "dpo"}, evaluate={"tasks": ["gsm8k"]})
    assert (stages["whole"].body.base, stages["whole"].body.adapter) == (BASE, STACK)
    subject = stages["evaluate-dpo"].body.model
    assert (subject.path, subject.adapter, subject.tokenizer) == (BASE, STACK, STACK)
    assert stages["evaluate-dpo"].after == ("dpo-stack",)


@pytest.mark.parametrize("how", ["merge", "continue", "stack"])
def test_it_can_be_a_parent_again(how: str) -> None:
    shape = {"rank": 24, "alpha": 24, "targets": ["q_proj", "v_proj", "o_proj"]}
    stages = made(SFT, DPO, {**MORE, "parent_adapter": how, "adapter": shape})
    trained, waits = stages["more"].body, stages["more"].after
    if how == "continue":
        assert (trained.model.path, trained.adapter.start_from, waits) == (BASE, STACK, ("dpo-stack",))
    else:
        assert (trained.model.path, trained.adapter.start_from) == ("runs/stacked/dpo-merge", None)
        assert stages["dpo-merge"].body.adapter == STACK
    if how == "stack":
        assert stages["more-stack"].body.parent == STACK


def test_what_continues_it_has_its_shape() -> None:
    wrong = compiled(SFT, DPO, {**MORE, "parent_adapter": "continue", "adapter": DPO["adapter"]})
    told = {one.code: one for one in wrong.findings}
    assert "make it 24" in str(told["P117"].help)
    right = {"rank": 24, "alpha": 24, "targets": ["q_proj", "v_proj", "o_proj"]}
    plan = compiled(SFT, DPO, {**MORE, "parent_adapter": "continue", "adapter": right}).files["PLAN.md"]
    assert f"a LoRA adapter of rank 24, alpha 24, continuing `{STACK}` on `q_proj`, `v_proj`, `o_proj`" in plan


def test_its_rank_counts_where_ranks_are_limited() -> None:
    evaluated = {"evaluate": {"tasks": ["gsm8k"], "backend": "vllm", "models": ["dpo"]}}
    assert "L047" in codes(SFT, DPO, **evaluated)
    low = [{**stage, "adapter": {"rank": 8}} for stage in (SFT, DPO)]
    assert "L047" not in codes(*low, **evaluated)


def test_the_plan_says_what_is_made_of_what() -> None:
    plan = compiled(SFT, DPO).files["PLAN.md"]
    assert f"stacks the adapter `runs/stacked/dpo` on `runs/stacked/sft`: one over `{BASE}`, by PEFT" in plan


def test_merged_at_once_it_is_whole() -> None:
    stages = made(SFT, {**DPO, "adapter": {"rank": 8, "merge": True}})
    assert list(stages) == ["sft", "sft-merge", "dpo", "dpo-stack", "dpo-merge"]
    assert stages["dpo-merge"].body.adapter == STACK


def test_its_name_is_taken() -> None:
    assert codes(SFT, DPO, {**MORE, "name": "dpo-stack", "parent_adapter": "merge"}) == ["R009"]
