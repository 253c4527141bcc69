"""Unsloth really trains tiny models from what is emitted for it. On a CPU it is its own CPU path that trains."""

import json
import math
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trains import WORDS, lines, workplace  # noqa: F401  # the fixture

from recipec.diagnostics import errors
from recipec.output import write
from recipec.pipeline import compile_file

RECIPE = Path(__file__).parent / "unsloth" / "every-method.yaml"
ENVIRONMENT = "unsloth-2026.10.9"


def losses(output: Path) -> list[float]:
    """Return the losses in the last checkpoint of a stage, each of which must be a number."""
    state: Any = json.loads(sorted(output.glob("checkpoint-*/trainer_state.json"))[-1].read_text())
    found = [row["loss"] for row in state["log_history"] if "loss" in row]
    assert len(found) == state["max_steps"]
    assert all(math.isfinite(loss) for loss in found)
    return found


def tensors(file: Path) -> set[str]:
    """Return the names of the tensors in a safetensors file, which begins with the length of its JSON head."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        head: dict[str, Any] = json.loads(stream.read(length))
    return set(head) - {"__metadata__"}


@pytest.mark.real
def test_every_method_trains_and_resumes(workplace: Path, tool_python: Callable[[str], Path]) -> None:  # noqa: F811
    labelled = [{"prompt": f"Is {word} wet?", "completion": "Yes.", "label": word > "k"} for word in WORDS * 2]
    lines(workplace / "data" / "labelled.jsonl", labelled)
    lines(workplace / "data" / "prompts.jsonl", [{"prompt": f"Is {word} wet?", "answer": "yes"} for word in WORDS * 2])
    compiled = compile_file(str(RECIPE))
    assert errors(compiled.findings) == []
    write(workplace / "build" / compiled.name, compiled.files)
    (workplace / "environments").mkdir()
    (workplace / "environments" / ENVIRONMENT).symlink_to(tool_python(ENVIRONMENT).parent.parent)

    def run(script: str, **variables: str) -> None:
        known = {"PATH": os.environ["PATH"], "HOME": str(workplace), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        known["RECIPE_ENVIRONMENTS"] = str(workplace / "environments")
        done = subprocess.run(
            ["bash", f"build/{compiled.name}/{script}"],
            cwd=workplace,
            env=known | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=1200,
        )
        assert done.returncode == 0, done.stdout[-4000:]

    run("run.sh")
    runs = workplace / "runs" / compiled.name
    for stage in ("texts", "chats", "pairs", "one-sided", "odds", "rewarded", "fields"):
        assert losses(runs / stage)
        assert (runs / stage / "tokenizer.json").exists()
    assert (runs / "texts" / "model.safetensors").exists()
    adapters = {}
    for stage in ("chats", "pairs", "one-sided", "odds", "rewarded"):
        adapters[stage] = json.loads((runs / stage / "adapter_config.json").read_text())
        assert adapters[stage]["r"] == 4
        names = tensors(runs / stage / "adapter_model.safetensors")
        assert all(".lora_" in name or stage == "one-sided" for name in names)
    assert adapters["chats"]["use_rslora"] is adapters["pairs"]["use_rslora"] is True
    assert set(adapters["one-sided"]["modules_to_save"]) == {"embed_tokens", "lm_head"}
    assert len(adapters["chats"]["target_modules"]) == 14  # seven projections of each of two layers

    rates = "import sys, torch; print([g['initial_lr'] for g in torch.load(sys.argv[1])['param_groups']])"
    states = runs / "fields" / "checkpoint-2" / "optimizer.pt"
    said = subprocess.run([tool_python(ENVIRONMENT), "-c", rates, states], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == [0.01, 0.001]  # the adapter's, and that of embed_tokens and lm_head

    whole = losses(runs / "chats")
    first = runs / "chats" / "checkpoint-2"
    shutil.rmtree(runs / "chats" / "checkpoint-4")
    run("chats/run.sh", RECIPE_RESUME_FROM=str(first.relative_to(workplace)))
    assert losses(runs / "chats") == pytest.approx(whole, rel=1e-4)
