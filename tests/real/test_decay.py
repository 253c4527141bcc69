"""The schedule warmup_stable_decay takes the course that the recipe says, by every trainer that is given it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from test_trains import history, workplace  # noqa: F401  # the fixture

from recipec.diagnostics import errors
from recipec.output import write
from recipec.pipeline import compile_file

RECIPE = """
recipe: 1
name: decay
trainer: {trainer}
model: {{from_scratch: {{family: llama, hidden_size: 64, layers: 2, heads: 4, vocab_size: 400}}, max_length: 64}}
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
) -> None:
    packing = ", packing: true" if method == "pretrain" else ""
    recipe = workplace / "decay.yaml"
    recipe.write_text(RECIPE.format(trainer=trainer, rows=ROWS[method], packing=packing, method=method, train=train))
    compiled = compile_file(str(recipe))
    assert errors(compiled.findings) == []
    assert ("10-train/trl.yaml" in compiled.files) is (trainer == "trl")
    write(workplace / "build", compiled.files)
    (workplace / "environments").mkdir()
    for name in (Path(file).stem for file in compiled.files if file.startswith("environments/")):
        (workplace / "environments" / name).symlink_to(tool_python(name).parent.parent)
    known = {"PATH": os.environ["PATH"], "HOME": str(workplace), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        ["bash", "build/run.sh"],
        cwd=workplace,
        env=known | {"RECIPE_ENVIRONMENTS": str(workplace / "environments")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    rates = [row["learning_rate"] / 1e-3 for row in history(workplace / "runs" / "decay" / "10-train") if "loss" in row]
    # 2 steps that warm up, 5 that are stable, 3 that decay by a cosine
    assert rates == pytest.approx([0, 0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.25], abs=1e-3)
