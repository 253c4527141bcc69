"""What nobody reads of local rows, and pairs in shapes that a trainer does not read."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_rows import ASKED, CALL, FORMATS, NO, PAIR, PLAIN, TEXTS, TOOL, YES, chat, surveyed

from recipec.rows.judging import RowUse

CARRIED = frozenset([".tool_calls", ".tool_call_id", ".name", ".reasoning_content"])
NAMED = {"role": "user", "content": "q", "name": "eve"}
LONGER = "a text that is long enough to mean something to somebody"
UNREAD: list[tuple[str, dict[str, str], dict[str, Any], frozenset[str], str, str]] = [
    ("nothing", PLAIN, chat(*ASKED, YES), frozenset(), "", ""),
    ("tools", PLAIN, {**chat(*ASKED, YES), "tools": [{"name": "f"}]}, CARRIED, "", "D030 the trainer does not read tools"),
    ("tools that are read", PLAIN, {**chat(*ASKED, YES), "tools": [{"name": "f"}]}, CARRIED | {"tools"}, "", ""),
    ("no tools", PLAIN, {**chat(*ASKED, YES), "tools": []}, CARRIED, "", ""),
    ("a call", PLAIN, chat(*ASKED, CALL, TOOL, YES), frozenset(), "", "D030 the trainer does not read tool_calls of a turn"),
    ("a call that is read", PLAIN, chat(*ASKED, CALL, TOOL, YES), CARRIED, "", ""),
    ("a call and its template", PLAIN, chat(*ASKED, CALL, TOOL, YES), CARRIED, "chatml", "D030 the template chatml writes no tool calls"),
    ("no call and the template", PLAIN, chat(*ASKED, YES), CARRIED, "chatml", ""),
    ("an old call", PLAIN, chat(*ASKED, {**YES, "function_call": {"name": "f"}}), CARRIED, "", "D030 the trainer does not read function_call of a turn"),
    ("an answer that calls", PAIR, {"messages": ASKED, "chosen": CALL, "rejected": NO}, frozenset(), "", "D030 the trainer does not read tool_calls of a turn"),
    ("a picture", PLAIN, chat({"role": "user", "content": [{"type": "image"}]}, YES), CARRIED, "", "D030 the trainer does not read a part of a turn that is not text"),
    ("pictures", PLAIN, {**chat(*ASKED, YES), "images": ["a.png"]}, CARRIED, "", "D030 the trainer does not read images"),
    ("a mask", PLAIN, chat(*ASKED, {**YES, "weight": 0}), CARRIED, "", "D030 the trainer does not read weight of a turn, which says not to train on it,"),
    ("another mask", PLAIN, chat(*ASKED, {**YES, "train": False}), CARRIED, "", "D030 the trainer does not read train of a turn, which says not to train on it,"),
    ("a rule", PLAIN, {**chat(*ASKED, YES), "system": "be kind"}, CARRIED, "", "D031 the trainer does not read system"),
    ("a rule that is read", PLAIN, {**chat(*ASKED, YES), "system": "be kind"}, CARRIED | {"system"}, "", ""),
    ("a name", PLAIN, chat(NAMED, YES), frozenset(), "", "D031 the trainer does not read name of a turn"),
    ("a name that is read", PLAIN, chat(NAMED, YES), CARRIED, "", ""),
    ("a weight", TEXTS, {"prompt": "q", "chosen": "a", "rejected": "b", "weight": 0.5}, CARRIED, "", "D031 the trainer does not read weight"),
    ("evident", PLAIN, {**chat(*ASKED, YES), "id": 7, "source": LONGER, "score_chosen": 0.5, "prompt_id": LONGER, "url": LONGER, "weight": 1}, CARRIED, "", ""),
    ("a longer text", PLAIN, {**chat(*ASKED, YES), "rationale": LONGER}, CARRIED, "", "D031 the trainer does not read rationale"),
    ("a short text", PLAIN, {**chat(*ASKED, YES), "rationale": LONGER[:39]}, CARRIED, "", ""),
    ("what is read anyway", PLAIN, {**chat({"role": "user", "content": f"{LONGER}?"}, YES), "ask": LONGER}, CARRIED, "", ""),
    ("what holds all", PLAIN, {**chat(*ASKED, YES), "rendered": f"user: q assistant: yes {LONGER}"}, CARRIED, "", ""),
    ("two fields", PLAIN, {**chat(*ASKED, YES), "tools": [1], "images": [1]}, CARRIED, "", "D030 the trainer does not read tools and images"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "row", "reads", "wordless", "told"), [u[1:] for u in UNREAD], ids=[u[0] for u in UNREAD]
)
def test_what_nobody_reads_of_a_row(
    columns: dict[str, str], row: dict[str, Any], reads: frozenset[str], wordless: str, told: str, tmp_path: Path
) -> None:
    use = RowUse(reads=reads, without_tools=wordless)
    found = surveyed(tmp_path, "rows.jsonl", json.dumps(row) + "\n", columns, FORMATS.get(id(columns), "chat"), use)
    said = [f"{p.code} {p.message.partition('row 1: ')[2]}" for p in found.problems]
    assert said == ([told] if told else [])
    assert [p.severity for p in found.problems] == (["error" if told.startswith("D030") else "warning"] if told else [])


WHOLE = [*ASKED, YES]
OTHER = [*ASKED, NO]
ANY = frozenset[str]()
SHAPES: list[tuple[str, dict[str, Any], frozenset[str], str]] = [
    ("one message each", {"messages": ASKED, "chosen": YES, "rejected": NO}, frozenset(["message"]), ""),
    ("lists where messages are due", {"messages": ASKED, "chosen": [YES], "rejected": [NO]}, frozenset(["message"]), "D016 chosen is [{"),
    ("a message where lists are due", {"messages": ASKED, "chosen": [YES], "rejected": NO}, frozenset(["messages"]), "D016 rejected is {"),
    ("lists", {"messages": ASKED, "chosen": [YES], "rejected": [NO]}, frozenset(["messages"]), ""),
    ("whole where lists are due", {"messages": ASKED, "chosen": WHOLE, "rejected": OTHER}, frozenset(["messages"]), "D016 chosen is [{"),
    ("answers in messages", {"messages": WHOLE, "chosen": YES, "rejected": NO}, frozenset(["message"]), "D016 messages holds an answer too"),
    ("answers in messages, read", {"messages": WHOLE, "chosen": YES, "rejected": NO}, ANY, ""),
    ("a prompt of its own", {"prompt": "q", "chosen": [YES], "rejected": [NO]}, ANY, ""),
    ("no prompt", {"chosen": [YES], "rejected": [NO]}, ANY, "D003 has no column messages"),
    ("whole alone", {"chosen": WHOLE, "rejected": OTHER}, ANY, ""),
    ("whole alone, not read", {"chosen": WHOLE, "rejected": OTHER}, frozenset(["messages"]), "D016 chosen is [{"),
    ("texts alone", {"prompt": "q", "chosen": "a", "rejected": "b"}, ANY, "D003 has no column messages"),
    ("other prompts", {"chosen": WHOLE, "rejected": [{"role": "user", "content": "p"}, NO]}, ANY, "D032 the answers of a pair"),
    ("an answer that is neither", {"messages": [*WHOLE], "chosen": NO, "rejected": {**NO, "content": "never"}}, ANY, "D032 the prompt of a pair ends"),
    ("no JSON", {"messages": ASKED, "chosen": {**CALL, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "rejected": NO}, ANY, "D032 what a tool is, or is called with, is no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "pairs", "told"), [shape[1:] for shape in SHAPES], ids=[shape[0] for shape in SHAPES])
def test_shapes_of_pairs(row: dict[str, Any], pairs: frozenset[str], told: str, tmp_path: Path) -> None:
    found = surveyed(tmp_path, "rows.jsonl", json.dumps(row) + "\n", PAIR, "preference", RowUse(pairs=pairs)).problems
    said = [f"{p.code} {p.message.partition('row 1')[2].lstrip(': ')}" for p in found]
    assert len(said) == bool(told)
    assert all(text.startswith(told) for text in said)


def test_turns_that_are_judged_one_by_one(tmp_path: Path) -> None:
    same = {word: word for word in ("prompt", "completion", "label")}

    def found(use: RowUse, prompt: Any, completion: Any) -> list[str]:
        row = json.dumps({"prompt": prompt, "completion": completion, "label": True})
        return [p.code for p in surveyed(tmp_path, "rows.jsonl", row, same, "unpaired-preference", use).problems]

    turns = RowUse(unpaired_turns=True)
    assert found(turns, ASKED, [YES]) == []
    assert found(turns, ASKED, ASKED) == ["D020"]
    assert found(turns, ASKED, WHOLE) == ["D024"]
    assert found(RowUse(), ASKED, [YES]) == ["D004"]
    assert found(turns, "q", "a") == []
