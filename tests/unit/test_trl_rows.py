"""What TRL is given of each row: its shape, its length and its labels. The tokenizer and `datasets` are small stand-ins."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recipec.language.data import COLUMNS
from recipec.systems.scripts import trl_rows
from recipec.systems.scripts.trl_rows import continued_adapter, keep_initial_adapter, load_rows, load_tokenizer, records

SPECIAL = {"<s>": 1, "</s>": 2, "<|im_start|>": 3, "<|im_end|>": 4}
BY_ID = {number: word for word, number in SPECIAL.items()}


class Tokenizer:
    """A token for each character and each special word; text begins with `<s>`; turns are written as ChatML."""

    eos_token: str | None = "</s>"
    pad_token: str | None = None
    chat_template: str | None = None
    writes_calls = True
    all_special_ids = [1, 2]
    added_tokens_decoder = {3: "<|im_start|>", 4: "<|im_end|>"}

    def __call__(
        self, text: str, add_special_tokens: bool = True, return_offsets_mapping: bool = False
    ) -> dict[str, Any]:
        found = [
            (match[0], match.span()) for match in re.finditer(r"<s>|</s>|<\|im_(?:start|end)\|>|.", text, re.DOTALL)
        ]
        begin = [("<s>", (0, 0))] * add_special_tokens
        coded: dict[str, Any] = {"input_ids": [SPECIAL.get(word) or ord(word) for word, _ in begin + found]}
        return coded | ({"offset_mapping": [span for _, span in begin + found]} if return_offsets_mapping else {})

    def apply_chat_template(
        self,
        turns: list[dict[str, Any]],
        *,
        tokenize: bool,
        add_generation_prompt: bool = False,
        tools: list[Any] | None = None,
    ) -> str:
        assert tokenize is False
        text = f"tools {json.dumps(tools)}\n" * bool(tools)
        for turn in turns:
            calls = json.dumps(turn["tool_calls"]) if self.writes_calls and "tool_calls" in turn else ""
            text += f"<|im_start|>{turn['role']}\n{turn['content']}{calls}<|im_end|>\n"
        return text + "<|im_start|>assistant\n" * add_generation_prompt


def source(format: str, **more: Any) -> dict[str, Any]:
    """Return a source as the recipe's settings write it, with the columns that the language takes for granted."""
    columns = {name: name for name in COLUMNS[format] if name not in ("input", "system", "answer")}
    columns.pop("messages" if "prompt" in columns else "", None)
    place = {"path": "a.jsonl", "hub": None, "subset": None, "split": "train", "revision": None, "weight": 1}
    return {**place, "format": format, "columns": columns, "roles": {}, **more}


def settings(**more: Any) -> dict[str, Any]:
    usual = {
        "method": "sft",
        "max_length": 1000,
        "train_on": "assistant",
        "chat_template": "chatml",
        "max_new_tokens": 9,
    }
    return {**usual, **more}


def made(row: dict[str, Any], of: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return list(records(row, of, settings(**more), Tokenizer()))


def text_of(ids: list[int]) -> str:
    return "".join(BY_ID.get(number) or chr(number) for number in ids)


def trained(record: dict[str, Any]) -> list[str]:
    """Return the stretches of a record that carry loss, each as text."""
    assert len(record["input_ids"]) == len(record["labels"])
    kept = "".join("\0" if label == -100 else text_of([label]) for label in record["labels"])
    assert all(label in (-100, token) for token, label in zip(record["input_ids"], record["labels"], strict=True))
    return [part for part in kept.split("\0") if part]


TALK = [
    {"role": "system", "content": "be kind"}, {"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."},
    {"role": "user", "content": "c?"}, {"role": "assistant", "content": "d. "},
]  # fmt: skip


def test_of_a_conversation_the_answers_and_the_ends_of_their_turns_are_trained() -> None:
    (record,) = made({"messages": TALK}, source("chat"))
    assert trained(record) == ["b.<|im_end|>", "d. <|im_end|>"]
    assert text_of(record["input_ids"]) == Tokenizer().apply_chat_template(TALK, tokenize=False)  # no <s>
    (record,) = made({"messages": TALK}, source("chat"), train_on="all")
    assert record["labels"] == record["input_ids"]


def test_roles_and_columns_get_their_standard_names() -> None:
    row = {"turns": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b."}, {"from": "odd", "value": "c"}]}
    columns = {"messages": "turns", "role": "from", "content": "value"}
    (record,) = made(row, source("chat", columns=columns, roles={"user": ["human"], "assistant": ["gpt"]}))
    assert trained(record) == ["b.<|im_end|>"]
    assert "<|im_start|>user\na?" in text_of(record["input_ids"])
    assert "<|im_start|>odd\nc" in text_of(record["input_ids"])


def test_a_conversation_without_an_answer_is_left_out() -> None:
    assert made({"messages": TALK[:2]}, source("chat")) == []


def test_a_template_that_changes_what_is_said_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokenizer, "apply_chat_template", lambda self, turns, **more: "another text")
    with pytest.raises(SystemExit, match=r"rows\.py: the chat template changes what a turn says"):
        made({"messages": TALK}, source("chat"))


def test_a_template_that_puts_something_else_before_an_answer_trains_the_answer_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = Tokenizer.apply_chat_template

    def other(self: Tokenizer, turns: Any, **more: Any) -> str:
        return usual(self, turns, **more) + "\nthink\n" * more.get("add_generation_prompt", False)

    monkeypatch.setattr(Tokenizer, "apply_chat_template", other)
    (record,) = made({"messages": TALK[:3]}, source("chat"))
    assert trained(record) == ["b.<|im_end|>"]


def test_of_a_completion_what_follows_the_prompt_is_trained() -> None:
    (record,) = made({"prompt": "q:", "completion": " a"}, source("completion"))
    assert (text_of(record["input_ids"]), trained(record)) == ("<s>q: a</s>", [" a</s>"])


def test_an_instruction_is_written_as_alpaca_or_as_a_conversation() -> None:
    of = source("instruction")
    row = {"instruction": "do", "output": "done"}
    (record,) = made(row, of, chat_template="alpaca")
    text = text_of(record["input_ids"])
    assert text.startswith("<s>Below is an instruction that describes a task. Write a response")
    assert text.endswith("\n\n### Instruction:\ndo\n\n### Response:\ndone</s>")
    assert trained(record) == ["done</s>"]
    (record,) = made(row, of)
    assert text_of(record["input_ids"]) == ("<|im_start|>user\ndo<|im_end|>\n<|im_start|>assistant\ndone<|im_end|>\n")
    of["columns"] |= {"input": "more", "system": "rule"}
    row |= {"more": "this", "rule": "be brief"}
    (record,) = made(row, of, chat_template="tokenizer")
    text = text_of(record["input_ids"])
    assert text == "<s>be brief\n\n### Instruction:\ndo\n\n### Input:\nthis\n\n### Response:\ndone</s>"
    (record,) = made({**row, "rule": None}, of, chat_template="alpaca")
    assert "a task, paired with an input that provides further context. Write" in text_of(record["input_ids"])
    (record,) = made(row, of)
    text = text_of(record["input_ids"])
    assert text.startswith("<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\ndo\nthis<|im_end|>")
    (record,) = made({**row, "more": "", "rule": ""}, of)
    assert text_of(record["input_ids"]).startswith("<|im_start|>user\ndo<|im_end|>")


def test_a_row_of_the_greatest_length_is_kept_and_a_longer_one_left_out() -> None:
    completed, talk, text = {"prompt": "q", "completion": "a"}, {"messages": TALK}, {"text": "abcd"}
    for row, of, length in (
        (completed, source("completion"), 4),
        (
            talk,
            source("chat"),
            len(Tokenizer()(Tokenizer().apply_chat_template(TALK, tokenize=False), False)["input_ids"]),
        ),
        (text, source("text"), 6),
    ):
        assert len(made(row, of, max_length=length)) == 1
        assert made(row, of, max_length=length - 1) == []


def test_a_text_to_pretrain_on_is_cut_in_parts() -> None:
    parts = made({"text": "abcdef"}, source("text"), method="pretrain", max_length=3)
    assert [text_of(part["input_ids"]) for part in parts] == ["<s>ab", "cde", "f</s>"]
    assert all(part["labels"] == part["input_ids"] for part in parts)


def test_a_pair_of_texts_is_left_out_where_the_longer_is_too_long() -> None:
    row, of = {"prompt": "q", "chosen": "ab", "rejected": "c"}, source("preference")
    assert made(row, of, max_length=5) == [row]
    assert made(row, of, max_length=4) == []
    assert made({**row, "chosen": "c", "rejected": "ab"}, of, max_length=4) == []


def test_answers_have_the_shape_of_their_prompt() -> None:
    asked = [{"role": "user", "content": "q"}]
    answer, other = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
    columns = {"messages": "messages", "role": "role", "content": "content", "chosen": "chosen", "rejected": "rejected"}
    of = source("preference", columns=columns)
    expected = {"prompt": asked, "chosen": [answer], "rejected": [other]}
    for chosen, rejected in (
        ("good", "bad"),
        (answer, other),
        ([answer], [other]),
        ([*asked, answer], [*asked, other]),
    ):
        assert made({"messages": asked, "chosen": chosen, "rejected": rejected}, of) == [expected]
    with pytest.raises(SystemExit, match=r"rows\.py: the answers of a pair are not the assistant's"):
        made({"messages": asked, "chosen": [*asked], "rejected": "bad"}, of)
    length = len(Tokenizer()(Tokenizer().apply_chat_template([*asked, answer], tokenize=False), False)["input_ids"])
    row = {"messages": asked, "chosen": "good", "rejected": "bad"}
    assert len(made(row, of, max_length=length)) == 1
    assert made(row, of, max_length=length - 1) == []
    with pytest.raises(SystemExit, match=r"rows\.py: prompt, chosen and rejected are not all text"):
        made({"prompt": "q", "chosen": [answer], "rejected": "b"}, source("preference"))


CALLS = [{"id": "1", "type": "function", "function": {"name": "tell", "arguments": {"n": 7}}}]
TOOLS = [{"type": "function", "function": {"name": "tell", "parameters": {"type": "object"}}}]
CALLING = [
    {"role": "user", "content": "n?"}, {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "content": "seven", "tool_call_id": "1"}, {"role": "assistant", "content": "7."},
]  # fmt: skip


def test_what_is_called_is_trained_to_the_end_of_its_turn_and_tools_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    (record,) = made({"messages": CALLING, "tools": json.dumps(TOOLS)}, source("chat"))
    assert trained(record) == [f"{json.dumps(CALLS)}<|im_end|>", "7.<|im_end|>"]
    assert text_of(record["input_ids"]).startswith(f"tools {json.dumps(TOOLS)}\n<|im_start|>user")
    said = [{**CALLING[1], "content": "Let me see."}, *CALLING[2:]]
    (record,) = made({"messages": [CALLING[0], *said]}, source("chat"))
    assert trained(record) == [f"Let me see.{json.dumps(CALLS)}<|im_end|>", "7.<|im_end|>"]
    monkeypatch.setattr(Tokenizer, "writes_calls", False)
    with pytest.raises(SystemExit, match=r"rows\.py: the chat template writes nothing of the tool tell"):
        made({"messages": CALLING}, source("chat"))
    nothing = [CALLING[0], {"role": "assistant", "content": None}]
    with pytest.raises(SystemExit, match=r"rows\.py: a turn says nothing that is text"):
        made({"messages": nothing}, source("chat"))


def test_a_pair_keeps_its_tools_and_is_text_for_a_trainer_that_writes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"messages": "messages", "role": "role", "content": "content", "chosen": "chosen", "rejected": "rejected"}
    of = source("preference", columns=columns, tools=True)
    row = {"messages": CALLING[:3], "chosen": CALLING[3], "rejected": "8.", "tools": TOOLS}
    (record,) = made(row, of)
    assert record["tools"] == json.dumps(TOOLS)
    assert record["prompt"][1] == {"role": "assistant", "content": "", "tool_calls": CALLS}
    (record,) = made({**row, "tools": None}, of)
    assert record["tools"] is None
    whole = Tokenizer().apply_chat_template([*record["prompt"], *record["chosen"]], tokenize=False, tools=TOOLS)
    length = len(Tokenizer()(whole, False)["input_ids"])
    assert len(made(row, of, max_length=length)) == 1
    assert made(row, of, max_length=length - 1) == []
    seen: list[Any] = []
    stand_in = SimpleNamespace(apply_chat_template=lambda *given, **more: seen.append((given, more)) or {"prompt": "p"})
    monkeypatch.setitem(sys.modules, "trl.data_utils", stand_in)  # type: ignore[arg-type]  # a stand-in
    assert made(row, of, method="orpo") == [{"prompt": "p"}]
    assert seen[0][1] == {"tools": TOOLS}


def test_a_judged_answer_is_good_or_bad() -> None:
    row, of = {"prompt": "q", "completion": "a", "label": 1}, source("unpaired-preference")
    assert made(row, of, max_length=4) == [{"prompt": "q", "completion": "a", "label": True}]
    assert made({**row, "label": 0}, of)[0]["label"] is False
    assert made(row, of, max_length=3) == []


def test_a_prompt_leaves_room_for_its_completion() -> None:
    row, of = {"prompt": "q?", "solution": "4"}, source("prompt")
    assert made(row, of, max_length=12) == [{"prompt": "q?"}]
    assert made(row, of, max_length=11) == []
    of["columns"]["answer"] = "solution"
    assert made(row, of) == [{"prompt": "q?", "answer": "4"}]
    asked = [{"role": "user", "content": "q"}]
    began = Tokenizer().apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    length = len(Tokenizer()(began, False)["input_ids"]) + 9
    assert len(made({"prompt": asked}, source("prompt"), max_length=length)) == 1
    assert made({"prompt": asked}, source("prompt"), max_length=length - 1) == []


class Rows(list[dict[str, Any]]):
    """A data set in memory, as far as `load_rows` needs one; `done` says what was done to it."""

    done: tuple[Any, ...] = ()

    @property
    def column_names(self) -> list[str]:
        return list(self[0]) if self else ["text"]

    def map(self, function: Any, *, batched: bool, remove_columns: list[str]) -> Rows:
        assert batched
        assert remove_columns == self.column_names
        made = function({name: [row[name] for row in self] for name in self.column_names})
        return Rows(dict(zip(made, values, strict=True)) for values in zip(*made.values(), strict=True))

    def train_test_split(self, *, test_size: Any, seed: int) -> dict[str, Rows]:
        held = int(test_size)
        parts = {"train": Rows(self[held:]), "test": Rows(self[:held])}
        parts["train"].done = ("split", seed)
        return parts

    def shuffle(self, *, seed: int) -> Rows:
        shuffled = Rows(reversed(self))
        shuffled.done = (*self.done, "shuffled", seed)
        return shuffled


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put a stand-in in the place of `datasets`; return what is loaded with it."""
    seen: list[Any] = []

    def load_dataset(place: str, subset: str | None, **more: Any) -> Rows:
        seen.append((place, subset, more))
        return Rows({"text": letter} for letter in ("ab" if place == "json" else "xyz"))

    stand_in = SimpleNamespace(
        load_dataset=load_dataset, concatenate_datasets=lambda parts: Rows(row for part in parts for row in part)
    )
    monkeypatch.setitem(sys.modules, "datasets", stand_in)  # type: ignore[arg-type]  # a stand-in
    return seen


def loaded(train: list[Any], **more: Any) -> tuple[list[str], list[str] | None, Any]:
    """Return the texts to train on and those held out, and what was done to the first."""
    usual = settings(train=train, validation=[], holdout=0, seed=7, shuffle=False, streaming=False)
    rows, held = load_rows({**usual, **more}, Tokenizer())
    return (
        [text_of(row["input_ids"]) for row in rows],
        None if held is None else [text_of(row["input_ids"]) for row in held],
        rows.done,
    )


def test_rows_come_from_every_source_as_often_as_it_weighs(loads: list[Any]) -> None:
    hub = source("text", path=None, hub="org/rows", subset="s", split="test", revision="r", weight=2)
    texts, held, done = loaded([source("text"), hub])
    assert texts == [f"<s>{letter}</s>" for letter in "ab" + 2 * "xyz"]
    assert (held, done) == (None, ())
    about = {"revision": None, "streaming": False}
    assert loads[0] == ("json", None, {"data_files": "a.jsonl", "split": "train", **about})
    assert loads[1] == ("org/rows", "s", {"data_files": None, "split": "test", **about, "revision": "r"})


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jsonl", "json"), ("a.json", "json"), ("a.parquet", "parquet"), ("a.csv", "csv")]
)
def test_a_file_is_read_by_its_ending(loads: list[Any], name: str, kind: str) -> None:
    loaded([source("text", path=name)])
    assert loads[0][0] == kind


def test_rows_are_held_out_and_shuffled_by_the_seed(loads: list[Any]) -> None:
    texts, held, done = loaded([source("text", path=None, hub="h")], holdout=1, shuffle=True)
    assert (texts, held) == (["<s>z</s>", "<s>y</s>"], ["<s>x</s>"])
    assert done == ("split", 7, "shuffled", 7)
    assert loaded([source("text")], validation=[source("text", path=None, hub="h")])[1] == [
        "<s>x</s>",
        "<s>y</s>",
        "<s>z</s>",
    ]


def test_rows_that_lack_a_column_or_are_all_too_long_stop_the_run(loads: list[Any]) -> None:
    with pytest.raises(SystemExit, match=r"rows\.py: a\.jsonl has no column prompt, completion; it has text"):
        loaded([source("completion")])
    with pytest.raises(SystemExit, match=r"rows\.py: h has no column body; it has text"):
        loaded([source("text", path=None, hub="h", columns={"text": "body"})])
    with pytest.raises(SystemExit, match=r"rows\.py: no row is left to train on"):
        loaded([source("text")], max_length=2)


def test_a_tokenizer_gets_the_template_of_the_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def from_pretrained(name: str, **more: Any) -> Tokenizer:
        asked.append((name, more))
        return Tokenizer()

    stand_in = SimpleNamespace(AutoTokenizer=SimpleNamespace(from_pretrained=from_pretrained))
    monkeypatch.setitem(sys.modules, "transformers", stand_in)  # type: ignore[arg-type]  # a stand-in
    monkeypatch.setattr(trl_rows.resources, "files", lambda name: tmp_path / name)
    (tmp_path / "trl" / "chat_templates").mkdir(parents=True)
    (tmp_path / "trl" / "chat_templates" / "llama3.jinja").write_text("of TRL")
    about = {"tokenizer": "org/t", "revision": "r", "trust_remote_code": True}
    found = {name: load_tokenizer({**about, "chat_template": name}).chat_template for name in ("llama3", "chatml", "tokenizer")}  # fmt: skip
    assert found == {"llama3": "of TRL", "chatml": trl_rows.CHATML, "tokenizer": None}
    assert asked[0] == ("org/t", {"revision": "r", "trust_remote_code": True})
    assert load_tokenizer({**about, "chat_template": "tokenizer"}).pad_token == "</s>"
    monkeypatch.setattr(Tokenizer, "pad_token", "<pad>")
    assert load_tokenizer({**about, "chat_template": "tokenizer"}).pad_token == "<pad>"


def test_an_adapter_that_goes_on_is_the_one_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    held = SimpleNamespace(peft_type="LORA", r=8, lora_alpha=16)
    stand_in = SimpleNamespace(
        PeftConfig=SimpleNamespace(from_pretrained=lambda folder: held),
        PeftModel=SimpleNamespace(from_pretrained=lambda model, folder, is_trainable: (model, folder, is_trainable)),
    )
    monkeypatch.setitem(sys.modules, "peft", stand_in)  # type: ignore[arg-type]  # a stand-in
    same = SimpleNamespace(peft_type="LORA", r=8, lora_alpha=16, lora_dropout=0.1)
    assert continued_adapter("model", "folder", same) == ("model", "folder", True)
    for word, value in (("peft_type", "LOHA"), ("r", 4), ("lora_alpha", 8), ("alpha", 1), ("num_virtual_tokens", 3)):
        other = SimpleNamespace(**{**vars(same), word: value})
        there = getattr(held, word, None)
        with pytest.raises(SystemExit, match=f"folder has {word} {there}, but the recipe says {value}"):
            continued_adapter("model", "folder", other)


@pytest.mark.parametrize("saves", [True, False])
def test_an_adapter_that_changed_its_base_is_saved_as_it_began_and_beside_the_unchanged_base(saves: bool) -> None:
    saved: list[Any] = []
    config = SimpleNamespace(init_lora_weights="pissa")

    def save_pretrained(folder: Any, **more: Any) -> None:
        saved.append((str(folder), config.init_lora_weights, more))

    model = SimpleNamespace(peft_config={"default": config}, save_pretrained=save_pretrained)
    trainer = SimpleNamespace(model=model, args=SimpleNamespace(should_save=saves))
    assert keep_initial_adapter(trainer, Path("initial")) == Path("initial")
    assert config.init_lora_weights == "pissa"
    trl_rows.save_plain_adapter(trainer, Path("initial"), "out")
    began = {"path_initial_model_for_weight_conversion": "initial"}
    assert saved == ([("initial", True, {}), ("out", "pissa", began)] if saves else [])
