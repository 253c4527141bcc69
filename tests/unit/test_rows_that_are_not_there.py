"""What a trainer does with rows of a kind, such as those that are too long, is not told where local files have none."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

RECIPE = """recipe: 1
name: rows
trainer: {trainer}
model: {{base: Qwen/Qwen2.5-0.5B-Instruct, max_length: {length}{model}}}
adapter: {{rank: 8}}
data: {{train: [{source}]}}
train: {{epochs: 1, learning_rate: 1e-4}}
hardware: {{gpu: a100-80gb{machine}}}
"""
TURNS = [{"role": "user", "content": "Wie viele?"}, {"role": "assistant", "content": "Acht."}]
LONG, ODD, TEXTS = "longer than max_length", "do not alternate", "both are lists of messages"
MACHINES = {"trl": "", "llamafactory": "", "openrlhf": ", per_node: 2"}


def told(trainer: str, path: str, length: int = 2048, form: str = "", train: str = "") -> list[str]:
    """Return what is told of rows that a trainer treats another way."""
    form = form or ("completion" if trainer == "trl" else "chat")
    model = {"llamafactory": ", chat_template: qwen_25", "openrlhf": ", attention: flash_attention_2"}.get(trainer, "")
    more = "parallel: {strategy: zero2}\n" if trainer == "openrlhf" else ""
    text = RECIPE.format(
        trainer=trainer,
        length=length,
        model=model,
        source=f"{{path: {path}, format: {form}}}",
        machine=MACHINES[trainer],
    )
    text = text.replace("train: {epochs", f"train: {{{train}epochs")
    found = compile_tree(read_text(Source("rows.yaml", text + more))).findings
    about = [one.message for one in found if one.code == "T003"]
    return [one for one in about if any(kind in one for kind in (LONG, ODD, TEXTS))]


def write(rows: list[Any]) -> str:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "rows.jsonl"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_long_rows_are_told_where_there_may_be_some() -> None:
    short = write([{"prompt": "one", "completion": "two"}] * 3)
    assert told("trl", short) == []
    assert len(told("trl", short, length=512)) == 1  # its template may write more than that
    assert len(told("trl", "elsewhere.jsonl")) == 1
    assert len(told("trl", write([{"prompt": "one", "completion": "two " * 700}]))) == 1
    Path("rows.parquet").write_bytes(b"PAR1")
    assert len(told("trl", write([{"prompt": "世" * 600, "completion": "two"}]))) == 1  # in bytes it is long


@pytest.mark.parametrize("trainer", ["llamafactory", "openrlhf"])
def test_all_trainers_that_cut_rows_look_at_them(trainer: str) -> None:
    path = write([{"messages": TURNS}] * 3)
    assert told(trainer, path) == []
    assert any(LONG in one for one in told(trainer, "elsewhere.jsonl"))
    long = [{"role": "user", "content": "word " * 5000}, TURNS[1]]
    assert any(LONG in one for one in told(trainer, write([{"messages": TURNS}, {"messages": long}])))


@pytest.mark.parametrize(
    ("turns", "odd"),
    [
        (TURNS, False),
        ([{"role": "system", "content": "Kurz."}, *TURNS, *TURNS], False),
        ([*TURNS, TURNS[0]], True),
        ([TURNS[0], *TURNS], True),
        ([*TURNS, TURNS[1]], True),
        ([*TURNS, {"role": "system", "content": "Kurz."}, *TURNS], True),
    ],
)
def test_turns_that_do_not_alternate_are_told_where_there_are_some(turns: list[dict[str, str]], odd: bool) -> None:
    path = write([{"messages": TURNS}, {"messages": turns}])
    assert any(ODD in one for one in told("llamafactory", path)) is odd
    assert any(ODD in one for one in told("llamafactory", "elsewhere.jsonl"))


SAID = {"role": "assistant", "content": "Acht."}, {"role": "assistant", "content": "Neun."}


@pytest.mark.parametrize(
    ("messages", "odd"),
    [
        (TURNS[:1], False),
        ([*TURNS, TURNS[0]], False),
        ([TURNS[0], TURNS[0]], True),
    ],
)
def test_the_prompt_of_a_pair_ends_with_the_user(messages: list[Any], odd: bool) -> None:
    path = write([{"messages": messages, "chosen": SAID[0], "rejected": SAID[1]}])
    found = told("llamafactory", path, form="preference", train="method: dpo, ")
    assert any(ODD in one for one in found) is odd
    assert any(ODD in one for one in told("llamafactory", "elsewhere.jsonl", form="preference", train="method: dpo, "))


def test_answers_that_are_lists_of_turns_are_not_told_to_be_so() -> None:
    """An answer that is a text is a mistake in the rows, which is told there."""
    path = write([{"messages": TURNS[:1], "chosen": [SAID[0]], "rejected": [SAID[1]]}])
    assert told("openrlhf", path, form="preference", train="method: dpo, ") == []
    assert any(TEXTS in one for one in told("openrlhf", "elsewhere.jsonl", form="preference", train="method: dpo, "))
