"""One evaluation measures base, tuned, quantised and served models by tasks, programs and a judge, in one table with errors."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from talking import Talking, talking
from test_code import ABSENT, own_tasks
from test_trains import run, workplace  # noqa: F401  # the fixture

from recipec.pipeline import compile_file
from recipec.plan import ScoresOutput
from recipec.report.scores import evaluated, read_scores

pytestmark = pytest.mark.xdist_group("served")
MODELS = ["base", "learnt", "small", "there"]
RECIPE = """
recipe: 1
seed: 7  # of which the random weights say something
name: beside
model:
  from_scratch: {family: llama, hidden_size: 128, layers: 2, heads: 4, vocab_size: 400}
  max_length: 256
trainer: trl
train: {steps: 6, batch_size: 4, micro_batch_size: 4, learning_rate: 3e-3}
hardware: {gpu: none}
stages:
  - name: learnt
    data: {train: [{path: data/conversations.jsonl, format: chat, columns: {messages: conversations, role: from, content: value}, roles: {user: [human], assistant: [gpt]}}]}
  - {name: small, quantize: {scheme: w8a16, method: round, measure: 8}}
  - {name: there, serve: {port: 8977}}
evaluate:
  tasks: [shelf]
  task_folder: tasks
  models: [base, learnt, small, there]
  batch_size: 4
  judge:
    - benchmark: rubric
      name: manners
      questions: questions.jsonl
      rubric: A polite answer.
      max_tokens: 16
      temperature: 1.0  # or random weights say the same token for ever
      by: [{model: judge-of-today, url: "URL", price: {input: 1.0, output: 2.0}}]
"""
PROGRAMS = "  allow_code_execution: true\n  code: {tasks: [sums], max_new_tokens: 16, jobs: 2}\n"


def scored(body: dict[str, Any], _number: int) -> str:
    """Give each answer a score by its question, so that what comes of it is known."""
    number = re.search(r"question (\d)", Talking.said(body))
    assert number is not None
    return f"It is as it is. [[{3 + int(number[1])}]]"


@pytest.mark.real
def test_every_form_of_a_model_stands_in_one_table(
    workplace: Path,  # noqa: F811
    tool_python: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)
    own_tasks(workplace / "tasks")
    questions = [{"question_id": n, "turns": [f"question {n}"]} for n in range(4)]
    (workplace / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    recipe = workplace / "beside.yaml"
    with talking(scored) as judge:
        recipe.write_text(RECIPE.replace("URL", judge.url) + ("" if ABSENT else PROGRAMS))
        run(recipe, workplace, tool_python)
        assert len(judge.asked) == 4 * len(MODELS)

    resolved = compile_file("beside.yaml").resolved
    assert resolved is not None
    left = [one for stage in resolved.plan.stages for one in stage.outputs if isinstance(one, ScoresOutput)]
    rows = {row.task: row for row in read_scores(evaluated(left))}
    table = {task: row.scores for task, row in rows.items()}
    assert set(table) == {"shelf", "manners"} | (set() if ABSENT else {"sums"})
    by_hand = {"manners": (4.5, (5 / 3 / 4) ** 0.5), "sums": (0.5, (1 / 3 / 4) ** 0.5)}  # 3 to 6; two of four pass
    for task, scores in table.items():
        assert list(scores) == MODELS
        value, error = by_hand.get(task, (scores["small"].value, scores["small"].stderr))
        for name in MODELS if task in by_hand else ("small", "there"):  # which is small, served
            assert scores[name].value == pytest.approx(value), (task, name)
            assert scores[name].stderr == pytest.approx(error), (task, name)
    assert all(set(row.changes) == set(MODELS[1:]) for row in rows.values())  # each against the base
