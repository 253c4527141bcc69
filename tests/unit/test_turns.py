"""Prompt and answers of a pair, turns and tools in one shape: what every program that reads conversations begins with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recipec.systems.programs import reading_turns, turns
from recipec.systems.scripts.turns import check_tools, listed_tools, pair_of, standard_turns, without_nulls

COLUMNS = {"messages": "turns", "chosen": "good", "rejected": "bad", "role": "from", "content": "value"}
ROLES = {"user": ["human"], "assistant": ["gpt"]}
Q, YES, NO = {"from": "human", "value": "q"}, {"from": "gpt", "value": "yes"}, {"from": "gpt", "value": "no"}
ASKED = [{"role": "user", "content": "q"}]
GOOD, BAD = [{"role": "assistant", "content": "yes"}], [{"role": "assistant", "content": "no"}]
KIND = {"from": "system", "value": "be kind"}


@pytest.mark.parametrize(
    "row",
    [
        {"turns": [Q], "good": YES, "bad": NO},
        {"turns": "q", "good": "yes", "bad": "no"},
        {"turns": [Q], "good": [YES], "bad": NO},
        {"turns": [Q], "good": [Q, YES], "bad": [Q, NO]},
        {"turns": [Q, YES], "good": YES, "bad": NO},
        {"turns": [Q, {"from": "gpt", "value": " no\n"}], "good": YES, "bad": NO},
        {"turns": [Q, YES], "good": [Q, YES], "bad": [Q, NO], "prompt": "q"},
        {"good": [Q, YES], "bad": [Q, NO]},
        {"good": [Q, YES], "bad": NO},
        {"turns": None, "prompt": "q", "good": [YES], "bad": [NO]},
        {"prompt": [Q], "good": YES, "bad": NO},
    ],
)
def test_a_pair_is_found_in_every_shape(row: dict[str, Any]) -> None:
    assert pair_of(row, COLUMNS, ROLES) == (ASKED, GOOD, BAD)


def test_what_is_asked_before_belongs_to_the_prompt() -> None:
    begin = [KIND, Q, YES, Q]
    prompt, good, bad = pair_of({"good": [*begin, YES], "bad": [*begin, NO]}, COLUMNS, ROLES)
    assert (len(prompt), good, bad) == (4, GOOD, BAD)
    prompt, good, _ = pair_of({"turns": [KIND, Q], "good": [Q, YES], "bad": [Q, NO]}, COLUMNS, ROLES)
    assert (prompt, good) == ([{"role": "system", "content": "be kind"}, *ASKED], GOOD)
    same = pair_of({"good": [Q, YES], "bad": [Q, YES]}, COLUMNS, ROLES)
    assert same == (ASKED, GOOD, GOOD)
    longer = pair_of({"good": [Q, YES, Q, YES], "bad": [Q, NO]}, COLUMNS, ROLES)
    assert longer == (ASKED, [*GOOD, *ASKED, *GOOD], BAD)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"good": YES, "bad": NO}, "has no prompt"),
        ({"good": "yes", "bad": "no"}, "has no prompt"),
        ({"turns": [Q], "good": [], "bad": NO}, "an answer of a pair is missing"),
        ({"turns": [Q], "good": None, "bad": NO}, "an answer of a pair is missing"),
        ({"turns": [Q], "good": [Q], "bad": NO}, "are not the assistant's"),
        ({"good": [Q, YES], "bad": [{**Q, "value": "p"}, NO]}, "different prompts"),
        ({"turns": [Q, {**YES, "value": "perhaps"}], "good": YES, "bad": NO}, "which is neither answer"),
        ({"turns": [{"from": "human", "value": None}], "good": YES, "bad": NO}, "says nothing that is text"),
    ],
)
def test_what_is_no_pair(row: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pair_of(row, COLUMNS, ROLES)


def test_texts_stay_as_they_are() -> None:
    columns = {"prompt": "ask", "chosen": "good", "rejected": "bad"}
    assert pair_of({"ask": "q", "good": "a", "bad": "b"}, columns, {}) == ("q", "a", "b")
    with pytest.raises(ValueError, match=r"need no columns\.prompt"):
        pair_of({"ask": "q", "good": [YES], "bad": "b"}, columns, {})


def call(arguments: Any) -> dict[str, Any]:
    return {"id": "1", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a": 1}', {"a": 1, "b": None}])
@pytest.mark.parametrize("content", [None, ""])
def test_what_a_turn_calls_are_mappings(arguments: Any, content: str | None) -> None:
    message = {"from": "gpt", "value": content, "tool_calls": [call(arguments)], "name": None, "weight": 1}
    expected = {"role": "assistant", "content": "", "tool_calls": [call({"a": 1})]}
    assert standard_turns([message], COLUMNS, ROLES) == [expected]
    in_text = {**message, "tool_calls": json.dumps([call(arguments)])}
    assert standard_turns([in_text], COLUMNS, ROLES)[0]["tool_calls"][0]["function"]["arguments"].get("a") == 1


def test_turns_keep_what_templates_write() -> None:
    tool = {"from": "tool", "value": "7", "tool_call_id": "1", "name": "f"}
    assert standard_turns([tool], COLUMNS, ROLES) == [
        {"role": "tool", "content": "7", "tool_call_id": "1", "name": "f"}
    ]
    assert standard_turns([{**YES, "reasoning_content": "so"}], COLUMNS, ROLES)[0]["reasoning_content"] == "so"
    parts = [{"type": "text", "text": "a"}, "b"]
    assert standard_turns([{**Q, "value": parts}], COLUMNS, ROLES) == [{"role": "user", "content": "ab"}]
    no_arguments = {**YES, "tool_calls": [{"name": "f", "arguments": ""}, {"name": "g"}]}
    calls = standard_turns([no_arguments], COLUMNS, ROLES)[0]["tool_calls"]
    assert calls == [{"name": "f", "arguments": {}}, {"name": "g"}]
    for odd in (None, [{"type": "image"}], 7):
        with pytest.raises(ValueError, match="says nothing that is text"):
            standard_turns([{**Q, "value": odd}], COLUMNS, ROLES)
    with pytest.raises(ValueError, match=r"is no JSON: \{a"):
        standard_turns([{**YES, "tool_calls": [call("{a")]}], COLUMNS, ROLES)


def test_tools_are_a_list_whose_parameters_are_mappings() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    in_text = {"type": "function", "function": {"name": "f", "parameters": '{"type": "object"}', "strict": None}}
    for value in ([tool], json.dumps([tool]), [in_text]):
        assert listed_tools(value) == [tool]
    assert listed_tools([{"name": "f", "parameters": '{"a": 1}'}]) == [{"name": "f", "parameters": {"a": 1}}]
    for empty in (None, [], "", "[]", "null"):
        assert listed_tools(empty) is None
    assert without_nulls({"a": None, "b": [{"c": None, "d": 0}]}) == {"b": [{"d": 0}]}


def test_a_template_that_writes_no_tools_is_found() -> None:
    turn = {"role": "assistant", "content": "", "tool_calls": [call({})]}
    check_tools("f(", [turn], [{"function": {"name": "f"}}])
    check_tools("hello", [{"role": "user", "content": "hello"}], None)
    for turns_, tools in (([turn], None), ([], [{"function": {"name": "g"}}]), ([], [{"name": "h"}])):
        with pytest.raises(ValueError, match=r"the chat template writes nothing of the tool [fgh]: use one"):
            check_tools("?", turns_, tools)


def test_programs_hold_what_they_share() -> None:
    text = reading_turns("trl_rows.py")
    assert "recipec" not in text
    assert turns() in text
    compile(text, "rows.py", "exec")
    assert reading_turns("merge_adapter.py").startswith('"""')
