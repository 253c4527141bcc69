"""A sweep over DPO's β by TRL: SFT is trained once, a kill in between is survived, and both variants are compared."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trains import lines

RECIPE = """recipe: 1
name: swept
trainer: trl
model: {from_scratch: {family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 300}, max_length: 48}
train: {steps: 2, micro_batch_size: 2, learning_rate: 1e-3}
hardware: {gpu: none}
stages:
  - name: sft
    model: {chat_template: chatml}
    data: {train: [{path: data/asked.jsonl, format: completion}]}
  - name: dpo
    data: {train: [{path: data/pairs.jsonl, format: preference, columns: {prompt: prompt}}]}
    train: {method: dpo}
sweep: {grid: {stages.dpo.train.beta: [0.1, 0.5]}, best: loss}
"""
VARIANTS = ("beta=0.1", "beta=0.5")


def events(variant: str, event: str) -> list[dict[str, Any]]:
    record = Path("runs/swept") / variant / "record.jsonl"
    rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    return [row for row in rows if row["event"] == event]


@pytest.mark.real
def test_what_variants_share_is_made_once_and_a_kill_is_survived(
    tmp_path: Path, tool_python: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool_python("trl-1.16.0")
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    asked = [f"What do you drink, number {number}?" for number in range(20)]
    lines(Path("data/asked.jsonl"), [{"prompt": one, "completion": f"tea {at}"} for at, one in enumerate(asked)])
    lines(Path("data/pairs.jsonl"), [{"prompt": one, "chosen": "tea", "rejected": "no"} for one in asked])
    Path("recipe.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "recipec.cli", "run", "recipe.yaml"]
    variables = os.environ | {"HF_HUB_OFFLINE": "1"}
    with Path("said.txt").open("w") as said:
        killed = subprocess.Popen(command, env=variables, stdout=said, stderr=said, start_new_session=True)
        begun = time.monotonic()
        while not any(row["stage"] == "dpo" for row in events(VARIANTS[0], "stage-started")):
            assert killed.poll() is None, Path("said.txt").read_text()
            assert time.monotonic() - begun < 600
            time.sleep(0.2)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    finished = {one: [row["stage"] for row in events(one, "stage-finished")] for one in VARIANTS}
    assert finished[VARIANTS[0]] == ["init", "sft", "dpo"]
    assert finished[VARIANTS[1]] == ["dpo"]
    assert [row["stage"] for row in events(VARIANTS[1], "stage-taken")] == ["init", "sft"]
    weights = [Path("runs/swept") / one / "sft" / "model.safetensors" for one in VARIANTS]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    trained = [Path("runs/swept") / one / "dpo" / "model.safetensors" for one in VARIANTS]
    assert trained[0].read_bytes() != trained[1].read_bytes()
    compared = subprocess.run(
        [sys.executable, "-m", "recipec.cli", "sweep", "swept", "--json"], capture_output=True, text=True, check=True
    )
    rows = json.loads(compared.stdout)["variants"]
    assert [row["variant"] for row in rows] == list(VARIANTS)
    assert [row["state"] for row in rows] == ["complete", "complete"]
    assert all(row["measures"]["loss"]["value"] > 0 for row in rows)
    assert sum(row["best"] for row in rows) >= 1


SEARCH = """recipe: 1
name: searched
trainer: trl
model: {from_scratch: {family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 300}, max_length: 48}
data: {train: [{path: data/asked.jsonl, format: completion}], holdout: 10}
train: {method: sft, steps: 4, micro_batch_size: 2, evaluate_every: 2}
hardware: {gpu: none}
sweep:
  search: {trials: 4, startup: 2, seed: 3, over: {train.learning_rate: {log_uniform: [1e-6, 1e-1]}}}
  best: eval_loss
"""


@pytest.mark.real
def test_a_search_goes_by_the_loss_on_held_out_rows(
    tmp_path: Path, tool_python: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool_python("trl-1.16.0")
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    rows = [{"prompt": f"What do you drink, number {number}?", "completion": "tea"} for number in range(40)]
    lines(Path("data/asked.jsonl"), rows)
    Path("recipe.yaml").write_text(SEARCH)
    command = [sys.executable, "-m", "recipec.cli", "run", "recipe.yaml"]
    done = subprocess.run(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=900, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = subprocess.run(
        [sys.executable, "-m", "recipec.cli", "sweep", "searched", "--json"], capture_output=True, text=True, check=True
    )
    found = json.loads(told.stdout)
    assert found["by"] == "eval_loss"
    by_rate = {row["values"]["train.learning_rate"]: row["measures"]["eval_loss"]["value"] for row in found["variants"]}
    assert len(by_rate) == 4
    assert min(by_rate, key=lambda rate: by_rate[rate]) == max(by_rate)  # a model of nothing learns by great steps
    assert [row["best"] for row in found["variants"]].count(True) == 1
