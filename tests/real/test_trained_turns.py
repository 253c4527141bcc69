"""Pairs of every shape, and tools, as the trainers' own code prepares them: the same prompt, answers and calls on each.

Two templates of the same family, Axolotl's and TRL's, write them; what each writes of a turn without tools may differ.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from before_training import made

pytestmark = pytest.mark.xdist_group("trained turns")  # its runs are made once, by one worker

TRAINERS = {"axolotl": "axolotl-0.19.0", "trl": "trl-1.16.0", "unsloth": "unsloth-2026.10.9"}
NAMED = {"axolotl": "versions: {axolotl: 0.19.0}\n"}  # `recipe data` takes the newest with Python 3.12 alone
Q, GOOD, BAD = (
    {"role": r, "content": c} for r, c in (("user", "Is 7 odd?"), ("assistant", "Yes."), ("assistant", "No."))
)
KIND, FIRST = (
    {"role": "system", "content": "Be kind."},
    [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}],
)
PAIRS: dict[str, tuple[dict[str, Any], list[dict[str, str]]]] = {  # a row, and the prompt that it means
    "messages": ({"messages": [Q], "chosen": GOOD, "rejected": BAD}, [Q]),
    "texts": ({"messages": [Q], "chosen": "Yes.", "rejected": "No."}, [Q]),
    "lists": ({"messages": [Q], "chosen": [GOOD], "rejected": [BAD]}, [Q]),
    "whole": ({"messages": [Q], "chosen": [Q, GOOD], "rejected": [Q, BAD]}, [Q]),
    "held": ({"prompt": "Is 7 odd?", "messages": [Q, GOOD], "chosen": [Q, GOOD], "rejected": [Q, BAD], "score_chosen": 8.0}, [Q]),
    "ended": ({"messages": [Q, BAD], "chosen": GOOD, "rejected": BAD}, [Q]),
    "without": ({"chosen": [Q, GOOD], "rejected": [Q, BAD]}, [Q]),
    "asked": ({"prompt": "Is 7 odd?", "chosen": [GOOD], "rejected": [BAD]}, [Q]),
    "listed": ({"prompt": [Q], "chosen": [GOOD], "rejected": [BAD]}, [Q]),
    "system": ({"messages": [KIND, Q], "chosen": [Q, GOOD], "rejected": [Q, BAD]}, [KIND, Q]),
    "later": ({"chosen": [*FIRST, Q, GOOD], "rejected": [*FIRST, Q, BAD]}, [*FIRST, Q]),
}  # fmt: skip
THOUGHT = r"<think>\s*</think>\s*"  # that Qwen3's template puts before an answer without one
MAKE = """recipe: 1
name: made
trainer: trl
model: {from_scratch: {family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 300}, max_length: 2048}
data: {train: [{path: talk.jsonl, format: chat}]}
train: {learning_rate: 1e-3}
hardware: {gpu: none}
"""
RECIPE = """recipe: 1
name: %s
trainer: %s
model: {base: runs/made/init, max_length: 2048, chat_template: qwen3}
data: {train: [%s]}
train: {method: %s, epochs: 1, batch_size: 1, micro_batch_size: 1, learning_rate: 1e-5}
hardware: {gpu: none}
"""


def tool(name: str, *arguments: str) -> dict[str, Any]:
    properties = {argument: {"type": "string"} for argument in arguments}
    about = {"name": name, "description": f"The {name}.", "parameters": {"type": "object", "properties": properties}}
    return {"type": "function", "function": about}


def called(name: str, arguments: Any) -> dict[str, Any]:
    call = {"id": "call00001", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


ANSWERED = {"role": "tool", "tool_call_id": "call00001", "name": "weather", "content": '{"t": 20}'}
WARM = {"role": "assistant", "content": "It is warm."}
TALKS = [  # the second call has other arguments, as JSON text, and so has its list of tools
    {"messages": [Q, called("weather", {"city": "Bonn"}), ANSWERED, WARM], "tools": [tool("weather", "city")]},
    {"messages": [Q, called("clock", '{"zone": "CET"}'), ANSWERED, WARM], "tools": json.dumps([tool("clock", "zone")])},
    {"messages": [Q, GOOD]},
]
CALLED = [
    {
        "messages": row["messages"][:3] if last else row["messages"][:1],
        "chosen": WARM if last else row["messages"][1],
        "rejected": {"role": "assistant", "content": "No idea."},
        "tools": row["tools"],
    }
    for row in TALKS[:2]
    for last in (True, False)
]


@pytest.fixture(scope="module")
def place(tool_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows, and a tokenizer that knows every byte."""
    folder = tmp_path_factory.mktemp("turns")
    files = {
        **{name: [row] for name, (row, _) in PAIRS.items()},
        "talk": [{"messages": [Q, GOOD]}],
        "tools": TALKS,
        "called": CALLED,
    }
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made(folder, MAKE, tool_python("trl-1.16.0"))
    return folder


def prepared(
    place: Path, trainer: str, method: str, *sources: str, format: str = "preference"
) -> list[list[dict[str, Any]]]:
    """Return the rows of each source, as `recipe data` has them from the trainer."""
    name = f"{trainer}-{method}-{len(sources)}"
    listed = ", ".join(f"{{path: {source}.jsonl, format: {format}}}" for source in sources)
    adapter = "" if method in ("sft", "orpo") else "adapter: {rank: 4}\n"
    text = RECIPE % (name, trainer, listed, method) + adapter + NAMED.get(trainer, "")
    (place / f"{name}.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "recipec.cli", "data", f"{name}.yaml", "--json", "--rows", "9"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.stdout, done.stderr
    [stage] = json.loads(done.stdout)["stages"]
    assert stage["notes"] == [], stage["notes"]
    return [source["rows"] for source in stage["sources"]]


def rendered(turns: list[dict[str, str]]) -> str:
    text = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)
    return text + "<|im_start|>assistant\n"


@pytest.mark.real
@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_pair_of_any_shape_has_its_prompt_and_its_answers(
    trainer: str, tool_python: Callable[[str], Path], place: Path
) -> None:
    tool_python(TRAINERS[trainer])
    for name, [row] in zip(PAIRS, prepared(place, trainer, "dpo", *PAIRS), strict=True):
        texts: dict[str, str] = row["texts"]
        assert texts["prompt"].startswith(rendered(PAIRS[name][1])), name
        for side, said in (("chosen", "Yes."), ("rejected", "No.")):
            whole = re.sub(THOUGHT, "", texts["prompt"] + texts[side])
            assert whole.rstrip() == rendered(PAIRS[name][1]) + f"{said}<|im_end|>", name
            assert said not in texts["prompt"]


@pytest.mark.real
@pytest.mark.parametrize("trainer", TRAINERS)
def test_tools_and_calls_of_them_reach_the_model_and_the_calls_are_trained(
    trainer: str, tool_python: Callable[[str], Path], place: Path
) -> None:
    tool_python(TRAINERS[trainer])
    [rows] = prepared(place, trainer, "sft", "tools", format="chat")
    for row, name, argument in zip(rows, ("weather", "clock"), ('{"city": "Bonn"}', '{"zone": "CET"}'), strict=False):
        pieces: list[tuple[str, bool, bool, int]] = row["pieces"]
        whole = "".join(text for text, *_ in pieces)
        trained = [text for text, is_trained, *_ in pieces if is_trained]
        assert f'"description": "The {name}."' in whole
        assert "null" not in whole
        assert '<tool_response>\n{"t": 20}\n</tool_response>' in whole
        said = "".join(trained)
        assert f'<tool_call>\n{{"name": "{name}", "arguments": {argument}}}\n</tool_call>' in said
        assert "It is warm." in said
        assert "Is 7 odd?" not in said
        assert "<tool_response>" not in said
    assert "Yes." in "".join(text for text, is_trained, *_ in rows[2]["pieces"] if is_trained)


@pytest.mark.real
@pytest.mark.parametrize("method", ["dpo", "orpo"])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_tools_of_pairs_are_in_the_prompt_and_a_call_can_be_the_answer(
    trainer: str, method: str, tool_python: Callable[[str], Path], place: Path
) -> None:
    tool_python(TRAINERS[trainer])
    [rows] = prepared(place, trainer, method, "called")
    for row, name, last in zip(rows, ("weather", "weather", "clock", "clock"), (True, False) * 2, strict=True):
        texts = row["texts"]
        assert f'"description": "The {name}."' in texts["prompt"]
        assert ("<tool_call>\n{" in texts["prompt"].partition("<|im_start|>user")[2]) is last
        chosen = re.sub(r"(?:<think>)?\s*</think>\s*", "", texts["chosen"])
        assert chosen.startswith("It is warm.<|im_end|>" if last else f'<tool_call>\n{{"name": "{name}"')
        assert "No idea." in texts["rejected"]
        assert "null" not in "".join(texts.values())
