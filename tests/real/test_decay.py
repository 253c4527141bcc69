"""The schedule warmup_stable_decay takes the course that the recipe says, by every trainer that is given it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from test_trains import history, run, workplace  # noqa: F401  # the fixture

RECIPE = """
recipe: 1
name: decay
trainer: {trainer}
model: {{from_scratch: {{family: llama, hidden_size: 64, layers: 2, heads: 4, vocab_size: 400}}, max_length: 1024}}
data: {{train: [{{path: {rows}}}]{packing}}}
train: {{method: {method}, learning_rate: 1e-3, batch_size: 6, micro_batch_size: 6, scheduler: warmup_stable_decay, save: {{every: 10}}, {train}}}
hardware: {{gpu: none}}
"""
ROWS = {"sft": "data/instructions.jsonl, format: instruction", "pretrain": "data/text.jsonl, format: text"}
CASES = [
    ("trl", "pretrain", "steps: 10, warmup: 20%, decay: 30%"),  # by TRL's own command; its script is in test_trl.py
    ("unsloth", "sft", "epochs: 1, warmup: 20%, decay: 30%"),  # of steps that only the trainer counts
    ("llamafactory", "sft", "epochs: 1, warmup: 20%, decay: 3"),
]


@pytest.mark.real
@pytest.mark.parametrize(("trainer", "method", "train"), CASES)
def test_the_rates_of_ten_steps(
    trainer: str,
    method: str,
    train: str,
    workplace: Path,  # noqa: F811
    tool_python: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)  # where its rows can be looked at: none is too long for LLaMA-Factory
    packing = ", packing: true" if method == "pretrain" else ""
    recipe = workplace / "decay.yaml"
    recipe.write_text(RECIPE.format(trainer=trainer, rows=ROWS[method], packing=packing, method=method, train=train))
    output = run(recipe, workplace, tool_python) / "train"
    assert (workplace / "build" / "decay" / "train" / "trl.yaml").exists() is (trainer == "trl")
    rates = [row["learning_rate"] / 1e-3 for row in history(output) if "loss" in row]
    # 2 steps that warm up, 5 that are stable, 3 that decay by a cosine
    assert rates == pytest.approx([0, 0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.25], abs=1e-3)
