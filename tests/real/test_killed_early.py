"""Tools really killed while they write what they keep for later runs: the next run starts, and takes nothing half written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

RECIPE = """\
recipe: 1
name: killed
model:
  from_scratch: {family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 400}
  max_length: 64
data: {train: [{path: rows.jsonl, format: text}]}
train: {method: pretrain, steps: 2, batch_size: 2, micro_batch_size: 2, learning_rate: 1e-3}
hardware: {gpu: none}
versions: {axolotl: 0.19.0}
"""
RUN = [sys.executable, "-m", "recipec.cli", "run", "killed.yaml"]
# Rows that take a while to write; each process says when it has them all.
CACHED = """
import sys, datasets
rows = datasets.load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="cache")
rows = rows.map(lambda row: {"more": row["text"] * 20}, load_from_cache_file=True)
print(len(rows), len(rows[len(rows) - 1]["more"]))
"""


def rows(folder: Path, count: int) -> None:
    text = "the tea is on shelf {} and the milk is near it " * 4
    (folder / "rows.jsonl").write_text(
        "".join(json.dumps({"text": text.format(*[i] * 4)}) + "\n" for i in range(count))
    )


def kill_stage(folder: Path) -> None:
    """Kill the engine and its stage at once, as a power cut would."""
    record = [json.loads(line) for line in (folder / "runs/killed/record.jsonl").read_text().splitlines()]
    pids = {row["event"]: row["pid"] for row in record if row["event"] in ("run-started", "stage-started")}
    os.kill(pids["run-started"], signal.SIGKILL)
    os.killpg(pids["stage-started"], signal.SIGKILL)


@pytest.mark.real
@pytest.mark.parametrize("more", [[], ["--fresh"]])
def test_axolotl_killed_while_it_saves_prepared_rows(tmp_path: Path, more: list[str]) -> None:
    rows(tmp_path, 60_000)
    (tmp_path / "killed.yaml").write_text(RECIPE)
    first = subprocess.Popen(RUN, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    prepared = tmp_path / "runs/killed/prepared"
    deadline = time.monotonic() + 900
    while not list(prepared.glob("*/*.arrow")):
        assert first.poll() is None, "it ended before it prepared rows"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    kill_stage(tmp_path)
    first.wait()
    assert not list(prepared.glob("*/state.json")), "it was faster than this test: give it more rows"
    second = subprocess.run([*RUN, *more], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    log = (tmp_path / "runs/killed/logs/train.log").read_text()
    assert second.returncode == 0, second.stdout + log[-3000:]
    assert "was not written to its end: it is made anew" in log
    assert list(prepared.glob("*/state.json"))


@pytest.mark.real
def test_what_datasets_caches_is_whole_after_a_kill(tmp_path: Path, tool_python: Callable[[str], Path]) -> None:
    """What TRL, Unsloth and LLaMA-Factory prepare is in this cache, which has a name only when it is whole."""
    rows(tmp_path, 40_000)
    command = [str(tool_python("trl-1.16.0")), "-c", CACHED]
    whole = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for seconds in (0.05, 0.3, 0.6, 0.9, 1.4, 2.0):
        subprocess.run(["rm", "-r", "cache"], cwd=tmp_path, check=True)
        killed = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
        while not (tmp_path / "cache").exists():
            time.sleep(0.005)
        time.sleep(seconds)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert again.stdout == whole, again.stderr
