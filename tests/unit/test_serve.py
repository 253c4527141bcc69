"""`serve`: what is decided, emitted and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec import manifest
from recipec.pipeline import Compiled, compile_file
from recipec.plan import Resources, Stage

RECIPE = """\
recipe: 1
name: shop
trainer: trl
model: {base: Qwen/Qwen2.5-7B-Instruct, max_length: 4096}
data: {train: [{path: chat.jsonl, format: chat}]}
train: {epochs: 1, batch_size: 64, micro_batch_size: 4, learning_rate: 1e-5}
hardware: {gpu: h100-80gb, per_node: 4}
stages:
  - {name: sft, adapter: {rank: 24}}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compiled(*stages: str, text: str = RECIPE) -> Compiled:
    Path("recipe.yaml").write_text(text + "".join(f"  - {stage}\n" for stage in stages))
    found = compile_file("recipe.yaml")
    assert found.files, [f"{one.code} {one.message}" for one in found.findings]
    return found


def stages(found: Compiled) -> dict[str, Stage[Any]]:
    return {stage.name: stage for stage in manifest.read(found.files[manifest.FILE]).plan.stages}


def told(*given: str, text: str = RECIPE) -> list[str]:
    Path("recipe.yaml").write_text(text + "".join(f"  - {stage}\n" for stage in given))
    return [
        one.code for one in compile_file("recipe.yaml").findings if not one.code.startswith("D")
    ]  # rows are elsewhere


def server(found: Compiled, name: str) -> dict[str, Any]:
    read: dict[str, Any] = YAML(typ="safe").load(found.files[f"{name}/vllm.yaml"])
    return read


def asked(found: Compiled, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(found.files[f"{name}/check.json"])
    return read


def test_an_adapter_is_served_over_its_base() -> None:
    found = compiled(
        "{name: more, start_from: base, adapter: {rank: 8}}",
        "{name: served, start_from: sft, serve: {adapters: [more]}}",
    )
    there = stages(found)
    assert list(there) == ["sft", "more", "served"]  # nothing is merged
    assert there["served"].after == ("sft", "more")
    read = server(found, "served")
    assert (read["model"], read["tokenizer"]) == ("Qwen/Qwen2.5-7B-Instruct", "runs/shop/sft")
    assert read["lora-modules"] == ["sft=runs/shop/sft", "more=runs/shop/more"]
    assert (read["max-lora-rank"], read["max-loras"]) == (32, 2)
    assert asked(found, "served")["models"] == ["sft", "more"]
    assert there["served"].resources == Resources("gpu", "h100-80gb", 1, 4)  # 28 heads over 4 GPUs


def test_on_a_cpu_another_server_stands_in_and_says_so() -> None:
    found = compiled("{name: served, serve: {}, hardware: {gpu: none, per_node: 1}}")
    there = stages(found)
    assert list(there) == ["sft", "sft-merge", "served"]
    assert (there["served"].system, there["served"].environment) == ("transformers_serve", "llmcompressor-0.14.0.1")
    assert asked(found, "served")["server"] == "transformers_serve"
    assert asked(found, "served")["models"] == ["runs/shop/sft-merge"]
    assert "transformers serve runs/shop/sft-merge" in found.files["served/run.sh"]
    assert "transformers serve runs/shop/sft-merge" in found.files["served/serve.sh"]


def test_what_a_quantised_model_is_loaded_by_serves_it_on_a_cpu() -> None:
    more = "{name: served, serve: {}, hardware: {gpu: none, per_node: 1}}"
    small = "{name: small, quantize: {scheme: w4a16, tool: gptqmodel}}"
    assert stages(compiled(small, more))["served"].environment == "gptqmodel-7.6.0"
    on_gpus = stages(compiled(small, "{name: served, serve: {}}"))["served"]
    assert (on_gpus.system, on_gpus.environment) == ("vllm_serve", "vllm-0.33.0")


def test_a_key_is_in_no_file() -> None:
    found = compiled("{name: served, serve: {host: 0.0.0.0, key_variable: SHOP_KEY, port: 9000}}")
    assert "api-key" not in found.files["served/vllm.yaml"]
    assert 'export VLLM_API_KEY="${SHOP_KEY:?is not set}"' in found.files["served/serve.sh"]
    assert '-e "VLLM_API_KEY=${SHOP_KEY:?is not set}"' in found.files["served/container.sh"]
    assert "-p 9000:9000" in found.files["served/container.sh"]
    assert "EnvironmentFile=" in found.files["served/service.sh"]
    assert asked(found, "served")["url"] == "http://127.0.0.1:9000"
    assert "-p 127.0.0.1:8000:8000" in compiled("{name: served, serve: {}}").files["served/container.sh"]


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        (["{name: s, serve: {tool: vllm_serve}, hardware: {gpu: none, per_node: 1}}"], ["P276"]),
        (["{name: s, serve: {tensor_parallel: 3}}"], ["P277"]),
        (["{name: s, serve: {tensor_parallel: 4, data_parallel: 2}}"], ["P277"]),
        (["{name: s, serve: {pipeline_parallel: 5}}"], ["P277"]),
        (["{name: s, serve: {max_length: 2000000}}"], ["P278"]),
        (["{name: s, serve: {adapters: [base]}}"], ["P280"]),
        (["{name: full, start_from: base}", "{name: s, start_from: sft, serve: {adapters: [full]}}"], ["P280"]),
        (
            ["{name: d, start_from: base, adapter: {rank: 8, dora: true}}", "{name: s, start_from: d, serve: {}}"],
            ["P285"],
        ),
        (
            [
                "{name: d, start_from: base, adapter: {rank: 8, also_train: [lm_head]}}",
                "{name: s, start_from: sft, serve: {adapters: [d]}}",
            ],
            ["P285"],
        ),
        (["{name: s, serve: {speculative: {method: eagle3}}}"], ["P281"]),
        (["{name: s, serve: {speculative: {method: ngram, model: org/x}}}"], ["P281"]),
        (["{name: s, serve: {host: 0.0.0.0}}"], ["P282"]),
        (["{name: s, serve: {tool_parser: hermess}}"], ["T022"]),
        (["{name: s, serve: {}}", "{name: t, start_from: s, serve: {}}"], ["R009"]),
        (["{name: s, serve: {}, train: {learning_rate: 1e-5}}"], ["P249"]),
        (["{name: s, serve: {prefix_caching: false}, hardware: {gpu: none, per_node: 1}}"], ["T003"]),
    ],
)
def test_what_cannot_hold_together_is_told(given: list[str], codes: list[str]) -> None:
    assert told(*given) == codes


def test_weights_and_cache_are_held_against_the_gpus() -> None:
    big = RECIPE.replace("Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.1-70B-Instruct").replace("rank: 24}", "rank: 24}, model: {load_in: nf4}").replace("1e-5", "1e-4")  # fmt: skip
    assert told("{name: s, serve: {tensor_parallel: 1}}", text=big) == ["P279"]
    assert told("{name: s, serve: {tensor_parallel: 4}}", text=big) == []
    assert told("{name: q, quantize: {scheme: w4a16}}", "{name: s, serve: {tensor_parallel: 1}}", text=big) == []
    # 131 GiB of weights on 2 × 71 GiB leave 11; a request of 131,072 tokens caches 40, of 8 bits 20
    assert told("{name: s, serve: {tensor_parallel: 2, max_length: 131072}}", text=big) == ["P279"]
    assert told("{name: s, serve: {tensor_parallel: 2, max_length: 8192}}", text=big) == []


def test_weights_in_few_bits_are_for_few_requests() -> None:
    for scheme, at_once, codes in (
        ("w4a16", 128, []),
        ("w4a16", 129, ["P286"]),
        ("nvfp4a16", 256, ["P286"]),
        ("fp8", 256, []),
        ("w8a8", 256, []),
    ):
        small = f"{{name: small, quantize: {{scheme: {scheme}}}}}"
        assert told(small, f"{{name: s, serve: {{max_requests: {at_once}}}}}") == codes, scheme
    assert told("{name: s, serve: {max_requests: 256}}") == []
