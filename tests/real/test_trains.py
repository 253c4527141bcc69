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
JUDGE = """def short(completions, prompts, answers):
    return [1.0 / (1 + len(text)) for text in completions]
"""
TASK = """task: drinks
dataset_path: json
dataset_kwargs: {data_files: {test: data/sums.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: ["tea", "milk"]
doc_to_target: 0
"""
TEMPLATE = """{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"""


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
    lines(
        data / "pairs.jsonl",
        [
            {
                "ask": q,
                "yes_text": a,
                "no_text": no,
                "asked": [{"from": "human", "value": q}],
                "good": {"from": "gpt", "value": a},
                "bad": {"from": "gpt", "value": no},
            }
            for q, a in pairs
        ],
    )
    lines(data / "judged.jsonl", [{"prompt": q, "completion": x, "good": x is a} for q, a in pairs for x in (a, no)])
    lines(data / "sums.jsonl", [{"question": f"{i} + {i} = ", "result": str(2 * i)} for i in range(40)])
    (data / "judge.py").write_text(JUDGE, encoding="utf-8")
    (data / "turns.jinja").write_text(TEMPLATE, encoding="utf-8")
    with (data / "completions.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("ask", "completion"), *pairs])
    return tmp_path


def run(recipe: Path, workplace: Path, tool_python: Callable[[str], Path]) -> Path:
    """Compile a recipe, run its script to the end, and return the folder of its results."""
    compiled = compile_file(str(recipe))
    assert compiled.findings == []
    write(workplace / "build" / compiled.name, compiled.files)
    environments = workplace / "environments"
    environments.mkdir()
    for file in compiled.files:
        if file.startswith("environments/"):
            name = Path(file).stem if file.endswith(".txt") else file
            (environments / name).symlink_to(tool_python(name).parent.parent)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(workplace),
        "RECIPE_ENVIRONMENTS": str(environments),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent / "no_gpu") if "axolotl: 0.17" in recipe.read_text() else "",
    }
    done = subprocess.run(
        ["bash", f"build/{compiled.name}/run.sh"],
        cwd=workplace,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return workplace / "runs" / compiled.name


def history(output: Path) -> list[dict[str, float]]:
    """Return what a training logged, from its last checkpoint."""
    states = sorted(output.glob("checkpoint-*/trainer_state.json"))
    assert states
    logged: list[dict[str, float]] = json.loads(states[-1].read_text())["log_history"]
    return logged


def learnt(output: Path) -> None:
    """Hold that a training left a whole checkpoint, logged finite losses, and had a gradient to follow.

    The loss of reinforcement learning is an average of advantages, which is about 0 on its own samples.
    """
    rows = [row for row in history(output) if "loss" in row]
    assert rows
    for checkpoint in output.glob("checkpoint-*"):  # what lm-eval loads of one
        assert (checkpoint / "tokenizer_config.json").is_file()
        assert list(checkpoint.glob("*.safetensors"))
    assert all(math.isfinite(row["loss"]) and (row["loss"] > 0 or "reward" in row) for row in rows)
    assert all(math.isfinite(row["grad_norm"]) and row["grad_norm"] > 0 for row in rows)


@pytest.mark.real
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_trains(recipe: Path, workplace: Path, tool_python: Callable[[str], Path]) -> None:
    output = run(recipe, workplace, tool_python) / "train"
    learnt(output)
    if "lora" in recipe.stem:
        assert (output / "adapter_model.safetensors").exists()
    if recipe.stem == "decay-in-an-epoch":  # 10 steps: 2 that warm up, 5 that are stable, 3 that decay by a cosine
        rates = [row["learning_rate"] / 1e-3 for row in history(output) if "loss" in row]
        assert rates == pytest.approx([0, 0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.25], abs=1e-3)
    if "merge: true" in recipe.read_text():
        assert (output.parent / "merge" / "model.safetensors").exists()


MERGED = """
import sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, merged = sys.argv[1:]
tokens = AutoTokenizer.from_pretrained(merged)("Is tea a drink?", return_tensors="pt")
load = lambda path: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
with torch.no_grad():
    plain = load(base)(**tokens).logits
    laid = PeftModel.from_pretrained(load(base), adapter)(**tokens).logits
    whole = load(merged)(**tokens).logits
assert torch.allclose(laid, whole, atol=1e-5), (laid - whole).abs().max()
assert not torch.allclose(plain, whole, atol=1e-3), "the adapter changed nothing"
"""


@pytest.mark.real
def test_a_course_of_two_stages(workplace: Path, tool_python: Callable[[str], Path]) -> None:
    """Pre-training, then LoRA on what it left, merged; both are evaluated. The merged model is base and adapter."""
    tasks = workplace / "tasks"
    tasks.mkdir()
    (tasks / "drinks.yaml").write_text(TASK, encoding="utf-8")
    runs = run(Path(__file__).parent / "course.yaml", workplace, tool_python)
    learnt(runs / "pretrain")
    learnt(runs / "sft")
    stages = [str(runs / name) for name in ("pretrain", "sft", "sft-merge")]
    subprocess.run([tool_python("axolotl-0.21.0"), "-c", MERGED, *stages], check=True)
    template = (runs / "sft-merge" / "chat_template.jinja").read_text(encoding="utf-8")
    assert template == (workplace / "data" / "turns.jinja").read_text(encoding="utf-8")
    for model in ("pretrain", "sft"):
        results = next((runs / f"evaluate-{model}").glob("**/results_*.json"))
        assert "acc,none" in json.loads(results.read_text())["results"]["drinks"]
    verdict = json.loads((runs / "gate" / "verdict.json").read_text())
    assert [row["verdict"] for row in verdict["conditions"]] == ["holds", "holds"]
    assert [row["metric"] for row in verdict["conditions"]] == ["acc,none", "acc,none"]
    assert [row["pairs"] for row in verdict["conditions"]] == [4, 0]  # compared question by question
