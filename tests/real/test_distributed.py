"""Files for two GPUs, emitted unchanged, really train as two processes: DDP, FSDP2, ZeRO 2 and 3.

No GPU can exist here, so `shim/` stands in for one per rank: gloo on the CPU. Each rank writes down what it really
does, and every strategy must learn exactly as plain data parallelism does.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from meeting import alone, extensions, run_script

from recipec.output import write
from recipec.pipeline import compile_file

pytestmark = pytest.mark.xdist_group("distributed")  # its runs are made once, by one worker

HERE = Path(__file__).parent
RECIPE = HERE / "distributed" / "two-gpus.yaml"
ENVIRONMENTS = ("axolotl-0.21.0", "axolotl-0.21.0-deepspeed")
STRATEGIES = ("ddp", "fsdp2", "zero1", "zero2", "zero3")


class Run(NamedTuple):
    """What came of one strategy: losses of its steps, what each rank says of itself, formats that the optimiser stepped."""

    losses: list[float]
    ranks: list[dict[str, Any]]
    formats: dict[str, list[str]]


@pytest.fixture(scope="module")
def train(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Train by a strategy, once each."""
    place = tmp_path_factory.mktemp("two")
    (place / "data").mkdir()
    (place / "environments").mkdir()
    real = tool_python("axolotl-0.21.0-deepspeed").parent.parent
    for name in ENVIRONMENTS:
        (place / "environments" / name).symlink_to(real)
    words = ["tea", "coffee", "milk", "juice", "water", "cocoa", "lemonade", "cider", "soda", "smoothie"]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Is {w} a drink, number {i}?"},
                {"role": "assistant", "content": f"Yes, {w} is one."},
            ]
        }
        for i in range(6)
        for w in words
    ]
    (place / "data" / "conversations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done: dict[str, Run] = {}

    def run(strategy: str) -> Run:
        if strategy not in done:
            with alone():
                done[strategy] = _train(place, strategy)
        return done[strategy]

    return run


def _train(place: Path, strategy: str) -> Run:
    compiled = compile_file(str(RECIPE), [f"parallel.strategy={strategy}", f"name={strategy}"])
    assert compiled.findings == []
    write(place / "build" / strategy, compiled.files)
    evidence = place / "evidence" / strategy
    evidence.mkdir(parents=True)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "RECIPE_ENVIRONMENTS": str(place / "environments"),
        "PYTHONPATH": str(HERE / "shim"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        **extensions((place / "environments" / ENVIRONMENTS[1]).resolve()),
    }
    formats = evidence / "formats.json"
    telling = {"RECIPEC_EVIDENCE": str(evidence), "RECIPEC_FORMATS": str(formats)}
    first = place / "runs" / STRATEGIES[0] / "init"
    if first.exists():  # every strategy begins with the same model
        shutil.copytree(first, place / "runs" / strategy / "init")
    else:
        run_script(place, f"build/{strategy}/init/run.sh", variables)
    run_script(place, f"build/{strategy}/train/run.sh", variables | telling)
    state = json.loads((place / "runs" / strategy / "train" / "checkpoint-5" / "trainer_state.json").read_text())
    losses = [row["loss"] for row in state["log_history"] if "loss" in row]
    ranks = [json.loads(path.read_text()) for path in sorted(evidence.glob("rank*.json"))]
    return Run(losses, ranks, json.loads(formats.read_text()))


@pytest.mark.real
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks_really_share_the_work(strategy: str, train: Callable[[str], Run]) -> None:
    run = train(strategy)
    assert [rank["world"] for rank in run.ranks] == [2, 2]
    assert {rank["backend"] for rank in run.ranks} <= {"gloo", "undefined"}  # undefined: torch chose one per device
    for rank in run.ranks:
        if strategy == "ddp":
            assert "DistributedDataParallel" in rank["classes"]
        elif strategy == "fsdp2":
            assert "FSDPModule" in rank["classes"]
            assert rank["sharded"] > 0
        else:
            assert rank["zero_stage"] == int(strategy[-1])


@pytest.mark.real
@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_it_learns_as_plain_data_parallelism_does(strategy: str, train: Callable[[str], Run]) -> None:
    plain, sharded = train("ddp").losses, train(strategy).losses
    assert len(plain) == 5
    assert plain[-1] < plain[0]
    assert sharded == pytest.approx(plain, abs=0.03)


@pytest.mark.real
@pytest.mark.parametrize("strategy", ["fsdp2", "zero2", "zero3"])
def test_all_weights_are_kept_in_fp32(strategy: str, train: Callable[[str], Run]) -> None:
    assert train(strategy).formats == {"parameters": ["float32"], "states": ["float32"]}
