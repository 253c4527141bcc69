"""Two trainings of two processes each really run at once: stages of one course, and two runs; and learn as one alone does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trains import lines

SCRIPTS = Path(__file__).parent / "scripts"
RECIPE = """recipe: 1
name: pair
trainer: trl
model: {from_scratch: {family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 300}, max_length: 48}
data: {train: [{path: data/asked.jsonl, format: completion}]}
train: {steps: 3, micro_batch_size: 2, learning_rate: 1e-3}
hardware: {gpu: none, per_node: 2}
stages:
  - {name: left, start_from: base}
  - {name: right, start_from: base, train: {learning_rate: 2e-3}}
"""


def command(recipe: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "recipec.cli", "run", str(recipe), *more]


def rows(run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path("runs") / run / "record.jsonl").read_text().splitlines()]


@pytest.mark.real
def test_two_trainings_of_a_course_run_at_once_and_learn_as_each_alone_does(
    tmp_path: Path, tool_python: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool_python("trl-1.16.0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Path("data").mkdir()
    lines(
        Path("data/asked.jsonl"), [{"prompt": f"What do you drink, {n}?", "completion": f"tea {n}"} for n in range(24)]
    )
    Path("recipe.yaml").write_text(RECIPE)
    done = subprocess.run(
        command(Path("recipe.yaml"), "--jobs", "2"), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = [(row["event"], row["stage"]) for row in rows("pair") if row["event"] in ("stage-started", "stage-finished")]
    assert told[:2] == [("stage-started", "init"), ("stage-finished", "init")]
    assert sorted(told[2:4]) == [("stage-started", "left"), ("stage-started", "right")]
    assert [row["layout"] for row in rows("pair") if row["event"] == "stage-started"] == [None, ["ddp", 2], ["ddp", 2]]
    alone = subprocess.run(
        command(Path("recipe.yaml"), "--only", "left", "--force"),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert alone.returncode == 0, alone.stdout + alone.stderr
    weights = [Path("runs/pair", one, "model.safetensors").read_bytes() for one in ("left.previous", "left", "right")]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


@pytest.mark.real
def test_two_runs_do_not_meet(
    tmp_path: Path, tool_python: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepSpeed's launcher takes no free port by itself, and two at one port fail."""
    tool_python("trl-1.16.0-deepspeed")
    monkeypatch.chdir(tmp_path)
    for name in ("plain.py", "plain.yaml"):
        Path(name).write_bytes((SCRIPTS / name).read_bytes())
    started = {
        name: subprocess.Popen(
            command(Path("plain.yaml"), "--set", f"name={name}", "--set", "script.launcher=deepspeed"),
            env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for name in ("one", "other")
    }  # fmt: skip
    for process in started.values():
        said = process.communicate(timeout=900)[0]
        assert process.returncode == 0, said
    ports = [row["port"] for name in started for row in rows(name) if row["event"] == "stage-started"]
    assert len(set(ports)) == 2
    found = [
        [json.loads(path.read_text()) for path in sorted(Path("runs", name, "train").glob("rank*.json"))]
        for name in started
    ]
    assert [[rank["world"] for rank in ranks] for ranks in found] == [[2, 2], [2, 2]]
    assert [rank["weights"] for rank in found[0]] == [rank["weights"] for rank in found[1]]
