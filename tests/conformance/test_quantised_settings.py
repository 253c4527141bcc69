"""Every way to quantise that a recipe can say is read by the tools' own code, and means there what the recipe says."""

import json
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from recipec.facts.schemes import schemes
from recipec.pipeline import compile_file

JUDGES = Path(__file__).parents[1] / "judges"
HEAD = """recipe: 1
name: ways
trainer: trl
model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 2048}
data: {train: [{path: chat.jsonl, format: chat}]}
train: {epochs: 1, batch_size: 64, micro_batch_size: 4, learning_rate: 1e-5}
hardware: {gpu: b200-180gb}
allow: {scheme-that-no-server-runs-here: other GPUs serve it}
stages:
  - {name: sft, adapter: {rank: 16}}
"""


def ways(tool: str) -> Iterator[dict[str, Any]]:
    """Yield what recipes can say of a tool."""
    for scheme, one in schemes().items():
        methods = ["gptq", "awq", "round"] if one.groups else ["gptq", "round"] if one.number == "whole" else ["round"]
        for method in methods:
            if tool == "gptqmodel" and (not one.groups or method == "round" or (method == "awq" and one.weights == 8)):
                continue
            groups = [32, 64, 128, "channel"] if one.groups else [None]
            orders = ["static", "group", "none"] if method == "gptq" else [None]
            for group, order, symmetric in product(groups, orders, [True, False] if one.groups else [None]):
                said = {"scheme": scheme, "method": method, "tool": tool, "group_size": group, "act_order": order}
                said |= {"symmetric": symmetric, "damping": 0.03 if method == "gptq" else None}
                yield {word: value for word, value in said.items() if value is not None}
    yield {"scheme": "w4a16", "tool": tool, "ignore": ["lm_head", "model.layers.0.mlp.down_proj", "re:.*gate$"]}
    if tool == "llmcompressor":
        yield {"scheme": "w8a8", "smoothing": 0.4}
        yield {"scheme": "w8a8", "smoothing": 0, "method": "round"}


def judged(
    tool: str, judge: str, file: str, python: Path, folder: Path
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return for each way what was said, and what the tool made of it; and hold that a misspelt key is refused."""
    said = {f"way{number}": way for number, way in enumerate(ways(tool))}
    stages = "".join(
        f"  - {{name: {name}, start_from: sft, quantize: {json.dumps(way)}}}\n" for name, way in said.items()
    )
    (folder / "ways.yaml").write_text(HEAD + stages)
    compiled = compile_file(str(folder / "ways.yaml"))
    assert compiled.files, [(one.code, one.message, one.span) for one in compiled.findings][:5]
    jobs = []
    for name in said:
        text = compiled.files[f"{name}/{file}"]
        (folder / f"{name}-{file}").write_text(text)
        jobs.append({"file": str(folder / f"{name}-{file}"), "kept": str(folder / f"{name}.kept")})
    wrong = folder / f"wrong-{file}"
    right = compiled.files[f"way0/{file}"]
    assert "group_size" in right
    wrong.write_text(right.replace("group_size", "groupsize", 1))
    jobs.append({"file": str(wrong), "kept": str(folder / "wrong.kept")})
    done = subprocess.run(
        [python, JUDGES / judge], input=json.dumps(jobs), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    verdicts = {
        verdict["file"]: verdict["error"] or verdict["unknown"] for verdict in json.loads(done.stdout.splitlines()[-1])
    }
    assert "groupsize" in (verdicts.pop(str(wrong)) or "")
    assert {file: told for file, told in verdicts.items() if told} == {}
    return {name: (way, json.loads((folder / f"{name}.kept").read_text())) for name, way in said.items()}


@pytest.mark.conformance
def test_llm_compressor_does_what_is_said(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    python = tool_python("llmcompressor-0.14.0.1")
    found = judged("llmcompressor", "llmcompressor.py", "llmcompressor.yaml", python, tmp_path)
    assert len(found) > 60
    for said, did in found.values():
        scheme, method = schemes()[said["scheme"]], said.get("method", "gptq")
        own = did["GPTQModifier" if method == "gptq" else "QuantizationModifier"]
        weights, ranges = own["weights"], own.get("input_activations")
        assert own["targets"] == ["Linear"], said
        assert own["ignore"] == said.get("ignore", ["lm_head", r"re:.*\.(gate|router)$"]), said
        assert weights["num_bits"] == scheme.weights, said
        assert weights["type"] == ("int" if scheme.number == "whole" else "float"), said
        assert (ranges["num_bits"] if ranges else 16) == scheme.activations, said
        assert bool(ranges and not ranges["dynamic"]) == (said["scheme"] == "fp8-static"), said
        if scheme.groups and "group_size" in said:
            group = said["group_size"]
            assert (weights["strategy"], weights.get("group_size")) == (("channel", None) if group == "channel" else ("group", group)), said  # fmt: skip
            assert weights["symmetric"] == said["symmetric"], said
        if "act_order" in said:
            assert weights.get("actorder") == {"static": "static", "group": "group", "none": None}[said["act_order"]], (
                said
            )
            assert own["dampening_frac"] == 0.03, said
        assert ("AWQModifier" in did) == (method == "awq"), said
        smooths = said["scheme"] == "w8a8" and said.get("smoothing") != 0
        assert (did["SmoothQuantModifier"]["smoothing_strength"] if smooths else None) == (said.get("smoothing", 0.8) if smooths else None), said  # fmt: skip


@pytest.mark.conformance
def test_gptqmodel_does_what_is_said(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    python = tool_python("gptqmodel-7.6.0")
    found = judged("gptqmodel", "gptqmodel_settings.py", "gptqmodel.json", python, tmp_path)
    assert len(found) > 40
    for said, did in found.values():
        method = said.get("method", "gptq")
        assert (did["method"], did["format"]) == (method, "gptq" if method == "gptq" else "gemm"), said
        assert did["bits"] == schemes()[said["scheme"]].weights, said
        if "group_size" in said:
            assert did["group_size"] == (-1 if said["group_size"] == "channel" else said["group_size"]), said
            assert did["sym"] == said["symmetric"], said
        if "act_order" in said:
            order = {"static": (False, True), "group": (True, False), "none": (False, False)}[said["act_order"]]
            assert (did["desc_act"], did["act_group_aware"], did["damp_percent"]) == (*order, 0.03), said
        left = (
            ["model.layers.0.mlp.down_proj", "model.layers.0.mlp.gate"]
            if "ignore" in said
            else ["model.layers.0.mlp.gate"]
        )
        assert did["left"] == left, said
