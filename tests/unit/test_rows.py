"""Local rows, held against the recipe before anything runs: what is wrong is found, what is right is left in peace."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_file
from recipec.rows import NAMES, reading
from recipec.rows.judging import RowSource, RowUse
from recipec.rows.survey import RowSurvey, survey_rows

PAIR = {"messages": "messages", "chosen": "chosen", "rejected": "rejected", "role": "role", "content": "content"}
TEXTS = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}
LABELS = {"prompt": "p", "completion": "c", "label": "l"}
CHAT = {"messages": "conversations", "role": "from", "content": "value"}
PLAIN = {"messages": "messages", "role": "role", "content": "content"}
COMPLETED = {"prompt": "prompt", "completion": "completion"}
INSTRUCTED = {"instruction": "instruction", "input": "input", "output": "output"}
ASKED = [{"role": "user", "content": "q"}]
YES, NO = {"role": "assistant", "content": "yes"}, {"role": "assistant", "content": "no"}
SYSTEM = {"role": "system", "content": ""}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
TOOL = {"role": "tool", "content": "7"}


def chat(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(turns)}


NONE = RowUse()
FORMATS: dict[int, str] = {
    id(PAIR): "preference", id(TEXTS): "preference", id(LABELS): "unpaired-preference", id(COMPLETED): "completion",
    id(INSTRUCTED): "instruction",
}  # fmt: skip
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
    ("not a mapping", TEXTS, "q", "D002", "not a mapping"),
    ("prompt", {"prompt": "prompt", "answer": "answer"}, {"prompt": ASKED, "answer": 3}, None, ""),
    ("turns", PLAIN, chat(SYSTEM, *ASKED, YES, *ASKED, NO), None, ""),
    ("tools", PLAIN, chat(*ASKED, CALL, TOOL, TOOL, YES), None, ""),
    ("call without content", PLAIN, chat(*ASKED, {"role": "assistant", "tool_calls": [1]}, TOOL, YES), None, ""),
    ("parts", PLAIN, chat({"role": "user", "content": [{"type": "text", "text": "q"}]}, YES), None, ""),
    ("weights", PLAIN, chat(*ASKED, {**YES, "weight": 1, "train": True}), None, ""),
    ("no answer", PLAIN, chat(*ASKED), "D007", "no assistant turn"),
    ("empty turn", PLAIN, chat(*ASKED, {"role": "assistant", "content": " \n"}), "D006", "turn is empty"),
    ("two users", PLAIN, chat(*ASKED, *ASKED, YES), "D008", "two user turns"),
    ("late system", PLAIN, chat(*ASKED, YES, SYSTEM), "D008", "after the first turn"),
    ("sharegpt", {"instruction": "instruction", "output": "output"}, {"conversations": []}, "D003", "no column"),
    ("empty text", {"text": "text"}, {"text": ""}, "D006", "is empty"),
    ("null answer", PLAIN, chat(*ASKED, {"role": "assistant", "content": None}), "D004", "what the assistant turn says is null"),
    ("null beside a call", PLAIN, chat(*ASKED, {**CALL, "content": None}, TOOL, YES), None, ""),
    ("no parts", PLAIN, chat(*ASKED, {"role": "assistant", "content": []}), "D006", "turn is empty"),
    ("assistant first", PLAIN, chat(YES, *ASKED, NO), "D008", "the assistant speaks first"),
    ("assistant after the system", PLAIN, chat({"role": "system", "content": "s"}, YES, *ASKED, NO), "D008", "speaks first"),
    ("chosen by the user", PAIR, {"messages": ASKED, "chosen": {"role": "user", "content": "yes"}, "rejected": NO}, "D020", "chosen is said by the user"),
    ("rejected by the user", PAIR, {"messages": ASKED, "chosen": YES, "rejected": [NO, *ASKED]}, "D020", "rejected is said by the user"),
    ("chosen by a mapped name", PAIR, {"messages": ASKED, "chosen": {"role": "human", "content": "yes"}, "rejected": NO}, "D020", "said by the user"),
    ("same as messages", PAIR, {"messages": ASKED, "chosen": "yes ", "rejected": [YES]}, "D009", "are the same"),
    ("other calls", PAIR, {"messages": ASKED, "chosen": CALL, "rejected": {**CALL, "tool_calls": [{"function": {"name": "g"}}]}}, None, ""),
    ("null text", TEXTS, {"prompt": "q", "chosen": None, "rejected": "b"}, "D004", "chosen is null"),
    ("null input", INSTRUCTED, {"instruction": "do", "input": None, "output": "done"}, None, ""),
    ("list as input", INSTRUCTED, {"instruction": "do", "input": ["x"], "output": "done"}, "D004", 'input is ["x"]'),
    ("null output", INSTRUCTED, {"instruction": "do", "output": None}, "D004", "output is null"),
    ("empty output", INSTRUCTED, {"instruction": "do", "output": " "}, "D006", "output is empty"),
    ("empty answer to check", {"prompt": "prompt", "answer": "answer"}, {"prompt": "q", "answer": ""}, "D006", "answer is empty"),
    ("null answer to check", {"prompt": "prompt", "answer": "answer"}, {"prompt": "q", "answer": None}, "D004", "answer is null"),
    ("prompt that is repeated", COMPLETED, {"prompt": "twelve chars", "completion": " twelve chars and more"}, "D024", "completion begins with the prompt"),
    ("short prompt that is repeated", COMPLETED, {"prompt": "eleven char", "completion": "eleven char and more"}, None, ""),
    ("prompt in the chosen text", TEXTS, {"prompt": "Which is it then?", "chosen": "Which is it then? a", "rejected": "Which is it then? b"}, "D024", "chosen begins"),
]  # fmt: skip


def surveyed(
    folder: Path, name: str, content: str | bytes, columns: dict[str, str], format: str = "chat", use: RowUse = NONE
) -> RowSurvey:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = survey_rows(RowSource(str(file), format, columns, {"user": ("human",)}, use))
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
    assert problem.message.endswith("are the same; every row is like it")


@pytest.mark.parametrize(
    ("columns", "good", "bad", "code", "most"),
    [
        (COMPLETED, {"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": " "}, "D006", False),
        (COMPLETED, {"prompt": "a question", "completion": "a"}, {"prompt": "a long question", "completion": "a long question a"}, "D024", True),
        (PLAIN, chat(*ASKED, YES), chat(*ASKED, {"role": "assistant", "content": "<|im_start|>x"}), "D023", True),
    ],
)  # fmt: skip
def test_what_few_rows_have_is_a_warning_and_what_too_many_have_an_error(
    columns: dict[str, str], good: Any, bad: Any, code: str, most: bool, tmp_path: Path
) -> None:
    def severity(bads: int) -> str:
        rows = "".join(json.dumps(row) + "\n" for row in [*[bad] * bads, *[good] * (10 - bads)])
        use = RowUse(templated=True)
        (problem,) = surveyed(tmp_path, "rows.jsonl", rows, columns, FORMATS.get(id(columns), "chat"), use).problems
        assert problem.code == code
        return problem.severity

    assert [severity(bads) for bads in (1, 5, 6, 9, 10)] == [
        "warning",
        "warning",
        *["error" if most else "warning"] * 2,
        "error",
    ]


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("<|im_start|>user\nq", "<|im_start|>"), ("q<|eot_id|>", "<|eot_id|>"), ("<s>[INST] q [/INST]", "<s>"), ("q [/INST] a", "[/INST]"),
        ("<start_of_turn>user", "<start_of_turn>"), ("<|user|>\nq", "<|user|>"), ("a</s>", "</s>"), ("### Instruction:\nq", "### Instruction:"),
        ("<｜User｜>q", "<｜User｜>"), ("a<|endoftext|>\n", "<|endoftext|>"),
        ("<think>\nso\n</think>\na", None), ("<tool_call>{}</tool_call>", None), ("an <s>old</s> price", None), ("[INSTALL] it", None),
        ("a < b | c > d", None), ("## Instruction", None), ("x ### Instruction: y", None),
    ],
)  # fmt: skip
def test_tokens_of_a_template_in_what_a_template_is_laid_over(text: str, token: str | None, tmp_path: Path) -> None:
    row = json.dumps(chat({"role": "user", "content": text}, YES)) + "\n"
    found = surveyed(tmp_path, "rows.jsonl", row, PLAIN, use=RowUse(templated=True))
    expected = [f"row 1: messages holds {token}, which chat templates write"] if token else []
    assert [problem.message.partition(", ")[2] for problem in found.problems] == expected
    assert surveyed(tmp_path, "rows.jsonl", row, PLAIN).problems == []


def test_rows_that_are_surely_too_long(tmp_path: Path) -> None:
    def found(*lengths: int, columns: dict[str, str] = COMPLETED, limit: int = 20) -> list[tuple[str, str]]:
        rows = (
            {**dict.fromkeys(columns, "q"), "completion": "w " * words, "chosen": "w " * words} for words in lengths
        )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        kind = FORMATS[id(columns)]
        return [
            (p.code, p.severity) for p in surveyed(tmp_path, "rows.jsonl", text, columns, kind, RowUse(limit)).problems
        ]

    assert found(20) == [("D026", "error")]  # and the prompt's word
    assert found(19) == []
    assert found(99, limit=0) == []
    assert found(99, 99, 1) == [("D026", "warning")]
    assert found(99, 1) == []
    assert found(20, columns=TEXTS) == []  # an answer of a pair may hold its prompt
    assert found(21, columns=TEXTS) == [("D026", "error")]


def test_a_template_that_refuses_turns_out_of_order(tmp_path: Path) -> None:
    def found(use: RowUse, *turns: dict[str, Any]) -> list[tuple[str, str]]:
        made = surveyed(tmp_path, "rows.jsonl", json.dumps(chat(*turns)) + "\n", PLAIN, use=use).problems
        return [(problem.severity, problem.message.partition("row 1: ")[2]) for problem in made]

    strict, told = RowUse(alternating="mistral"), {"role": "system", "content": "s"}
    assert found(strict, *ASKED, *ASKED, YES) == [
        ("error", "two user turns in a row, which the template mistral refuses")
    ]
    assert found(strict, YES, *ASKED, NO) == [
        ("error", "the assistant speaks first, which the template mistral refuses")
    ]
    assert found(strict, told, *ASKED, YES) == []
    assert found(strict, *ASKED, CALL, TOOL, YES) == []
    assert found(RowUse(), *ASKED, *ASKED, YES) == [("warning", "two user turns in a row")]
    systemless = RowUse(without_system="gemma")
    assert found(systemless, told, *ASKED, YES) == [("error", "a system turn, which the template gemma refuses")]
    assert found(systemless, *ASKED, YES) == []


def test_labels_of_one_kind(tmp_path: Path) -> None:
    rows = json.dumps({"p": "q", "c": "a", "l": True}) + "\n"
    found = surveyed(tmp_path, "rows.jsonl", rows * 2, LABELS, "unpaired-preference")
    assert [problem.code for problem in found.problems] == ["D010"]
    found = surveyed(tmp_path, "rows.jsonl", rows + rows.replace("true", "false"), LABELS, "unpaired-preference")
    assert found.problems == []


ROW = '{"prompt": "q", "completion": "a", "label": true}\n'


def parquet(rows: int, *columns: str) -> bytes:
    """Return a Parquet file that consists of a footer: the root of its schema, columns of which the last is nested."""

    def element(name: str, children: int = 0) -> bytes:
        begin = b"\x48" + bytes([len(name)]) + name.encode()  # field 4, text
        return begin + (b"\x15" + bytes([2 * children]) if children else b"") + b"\0"  # field 5, zigzag

    elements = [
        element("root", len(columns)),
        *map(element, columns[:-1]),
        element(columns[-1], 1),
        element("list", 1),
        element("x"),
    ]
    record = (
        b"\x15\x02\x19" + bytes([len(elements) << 4 | 12]) + b"".join(elements) + b"\x16" + bytes([2 * rows]) + b"\0"
    )
    return b"PAR1" + record + len(record).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("rows.csv", "prompt,completion,label\nq,a,1\n", None, ""),
        ("rows.csv", "promt,completion,label\nq,a,1\n", "D003", "has no column prompt"),
        ("rows.csv", b"prompt,completion,label\nq,\xff,1\n", "D001", "0xff"),
        ("rows.json", "[{]", "D001", "rows.json"),
        ("rows.json", "{}", "D003", "row 1 has no column prompt"),
        ("rows.json", '{"data": [{"prompt": "q"}]}', "D003", "row 1 has no column prompt"),
        ("rows.json", ROW * 2, None, ""),
        ("rows.jsonl", f"[{ROW},{ROW}]", None, ""),
        ("rows.jsonl", " [\n" + ROW + "\n]", None, ""),
        ("rows.jsonl", json.dumps(json.loads(ROW), indent=1) * 2, None, ""),
        ("rows.json", json.dumps(json.loads(ROW), indent=1) + '\n{"a": ', "D001", "row 2 is no JSON"),
        ("rows.jsonl", b"\xef\xbb\xbf" + ROW.encode(), None, ""),
        ("rows.csv", b"\xef\xbb\xbfprompt,completion,label\nq,a,0\n", None, ""),
        ("rows.json", (ROW * 2).encode("utf-16"), "D001", "is UTF-16, not JSON"),
        ("rows.json", f"[{ROW}]".encode("utf-16-le"), "D001", "is no text: it begins with the bytes 5b 00"),
        ("rows.jsonl", b"\x1f\x8b\x08\x00", "D001", "is compressed by gzip, not JSONL"),
        (
            "rows.csv",
            "version https://git-lfs.github.com/spec/v1\n",
            "D001",
            "is a pointer of Git LFS, whose file was not fetched",
        ),
        ("rows.jsonl", '"a"\n', "D002", 'row 1 is "a"'),
        ("rows.jsonl", '["q", "a"]\n["q", "b"]\n', "D002", 'row 1 is ["q", "a"]'),
        ("rows.jsonl", '["q"]\n', "D002", 'row 1 is "q"'),
        ("rows.csv", "prompt,completion,label\nq,a,1\nq,a,1,x\n", "D001", "row 2 has 4 fields, and its header 3"),
        ("rows.csv", "prompt,completion,label\nq,a,1\nq,a\n", "D004", "row 2: label is null"),
        ("rows.csv", 'prompt,completion,label\n\nq,"a, b\nc",1\n\n', None, ""),
        (
            "rows.csv",
            "prompt,completion,label\nq,,1\n",
            "D004",
            "row 1: completion is empty, which is read as no value",
        ),
        (
            "rows.csv",
            "prompt,completion,label\nq,None,1\n",
            "D029",
            "row 1: completion is None, which is read as no value",
        ),
        ("rows.csv", "prompt,completion,label\nq,1,1\nq,2.5,0\n", "D029", "every completion is a number"),
        ("rows.csv", "prompt,completion,label\nq,1,1\nq,two,0\n", None, ""),
        ("rows.csv", "prompt,completion,label\nq,a,good\n", "D004", 'row 1: label is "good"'),
        ("rows.csv", f"prompt,completion,label\nq,{'a' * 200_000},1\n", None, ""),
        ("rows.parquet", b"", "D001", "is empty"),
        ("rows.parquet", ROW, "D001", 'is no Parquet file: it begins with "{"pr"'),
        ("rows.parquet", b"\x00\x01\x02\x03" * 9, "D001", "begins with other bytes"),
        ("rows.parquet", b"PAR1", "D001", "without its end"),
        ("rows.parquet", b"PAR1" + b"x" * 20, "D001", "without its end"),
        ("rows.parquet", b"PAR1\x15\x02\x00\x03\x00\x00\x00PAR1", "D001", "whose footer cannot be read"),
        ("rows.parquet", b"PARE" + b"x" * 20, "D001", "is encrypted"),
        ("rows.parquet", parquet(2, "prompt", "completion", "label"), None, ""),
        ("rows.parquet", parquet(2, "prompt", "label"), "D003", "rows.parquet has no column completion"),
        ("rows.parquet", parquet(0, "prompt", "completion", "label"), "D011", "no rows"),
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


def test_an_array_behind_a_byte_order_mark_is_read_by_newer_trainers_only(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf[" + ROW.encode() + b"]"
    same = {word: word for word in ("prompt", "completion", "label")}
    assert surveyed(tmp_path, "rows.json", content, same).problems == []
    (problem,) = surveyed(tmp_path, "rows.json", content, same, use=RowUse(marked_arrays=False)).problems
    assert (problem.code, problem.severity) == ("D001", "error")
    assert surveyed(tmp_path, "rows.json", content[3:], same, use=RowUse(marked_arrays=False)).problems == []


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
    array = "[" + (good.rstrip() + ",\n") * 300 + good + "]"
    for content in (array, json.dumps({"text": "x" * 90}, indent=1) * 300):
        found = surveyed(tmp_path, "rows.json", content, {"text": "text"})
        assert (found.total, found.problems) == (None, [])
        assert found.row_hashes.total() > 40
    found = surveyed(tmp_path, "rows.json", "[" + bad.rstrip() + "," + array[1:], {"text": "text"})
    assert [problem.code for problem in found.problems] == ["D004"]
    found = surveyed(tmp_path, "rows.json", "[7x, " + array[1:], {"text": "text"})
    assert [problem.code for problem in found.problems] == ["D002", "D001"]
    found = surveyed(tmp_path, "rows.jsonl", bad * 2000, {"text": "text"})
    assert found.problems[0].message.endswith("text is 7; every row that was read is like it")


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
    (tmp_path / "e.jsonl").write_text("".join(rows[:10] * 2))
    train = HEAD.replace("learning_rate", "method: pretrain, learning_rate")
    assert train != HEAD
    monkeypatch.setitem(globals(), "HEAD", train)
    one = "train: [{path: %s, format: text}]"
    assert codes(tmp_path, "{" + one % "a.jsonl" + "}") == []
    assert codes(tmp_path, "{" + one % "a.jsonl" + ", validation: [{path: b.jsonl, format: text}]}") == ["D013"]
    assert codes(tmp_path, "{" + one % "c.jsonl" + "}") == ["D014"]
    assert codes(tmp_path, "{" + one % "c.jsonl" + ", holdout: 3}") == ["P052"]
    assert codes(tmp_path, "{" + one % "d.jsonl" + "}") == ["D012"]
    assert codes(tmp_path, "{" + one % "e.jsonl" + "}") == []
    assert codes(tmp_path, "{" + one % "e.jsonl" + ", holdout: 10%}") == ["D012"]
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


CHATS = [json.dumps(chat({"role": "user", "content": f"q {n}"}, YES if n else NO)) + "\n" for n in range(40)]


def findings(folder: Path, data: str, train: str = "learning_rate: 1e-4, batch_size: 4", more: str = "") -> list[str]:
    """Return the severity, code, place and message of each finding."""
    head = "recipe: 1\nname: t\nhardware: {gpu: none}\nmodel: {base: m/m}\n"
    (folder / "t.yaml").write_text(f"{head}train: {{{train}}}\ndata: {data}\n{more}", encoding="utf-8")
    found: list[str] = []
    for one in compile_file(str(folder / "t.yaml")).findings:
        assert one.span is not None
        begin, end = one.span.offsets()
        found.append(f"{one.severity} {one.code} «{one.span.source.text[begin:end]}» {one.message}")
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text("".join(CHATS[:20]))
    return tmp_path


def test_a_file_that_is_given_twice(here: Path) -> None:
    (here / "link.jsonl").symlink_to(here / "a.jsonl")
    for other in ("a.jsonl", "./a.jsonl", f"../{here.name}/a.jsonl", str(here / "a.jsonl"), "link.jsonl"):
        twice = f"{{train: [{{path: a.jsonl, format: chat}}, {{path: {other}, format: chat}}]"
        message = f"D021 «{other}» {other} is given twice: it is data.train[0] too"
        assert findings(here, twice + "}") == [f"warning {message}"]
        held = f"error {message}, so most held-out rows are also training rows"
        assert findings(here, twice + ", holdout: 10%}") == [held]
    hub = "{train: [{hub: o/r, format: chat}, {hub: o/r, format: chat%s}]}"
    assert findings(here, hub % "") == ["warning D021 «o/r» o/r is given twice: it is data.train[0] too"]
    for word in ("split: test", "subset: s", "revision: v1", "columns: {messages: turns}"):
        assert findings(here, hub % f", {word}") == []


def test_validation_on_what_is_trained_on(here: Path) -> None:
    both = "{train: [{path: %s, format: chat}], validation: [{path: %s, format: chat}]}"
    gone = "D021 «b.jsonl» b.jsonl is validation and training data: data.train[0]"
    assert f"warning {gone}" in findings(here, both % ("b.jsonl", "b.jsonl"))
    assert [one for one in findings(here, both % ("b.jsonl", "c.jsonl")) if "D021" in one] == []
    assert [one[:12] for one in findings(here, both % ("a.jsonl", "a.jsonl"))] == ["warning D013"]  # row by row
    hub = "{train: [{hub: o/r, format: chat}], validation: [{hub: o/r, format: chat%s}]}"
    assert findings(here, hub % "") == ["warning D021 «o/r» o/r is validation and training data: data.train[0]"]
    assert findings(here, hub % ", split: test") == []


def test_rows_that_two_files_share(here: Path) -> None:
    two = "{train: [{path: a.jsonl, format: chat}, {path: b.jsonl, format: chat}]%s}"
    (here / "b.jsonl").write_text("".join(CHATS[17:32]))  # 3 of 15
    assert findings(here, two % "") == []
    (here / "b.jsonl").write_text("".join(CHATS[16:31]))  # 4 of 15
    message = "warning D022 «b.jsonl» 4 of 15 rows of b.jsonl are also in a.jsonl"
    assert findings(here, two % "") == [message]
    assert findings(here, two % ", holdout: 20%") == [f"{message}: held-out rows are also training rows"]
    (here / "b.jsonl").write_text("".join(CHATS[:9]))  # too few to say
    assert findings(here, two % "") == []


def test_a_schedule_that_the_rows_do_not_fill(here: Path) -> None:
    one, train = "{train: [{path: a.jsonl, format: chat}]%s}", "learning_rate: 1e-4, batch_size: 4, epochs: 2, "
    give = "20 rows in batches of 4 for 2 epochs are 10 steps"  # 5 steps an epoch
    assert findings(here, one % "", train + "warmup: 10, save: {every: 10}") == []
    never = "the learning rate never reaches its peak"
    assert findings(here, one % "", train + "warmup: 11") == [f"error D027 «11» {give}, and warmup takes 11: {never}"]
    found = findings(here, one % "", train + "scheduler: warmup_stable_decay, decay: 11")
    assert found == [f"error D027 «11» {give}, and decay takes 11: it is longer than the training"]
    assert findings(here, one % "", train + "save: {every: 11}") == []  # a checkpoint at the end is enough
    long = train.replace("epochs: 2", "epochs: 20")
    found = findings(here, one % "", long + "save: {every: 101}")
    assert [text.partition(" are ")[2] for text in found] == [
        "100 steps, and the first checkpoint would come at step 101"
    ]
    assert findings(here, one % "", long + "save: {every: 100}") == []
    held = "18 rows in batches of 4 for 2 epochs are 10 steps"
    found = findings(here, one % ", holdout: 10%", train + "evaluate_every: 11")
    assert found == [f"warning D028 «11» {held}, and the first validation would come at step 11"]
    assert findings(here, one % ", holdout: 10%", train + "evaluate_every: 10") == []
    assert findings(here, one % ", holdout: 10%", train + "warmup: 10") == []
    packed = findings(here, one % ", packing: true", train + "warmup: 11")
    assert packed == [f"error D027 «11» {give.replace('are 10', 'are at most 10')}, and warmup takes 11: {never}"]
    hub = "{train: [{path: a.jsonl, format: chat}, {hub: o/r, format: chat}]}"
    assert findings(here, hub, train + "warmup: 11") == []
    (here / "t.jsonl").write_text('{"text": "one may become many"}\n' * 9)
    text = "{train: [{path: t.jsonl, format: text}]}"
    assert findings(here, text, "method: pretrain, " + train + "warmup: 11") == []


def test_labels_out_of_balance(here: Path) -> None:
    def found(good: int, bad: int, weights: str = "") -> list[str]:
        rows = [json.dumps({"prompt": f"q{n}", "completion": "a", "label": n < good}) + "\n" for n in range(good + bad)]
        (here / "k.jsonl").write_text("".join(rows))
        train = "method: kto, learning_rate: 1e-5, micro_batch_size: 4, batch_size: 4" + weights
        return findings(here, "{train: [{path: k.jsonl, format: unpaired-preference}]}", train)

    assert found(16, 4) == found(4, 16) == []
    told = "labels true and false are 13 to 3: the undesirable rows hardly count"
    assert found(13, 3) == [f"warning D025 «k.jsonl» {told}"]
    assert found(13, 3, ", undesirable_weight: 4") == []
    assert found(13, 3, ", desirable_weight: 4") == [f"warning D025 «4» {told}"]
    assert found(1, 19) == ["warning D025 «k.jsonl» labels true and false are 1 to 19: the desirable rows hardly count"]
    assert found(1, 8) == []  # too few to say
