"""A model that a course has trained is really quantised, by both tools; what they left is loaded, and holds what was asked for."""

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trains import TASK, run, workplace  # noqa: F401  # the fixture

ROOT = Path(__file__).parents[2]
RECIPE = """
recipe: 1
name: small
model:
  from_scratch: {family: llama, hidden_size: 128, layers: 2, heads: 4, vocab_size: 400}
  max_length: 96
trainer: trl
train: {steps: 30, batch_size: 8, micro_batch_size: 8, learning_rate: 3e-3}
hardware: {gpu: none}
allow: {too-few-questions: a trial of the tools}
stages:
  - name: sft
    data: {train: [{path: data/conversations.jsonl, format: chat, columns: {messages: conversations, role: from, content: value}, roles: {user: [human], assistant: [gpt]}}]}
  - name: lora
    adapter: {rank: 4}
    data: {train: [{path: data/instructions.jsonl, format: instruction}]}
    train: {steps: 2}
  - {name: gptq, quantize: {scheme: w4a16, calibration: {rows: 24}, measure: 16}}
  - {name: awq, start_from: lora, quantize: {scheme: w4a16, method: awq, group_size: 64, calibration: {rows: 24}}}
  - {name: fp8, start_from: lora, quantize: {scheme: fp8, ignore: [lm_head, model.layers.0.mlp.down_proj]}}
  - {name: second, start_from: lora, quantize: {scheme: w4a16, tool: gptqmodel, calibration: {rows: 24}}}
evaluate: {tasks: [drinks], task_folder: tasks, models: [lora, gptq, fp8, second], chat_template: false, limit: 4}
"""
LINEAR = [
    f"model.layers.{layer}.{name}_proj"
    for layer in (0, 1)
    for name in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down")
]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.real
def test_a_trained_model_is_quantised_and_loaded(
    workplace: Path,  # noqa: F811
    tool_python: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)
    (workplace / "tasks").mkdir()
    (workplace / "tasks" / "drinks.yaml").write_text(TASK)
    recipe = workplace / "small.yaml"
    recipe.write_text(RECIPE)
    runs = run(recipe, workplace, tool_python)

    told = {name: read(runs / name / "quantized.json") for name in ("gptq", "awq", "fp8", "second")}
    assert {name: one["rows"] for name, one in told.items()} == {"gptq": 24, "awq": 24, "fp8": 0, "second": 24}
    assert {name: one["measured_rows"] for name, one in told.items()} == {
        "gptq": 16,
        "awq": 36,
        "fp8": 60,
        "second": 36,
    }
    before = {round(one["perplexity_before"], 6) for one in told.values() if one["measured_rows"] == 36}
    assert len(before) == 1  # the same model on the same rows
    for name, one in told.items():
        assert 1 < one["perplexity_before"] < 200, name  # of 400 tokens: it has learnt
        assert one["perplexity_after"] == pytest.approx(one["perplexity_before"], rel=0.1), name
        assert one["perplexity_after"] != one["perplexity_before"], name
        assert list((runs / f"evaluate-{name}").rglob("results_*.json")) or name == "awq"
    full = sum(file.stat().st_size for file in (runs / "lora-merge").glob("*.safetensors"))
    assert all(one["bytes"] < 0.6 * full for one in told.values())

    made = ("gptq", "awq", "fp8")
    found = loaded(workplace, tool_python("llmcompressor-0.14.0.1"), *made)
    group = {name: found[name]["config"]["config_groups"]["group_0"]["weights"] for name in made}
    assert {name: (one["num_bits"], one["type"], one["symmetric"], one["group_size"]) for name, one in group.items()} == {
        "gptq": (4, "int", True, 128), "awq": (4, "int", False, 64), "fp8": (8, "float", True, None)
    }  # fmt: skip
    assert group["gptq"]["actorder"] == "static"
    for name in made:
        stays = {"lm_head", "model.layers.0.mlp.down_proj"} if name == "fp8" else {"lm_head"}
        types = found[name]["stored"]
        packed = {
            layer
            for layer in LINEAR
            if f"{layer}.weight_packed" in types or types.get(f"{layer}.weight") == "float8_e4m3fn"
        }
        assert packed == set(LINEAR) - stays, name
        assert stays <= set(found[name]["config"]["ignore"]), name
    found |= loaded(workplace, tool_python("gptqmodel-7.6.0"), "second")
    own = found["second"]["config"]
    assert (own["quant_method"], own["bits"], own["group_size"], own["sym"], own["desc_act"]) == (
        "gptq",
        4,
        128,
        True,
        False,
    )
    assert {layer for layer in LINEAR if found["second"]["stored"].get(f"{layer}.qweight") == "int32"} == set(LINEAR)
    for name, one in found.items():
        assert 0 < one["difference"] < one["scale"], name
        assert math.isfinite(one["difference"])
        assert "<|im_start|>" in one["template"], name


def loaded(place: Path, python: Path, *names: str) -> dict[str, dict[str, Any]]:
    """Return what is in some checkpoints, as Transformers loads them in an environment."""
    script = ROOT / "tests" / "real" / "quantised.py"
    folders = [f"runs/small/{name}" for name in names]
    done = subprocess.run(
        [python, script, "runs/small/lora-merge", *folders],
        cwd=place,
        env={"PATH": os.environ["PATH"], "HOME": str(place), "HF_HUB_OFFLINE": "1", "GPTQMODEL_CPU_WORKERS": "2"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return {Path(folder).name: one for folder, one in found.items()}
