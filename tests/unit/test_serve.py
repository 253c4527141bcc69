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
    assert 'export VLLM_API_KEY="${SHOP_KEY:?is not set}"' in found.files["served/container.sh"]
    assert "-e VLLM_API_KEY" in found.files["served/container.sh"]  # its value is in no list of processes
    assert "-p 9000:9000" in found.files["served/container.sh"]
    assert "EnvironmentFile=" in found.files["served/service.sh"]
    assert asked(found, "served")["url"] == "http://127.0.0.1:9000"
    assert "-p 127.0.0.1:8000:8000" in compiled("{name: served, serve: {}}").files["served/container.sh"]


def test_a_container_listens_where_the_server_would() -> None:
    for host, published in (
        ("10.0.0.5", "-p 10.0.0.5:8000:8000 "),
        ("'::1'", "-p [::1]:8000:8000 "),
        ("localhost", "-p 127.0.0.1:8000:8000 "),
    ):
        assert published in compiled(f"{{name: served, serve: {{host: {host}}}}}").files["served/container.sh"]


def test_scripts_take_any_folder_and_the_environment_of_the_run() -> None:
    text = RECIPE.replace("Qwen/Qwen2.5-7B-Instruct", "models/my model").replace("{name: sft, adapter: {rank: 24}}", "{name: served, start_from: base, serve: {}, hardware: {gpu: none, per_node: 1}}")  # fmt: skip
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(("data", "train")))
    text = text.replace(", max_length: 4096", "")
    assert "exec transformers serve 'models/my model' --host" in compiled(text=text).files["served/serve.sh"]
    small = "{name: small, quantize: {scheme: w4a16, tool: gptqmodel}}"
    found = compiled(small, "{name: served, serve: {}, hardware: {gpu: none, per_node: 1}}")
    assert stages(found)["served"].environment in found.files["served/serve.sh"]
    revised = compiled(text=text.replace("{base: models/my model}", "{base: org/model, revision: v2}"))
    assert "transformers serve org/model@v2" in revised.files["served/run.sh"]
    assert asked(revised, "served")["models"] == ["org/model@v2"]


def test_an_answer_is_held_against_the_end_of_its_own_template() -> None:
    found = compiled("{name: served, serve: {}}", "{name: thinks, start_from: sft, serve: {reasoning_parser: qwen3}}")
    assert asked(found, "served")["end_tokens"] == ["<|im_end|>"]
    assert asked(found, "served")["more"] == {"skip_special_tokens": False}
    assert (asked(found, "served")["max_tokens"], asked(found, "thinks")["max_tokens"]) == (64, 1024)
    local = compiled("{name: served, serve: {}, hardware: {gpu: none, per_node: 1}}")
    assert (asked(local, "served")["end_tokens"], asked(local, "served")["more"]) == ([], {})


def test_a_scheme_is_judged_where_it_is_served() -> None:
    small = "{name: small, quantize: {scheme: SCHEME}, hardware: {gpu: GPU, per_node: 1}}"

    def judged(scheme: str, made: str, served: str) -> list[str]:
        server = f"{{name: s, serve: {{}}, hardware: {{gpu: {served}, per_node: 1}}}}"
        return told(small.replace("SCHEME", scheme).replace("GPU", made), server)

    assert judged("w8a8", "h100-80gb", "b200-180gb") == ["P270"]
    assert judged("w8a8", "b200-180gb", "h100-80gb") == []
    assert judged("fp8", "a100-80gb", "h100-80gb") == []
    assert judged("fp8", "h100-80gb", "a100-80gb") == ["P274"]
    by_vllm = "evaluate: {tasks: [gsm8k], models: [small], backend: vllm}\n"
    Path("recipe.yaml").write_text(RECIPE + f"  - {small.replace('SCHEME', 'w8a8').replace('GPU', 'h100-80gb')}\n" + by_vllm.replace("}}", "}"))  # fmt: skip
    assert [one.code for one in compile_file("recipe.yaml").findings if one.code in ("P270", "P274")] == []


def test_adapters_of_unlike_templates_are_not_served_together() -> None:
    other = "{name: d, start_from: base, adapter: {rank: 8}, model: {chat_template: alpaca}}"
    both = "{name: s, start_from: sft, serve: {adapters: [d]}}"
    assert "P287" in told(other, both)
    assert "P287" not in told(other.replace("alpaca", "tokenizer"), both)


def test_layers_are_split_into_whole_groups() -> None:
    text = RECIPE.replace("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-72B-Instruct").replace("per_node: 4", "per_node: 8").replace("gpu: h100-80gb", "gpu: h200-141gb")  # fmt: skip
    text = text.replace("{rank: 24}", "{rank: 24}, model: {load_in: nf4}").replace(
        "micro_batch_size: 4, learning_rate: 1e-5", "micro_batch_size: 1, learning_rate: 1e-4"
    )
    small = "{name: small, quantize: {scheme: w4a16, group_size: SIZE}}"
    for size, parts in (("128", 1), ("32", 4), ("channel", 8)):  # 29,568 wide inside: 231 × 128, or 924 × 32
        found = compiled(small.replace("SIZE", size), "{name: served, serve: {}}", text=text)
        assert server(found, "served")["tensor-parallel-size"] == parts
    asked_for = "{name: served, serve: {tensor_parallel: 4}}"
    assert told(small.replace("SIZE", "128"), asked_for, text=text) == ["P277"]
    assert told(small.replace("SIZE", "32"), asked_for, text=text) == []


def test_names_of_served_models_do_not_meet() -> None:
    more = "{name: more, start_from: base, adapter: {rank: 8}}"
    for words in ("adapters: [sft]", "adapters: [more, more]", "name: more, adapters: [more]"):
        assert told(more, f"{{name: s, start_from: sft, serve: {{{words}}}}}") == ["P280"], words


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "http://127.0.0.1", "localhost:8000", "-x", "[::1]"])
def test_an_address_has_no_port(host: str) -> None:
    assert [code[0] for code in told(f"{{name: s, serve: {{host: '{host}'}}}}")] == ["R"]


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
        (["{name: s, serve: {max_requests: 64, max_batched_tokens: 63}}"], ["P288"]),
        (["{name: s, serve: {max_requests: 64, max_batched_tokens: 64}}"], []),
        (["{name: s, serve: {kv_cache: fp8}, hardware: {gpu: a100-80gb, per_node: 1}}"], []),
        (
            ["{name: s, serve: {kv_cache: fp8, max_length: 512}, hardware: {gpu: rtx-2080-ti, per_node: 1}}"],
            ["P289", "P279"],
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
