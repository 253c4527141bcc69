"""How rows of data/preferences.jsonl become what orpo learns from."""

import json

from axolotl.utils.chat_templates import get_chat_template_from_config

CARRIED = ("tool_calls", "tool_call_id", "name", "reasoning_content")  # of a turn, beside its role and what it says


def standard_turns(messages: list, columns: dict, roles: dict) -> list[dict]:
    """Return messages with the standard names of roles and columns. Raises ValueError for what no template can write.

    What is null is left out: files whose columns have one type fill up what a row does not have.
    """
    known = {name: standard for standard, names in roles.items() for name in names}
    found = []
    for message in messages:
        role, said = message.get(columns["role"]), message.get(columns["content"])
        turn = {"role": known.get(role, role), "content": _text(said, message)}
        turn |= {word: without_nulls(message[word]) for word in CARRIED if message.get(word)}
        if "tool_calls" in turn:
            turn["tool_calls"] = [_called(call) for call in _decoded(turn["tool_calls"])]
        found.append(turn)
    return found


def listed_tools(value) -> list | None:
    """Return a list of tools that may be JSON text, and so may their parameters; None where there are none."""
    tools = without_nulls(_decoded(value)) if value else None
    for tool in tools or ():
        function = tool.get("function", tool) if isinstance(tool, dict) else {}
        if "parameters" in function:
            function["parameters"] = _decoded(function["parameters"])
    return tools or None


def pair_of(row: dict, columns: dict, roles: dict) -> tuple:
    """Return prompt, chosen and rejected: texts as they are, or turns. Raises ValueError where they cannot be told apart.

    Of turns, the prompt is what both answers begin with, where they are whole conversations; else it is `messages`, or the
    column `prompt`, less an answer at its end.
    """
    sides = [row[columns[side]] for side in ("chosen", "rejected")]
    if "messages" not in columns:
        texts = (row[columns["prompt"]], *sides)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(
                "prompt, chosen and rejected are not all text; rows of conversations need no columns.prompt"
            )
        return texts
    told = row.get(columns["messages"]) or row.get("prompt") or []
    told = [{"role": "user", "content": told}] if isinstance(told, str) else standard_turns(told, columns, roles)
    answers = [
        [{"role": "assistant", "content": side}]
        if isinstance(side, str)
        else standard_turns([side] if isinstance(side, dict) else side or [], columns, roles)
        for side in sides
    ]
    if not all(answers):
        raise ValueError("an answer of a pair is missing")
    whole = [answer for answer in answers if answer[0]["role"] in ("system", "user")]
    if len(whole) == 2:
        asked = _shared(*whole)
        answers = [answer[asked:] for answer in answers]
        system = told[:1] if told and told[0]["role"] == "system" and whole[0][0]["role"] != "system" else []
        prompt = system + whole[0][:asked]
    elif whole:
        prompt = whole[0][:-1]
        answers = [answer[-1:] if answer is whole[0] else answer for answer in answers]
    else:
        ends = (answer for answer in answers if len(answer) < len(told) and _same(told[-len(answer) :], answer))
        answer = next(ends, [])
        prompt = told[: len(told) - len(answer)]
    if any(answer[0]["role"] != "assistant" for answer in answers):
        raise ValueError("the answers of a pair are not the assistant's, or belong to different prompts")
    if not prompt:
        raise ValueError("a pair has no prompt")
    if prompt[-1]["role"] == "assistant":
        raise ValueError("the prompt of a pair ends with a turn of the assistant, which is neither answer")
    return (prompt, *answers)


def check_tools(text: str, turns: list[dict], tools: list | None) -> None:
    """Raise ValueError where the text of turns names none of their tools, because the template does not write them."""
    calls = [call for turn in turns for call in turn.get("tool_calls", ())]
    for one in (*(tools or ()), *calls):
        name = str(one.get("function", one).get("name", ""))
        if name not in text:
            raise ValueError(f"the chat template writes nothing of the tool {name}: use one that writes tools")


def without_nulls(value):
    """Return a value without the keys, at any depth, that hold null."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def _text(said, message: dict) -> str:
    if said is None and message.get("tool_calls"):
        return ""
    if isinstance(said, list):
        parts = [part if isinstance(part, str) else part.get("text") for part in said]
        said = "".join(parts) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(said, str):
        raise ValueError(f"a turn says nothing that is text: {message}")
    return said


def _decoded(value):
    """Return a value that may be JSON text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"what a tool is, or is called with, is no JSON: {value[:60]}") from None


def _called(call: dict) -> dict:
    """Return a tool call whose arguments, which may be JSON text, are a mapping: templates write them as JSON."""
    function = call.get("function")
    if isinstance(function, dict):
        call = {**call, "function": {**function, "arguments": _decoded(function.get("arguments") or "{}")}}
    elif "arguments" in call:
        call = {**call, "arguments": _decoded(call["arguments"] or "{}")}
    return call


def _same(some: list[dict], others: list[dict]) -> bool:
    """Return whether turns are the same but for blanks around what they say."""
    return len(some) == len(others) and all(
        {**one, "content": one["content"].strip()} == {**other, "content": other["content"].strip()}
        for one, other in zip(some, others, strict=True)
    )


def _shared(chosen: list[dict], rejected: list[dict]) -> int:
    """Return how many turns two conversations begin with both, less an answer for each."""
    most = min(len(chosen), len(rejected)) - 1
    same = (at for at in range(most) if not _same(chosen[at : at + 1], rejected[at : at + 1]))
    return next(same, most)


COLUMNS = {"messages": "messages", "chosen": "chosen", "rejected": "rejected", "role": "role", "content": "content"}
ROLES = {}


def default(cfg, **_):
    def take(row, tokenizer=None):
        template = get_chat_template_from_config(cfg=cfg, ds_cfg={}, tokenizer=tokenizer)
        tools = listed_tools(row.get("tools"))

        def rendered(turns, begins=False):
            more = {"tools": tools} if tools else {}
            return tokenizer.apply_chat_template(
                turns, chat_template=template, add_generation_prompt=begins, tokenize=False, **more
            )

        prompt, chosen, rejected = pair_of(row, COLUMNS, ROLES)
        start = rendered(prompt, True)
        texts = {"prompt": start}
        for name, answer in (("chosen", chosen), ("rejected", rejected)):
            text = rendered(prompt + answer)
            check_tools(text, prompt + answer, tools)
            begin = len(start) if text.startswith(start) else text.rfind(answer[0]["content"])
            if begin < 0:
                raise ValueError("the chat template changes what an answer says, so its place cannot be found")
            texts[name] = text[begin:].rstrip()
        # TRL takes a pair for a conversation by any of its columns
        return texts | dict.fromkeys((name for name in ("messages", "completion", "tools") if name in row), None)

    return take
