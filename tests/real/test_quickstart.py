"""The quickstart, really run: killed without warning, run again, resumed, learnt, reported."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "recipec.cli", "run", "recipes/quickstart.yaml"]


def score(folder: Path, model: str, task: str, metric: str) -> float:
    """Return one score of a model in the newest results of a run."""
    newest = max(folder.glob(f"evaluate-{model}/**/results_*.json"), key=lambda path: path.stat().st_mtime)
    value: float = json.loads(newest.read_text())["results"][task][f"{metric},none"]
    return value


@pytest.mark.real
def test_it_learns_and_survives_a_kill(tmp_path: Path) -> None:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    first = subprocess.Popen(RUN, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    output = tmp_path / "runs" / "quickstart" / "train"
    deadline = time.monotonic() + 1500
    while not (output / "checkpoint-100" / "trainer_state.json").exists():
        assert first.poll() is None, "it ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = subprocess.run(RUN, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1500)
    assert second.returncode == 0, second.stdout[-3000:]
    assert re.search(r"resuming from \S*checkpoint-\d+", second.stdout), second.stdout[-3000:]
    for task, metric in (("aisle", "acc"), ("aisle_said", "exact_match")):
        assert score(output.parent, "tuned", task, metric) >= 0.9
        assert score(output.parent, "base", task, metric) <= 0.45
    third = subprocess.run(RUN, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert third.stdout.count("complete and unchanged") == 4
    command = [sys.executable, "-m", "recipec.cli", "report", "quickstart"]
    report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "aisle_said" in report.stdout
    page = (output.parent / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "aisle_said" in page
