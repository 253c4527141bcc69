"""Every server that a recipe can say is accepted by vLLM's own parser, and means there what the recipe says."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_file

JUDGE = Path(__file__).parents[1] / "judges" / "vllm_serve.py"
HEAD = """recipe: 1
name: ways
trainer: trl
model: {{base: {base}, max_length: 2048}}
data: {{train: [{{path: chat.jsonl, format: chat}}]}}
train: {{epochs: 1, batch_size: 64, micro_batch_size: 4, learning_rate: 1e-5, save: {{only_model: false}}}}
hardware: {{gpu: h100-80gb, per_node: 8}}
stages:
  - {{name: sft, adapter: {{rank: {rank}}}}}
  - {{name: other, start_from: base, adapter: {{rank: 8}}}}
  - {{name: merged, merge: sft}}
  - {{name: small, start_from: sft, quantize: {{scheme: {scheme}}}}}
"""
BASES = (
    "Qwen/Qwen2.5-7B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
    "mistralai/Mistral-7B-Instruct-v0.3",
    "Qwen/Qwen3-8B",
)
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"adapters": ["other"], "max_requests": 16},
    {"name": "shop", "host": "0.0.0.0", "key_variable": "SHOP_KEY", "port": 9001},
    {"prefix_caching": False, "kv_cache": "fp8", "gpu_memory_share": 0.8},
    {"tensor_parallel": 2, "pipeline_parallel": 2, "data_parallel": 2},
    {"tool_parser": "hermes", "max_batched_tokens": 8192, "max_length": 1024},
    {"reasoning_parser": "qwen3", "structured_outputs": "xgrammar"},
    {"speculative": {"method": "ngram", "tokens": 3}, "structured_outputs": "guidance"},
    {"speculative": {"method": "eagle3", "model": "org/head"}, "tensor_parallel": 1},
    {"speculative": {"method": "draft_model", "model": "org/little", "tokens": 5}, "structured_outputs": "outlines"},
    {"expert_parallel": True, "data_parallel": 4, "tensor_parallel": 2},
)
STARTS = ("sft", "merged", "small", "base")


def compiled(base: str, number: int, folder: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """Return what was said of each server of a recipe, and its file, by its name."""
    said, lines = {}, []
    for at, way in enumerate(WAYS):
        start = STARTS[(at + number) % len(STARTS)] if "adapters" not in way else "sft"
        said[f"way{at}"] = {**way, "start_from": start}
        lines.append(f"  - {{name: way{at}, start_from: {start}, serve: {json.dumps(way)}}}\n")
    text = HEAD.format(base=base, rank=(8, 24, 64, 200)[number], scheme=("w4a16", "fp8", "w8a8", "nvfp4a16")[number])
    (folder / "ways.yaml").write_text(text + "".join(lines))
    found = compile_file(str(folder / "ways.yaml"))
    assert found.files, [(one.code, one.message) for one in found.findings][:5]
    return {name: (way, found.files[f"{name}/vllm.yaml"]) for name, way in said.items()}


@pytest.mark.conformance
def test_vllm_does_what_is_said(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs, said = [], {}
    for number, base in enumerate(BASES):
        for name, (way, text) in compiled(base, number, tmp_path).items():
            file = tmp_path / f"{number}-{name}.yaml"
            file.write_text(text)
            jobs.append({"file": str(file), "kept": str(file.with_suffix(".kept"))})
            said[file] = (base, (8, 24, 64, 200)[number], way)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("max-model-len", "max-model-length"))
    jobs.append({"file": str(wrong), "kept": str(tmp_path / "wrong.kept")})
    python = tool_python("vllm-cli")
    done = subprocess.run(
        [python, JUDGE], input=json.dumps(jobs), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    verdicts = {verdict["file"]: verdict["error"] for verdict in json.loads(done.stdout.splitlines()[-1])}
    assert "max-model-length" in (verdicts.pop(str(wrong)) or "")
    assert {file: error for file, error in verdicts.items() if error} == {}
    assert len(verdicts) >= 40
    for file, (base, rank, way) in said.items():
        did = json.loads(file.with_suffix(".kept").read_text())
        assert (
            did["model"]
            == {"sft": base, "base": base, "merged": "runs/ways/merged", "small": "runs/ways/small"}[way["start_from"]]
        ), way
        assert (did["host"], did["port"]) == (way.get("host", "127.0.0.1"), way.get("port", 8000)), way
        assert did["max_model_len"] == way.get("max_length", 2048), way
        assert did["max_num_seqs"] == way.get("max_requests"), way
        assert did["max_num_batched_tokens"] == way.get("max_batched_tokens"), way
        assert did["gpu_memory_utilization"] == way.get("gpu_memory_share", 0.9), way
        assert did["enable_prefix_caching"] is way.get("prefix_caching", True), way
        assert did["kv_cache_dtype"] == way.get("kv_cache", "auto"), way
        assert did["enable_expert_parallel"] is way.get("expert_parallel", False), way
        parts = [did[f"{word}_parallel_size"] for word in ("tensor", "pipeline", "data")]
        wanted = [way.get(f"{word}_parallel") for word in ("tensor", "pipeline", "data")]
        assert [one for one, asked in zip(parts, wanted, strict=True) if asked] == [one for one in wanted if one], way
        assert parts[0] * parts[1] * parts[2] <= 8, way
        assert (did["enable_auto_tool_choice"], did["tool_call_parser"]) == (
            "tool_parser" in way,
            way.get("tool_parser"),
        ), way
        assert (did["reasoning_parser"] or None) == way.get("reasoning_parser"), way
        assert did["structured_outputs_config"]["backend"] == way.get("structured_outputs", "auto"), way
        proposed, asked = did["speculative_config"], way.get("speculative")
        assert (proposed and (proposed["method"], proposed.get("model"), proposed["num_speculative_tokens"])) == (asked and (asked["method"], asked.get("model"), asked.get("tokens", 4))), way  # fmt: skip
        modules = {one["name"]: one["path"] for one in did["lora_modules"] or ()}
        own = {way.get("name", "sft"): "runs/ways/sft"} if way["start_from"] == "sft" else {}
        assert modules == {**own, **{name: f"runs/ways/{name}" for name in way.get("adapters", ())}}, way
        assert bool(did["enable_lora"]) == bool(modules), way
        if modules:
            assert did["max_lora_rank"] == {8: 8, 24: 32, 64: 64, 200: 256}[rank], way
            assert did["max_loras"] == len(modules), way
        else:
            assert did["served_model_name"] == [way.get("name", "ways")], way
        assert did["dtype"] == "bfloat16", way
