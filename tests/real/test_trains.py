"""Tiny models really train, by Axolotl, from the emitted files and scripts alone: no part of recipec is in the way."""

import csv
import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.output import write
from recipec.pipeline import compile_file

RECIPES = sorted((Path(__file__).parent / "recipes").glob("*.yaml"))
WORDS = ["tea", "coffee", "milk", "juice", "water", "cocoa", "lemonade", "cider", "soda", "smoothie"]


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with a little data of every format."""
    data = tmp_path / "data"
    data.mkdir()
    pairs = [(f"Is {word} a drink, number {i}?", f"Yes, {word} is a drink.") for i in range(6) for word in WORDS]
    lines(data / "instructions.jsonl", [{"instruction": q, "input": "", "output": a} for q, a in pairs])
    lines(
        data / "conversations.jsonl",
        [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in pairs],
    )
    lines(data / "text.jsonl", [{"text": f"{q} {a}"} for q, a in pairs])
    user, no = "user", "No."
    lines(
        data / "preferences.jsonl",
        [
            {
                "messages": [{"role": user, "content": q}],
                "chosen": {"role": "assistant", "content": a},
                "rejected": {"role": "assistant", "content": no},
            }
            for q, a in pairs
        ],
    )
    with (data / "completions.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("ask", "completion"), *pairs])
    return tmp_path


@pytest.mark.real
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_trains(recipe: Path, workplace: Path, tool_python: Callable[[str], Path]) -> None:
    compiled = compile_file(str(recipe))
    assert compiled.findings == []
    write(workplace / "build" / compiled.name, compiled.files)
    environments = workplace / "environments"
    environments.mkdir()
    (environments / "axolotl-0.19.0").symlink_to(tool_python("axolotl-0.19.0").parent.parent)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(workplace),
        "RECIPE_ENVIRONMENTS": str(environments),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        ["bash", f"build/{compiled.name}/run.sh"],
        cwd=workplace,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    output = workplace / "runs" / compiled.name / "10-train"
    states = sorted(output.glob("checkpoint-*/trainer_state.json"))
    assert states
    history = json.loads(states[-1].read_text())["log_history"]
    losses = [row["loss"] for row in history if "loss" in row]
    assert losses
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    if "lora" in recipe.stem:
        assert (output / "adapter_model.safetensors").exists()
    if "merge: true" in recipe.read_text():
        assert (output / "merged" / "model.safetensors").exists()
