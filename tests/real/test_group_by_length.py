"""`group_by_length` puts rows of about one length into a batch: asked of the batches that each trainer makes."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from before_training import batches, made

pytestmark = pytest.mark.xdist_group("group by length")  # its runs are made once, by one worker

PROGRAMS = {
    "axolotl": ("axolotl-0.21.0", ("axolotl.cli.train", "{stage}/axolotl.yaml")),
    "trl": ("trl-1.16.0", ("{stage}/train.py",)),
    "llamafactory": ("llamafactory-0.9.5", ("llamafactory.cli", "train", "{stage}/llamafactory.yaml")),
    "unsloth": ("unsloth-2026.10.9", ("{stage}/train.py",)),
}
MAKE = """recipe: 1
name: made
trainer: trl
model: {from_scratch: {family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 300}, max_length: 512}
data: {train: [{path: rows.jsonl, format: chat}]}
train: {learning_rate: 1e-3}
hardware: {gpu: none}
"""
RECIPE = """recipe: 1
name: %s
trainer: %s
model: {base: runs/made/init, max_length: 512, chat_template: chatml}
data: {train: [{path: rows.jsonl, format: chat}], group_by_length: %s}
train: {epochs: 1, batch_size: 4, micro_batch_size: 4, learning_rate: 1e-5}
hardware: {gpu: none}
"""


@pytest.fixture(scope="module")
def place(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 128 rows of 1 to 128 words in an order of chance, and a tiny model with its tokenizer."""
    folder = tmp_path_factory.mktemp("grouped")
    counts = random.Random(5).sample(range(1, 129), 128)
    turns = [[{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "aisle " * n}] for n in counts]
    lines = "".join(json.dumps({"messages": row}) + "\n" for row in turns)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    made(folder, MAKE, tool_python("trl-1.16.0"))
    return folder


def unlike(place: Path, trainer: str, python: Path, *, grouped: bool) -> float:
    """Return the shortest row of a batch as a share of its longest one, on average over the batches of an epoch."""
    name = f"{trainer}-{'grouped' if grouped else 'mixed'}"
    (place / f"{name}.yaml").write_text(RECIPE % (name, trainer, str(grouped).lower()), encoding="utf-8")
    found = batches(python, place, f"{name}.yaml", "lengths.py", *PROGRAMS[trainer][1])
    assert sum(map(len, found)) == 128
    assert {len(batch) for batch in found} == {4}
    return sum(min(batch) / max(batch) for batch in found) / len(found)


@pytest.mark.real
@pytest.mark.parametrize("trainer", PROGRAMS)
def test_a_batch_has_rows_of_one_length(trainer: str, tool_python: Callable[[str], Path], place: Path) -> None:
    python = tool_python(PROGRAMS[trainer][0])
    assert unlike(place, trainer, python, grouped=False) < 0.5
    assert unlike(place, trainer, python, grouped=True) > 0.8
