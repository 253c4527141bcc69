"""Checkpoints are kept, evaluated and the best of them chosen, by the emitted scripts alone and by a run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_trains import TASK, run, workplace  # noqa: F401  # the fixture

RECIPE = """
recipe: 1
name: often
trainer: {trainer}
model: {{from_scratch: {{family: llama, hidden_size: 64, layers: 2, heads: 4, vocab_size: 400}}, max_length: 64}}
data: {{train: [{{path: data/instructions.jsonl, format: instruction}}]}}
train: {{learning_rate: 1e-3, steps: {steps}, micro_batch_size: 2, log_every: 1, save: {{every: 10, keep: 2}}}}
evaluate: {{tasks: [drinks], task_folder: tasks, models: [tuned, tuned@best], limit: 4, {evaluate}}}
hardware: {{gpu: none}}
allow: {{too-few-questions: a trial of the tools}}
"""


@pytest.mark.real
def test_what_the_trainer_deletes_is_evaluated_too(workplace: Path, tool_python: Callable[[str], Path]) -> None:  # noqa: F811
    tasks = workplace / "tasks"
    tasks.mkdir()
    (tasks / "drinks.yaml").write_text(TASK, encoding="utf-8")
    recipe = workplace / "often.yaml"
    recipe.write_text(RECIPE.format(trainer="trl", steps=45, evaluate="when: every_checkpoint"), encoding="utf-8")
    runs = run(recipe, workplace, tool_python)
    told = json.loads((runs / "evaluate-checkpoints" / "scores.json").read_text(encoding="utf-8"))
    assert [row["step"] for row in told["checkpoints"]] == [10, 20, 30, 40, 45]
