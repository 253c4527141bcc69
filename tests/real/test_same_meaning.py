"""One recipe on every trainer trains the same: steps, trainable parameters, learning rate of each step, losses.

Every row of the data is the same, so that the order of rows, which each trainer draws in its own way, cannot matter: what
is left is template, loss masking, batch size, schedule and optimiser. The trainers' transformers differ by up to 17
releases; losses agree within FIRST and LATER.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recipec.engine.attempt import HOOK
from recipec.facts import releases
from recipec.output import write
from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.systems.trainers import GENERAL
from recipec.yaml_reader import read_text

pytestmark = pytest.mark.xdist_group("same meaning")  # its runs are made once, by one worker

TRAINERS = ("axolotl", "trl", "llamafactory", "unsloth")
FIRST, LATER = 0.002, 0.02  # how far the first loss and the others may lie apart
WIDER = {"llamafactory": (0.02, 0.05)}  # its line break behind an answer carries loss too, as it warns (T003)
MAKE = """recipe: 1
name: made
trainer: trl
model: {from_scratch: {family: llama, hidden_size: 32, layers: 2, heads: 4, vocab_size: 320}, max_length: 96}
data: {train: [{path: rows.jsonl, format: chat}]}
train: {learning_rate: 1e-3}
hardware: {gpu: none}
"""
SAME = """recipe: 1
name: %s
trainer: %s
model: {base: runs/made/init, max_length: 96}
data: {train: [{path: rows.jsonl, format: chat}]}
train: {epochs: 2, batch_size: 8, micro_batch_size: 2, learning_rate: 1e-2, scheduler: linear, warmup: 3, weight_decay: 0.1}
allow: {learning-rate-that-diverges: the model is tiny}
hardware: {gpu: none}
"""
KINDS = {"full": "", "lora": "adapter: {rank: 4, alpha: 8}\n"}
ROW = {
    "messages": [
        {"role": "user", "content": "Where is the tea?"},
        {"role": "assistant", "content": "In aisle 7, with the coffee."},
    ]
}


class Training(NamedTuple):
    """What a trainer did: its total of steps, the parameters it trained, and (step, learning rate, loss) as logged."""

    total: int
    trainable: int
    logged: list[tuple[int, float, float]]


@pytest.fixture(scope="module")
def place(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and a model that every trainer starts from."""
    folder = tmp_path_factory.mktemp("same")
    (folder / "environments").mkdir()
    for name in {GENERAL, *(f"{trainer}-{releases(trainer)[0]}" for trainer in TRAINERS)}:
        (folder / "environments" / name).symlink_to(tool_python(name).parent.parent)
    (folder / "rows.jsonl").write_text((json.dumps(ROW) + "\n") * 48, encoding="utf-8")
    bash(folder, MAKE, "init")
    return folder


def bash(place: Path, recipe: str, stage: str, **more: str) -> dict[str, str]:
    """Compile a recipe and run one of its stages by its script; return what was emitted."""
    compiled = compile_tree(read_text(Source("recipe.yaml", recipe)))
    assert [finding for finding in compiled.findings if finding.severity == "error"] == []
    write(place / "build" / compiled.name, compiled.files)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "RECIPE_ENVIRONMENTS": str(place / "environments"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        **more,
    }
    script = f"build/{compiled.name}/{stage}/run.sh"
    done = subprocess.run(
        ["bash", script], cwd=place, env=variables, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return compiled.files


@pytest.fixture(scope="module")
def train(place: Path) -> Callable[[str, str], Training]:
    """Train a kind by a trainer, once each."""
    done: dict[tuple[str, str], Training] = {}

    def run(trainer: str, kind: str) -> Training:
        if (trainer, kind) not in done:
            name = f"{trainer}-{kind}"
            events = place / f"{name}.jsonl"
            recipe = SAME % (name, trainer) + KINDS[kind]
            bash(place, recipe, "train", PYTHONPATH=str(HOOK), RECIPE_EVENTS=str(events))
            rows: list[dict[str, Any]] = [json.loads(line) for line in events.read_text().splitlines()]
            begin = next(row for row in rows if row["event"] == "begin")
            logged = [(row["step"], row["lr"], row["loss"]) for row in rows if row["event"] == "log"]
            done[trainer, kind] = Training(begin["total"], begin["trainable"], logged)
        return done[trainer, kind]

    return run


@pytest.mark.real
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trainer", TRAINERS[1:])
def test_it_trains_as_axolotl_does(trainer: str, kind: str, train: Callable[[str, str], Training]) -> None:
    first, later = WIDER.get(trainer, (FIRST, LATER))
    one, other = train("axolotl", kind), train(trainer, kind)
    assert one.total == other.total == 12  # 2 epochs of 48 rows, 8 a step
    assert one.trainable == other.trainable
    assert [row[0] for row in one.logged] == [row[0] for row in other.logged] == list(range(1, 13))
    assert [row[1] for row in other.logged] == pytest.approx([row[1] for row in one.logged], rel=1e-6)
    assert other.logged[0][2] == pytest.approx(one.logged[0][2], abs=first)
    if kind == "full":  # an adapter begins with weights that are drawn anew
        assert [row[2] for row in other.logged] == pytest.approx([row[2] for row in one.logged], abs=later)
    assert one.logged[-1][2] < one.logged[0][2]
