"""The run configurations of an evaluation."""

from pathlib import Path
from typing import Any

import pytest
from reading_back import contradictions, read

from recipec.pipeline import Compiled, compile_file, compile_tree
from recipec.source import Source, plain
from recipec.systems import lm_eval
from recipec.yaml_reader import read_text

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.yaml"))


def compiled(evaluate: str, hardware: str = "{gpu: a100-80gb}", more: str = "") -> Compiled:
    text = f"recipe: 1\nname: x\nmodel: {{base: m/m}}\nevaluate: {evaluate}\nhardware: {hardware}\n{more}"
    return compile_tree(read_text(Source("x.yaml", text)))


def configuration(found: Compiled) -> Any:
    return plain(read_text(Source("a.yaml", found.files["10-evaluate-base/lm_eval.yaml"])))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_they_read_back_as_the_plan(recipe: Path) -> None:
    found = compile_file(str(recipe))
    assert found.resolved is not None
    for stage in found.resolved.plan.of_kind("evaluate"):
        said = read(found.files, stage, lm_eval.sheets(stage.body, stage.environment))["lm_eval.yaml"]
        assert contradictions(said, stage) == {}
        assert {"backend", "tasks", "max_length", "precision"} < set(said)


def test_each_back_end_has_its_own_words() -> None:
    hf = configuration(compiled("{tasks: [arc_easy], few_shot: 3, limit: 9}"))
    assert hf["model_args"] == {"pretrained": "m/m", "dtype": "bfloat16", "max_length": 2048}
    assert (hf["device"], hf["num_fewshot"], hf["limit"]) == ("cuda:0", 3, 9)
    vllm = configuration(compiled("{tasks: [arc_easy], backend: vllm}", "{gpu: a100-80gb, per_node: 2}"))
    assert vllm["model_args"] == {
        "pretrained": "m/m",
        "dtype": "bfloat16",
        "max_model_len": 2048,
        "tensor_parallel_size": 2,
    }
    assert set(vllm) & {"device", "num_fewshot", "limit", "wandb_args"} == set()


def test_several_gpus_are_for_vllm_alone() -> None:
    told = compiled("{tasks: [arc_easy]}", "{gpu: a100-80gb, per_node: 2}").findings
    assert [finding.message for finding in told] == ["hardware.per_node has no effect on 10-evaluate-base"]
    assert compiled("{tasks: [arc_easy], backend: vllm}", "{gpu: a100-80gb, per_node: 2}").findings == []


def test_the_tracker_hears_of_the_model() -> None:
    found = configuration(compiled("{tasks: [arc_easy]}", more="track: {wandb: {project: p, entity: e}}\n"))
    assert found["wandb_args"] == {"project": "p", "name": "x-base", "entity": "e"}
