"""The first rows of a data file, held against the recipe before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipec.resolve.first_rows import trouble

PAIR = {"messages": "messages", "chosen": "chosen", "rejected": "rejected", "role": "role", "content": "content"}
TEXTS = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}
CHAT = {"messages": "conversations", "role": "from", "content": "value"}
ASKED = [{"role": "user", "content": "q"}]
YES, NO = {"role": "assistant", "content": "yes"}, {"role": "assistant", "content": "no"}

CASES: list[tuple[str, dict[str, str], Any, str | None]] = [
    ("pair", PAIR, {"messages": ASKED, "chosen": YES, "rejected": [NO]}, None),
    ("pair of texts", TEXTS, {"prompt": "q", "chosen": "a", "rejected": "b"}, None),
    ("no column", TEXTS, {"prompt": "q", "chosen": "a", "reject": "b"}, "has no column rejected"),
    ("same", TEXTS, {"prompt": "q", "chosen": "a", "rejected": "a"}, "are the same"),
    ("messages for text", TEXTS, {"prompt": ASKED, "chosen": "a", "rejected": "b"}, "prompt is [{"),
    ("text for messages", PAIR, {"messages": "q", "chosen": YES, "rejected": NO}, 'messages is "q"'),
    ("empty answer", PAIR, {"messages": ASKED, "chosen": [], "rejected": NO}, "chosen is []"),
    ("no role", PAIR, {"messages": [{"content": "q"}], "chosen": YES, "rejected": NO}, "has no role"),
    ("odd role", CHAT, {"conversations": [{"from": "alien", "value": "x"}]}, '"alien" is not a role'),
    ("mapped role", CHAT, {"conversations": [{"from": "human", "value": "x"}]}, None),
    ("label", {"prompt": "p", "completion": "c", "label": "l"}, {"p": "q", "c": "a", "l": "good"}, 'l is "good"'),
    ("no mapping", TEXTS, ["q", "a"], "is no mapping"),
    ("prompt", {"prompt": "prompt", "answer": "answer"}, {"prompt": ASKED, "answer": 3}, None),
]


@pytest.mark.parametrize(("columns", "row", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_row(columns: dict[str, str], row: Any, expected: str | None, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    found = trouble(str(file), columns, {"user": ("human",)})
    assert (found is None) is (expected is None)
    if found is not None:
        assert f"{expected}" in found.message
        assert found.advice


def test_csv_and_json_and_what_cannot_be_read(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("prompt,completion,label\nq,a,1\n", encoding="utf-8")
    same = {name: name for name in ("prompt", "completion", "label")}
    assert trouble(str(table), same, {}) is None
    wrong = trouble(str(table), {"prompt": "promt"}, {})
    assert wrong is not None
    assert wrong.suggestion == "prompt"
    whole = tmp_path / "rows.json"
    whole.write_text("[{]", encoding="utf-8")
    broken = trouble(str(whole), same, {})
    assert broken is not None
    assert "cannot be read" in broken.message
    assert trouble(str(tmp_path / "none.jsonl"), same, {}) is None
