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
    return plain(read_text(Source("a.yaml", found.files["evaluate-base/lm_eval.yaml"])))


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
    assert hf["model_args"] == {"pretrained": "m/m", "dtype": "bfloat16"}  # the length is the model's own
    assert (hf["device"], hf["num_fewshot"], hf["limit"]) == ("cuda:0", 3, 9)
    vllm = configuration(compiled("{tasks: [arc_easy], backend: vllm}", "{gpu: a100-80gb, per_node: 2}"))
    assert vllm["model_args"] == {
        "pretrained": "m/m",
        "dtype": "bfloat16",
        "tensor_parallel_size": 2,
    }
    assert set(vllm) & {"device", "num_fewshot", "limit", "wandb_args"} == set()


def of(base: str, backend: str, hardware: str, more: str = "") -> tuple[Any, Compiled]:
    text = f"recipe: 1\nname: x\nmodel: {{base: {base}{more}}}\nhardware: {hardware}\n"
    found = compile_tree(read_text(Source("x.yaml", f"{text}evaluate: {{tasks: [gsm8k], backend: {backend}}}\n")))
    assert [one.message for one in found.findings] == []
    return configuration(found)["model_args"], found


@pytest.mark.parametrize(
    ("base", "gpus", "copies", "split"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "{gpu: h100-80gb, per_node: 8}", 8, 1),
        ("meta-llama/Meta-Llama-3-70B", "{gpu: h100-80gb, per_node: 8}", 4, 2),
        ("meta-llama/Meta-Llama-3-70B", "{gpu: a100-40gb, per_node: 4}", 1, 4),
        ("m/m", "{gpu: a100-80gb, per_node: 2}", 2, 1),
        ("m/m", "{gpu: a100-80gb}", 1, 1),
    ],
)
def test_transformers_holds_a_copy_on_as_few_gpus_as_it_fits(base: str, gpus: str, copies: int, split: int) -> None:
    arguments, found = of(base, "hf", gpus)
    assert arguments.get("parallelize", False) is (split > 1)
    script = found.files["evaluate-base/run.sh"]
    assert found.resolved is not None
    (stage,) = found.resolved.plan.stages
    assert (stage.body.copies, stage.body.gpus_per_copy) == (copies, split)
    assert stage.resources.per_node == copies * split
    if copies == 1:
        assert "lm-eval run --config" in script
        assert "evaluate-base/accelerate.yaml" not in found.files
        return
    launcher = plain(read_text(Source("a.yaml", found.files["evaluate-base/accelerate.yaml"])))
    assert isinstance(launcher, dict)
    assert (launcher["num_processes"], launcher["distributed_type"]) == (copies, "MULTI_GPU")
    assert "accelerate launch --config_file" in script
    assert "-m lm_eval run --config" in script


@pytest.mark.parametrize(
    ("base", "per_node", "split", "copies"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 8, 4, 2),  # 28 heads
        ("Qwen/Qwen2.5-0.5B", 8, 2, 4),  # 14 heads, 2 of keys and values
        ("meta-llama/Meta-Llama-3-8B", 8, 8, 1),
        ("meta-llama/Llama-3.2-3B", 6, 2, 3),  # 24 heads go into 6, the 8 of keys and values do not
        ("m/m", 8, 8, 1),
    ],
)
def test_vllm_splits_over_what_the_heads_allow(base: str, per_node: int, split: int, copies: int) -> None:
    arguments, found = of(base, "vllm", f"{{gpu: h100-80gb, per_node: {per_node}}}")
    assert (arguments["tensor_parallel_size"], arguments.get("data_parallel_size", 1)) == (split, copies)
    (environment,) = [path for path in found.files if path.startswith("environments/")]
    assert environment == f"environments/vllm-0.33.0{'-ray' if copies > 1 else ''}.txt"
    assert ("\nray==" in found.files[environment]) is (copies > 1)


def test_lengths_are_those_of_the_model_or_of_what_tasks_need() -> None:
    assert of("meta-llama/Llama-3.1-8B", "hf", "{gpu: h100-80gb}")[0]["max_length"] == 8192
    assert of("meta-llama/Llama-2-7b-hf", "hf", "{gpu: h100-80gb}")[0]["max_length"] == 4096
    assert of("meta-llama/Llama-3.1-8B", "vllm", "{gpu: h100-80gb}", ", max_length: 1024")[0]["max_model_len"] == 1024
    long = "recipe: 1\nname: x\nmodel: {base: meta-llama/Llama-3.1-8B}\nhardware: {gpu: h100-80gb}\nevaluate: {tasks: [ruler]}\n"
    assert configuration(compile_tree(read_text(Source("x.yaml", long))))["model_args"]["max_length"] == 131072


def test_each_model_is_evaluated_at_the_length_of_its_own_training() -> None:
    text = """recipe: 1
name: x
model: {base: my-lab/my-model, chat_template: chatml}
hardware: {gpu: a100-80gb}
stages:
  - {name: long, model: {max_length: 16384}, data: {train: [{path: a.jsonl, format: chat}]}, train: {learning_rate: 1e-5}}
  - {name: short, model: {max_length: 512}, data: {train: [{path: b.jsonl, format: preference}]}, train: {method: dpo, learning_rate: 1e-6}}
evaluate: {tasks: [gsm8k]}
"""
    found = compile_tree(read_text(Source("x.yaml", text)))
    assert found.resolved is not None
    lengths = {one.body.model.name: one.body.max_length for one in found.resolved.plan.of_kind("evaluate")}
    assert lengths == {"base": 2048, "long": 16384, "short": 512}


def test_a_course_is_a_graph() -> None:
    text = """recipe: 1
name: x
model: {base: my-lab/my-model, max_length: 512, chat_template: chatml}
trainer: trl
hardware: {gpu: a100-80gb}
stages:
  - {name: sft, data: {train: [{path: a.jsonl, format: chat}]}, train: {learning_rate: 1e-5}}
  - {name: dpo, start_from: sft, data: {train: [{path: b.jsonl, format: preference}]}, train: {method: dpo, learning_rate: 1e-6}}
  - {name: kto, start_from: sft, data: {train: [{path: c.jsonl, format: unpaired-preference}]}, train: {method: kto, learning_rate: 1e-6, micro_batch_size: 2}}
evaluate: {tasks: [gsm8k]}
"""
    found = compile_tree(read_text(Source("x.yaml", text)))
    assert found.resolved is not None
    stages = {one.name: one for one in found.resolved.plan.stages}
    assert stages["kto"].after == ("sft",)
    talks = {name: one.body.model.chat_template for name, one in stages.items() if one.kind == "evaluate"}
    assert talks == {"evaluate-base": True, "evaluate-sft": True, "evaluate-dpo": True, "evaluate-kto": True}


@pytest.mark.parametrize(
    ("base", "tasks", "talks"),
    [
        ("Qwen/Qwen2.5-3B-Instruct", "ifeval", True),
        ("Qwen/Qwen2.5-3B-Instruct", "'ifeval,arc_challenge_chat'", True),
        ("Qwen/Qwen2.5-3B-Instruct", "ifeval, mmlu", False),
        ("Qwen/Qwen2.5-3B", "ifeval", False),
        ("my-lab/my-model", "ifeval", False),
    ],
)
def test_a_model_that_follows_instructions_is_asked_as_one(base: str, tasks: str, talks: bool) -> None:
    text = f"""recipe: 1
name: x
model: {{base: {base}, max_length: 512}}
adapter: {{rank: 16}}
hardware: {{gpu: a100-80gb}}
data: {{train: [{{path: a.jsonl, format: completion}}]}}
train: {{learning_rate: 1e-4}}
evaluate: {{tasks: [{tasks}]}}
"""
    found = compile_tree(read_text(Source("x.yaml", text)))
    assert found.resolved is not None
    assert [one.body.model.chat_template for one in found.resolved.plan.of_kind("evaluate")] == [talks, talks]


def test_the_tracker_hears_of_the_model() -> None:
    found = configuration(compiled("{tasks: [arc_easy]}", more="track: {wandb: {project: p, entity: e}}\n"))
    assert found["wandb_args"] == {"project": "p", "name": "x-evaluate-base", "entity": "e", "group": "x"}


def test_the_words_of_a_model_act_where_nothing_is_trained() -> None:
    text = "recipe: 1\nname: x\nhardware: {gpu: a100-80gb}\nmodel: {base: m/m, load_in: fp16, attention: eager}\n"
    hf, vllm = (
        compile_tree(read_text(Source("x.yaml", f"{text}evaluate: {{tasks: [arc_easy], backend: {backend}}}\n")))
        for backend in ("hf", "vllm")
    )
    assert (
        configuration(hf)["model_args"] | {"dtype": "float16", "attn_implementation": "eager"}
        == configuration(hf)["model_args"]
    )
    assert [finding.message for finding in vllm.findings] == ["model.attention has no effect on evaluate-base"]
    quantised = compile_tree(
        read_text(Source("x.yaml", text.replace("fp16", "nf4") + "evaluate: {tasks: [arc_easy]}\n"))
    )
    assert [finding.message for finding in quantised.findings] == ["model.load_in has no effect on evaluate-base"]
