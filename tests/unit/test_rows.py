"""Local rows, held against the recipe before anything runs: what is wrong is found, what is right is left in peace."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_file
from recipec.rows import NAMES, reading
from recipec.rows.survey import RowSource, RowSurvey, survey_rows

PAIR = {"messages": "messages", "chosen": "chosen", "rejected": "rejected", "role": "role", "content": "content"}
TEXTS = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}
LABELS = {"prompt": "p", "completion": "c", "label": "l"}
CHAT = {"messages": "conversations", "role": "from", "content": "value"}
PLAIN = {"messages": "messages", "role": "role", "content": "content"}
ASKED = [{"role": "user", "content": "q"}]
YES, NO = {"role": "assistant", "content": "yes"}, {"role": "assistant", "content": "no"}
SYSTEM = {"role": "system", "content": ""}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
TOOL = {"role": "tool", "content": "7"}


def chat(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(turns)}


FORMATS: dict[int, str] = {id(PAIR): "preference", id(TEXTS): "preference", id(LABELS): "unpaired-preference"}
CASES: list[tuple[str, dict[str, str], Any, str | None, str]] = [
    ("pair", PAIR, {"messages": ASKED, "chosen": YES, "rejected": [NO]}, None, ""),
    ("pair of texts", TEXTS, {"prompt": "q", "chosen": "a", "rejected": "b"}, None, ""),
    ("no column", TEXTS, {"prompt": "q", "chosen": "a", "reject": "b"}, "D003", "has no column rejected"),
    ("same", TEXTS, {"prompt": "q", "chosen": "a", "rejected": "a"}, "D009", "are the same"),
    ("messages for text", TEXTS, {"prompt": ASKED, "chosen": "a", "rejected": "b"}, "D004", "prompt is [{"),
    ("text for messages", PAIR, {"messages": "q", "chosen": YES, "rejected": NO}, "D004", 'messages is "q"'),
    ("empty answer", PAIR, {"messages": ASKED, "chosen": [], "rejected": NO}, "D004", "chosen is []"),
    ("no role", PAIR, {"messages": [{"content": "q"}], "chosen": YES, "rejected": NO}, "D003", "has no role"),
    ("odd role", CHAT, {"conversations": [{"from": "alien", "value": "x"}]}, "D005", '"alien" is not a known role'),
    ("mapped role", CHAT, {"conversations": [{"from": "human", "value": "x"}, {"from": "assistant", "value": "y"}]}, None, ""),
    ("label", LABELS, {"p": "q", "c": "a", "l": "good"}, "D004", 'l is "good"'),
    ("not a mapping", TEXTS, ["q", "a"], "D002", "not a mapping"),
    ("prompt", {"prompt": "prompt", "answer": "answer"}, {"prompt": ASKED, "answer": 3}, None, ""),
    ("turns", PLAIN, chat(SYSTEM, *ASKED, YES, *ASKED, NO), None, ""),
    ("tools", PLAIN, chat(*ASKED, CALL, TOOL, TOOL, YES), None, ""),
    ("call without content", PLAIN, chat(*ASKED, {"role": "assistant", "tool_calls": [1]}, TOOL, YES), None, ""),
    ("parts", PLAIN, chat({"role": "user", "content": [{"type": "text", "text": "q"}]}, YES), None, ""),
    ("weights", PLAIN, chat(*ASKED, {**YES, "weight": 0, "train": False}), None, ""),
    ("no answer", PLAIN, chat(*ASKED), "D007", "no assistant turn"),
    ("empty turn", PLAIN, chat(*ASKED, {"role": "assistant", "content": " \n"}), "D006", "turn is empty"),
    ("two users", PLAIN, chat(*ASKED, *ASKED, YES), "D008", "two user turns"),
    ("late system", PLAIN, chat(*ASKED, YES, SYSTEM), "D008", "after the first turn"),
    ("sharegpt", {"instruction": "instruction", "output": "output"}, {"conversations": []}, "D003", "no column"),
    ("empty text", {"text": "text"}, {"text": ""}, "D006", "is empty"),
]  # fmt: skip


def surveyed(folder: Path, name: str, content: str | bytes, columns: dict[str, str], format: str = "chat") -> RowSurvey:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = survey_rows(RowSource(str(file), format, columns, {"user": ("human",)}))
    assert found is not None
    return found


@pytest.mark.parametrize(("columns", "row", "code", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_row(columns: dict[str, str], row: Any, code: str | None, said: str, tmp_path: Path) -> None:
    found = surveyed(tmp_path, "rows.jsonl", json.dumps(row) + "\n", columns, FORMATS.get(id(columns), "chat"))
    assert found.total == 1
    assert [problem.code for problem in found.problems] == ([code] if code else [])
    for problem in found.problems:
        assert said in problem.message
        assert problem.advice
        assert problem.code in NAMES


def test_the_shape_of_another_format_is_named(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "q"}]}
    found = surveyed(tmp_path, "rows.jsonl", json.dumps(row), {"instruction": "instruction", "output": "output"})
    assert "format: chat, columns: {messages: conversations, role: from, content: value}" in found.problems[0].advice


def test_each_mistake_is_told_once_with_the_number_of_rows(tmp_path: Path) -> None:
    rows = "".join(
        json.dumps({"prompt": f"q{n}", "chosen": "a", "rejected": "a" if n < 3 else "b"}) + "\n" for n in range(8)
    )
    (problem,) = surveyed(tmp_path, "rows.jsonl", rows, TEXTS).problems
    assert (problem.code, problem.severity) == ("D009", "warning")
    assert problem.message.endswith("row 1: the chosen and the rejected answer are the same; and 2 more rows like it")
    (problem,) = surveyed(tmp_path, "rows.jsonl", rows.replace('"b"', '"a"'), TEXTS).problems
    assert problem.severity == "error"


def test_labels_of_one_kind(tmp_path: Path) -> None:
    rows = json.dumps({"p": "q", "c": "a", "l": True}) + "\n"
    found = surveyed(tmp_path, "rows.jsonl", rows * 2, LABELS, "unpaired-preference")
    assert [problem.code for problem in found.problems] == ["D010"]
    found = surveyed(tmp_path, "rows.jsonl", rows + rows.replace("true", "false"), LABELS, "unpaired-preference")
    assert found.problems == []


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("rows.csv", "prompt,completion,label\nq,a,1\n", None, ""),
        ("rows.csv", "promt,completion,label\nq,a,1\n", "D003", "has no column prompt"),
        ("rows.csv", b"prompt,completion,label\nq,\xff,1\n", "D001", "0xff"),
        ("rows.json", "[{]", "D001", "rows.json"),
        ("rows.json", "{}", "D001", "no list"),
        ("rows.json", '[{"prompt": "q", "completion": "a", "label": false}]', None, ""),
        ("rows.jsonl", b'{"prompt": "\xe9"}', "D001", "row 1: byte 0xe9 is not UTF-8"),
        ("rows.jsonl", '{"a": 1}\n{"a":', "D001", "row 2 is no JSON"),
        ("rows.jsonl", "[" * 100_000, "D001", "is no JSON"),
        ("rows.jsonl", "", "D011", "no rows"),
        ("rows.jsonl", "\n \n", "D011", "no rows"),
        ("rows.csv", "", "D011", "no rows"),
        ("rows.json", "[]", "D011", "no rows"),
    ],
)
def test_files(name: str, content: str | bytes, code: str | None, said: str, tmp_path: Path) -> None:
    same = {word: word for word in ("prompt", "completion", "label")}
    found = surveyed(tmp_path, name, content, same)
    codes = [problem.code for problem in found.problems]
    assert codes == ([code] if code else []) or (code == "D001" and codes[-1] == code)
    if code is not None:
        assert said in found.problems[-1].message


def test_what_is_not_here_is_not_judged(tmp_path: Path) -> None:
    for name in ("none.jsonl", "none.parquet"):
        assert survey_rows(RowSource(str(tmp_path / name), "chat", PLAIN, {})) is None
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    assert survey_rows(RowSource(str(tmp_path / "rows.parquet"), "chat", PLAIN, {})) is None


def test_a_large_file_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WHOLE", 20_000)
    monkeypatch.setattr(reading, "HEAD", 5_000)
    good, bad = json.dumps({"text": "x" * 90}) + "\n", json.dumps({"text": 7}) + "\n"
    found = surveyed(tmp_path, "rows.jsonl", good * 150, {"text": "text"})
    assert (found.total, found.problems) == (150, [])
    found = surveyed(tmp_path, "rows.jsonl", good * 1000 + bad * 100, {"text": "text"})
    assert found.total is None
    assert [problem.code for problem in found.problems] == ["D004"]
    assert "the row after byte" in found.problems[0].message


HEAD = "recipe: 1\nname: t\nhardware: {gpu: none}\nmodel: {base: m/m}\ntrain: {learning_rate: 1e-4, batch_size: 4}\n"


def codes(folder: Path, data: str, more: str = "") -> list[str]:
    (folder / "t.yaml").write_text(HEAD + f"data: {data}\n" + more, encoding="utf-8")
    return sorted(finding.code for finding in compile_file(str(folder / "t.yaml")).findings)


def test_rows_of_several_sources_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"text": f"row {n}"}) + "\n" for n in range(20)]
    (tmp_path / "a.jsonl").write_text("".join(rows))
    (tmp_path / "b.jsonl").write_text("".join(rows[18:]) + '{"text": "new"}\n')
    (tmp_path / "c.jsonl").write_text("".join(rows[:3]))
    (tmp_path / "d.jsonl").write_text("".join(rows[:5] * 4))
    train = HEAD.replace("learning_rate", "method: pretrain, learning_rate")
    assert train != HEAD
    monkeypatch.setitem(globals(), "HEAD", train)
    one = "train: [{path: %s, format: text}]"
    assert codes(tmp_path, "{" + one % "a.jsonl" + "}") == []
    assert codes(tmp_path, "{" + one % "a.jsonl" + ", validation: [{path: b.jsonl, format: text}]}") == ["D013"]
    assert codes(tmp_path, "{" + one % "c.jsonl" + "}") == ["D014"]
    assert codes(tmp_path, "{" + one % "c.jsonl" + ", holdout: 3}") == ["P052"]
    assert codes(tmp_path, "{" + one % "d.jsonl" + "}") == []
    assert codes(tmp_path, "{" + one % "d.jsonl" + ", holdout: 10%}") == ["D012"]
    assert codes(tmp_path, "{train: [{path: c.jsonl, format: text, weight: 2}]}") == []
    allow = "allow: {fewer-rows-than-a-batch: it is a trial}\n"
    assert codes(tmp_path, "{" + one % "c.jsonl" + "}", allow) == []
    assert codes(tmp_path, "{" + one % "a.jsonl" + "}", allow) == ["L002"]


def test_an_error_in_the_rows_can_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps(chat(*ASKED, {"role": "critic", "content": "c"}, YES)) + "\n")
    source = "{train: [{path: a.jsonl, format: chat}]}"
    allow = "allow: {unknown-roles: the trainer knows critics, fewer-rows-than-a-batch: it is one}\n"
    assert codes(tmp_path, source) == ["D005", "D014"]
    assert codes(tmp_path, source, allow) == []
