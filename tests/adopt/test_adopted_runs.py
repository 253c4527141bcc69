"""Adopted scripts really train: in one process as before, and in two with the same batch as one did alone.

Losses agree to 1 part in 10,000: float32 sums in another order are all that differs.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.adopt import adopt

pytestmark = pytest.mark.xdist_group("adopted runs")  # its runs are made once, by one worker

HERE = Path(__file__).parent
LOOPS = sorted((HERE / "loops").glob("*.py"))
FILES = {"nested": "history.json"} | dict.fromkeys(("classification", "accumulation", "amp", "digits"), "m.pt")
# Batch normalisation over half the batch is another function: it learns alike, not the same.
NORMALISED = {"normalised"}
JUDGED = re.compile(r"^.*(?:accuracy|error|validation|perplexity|lr) .*$", re.MULTILINE)
NUMBER = re.compile(r"\d+\.\d+")


@pytest.fixture(scope="module")
def runs(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each rank of each run wrote down: the scripts as they were, adopted in one process, and in two."""
    place = tmp_path_factory.mktemp("adopted")
    python = tool_python("axolotl-0.19.0")
    (place / "adopted").mkdir()
    for loop in LOOPS:
        (place / "adopted" / loop.name).write_text(adopt(str(loop)).after, encoding="utf-8")
    found = {}
    for name, folder, processes in (
        ("before", HERE / "loops", 1),
        ("one", place / "adopted", 1),
        ("two", place / "adopted", 2),
    ):
        cases = place / f"{name}.json"
        cases.write_text(
            json.dumps({loop.name: _command_lines(loop.stem, place / name, 8 // processes) for loop in LOOPS})
        )
        start = (
            [str(python.parent / "torchrun"), "--standalone", f"--nproc_per_node={processes}"]
            if processes > 1
            else [str(python)]
        )
        done = subprocess.run(
            [*start, HERE / "run_loops.py", folder, place / name, cases],
            env={"PATH": os.environ["PATH"], "HOME": str(place), "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        found[name] = [json.loads((place / name / f"rank{rank}.json").read_text()) for rank in range(processes)]
    return found


def _command_lines(loop: str, out: Path, batch: int) -> list[list[str]]:
    out.mkdir(exist_ok=True)
    folder = out / loop
    folder.mkdir(exist_ok=True)
    target = folder / FILES[loop] if loop in FILES else folder
    first = ["--batch-size", str(batch), "--output", str(target)]
    return [first, [*first, "--resume", str(folder / "epoch-1.pt")]] if loop == "resume" else [first]


@pytest.mark.real
@pytest.mark.parametrize("loop", LOOPS, ids=lambda path: path.stem)
def test_learns_the_same(loop: Path, runs: dict[str, list[Any]]) -> None:
    before, one, two = ([rank[loop.name] for rank in runs[name]] for name in ("before", "one", "two"))
    losses = before[0]["losses"]
    assert len(losses) >= 6
    assert losses[-1] != pytest.approx(losses[0], rel=0.02)  # it learns: equal losses mean something
    assert one[0]["losses"] == pytest.approx(losses, rel=1e-4)
    assert two[0]["losses"] != two[1]["losses"]  # each rank has batches of its own
    means = [sum(pair) / 2 for pair in zip(*(rank["losses"] for rank in two), strict=True)]
    if loop.stem in NORMALISED:
        assert sum(means) == pytest.approx(sum(losses), rel=0.1)
    else:
        assert means == pytest.approx(losses, rel=1e-4, abs=1e-5)  # a loss may be near 0


@pytest.mark.real
@pytest.mark.parametrize("loop", LOOPS, ids=lambda path: path.stem)
def test_judges_the_same_and_speaks_once(loop: Path, runs: dict[str, list[Any]]) -> None:
    before, one, two = ([rank[loop.name]["printed"] for rank in runs[name]] for name in ("before", "one", "two"))
    assert two[1] == ""
    numbers = [_judged(text) for text in (before[0], one[0], two[0])]
    assert numbers[1] == pytest.approx(numbers[0], rel=1e-4)
    assert numbers[2] == pytest.approx(numbers[0], rel=0.1 if loop.stem in NORMALISED else 1e-4)
    assert bool(numbers[0]) == (loop.stem not in ("amp", "resume"))


def _judged(text: str) -> list[float]:
    """Return what an evaluation found, or a schedule; not the training loss of a line, which is that of one process."""
    lines = [re.sub(r"loss \S+", "", line) for line in JUDGED.findall(text)]
    return [float(number) for line in lines for number in NUMBER.findall(line)]
