"""The data of each method as OpenRLHF's options: one set of column names for all sources, no mapping of roles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recipec.kinds.train.records import DataSource
from recipec.systems.check import Check, differs, refuses
from recipec.systems.table import OMIT, Row, choice, made, same

PAIRED = ("dpo", "ipo", "reward")
COLUMNS = "data.train.0.columns"  # checks see to it that all sources have the same columns and the same format
FORMAT = "data.train.0.format"
_PREPARE = "prepare a file of the rows that are wanted"


def _places(sources: tuple[DataSource, ...]) -> Any:
    """Sources as OpenRLHF's `datasets/utils.py` reads them, separated by commas: each as often as it weighs."""
    return ",".join(str(source.path or source.hub) for source in sources for _ in range(source.weight)) or OMIT


def sources(train: str, split: str) -> tuple[Row, ...]:
    """Return the rows of where the data comes from; `train` and `split` are the options for the training set."""
    return (
        made(f"data.{train}", _places, "data.train"),
        same(f"data.{split}", "data.train.0.split"),
        made("eval.dataset", _places, "data.validation"),
        same("eval.split", "data.validation.0.split"),
    )


def column(key: str, name: str, why: str = "") -> Row:
    """The key holds what the data calls this standard column; it is left out where the data has none."""

    def say(columns: Mapping[str, str]) -> Any:
        return columns.get(name, OMIT)

    def back(value: Any) -> dict[str, Any]:
        return {} if value is OMIT else {f"{COLUMNS}.{name}": value}

    return made(key, say, COLUMNS, back=back, why=why)


def _talks(columns: Mapping[str, str]) -> bool:
    """Return whether preferences begin with a conversation, not with a prompt as it is."""
    return "messages" in columns


SFT: tuple[Row, ...] = (
    column("data.input_key", "messages").when(FORMAT, "chat"),
    column("data.input_key", "prompt").when(FORMAT, "completion"),
    column("data.output_key", "completion"),
    choice("data.apply_chat_template", FORMAT, {"chat": True}),
    choice("data.multiturn", FORMAT, {"chat": True}, why="every turn of the assistant carries loss"),
    choice("data.input_template", FORMAT, {"completion": "{}"}, why="the prompt as it is"),
)
PAIRS: tuple[Row, ...] = (
    made("data.prompt_key", lambda columns: columns["messages" if _talks(columns) else "prompt"], COLUMNS),
    column("data.chosen_key", "chosen"),
    column("data.rejected_key", "rejected"),
    made("data.apply_chat_template", lambda columns: True if _talks(columns) else OMIT, COLUMNS),
)
PROMPTS: tuple[Row, ...] = (
    column("data.input_key", "prompt"),
    column("data.label_key", "answer"),
    choice(
        "data.apply_chat_template", "data.train.0.turns", {True: True}, why="a plain-text prompt becomes a user turn"
    ),
)


def _of(group: str) -> Iterator[Check]:
    """Yield the checks of every source of `train` or `validation`."""
    each = f"data.{group}.*"
    yield refuses(
        f"{each}.subset",
        when=lambda subset: subset is not None,
        message="OpenRLHF cannot choose a subset of a dataset",
        advice=_PREPARE,
    )
    yield refuses(
        f"{each}.revision",
        when=lambda revision: revision is not None,
        message="OpenRLHF cannot choose the revision of a dataset",
        advice=_PREPARE,
    )
    yield refuses(
        f"{each}.system",
        when=lambda system: system is not None,
        message="OpenRLHF has no system prompt",
        advice="put it into the data: each prompt a list of messages, the first with role system",
    )
    yield refuses(
        f"{each}.split",
        f"data.{group}.0.split",
        when=lambda split, first: split != first,
        message="OpenRLHF takes the same split of every source",
        advice=_PREPARE,
    )
    yield refuses(
        f"{each}.format",
        FORMAT,
        when=lambda format, first: format != first,
        message="OpenRLHF takes the same format of every source",
        advice=_PREPARE,
    )
    yield refuses(
        each,
        "data.train.0",
        when=lambda source, first: source.format == first.format and source.columns != first.columns,
        message="OpenRLHF takes the same columns of every source",
        advice=_PREPARE,
    )
    for word in ("path", "hub"):
        yield refuses(
            f"{each}.{word}",
            when=lambda place: place is not None and ("," in place or "@" in place),
            message="OpenRLHF reads a comma or @ in a name as a separator",
            advice=_PREPARE,
        )
    yield refuses(
        f"{each}.roles",
        when=bool,
        message="OpenRLHF cannot map roles",
        advice="name the roles user and assistant in the data",
    )
    yield refuses(
        f"{each}.columns",
        when=lambda columns: any(columns.get(name, name) != name for name in ("role", "content")),
        message="OpenRLHF cannot map the columns of messages",
        advice="name them role and content in the data",
    )


CHECKS: tuple[Check, ...] = (
    refuses(
        "data.shuffle",
        when=lambda shuffled: not shuffled,
        message="OpenRLHF always shuffles the rows",
        advice="drop it",
    ),
    refuses(
        "data.holdout",
        when=bool,
        message="OpenRLHF cannot hold out rows",
        advice="give data.validation a file of its own",
    ),
    refuses(
        "data.packing",
        when=bool,
        message="OpenRLHF packs rows with Flash Attention 2 only",
        advice="set model.attention: flash_attention_2, or drop packing",
    ).unless("model.attention", "flash_attention_2"),
    differs(
        "data.packing",
        when=bool,
        message="OpenRLHF joins the rows of a micro batch, and fills no sequences of max_length",
        advice="set train.micro_batch_size to as many rows as fit",
    ).when("model.attention", "flash_attention_2"),
    *_of("train"),
    *_of("validation"),
    refuses(
        FORMAT,
        when=lambda format: format not in ("chat", "completion"),
        message=lambda format: f"OpenRLHF cannot read rows of format {format}",
        advice="use format chat or completion",
    ).when("method", "sft"),
    refuses(
        "data.train_on",
        when=lambda trained: trained != "assistant",
        message="OpenRLHF trains on answers only",
        advice="drop it, or use another trainer",
    ).when(FORMAT, "chat", "completion"),
    differs(
        FORMAT,
        COLUMNS,
        when=lambda _format, columns: _talks(columns),
        message="OpenRLHF adds the chosen and rejected answers to the messages: both are lists of messages",
        advice="give [{role: assistant, content: …}] in the data, not a text",
    )
    .when("method", *PAIRED)
    .of_rows("text answers"),
)
