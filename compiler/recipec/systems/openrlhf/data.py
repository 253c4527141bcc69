"""The data of each method as OpenRLHF's options: one set of column names for all sources, no mapping of roles."""

from __future__ import annotations

from typing import Any

from recipec.kinds.train.records import DataSource, Train
from recipec.systems.check import Unsupported
from recipec.systems.table import OMIT, Row, computed

PAIRED = ("dpo", "ipo", "reward")


def _paths(sources: tuple[DataSource, ...], group: str) -> Any:
    """Sources as OpenRLHF's `datasets/utils.py` reads them: separated by commas, `@` before a folder."""
    if not sources:
        return OMIT
    places = []
    for index, source in enumerate(sources):
        at = f"data.{group}.{index}"
        place = source.path or source.hub
        assert place is not None
        for word, wrong, message in (
            ("subset", source.subset is not None, "cannot choose a subset of a dataset"),
            ("revision", source.revision is not None, "cannot choose the revision of a dataset"),
            ("split", source.split != sources[0].split, "takes the same split of every source"),
            ("columns", source.columns != sources[0].columns, "takes the same columns of every source"),
            ("format", source.format != sources[0].format, "takes the same format of every source"),
            ("path", "," in place or "@" in place, "reads a comma or @ in a name as a separator"),
        ):
            if wrong:
                raise Unsupported(f"{at}.{word}", f"OpenRLHF {message}", "prepare a file of the rows that are wanted")
        if source.roles:
            raise Unsupported(f"{at}.roles", "OpenRLHF maps no roles", "name the roles user and assistant in the data")
        if (source.columns.get("role", "role"), source.columns.get("content", "content")) != ("role", "content"):
            advice = "name them role and content in the data"
            raise Unsupported(f"{at}.columns", "OpenRLHF cannot map the columns of messages", advice)
        places += [place] * source.weight
    return ",".join(places)


def _train(s: Train) -> Any:
    if not s.data.shuffle:
        raise Unsupported("data.shuffle", "OpenRLHF always shuffles the rows", "drop it")
    if s.data.holdout:
        raise Unsupported("data.holdout", "OpenRLHF holds no rows out", "give data.validation a file of its own")
    if s.data.packing:
        advice = "use attention: flash_attention_2, with which it computes no padding"
        raise Unsupported("data.packing", "OpenRLHF does not fill sequences with several rows", advice)
    return _paths(s.data.train, "train")


def _split(sources: tuple[DataSource, ...]) -> Any:
    return sources[0].split if sources else OMIT


def evaluate_every(s: Train) -> Any:
    """-1, the default, is once an epoch; the programs for reinforcement learning take it for never."""
    every = s.watch.evaluate_every
    return every if isinstance(every, int) else OMIT


def column(name: str, default: str | None = None) -> Any:
    """A row's function: what the data calls this column; `default` where it has no such column."""
    return lambda s: s.data.train[0].columns.get(name, default) or OMIT


def _input(s: Train) -> Any:
    source = s.data.train[0]
    if source.format not in ("chat", "completion"):
        advice = "use format chat or completion"
        raise Unsupported("data.train.0.format", f"OpenRLHF cannot read rows of format {source.format}", advice)
    if s.data.train_on != "assistant":
        raise Unsupported("data.train_on", "OpenRLHF trains on answers only", "drop it, or use another trainer")
    return source.columns["messages" if source.format == "chat" else "prompt"]


def _chat(s: Train) -> Any:
    return True if s.data.train[0].format == "chat" else OMIT


def sources(train: str, split: str) -> tuple[Row, ...]:
    """Where the rows come from; `train` and `split` are the options for the training set."""
    return (
        computed(f"data.{train}", _train),
        computed(f"data.{split}", lambda s: _split(s.data.train)),
        computed("eval.dataset", lambda s: _paths(s.data.validation, "validation")),
        computed("eval.split", lambda s: _split(s.data.validation)),
    )


SFT: tuple[Row, ...] = (
    computed("data.input_key", _input),
    computed("data.output_key", column("completion")),
    computed("data.apply_chat_template", _chat),
    computed("data.multiturn", _chat, "every turn of the assistant carries loss"),
    computed("data.input_template", lambda s: OMIT if _chat(s) is True else "{}", "the prompt as it is"),
)
PAIRS: tuple[Row, ...] = (
    computed("data.prompt_key", lambda s: column("messages")(s) if _talks(s) else column("prompt")(s)),
    computed("data.chosen_key", column("chosen")),
    computed("data.rejected_key", column("rejected")),
    computed("data.apply_chat_template", lambda s: True if _talks(s) else OMIT),
)
PROMPTS: tuple[Row, ...] = (
    computed("data.input_key", column("prompt")),
    computed("data.label_key", column("answer")),
    computed("data.apply_chat_template", lambda _s: True, "a prompt that is plain text becomes a turn of the user"),
)


def _talks(s: Train) -> bool:
    return "messages" in s.data.train[0].columns
