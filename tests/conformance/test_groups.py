"""Processes that share sequences or layers: the tools make the groups that the plan divides the batch by."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec import api

JUDGES = Path(__file__).parents[1] / "judges"
HEAD = """recipe: 1
name: groups
model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 32768ATTENTION}
data: {train: [{path: a.jsonl, format: FORMAT}]}
hardware: {gpu: h100-80gb, per_node: 8, nodes: 2}
"""
SFT = HEAD.replace("FORMAT", "chat") + "train: {learning_rate: 1e-5, batch_size: 32}\n"
FLASH = SFT.replace("ATTENTION", ", attention: flash_attention_2")
SDPA = SFT.replace("ATTENTION", "")
SAMPLES = HEAD.replace("FORMAT", "prompt, columns: {answer: a}").replace("ATTENTION", ", attention: flash_attention_2")
GRPO = f"""{SAMPLES}train: {{method: grpo, learning_rate: 1e-6, epochs: 1, batch_size: 64, beta: 0.01}}
trainer: openrlhf
rewards: [{{type: exact}}]
"""
CASES = [
    ("axolotl", FLASH, "strategy: fsdp2, context_parallel: 4", 4),
    ("axolotl", FLASH, "strategy: fsdp2, context_parallel: 16", 1),
    ("axolotl", FLASH, "strategy: fsdp2, tensor_parallel: 4", 4),
    ("axolotl", FLASH, "strategy: fsdp2, context_parallel: 2, tensor_parallel: 2", 4),
    ("accelerate", SDPA + "trainer: trl\n", "strategy: fsdp2, context_parallel: 4", 4),
    ("accelerate", SDPA + "trainer: trl\n", "strategy: fsdp2, context_parallel: 16", 1),
    ("openrlhf", FLASH.replace("5,", "5, epochs: 1,") + "trainer: openrlhf\n", "strategy: zero3, context_parallel: 4", 4),
    ("openrlhf", FLASH.replace("5,", "5, epochs: 1,") + "trainer: openrlhf\n", "strategy: zero2, tensor_parallel: 8", 2),
    ("openrlhf", GRPO + "rollout: {engine: vllm, tensor_parallel: 8}\n", "strategy: zero3, context_parallel: 2, tensor_parallel: 2", 4),
    ("openrlhf", GRPO + "rollout: {engine: vllm, engines: 2, tensor_parallel: 4}\n", "strategy: zero3, context_parallel: 4", 2),
]  # fmt: skip
FILES = {"axolotl": "axolotl.yaml", "accelerate": "accelerate.yaml", "openrlhf": "openrlhf.sh"}
HELD = {"axolotl": "axolotl-0.21.0", "accelerate": "trl-1.16.0", "openrlhf": "openrlhf-cli"}


def job(number: int, tool: str, text: str, parallel: str, folder: Path) -> dict[str, Any]:
    """Compile a recipe; return the judge's job about it."""
    recipe = folder / f"{number}.yaml"
    recipe.write_text(f"{text}parallel: {{{parallel}}}\n", encoding="utf-8")
    stage = next(iter(api.plan(recipe).stages))
    for name, content in api.compile(recipe).files.items():
        path = folder / str(number) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    found: dict[str, Any] = {"file": str(folder / str(number) / stage.name / FILES[tool])}
    gpu = {"sm": "sm_90", "count": 16, "bf16": True, "nodes": 2}
    more = {"axolotl": {"gpu": gpu}, "accelerate": {"arguments": ["--main_process_ip", "10.0.0.1"], "world": 16}}
    return {**found, **more.get(tool, {"world": 16}), "data_parallel": stage.body.batch.data_parallel}


@pytest.mark.parametrize(("tool", "text", "parallel", "holders"), CASES)
def test_the_batch_is_divided_by_what_holds_sequences_of_its_own(
    tool: str, text: str, parallel: str, holders: int, tmp_path: Path
) -> None:
    assert job(0, tool, text, parallel, tmp_path)["data_parallel"] == holders


@pytest.mark.conformance
@pytest.mark.parametrize("tool", FILES)
def test_the_tool_makes_the_same_groups(tool: str, tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs = [job(number, *case[:3], tmp_path) for number, case in enumerate(CASES) if case[0] == tool]
    python = tool_python(HELD[tool])
    wrong = [{**one, "data_parallel": one["data_parallel"] * 2} for one in jobs]
    done = subprocess.run(
        [python, JUDGES / f"{tool}.py"], input=json.dumps(jobs + wrong), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    verdicts = json.loads(done.stdout)
    assert [one for one in verdicts[: len(jobs)] if one["error"] or one["unknown"]] == []
    assert all("data-parallel processes, not" in (one["error"] or "") for one in verdicts[len(jobs) :])
