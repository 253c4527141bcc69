"""`quantize`: what is decided, emitted, read and handed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipec import manifest
from recipec.facts.schemes import schemes
from recipec.language.quantize import Scheme
from recipec.pipeline import Compiled, compile_file
from recipec.plan import Stage

RECIPE = """\
recipe: 1
name: small
trainer: trl
model: {base: Qwen/Qwen2.5-7B-Instruct, max_length: 4096}
data: {train: [{path: chat.jsonl, format: chat}]}
train: {epochs: 1, batch_size: 64, micro_batch_size: 4, learning_rate: 1e-5}
hardware: {gpu: h100-80gb, per_node: 4}
stages:
  - {name: sft, adapter: {rank: 16}}
"""
ROW = {"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat.jsonl").write_text(f"{json.dumps(ROW)}\n" * 2000)
    return tmp_path


def compiled(*stages: str, more: str = "", text: str = RECIPE) -> Compiled:
    Path("recipe.yaml").write_text(text + "".join(f"  - {stage}\n" for stage in stages) + more)
    found = compile_file("recipe.yaml")
    assert found.files, [f"{one.code} {one.message}" for one in found.findings]
    return found


def stages(found: Compiled) -> dict[str, Stage[Any]]:
    return {stage.name: stage for stage in manifest.read(found.files[manifest.FILE]).plan.stages}


def codes(*stages: str, more: str = "", text: str = RECIPE) -> list[str]:
    Path("recipe.yaml").write_text(text + "".join(f"  - {stage}\n" for stage in stages) + more)
    return [one.code for one in compile_file("recipe.yaml").findings if not one.code.startswith("D")]  # of its rows


def modifiers(found: Compiled, name: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    read = YAML(typ="safe").load(found.files[f"{name}/llmcompressor.yaml"])
    whole: dict[str, Any] = read["quantization_stage"]["quantization_modifiers"]
    return whole


def settings(found: Compiled, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(found.files[f"{name}/quantize.json"])
    return read


def test_an_adapter_is_merged_first_and_once() -> None:
    found = compiled("{name: a, quantize: {scheme: w4a16}}", "{name: b, start_from: sft, quantize: {scheme: fp8}}")
    there = stages(found)
    assert list(there) == ["sft", "sft-merge", "a", "b"]
    assert (there["a"].after, there["b"].after) == (("sft-merge",), ("sft-merge",))
    assert there["a"].body.path == there["b"].body.path == "runs/small/sft-merge"
    assert there["a"].body.precision == "bf16"
    [left] = there["a"].outputs
    assert (left.form, left.scheme, left.format, left.adapter) == ("quantised", "w4a16", "compressed-tensors", None)
    assert there["a"].resources.per_node == 1
    assert 'export CUDA_VISIBLE_DEVICES="${gpu%%,*}"' in found.files["a/run.sh"]


def test_the_adapter_stays_what_its_name_means() -> None:
    found = stages(compiled("{name: a, quantize: {scheme: fp8}}", "{name: merged, merge: sft}", more="evaluate: {tasks: [gsm8k], models: [sft]}\n"))  # fmt: skip
    assert found["merged"].body.adapter == "runs/small/sft"
    assert found["evaluate-sft"].body.model.adapter == "runs/small/sft"


def test_weights_that_are_trained_in_full_need_no_merge() -> None:
    there = stages(compiled("{name: a, quantize: {scheme: fp8}}", text=RECIPE.replace(", adapter: {rank: 16}", "")))
    assert list(there) == ["sft", "a"]


def test_a_model_of_the_hub_is_quantised_without_a_training() -> None:
    head = RECIPE.partition("data:")[0].replace("trainer: trl\n", "") + "hardware: {gpu: h100-80gb}\nstages:\n"
    rows = "{path: chat.jsonl, format: chat}"
    there = stages(compiled(f"{{name: a, quantize: {{scheme: w4a16, calibration: {{data: [{rows}]}}}}}}", text=head))
    assert list(there) == ["a"]
    assert [one.path for one in there["a"].reads] == ["chat.jsonl", "Qwen/Qwen2.5-7B-Instruct"]
    assert "P267" in codes("{name: a, quantize: {scheme: w4a16}}", text=head)
    assert codes("{name: a, quantize: {scheme: fp8}}", text=head) == []


def test_it_reads_what_the_model_was_trained_on_last() -> None:
    (Path("pairs.jsonl")).write_text('{"prompt": "1?", "chosen": "1", "rejected": "2"}\n' * 200)
    dpo = "{name: dpo, parent_adapter: merge, adapter: {rank: 8}, data: {train: [{path: pairs.jsonl, format: preference, columns: {prompt: prompt}}]}, train: {method: dpo}}"
    found = compiled(
        dpo, "{name: a, quantize: {scheme: w4a16}}", "{name: b, start_from: sft, quantize: {scheme: w4a16}}"
    )
    assert [one["path"] for one in settings(found, "a")["sources"]] == ["pairs.jsonl"]
    assert [one["path"] for one in settings(found, "b")["sources"]] == ["chat.jsonl"]
    assert (settings(found, "a")["rows"], settings(found, "a")["max_length"], settings(found, "a")["measure"]) == (512, 2048, 64)  # fmt: skip
    assert [one.path for one in stages(found)["b"].reads] == ["chat.jsonl"]


def test_what_no_rows_are_needed_for_reads_none_and_is_measured_all_the_same() -> None:
    found = compiled("{name: a, quantize: {scheme: fp8}}", "{name: b, start_from: sft, quantize: {scheme: fp8-static}}")
    assert (settings(found, "a")["rows"], settings(found, "a")["measure"]) == (0, 64)
    assert settings(found, "b")["rows"] == 512  # the ranges of activations


@pytest.mark.parametrize("scheme", schemes())
def test_each_scheme_is_said_as_llm_compressor_has_it(scheme: str) -> None:
    found = compiled(f"{{name: a, quantize: {{scheme: {scheme}}}}}", more="allow: {scheme-without-its-speed: on others}\n" * (scheme == "nvfp4"))  # fmt: skip
    said = modifiers(found, "a")
    whole = schemes()[scheme].number == "whole"
    own = said["GPTQModifier" if whole else "QuantizationModifier"]
    assert own["ignore"] == ["lm_head", r"re:.*\.(gate|router)$"]
    if schemes()[scheme].groups:
        weights = own["config_groups"]["group_0"]["weights"]
        group = {"strategy": "group", "group_size": 128} if scheme == "w4a16" else {"strategy": "channel"}
        assert weights == {"num_bits": schemes()[scheme].weights, "type": "int", "symmetric": True, **group}
    else:
        assert own["scheme"] == schemes()[scheme].preset
    assert ("SmoothQuantModifier" in said) == (scheme == "w8a8")
    assert (own.get("dampening_frac"), own.get("actorder")) == ((0.01, "static") if whole else (None, None))


def test_awq_scales_and_another_modifier_rounds() -> None:
    said = modifiers(compiled("{name: a, quantize: {scheme: w4a16, method: awq, group_size: 64}}"), "a")
    assert list(said) == ["AWQModifier", "QuantizationModifier"]
    assert said["AWQModifier"]["offload_device"] == "cpu"  # the rows' activations of a layer do not stay on the GPU
    on_cpu = compiled("{name: a, quantize: {scheme: w4a16, method: awq}, hardware: {gpu: none, per_node: 1}}")
    assert "offload_device" not in modifiers(on_cpu, "a")["AWQModifier"]
    weights = said["QuantizationModifier"]["config_groups"]["group_0"]["weights"]
    assert (weights["symmetric"], weights["group_size"]) == (False, 64)


def test_every_word_is_said_to_gptqmodel() -> None:
    words = "scheme: w4a16, tool: gptqmodel, group_size: channel, symmetric: false, act_order: group, damping: 0.1"
    found = compiled(f"{{name: a, quantize: {{{words}, ignore: [lm_head, model.layers.0, 're:.*down_proj$']}}}}")
    assert json.loads(found.files["a/gptqmodel.json"]) == {
        "method": "gptq",
        "format": "gptq",
        "bits": 4,
        "group_size": -1,
        "sym": False,
        "desc_act": True,
        "act_group_aware": False,
        "damp_percent": 0.1,
        "dynamic": {r"-:model\.layers\.0": {}, "-:.*down_proj$": {}},
    }
    awq = compiled("{name: a, quantize: {scheme: w4a16, tool: gptqmodel, method: awq}}")
    assert json.loads(awq.files["a/gptqmodel.json"]) == {
        "method": "awq",
        "format": "gemm",
        "bits": 4,
        "group_size": 128,
        "sym": False,
        "dynamic": {r"-:.*\.(gate|router)$": {}},
    }


def test_models_that_are_compared_are_evaluated_by_one_release() -> None:
    trained = stages(compiled(more="evaluate: {tasks: [gsm8k]}\n"))
    assert {one.environment for one in trained.values()} == {"trl-1.16.0"}
    both = stages(compiled("{name: a, quantize: {scheme: fp8}}", more="evaluate: {tasks: [gsm8k]}\n"))
    found = {name: one.environment for name, one in both.items() if one.kind == "evaluate"}
    assert found == dict.fromkeys(["evaluate-base", "evaluate-sft", "evaluate-a"], "llmcompressor-0.14.0.1")
    assert both["sft-merge"].environment == "trl-1.16.0"
    second = stages(
        compiled("{name: a, quantize: {scheme: w4a16, tool: gptqmodel}}", more="evaluate: {tasks: [gsm8k]}\n")
    )
    assert second["evaluate-a"].environment == second["evaluate-base"].environment == "gptqmodel-7.6.0"


def test_it_writes_rows_in_an_environment_that_can_load_it() -> None:
    Path("asked.jsonl").write_text('{"prompt": "1?"}\n' * 20)
    asked = "{name: b, generate: {prompts: [{path: asked.jsonl, format: prompt}]}}"
    there = stages(compiled("{name: a, quantize: {scheme: w4a16, tool: gptqmodel}}", asked))
    assert there["b"].environment == "gptqmodel-7.6.0"


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        ("{name: b, start_from: a, quantize: {scheme: fp8}}", "P265"),
        ("{name: b, start_from: a, train: {learning_rate: 1e-6}}", "P266"),
        ("{name: b, start_from: a, adapter: {rank: 4}}", "P266"),
        ("{name: b, start_from: sft, quantize: {scheme: fp8, group_size: 64}}", "P268"),
        ("{name: b, start_from: sft, quantize: {scheme: fp8, symmetric: false}}", "P268"),
        ("{name: b, start_from: sft, quantize: {scheme: w4a16, method: awq, damping: 0.1}}", "P268"),
        ("{name: b, start_from: sft, quantize: {scheme: w4a16, method: round, act_order: group}}", "P268"),
        ("{name: b, start_from: sft, quantize: {scheme: w4a16, smoothing: 0.5}}", "P268"),
        ("{name: b, start_from: sft, quantize: {scheme: fp8, calibration: {rows: 64}}}", "P268"),
        ("{name: b, start_from: sft, quantize: {scheme: w4a16, group_size: 48}}", "P269"),
        ("{name: b, start_from: sft, quantize: {scheme: w8a8}, hardware: {gpu: b200-180gb, per_node: 1}}", "P270"),
        ("{name: b, start_from: sft, quantize: {scheme: w4a16}, hardware: {gpu: v100-32gb, per_node: 1}}", "P270"),
        ("{name: b, start_from: sft, quantize: {scheme: fp8}, hardware: {gpu: a100-80gb, per_node: 1}}", "P274"),
        ("{name: b, start_from: sft, quantize: {scheme: fp8-block}, hardware: {gpu: l4, per_node: 1}}", "P274"),
        ("{name: b, start_from: sft, quantize: {scheme: nvfp4}}", "P274"),
        ("{name: b, start_from: sft, quantize: {scheme: fp8, method: awq}}", "T001"),
        ("{name: b, start_from: sft, quantize: {scheme: fp8, tool: gptqmodel}}", "T001"),
        ("{name: b, start_from: sft, quantize: {scheme: w8a16, method: awq, tool: gptqmodel}}", "T001"),
        ("{name: b, start_from: sft, quantize: {scheme: w4a16, method: round, tool: gptqmodel}}", "T001"),
        ("{name: b, start_from: sft, quantize: {scheme: w4a16, ignore: [x], tool: gptqmodel}}", "T001"),
    ],
)
def test_what_cannot_hold_together_is_told(stage: str, code: str) -> None:
    found = codes("{name: a, start_from: sft, quantize: {scheme: w4a16}}", stage)
    assert found == [code], found


@pytest.mark.parametrize(
    "stage",
    [
        "{name: b, start_from: sft, quantize: {scheme: w8a8}, hardware: {gpu: l4, per_node: 1}}",
        "{name: b, start_from: sft, quantize: {scheme: w4a16}, hardware: {gpu: t4, per_node: 1}}",
        "{name: b, start_from: sft, quantize: {scheme: fp8}, hardware: {gpu: l4, per_node: 1}}",
        "{name: b, start_from: sft, quantize: {scheme: nvfp4}, hardware: {gpu: b200-180gb, per_node: 1}}",
        "{name: b, start_from: sft, quantize: {scheme: nvfp4a16}, hardware: {gpu: a100-80gb, per_node: 1}}",
        "{name: b, start_from: sft, quantize: {scheme: w8a8, smoothing: 0, method: round}}",
        "{name: b, start_from: sft, quantize: {scheme: w4a16, method: round, measure: 0}}",
        "{name: b, start_from: sft, quantize: {scheme: w4a16}, hardware: {gpu: none, per_node: 1}}",
    ],
)
def test_what_is_right_is_not_complained_of(stage: str) -> None:
    assert codes(stage) == []


def test_half_of_unpaired_answers_are_not_read() -> None:
    Path("judged.jsonl").write_text('{"prompt": "1?", "completion": "1", "label": true}\n' * 200)
    kto = RECIPE.replace("data: {train: [{path: chat.jsonl, format: chat}]}", "data: {train: [{path: judged.jsonl, format: unpaired-preference}]}")  # fmt: skip
    kto = kto.replace("1e-5}", "1e-5, method: kto}")
    assert "P267" in codes("{name: a, quantize: {scheme: w4a16}}", text=kto)
    said = (
        "{name: a, quantize: {scheme: w4a16, calibration: {data: [{path: judged.jsonl, format: unpaired-preference}]}}}"
    )
    assert codes(said) == ["P267"]


def test_a_reward_model_is_not_quantised_as_one_that_writes() -> None:
    Path("pairs.jsonl").write_text('{"prompt": "1?", "chosen": "1", "rejected": "2"}\n' * 200)
    judge = "{name: judge, start_from: base, adapter: {rank: 8}, train: {method: reward}, data: {train: [{path: pairs.jsonl, format: preference, columns: {prompt: prompt}}]}}"  # fmt: skip
    assert codes(judge, "{name: a, start_from: judge, quantize: {scheme: fp8}}") == ["P283"]


def test_what_is_ignored_is_a_name_or_a_pattern() -> None:
    assert codes("{name: a, quantize: {scheme: fp8, ignore: [lm_head, 're:.*gate$(']}}") == ["P268"]


def test_groups_are_judged_by_the_widths_of_the_model() -> None:
    text = RECIPE.replace(
        "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"
    )  # 896 = 7 × 128 wide, 4,864 = 38 × 128 inside
    assert codes("{name: a, quantize: {scheme: w4a16}}", text=text) == []
    text = RECIPE.replace("Qwen/Qwen2.5-7B-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct")  # 576 = 4.5 × 128
    Path("recipe.yaml").write_text(text + "  - {name: a, quantize: {scheme: w4a16}}\n")
    [found] = [one for one in compile_file("recipe.yaml").findings if one.code == "P269"]
    assert found.message == "groups of 128 weights do not divide the hidden state of 576, the heads of 576"
    assert found.help == "use 64"
    assert codes("{name: a, quantize: {scheme: w4a16, group_size: 64}}", text=text) == []


def test_the_language_and_the_facts_know_the_same_schemes() -> None:
    assert set(schemes()) == set(Scheme.__args__)
    for one in schemes().values():
        assert one.groups == (one.preset is None)
        assert one.least <= one.full


@pytest.mark.parametrize("scheme", schemes())
def test_each_scheme_is_served_and_computed_from_its_bounds_on(scheme: str) -> None:
    one = schemes()[scheme]
    assert not one.served(one.least - 1)
    assert one.served(one.least)
    assert not one.computed(one.full - 1)
    assert one.computed(one.full)
    last = one.below if one.below is not None else 1000
    assert one.served(last - 1)
    assert one.computed(last - 1)
    assert one.served(last) == one.computed(last) == (one.below is None)
