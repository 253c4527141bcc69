"""The page of systems leaves out no system, and no release that is pinned."""

import re
from pathlib import Path

from recipec.facts import FOLDER
from recipec.systems.registry import REGISTRY, system

PAGE = (Path(__file__).parents[2] / "docs" / "systems.md").read_text(encoding="utf-8")
OURS = {"script", "own_script", "check_scores", "evaluate_checkpoints", "generate_rows", "stack_adapters", "transformers"}  # fmt: skip
CALLED = {
    "lm_eval": "lm-evaluation-harness",
    "lm_eval_served": "lm-evaluation-harness",
    "ask_questions": "inspect-ai",
    "judge_answers": "inspect-ai",
    "vllm_serve": "vLLM",
    "vllm_bench": "vllm bench serve",
    "transformers_serve": "transformers serve",
    "llmcompressor": "llm-compressor",
    "llamafactory": "LLaMA-Factory",
}


def test_every_system_is_on_the_page() -> None:
    for name in set(REGISTRY) - OURS:
        assert re.search(re.escape(CALLED.get(name, name)), PAGE, re.IGNORECASE), system(name)


def test_every_pinned_release_is_on_the_page() -> None:
    names = [path.stem for path in (FOLDER / "environments").glob("*.txt")]
    releases = {found[1] for name in names if (found := re.match(r"\w+(?:-\w+)*?-(\d[\d.]*\d)", name))}
    assert len(releases) > 12
    assert {release for release in releases if release not in PAGE} == set()


def test_no_row_is_empty() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(rows) > 20
    for row in rows:
        assert len(row) == 5
        assert all(cell.strip() for cell in row[1:]), row
