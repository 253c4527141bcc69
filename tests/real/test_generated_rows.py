"""A model writes rows, and others are trained on them: by the emitted files and scripts alone."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trains import lines, run, workplace  # noqa: F401  # the fixture

RECIPE = """
recipe: 1
name: rows
model: {from_scratch: {family: llama, hidden_size: 32, layers: 2, heads: 4, vocab_size: 400}, max_length: 96}
trainer: trl
train: {steps: 2, batch_size: 2, micro_batch_size: 2, learning_rate: 1e-3}
hardware: {gpu: none}
stages:
  - name: sft
    data: {train: [{path: data/instructions.jsonl, format: instruction}]}
    model: {chat_template: chatml}
  - name: pairs
    generate:
      prompts: [{path: data/asked.jsonl, format: prompt, columns: {answer: answer}, system: Be brief.}]
      makes: preference
      margin: 0.2
      keep_truncated: true
      batch_size: 4
    rollout: {completions: 4, max_new_tokens: 12, temperature: 1.5}
    rewards: [{type: length, max_words: 2}, {type: exact, weight: 2}]
  - name: judge
    start_from: sft
    data: {train: [{stage: pairs, format: preference}]}
    train: {method: reward}
  - name: best
    start_from: sft
    generate: {prompts: [{path: data/asked.jsonl, format: prompt}], keep_truncated: true, batch_size: 5}
    rollout: {completions: 3, max_new_tokens: 8}
    rewards: [{type: model, stage: judge}]
  - name: kept
    script:
      path: keep.py
      makes: rows
      format: preference
      arguments: {rows: "${plan:pairs.rows}", to: "${plan:kept.output}/rows.jsonl", least: 0.6}
  - name: dpo
    start_from: sft
    data: {train: [{stage: kept, format: preference}]}
    train: {method: dpo}
  - name: answers
    generate: {prompts: [{path: data/asked.jsonl, format: prompt}], keep_truncated: true}
    rollout: {max_new_tokens: 8}
  - name: again
    start_from: sft
    data: {train: [{stage: answers, format: chat}]}
  - name: soup
    start_from: dpo
    script:
      path: soup.py
      makes: model
      arguments: {one: "${plan:soup.model.path}", other: "${plan:again.output}", to: "${plan:soup.output}"}
  - name: told
    generate: {prompts: [{path: data/asked.jsonl, format: prompt}], keep_truncated: true}
    rollout: {max_new_tokens: 8}
"""
KEEP = """
import argparse, json

parser = argparse.ArgumentParser()
for name in ("--rows", "--to", "--least"):
    parser.add_argument(name)
given = parser.parse_args()
with open(given.rows, encoding="utf-8") as rows, open(given.to, "w", encoding="utf-8") as kept:
    for line in rows:
        row = json.loads(line)
        if row["score_chosen"] - row["score_rejected"] >= float(given.least):
            kept.write(line)
"""
SOUP = """
import argparse

from transformers import AutoModelForCausalLM, AutoTokenizer

parser = argparse.ArgumentParser()
for name in ("--one", "--other", "--to"):
    parser.add_argument(name)
given = parser.parse_args()
model = AutoModelForCausalLM.from_pretrained(given.one)
other = AutoModelForCausalLM.from_pretrained(given.other).state_dict()
model.load_state_dict({name: (value + other[name]) / 2 for name, value in model.state_dict().items()})
model.save_pretrained(given.to)
AutoTokenizer.from_pretrained(given.one).save_pretrained(given.to)
"""
MEAN = """
import sys
from safetensors.torch import load_file

one, other, mean = (load_file(f"{folder}/model.safetensors") for folder in sys.argv[1:])
name = next(name for name in mean if name.endswith("q_proj.weight"))
print(float((mean[name] - (one[name] + other[name]) / 2).abs().max()), float((one[name] - other[name]).abs().max()))
"""

# What a reward model gives each conversation by itself, without padding.
SCORES = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
scores = []
for line in open(sys.argv[2], encoding="utf-8"):
    text = tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=False)
    given = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        scores.append(model(**{k: given[k] for k in ("input_ids", "attention_mask")}).logits[0, 0].item())
print(json.dumps(scores))
"""


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def short(text: str) -> float:
    """The reward of type length, of at most 2 words."""
    return max(0.0, min(1.0, 2 - len(text.split()) / 2))


@pytest.mark.real
def test_rows_are_written_judged_and_trained_on(
    workplace: Path,  # noqa: F811
    tool_python: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)
    asked = [{"prompt": f"What do you drink, number {i}?", "answer": "tea"} for i in range(18)]
    lines(workplace / "data" / "asked.jsonl", [*asked, {"prompt": "So many words. " * 40, "answer": "tea"}])
    recipe = workplace / "rows.yaml"
    recipe.write_text(RECIPE)
    Path("keep.py").write_text(KEEP)
    Path("soup.py").write_text(SOUP)
    runs = run(recipe, workplace, tool_python)

    pairs, count = read(runs / "pairs" / "rows.jsonl"), json.loads((runs / "pairs" / "count.json").read_text())
    assert count["prompts"] == 19
    assert count["prompts too long"] == 1
    assert count["answers"] == 4 * 18
    assert count["rows"] == len(pairs) > 0
    for row in pairs:
        system, turn = row["messages"]
        assert (system["content"], turn["role"]) == ("Be brief.", "user")
        assert turn["content"] in {one["prompt"] for one in asked}
        for side in ("chosen", "rejected"):
            assert row[side]["role"] == "assistant"
            assert row[f"score_{side}"] == pytest.approx(short(row[side]["content"]))  # none is exactly the answer
        assert row["score_chosen"] - row["score_rejected"] >= 0.2
    answers = read(runs / "answers" / "rows.jsonl")
    assert [row["messages"][0]["content"] for row in answers] == [one["prompt"] for one in asked]
    assert all(row["messages"][1]["role"] == "assistant" for row in answers)
    best = read(runs / "best" / "rows.jsonl")
    assert [row["messages"][0]["content"] for row in best] == [one["prompt"] for one in asked]
    judged = subprocess.run(
        [tool_python("trl-1.16.0"), "-c", SCORES, runs / "judge", runs / "best" / "rows.jsonl"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [row["score"] for row in best] == pytest.approx(json.loads(judged.stdout), abs=1e-4)
    kept = [row for row in pairs if row["score_chosen"] - row["score_rejected"] >= 0.6]
    assert read(runs / "kept" / "rows.jsonl") == kept
    assert 0 < len(kept) < len(pairs)
    folders = [str(runs / stage) for stage in ("dpo", "again", "soup")]
    mean = subprocess.run([tool_python("trl-1.16.0"), "-c", MEAN, *folders], capture_output=True, text=True, check=True)
    away, apart = map(float, mean.stdout.split())
    assert away < 1e-6 < apart
    assert len(read(runs / "told" / "rows.jsonl")) == len(asked)

    settings = json.loads((workplace / "build" / "rows" / "pairs" / "generate.json").read_text())
    script = workplace / "build" / "rows" / "pairs" / "generate_rows.py"

    def generate(folder: str, *start: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        own = script.with_name(f"{folder}.json")
        own.write_text(json.dumps(settings | changes | {"output": folder}))
        python = tool_python("trl-1.16.0")
        command = [str(python), *start, str(script), str(own)]
        variables = os.environ | {"PYTHONPATH": str(script.parent), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)

    # two processes share the batches, and write what one does
    assert generate("shared", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2").returncode == 0
    assert {path.name for path in Path("shared").glob("answers-*")} == {"answers-0-of-2.jsonl", "answers-1-of-2.jsonl"}
    assert read(Path("shared/rows.jsonl")) == pairs
    # killed in the middle of a batch, it goes on behind the last whole one
    Path("killed").mkdir()
    whole = (runs / "pairs" / "answers-0-of-1.jsonl").read_bytes().splitlines(keepends=True)
    Path("killed/answers-0-of-1.jsonl").write_bytes(b"".join(whole[:2]) + whole[2][:30])
    again = generate("killed")
    assert again.returncode == 0
    assert "4 of 19 prompts" not in again.stdout  # the first batch was answered before
    assert Path("killed/answers-0-of-1.jsonl").read_bytes() == b"".join(whole)
    assert read(Path("killed/rows.jsonl")) == pairs
    # where no answer is good enough, it says so and leaves no rows
    none = generate("none", min_reward=99.0)
    assert none.returncode == 1
    assert "no row is left" in none.stderr
    assert not Path("none/rows.jsonl").exists()
