"""Tasks of a rehearsal: what stands in for those of lm-evaluation-harness whose rows are on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipec.kinds.code import Code
from recipec.kinds.evaluate import compares

PROGRAMS = 2  # for each problem
TESTS = "assert True"  # which stand behind a program: that of random weights fails before it comes to them


def own_tasks(folder: str | None) -> Iterator[str]:
    """Yield the names of the tasks in a folder."""
    for file in sorted(Path(folder).rglob("*.y*ml")) if folder is not None else ():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            word, colon, name = line.partition(":")
            if colon and word in ("task", "group", "tag"):
                yield name.strip().strip("\"'")


def fewer_programs(code: Code | None, new_tokens: int) -> Iterator[tuple[str, Any, str]]:
    """Yield what is laid over a recipe so that fewer programs are written: a path, a value, and why."""
    if code is None:
        return
    if code.samples > PROGRAMS:
        yield "evaluate.code.samples", PROGRAMS, "fewer programs"
    if max(code.pass_at) > PROGRAMS:
        told = [k for k in code.pass_at if k <= PROGRAMS]
        yield "evaluate.code.pass_at", told or [1], "what fewer programs can tell"
    if code.max_new_tokens is None or code.max_new_tokens > new_tokens:
        yield "evaluate.code.max_new_tokens", new_tokens, "short programs"


def made_tasks(
    folder: Path, names: list[str], new_tokens: int, *, written: bool, code: Code | None = None
) -> dict[str, str]:
    """Return a file for each task, and the rows that they ask. `written`: every answer is, where one who answers weighs none."""
    tests = dict(zip(code.tasks, code.tests, strict=True)) if code is not None else {}
    fields = dict.fromkeys((field for field in tests.values() if field != "target"), TESTS)
    rows = [
        {
            "question": f"Where is the {thing}?",
            "choices": ["aisle 1", "aisle 2", "aisle 3"],
            "answer": index % 3,
            **fields,
        }
        for index, thing in enumerate(("tea", "bread", "candles", "milk", "soap", "rice", "salt", "flour"))
    ]
    found = {"rehearsal.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}
    for name in names:
        asked: dict[str, Any] = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(folder / "rehearsal.jsonl")}},
            "test_split": "test",
            "fewshot_split": "test",
            "doc_to_text": "{{question}}",
            "target_delimiter": " ",
            "metadata": {"version": 0},
        }
        if name in tests:
            asked |= {"output_type": "generate_until", "doc_to_target": TESTS}
        elif compares(name) and not written:
            asked |= {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}", "doc_to_target": "{{answer}}"}
            asked["metric_list"] = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
        else:
            asked |= {"output_type": "generate_until", "doc_to_target": "{{choices[answer]}}"}
            asked["generation_kwargs"] = {"until": ["\n"], "max_gen_toks": new_tokens, "do_sample": False}
            asked["metric_list"] = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
        found[f"{name.replace('/', '_')}.yaml"] = json.dumps(asked, indent=2, ensure_ascii=False) + "\n"
    return found
