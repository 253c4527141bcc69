"""What a course costs grows in line with its stages: counted in calls, which no busy machine changes."""

import cProfile
import pstats

from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

HEAD = """recipe: 1
name: course
model: {base: Qwen/Qwen2.5-0.5B-Instruct, max_length: 1024}
hardware: {gpu: a100-80gb}
trainer: trl
adapter: {rank: 8}
train: {learning_rate: 1e-4, batch_size: 8}
stages:
"""
MOST = 4.4  # times as many calls for four times the stages


def calls(stages: int) -> int:
    """Return how many calls it takes to compile a chain of trainings, each of which merges what the one before left."""
    parts = [
        f"  - {{name: s{i}, {'parent_adapter: merge, ' * bool(i)}data: {{train: [{{path: d{i}.jsonl, format: chat}}]}}}}\n"
        for i in range(stages)
    ]
    tree = read_text(Source("course.yaml", HEAD + "".join(parts)))
    profile = cProfile.Profile()
    compiled = profile.runcall(compile_tree, tree)
    assert len(compiled.files) > 7 * stages
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # typeshed does not know it


def test_four_times_the_stages_cost_about_four_times_as_much() -> None:
    calls(2)  # what is read once, of any recipe
    assert calls(80) <= MOST * calls(20)
