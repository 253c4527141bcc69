"""LLaMA-Factory's data: `dataset_info.json`, which names and maps every set of rows, and the template that renders them.

Its data folder must hold both the list and what is listed. So `run.sh` puts the list into a folder of the run, with a
link to the folder that the recipe's paths start at. What a set may say is in `llamafactory/data/parser.py`.
"""

from __future__ import annotations

from typing import Any

from recipec.kinds.train.records import DataSource, Train
from recipec.systems.check import Refusal, Unsupported
from recipec.systems.table import OMIT, Row, computed

FILE = "dataset_info.json"
START = "start"  # the link in the data folder to the folder that paths start at

TEMPLATES = {
    "chatml": "chatml",
    "llama3": "llama3",
    "mistral_v3_tekken": "ministral",
    "gemma": "gemma",
    "phi_3": "phi",
    "qwen3": "qwen3",
    "alpaca": "alpaca",
}
WITHOUT_BREAK = ("llama3", "mistral_v3_tekken")  # whose turns end with a token, and no line break behind it
TAGS = {"system": "system_tag", "user": "user_tag", "assistant": "assistant_tag", "tool": "observation_tag"}


def sources_of(s: Train) -> tuple[DataSource, ...]:
    """Return everything that a stage reads."""
    return (*s.data.train, *s.data.validation)


def talks(source: DataSource) -> bool:
    """Return whether its rows are conversations."""
    return source.format == "chat" or (source.format == "preference" and "messages" in source.columns)


def template(s: Train) -> Any:
    """Return the one template that renders every row of a stage; left out, it is taken from the tokenizer."""
    name, sources = s.model.chat_template, sources_of(s)
    if s.method == "pretrain":
        return "empty"
    if any(source.format == "text" for source in sources):
        raise Unsupported(
            "data.train", f"{s.method} of LLaMA-Factory has no rows of plain text", "use method: pretrain for them"
        )
    if name == "tokenizer":
        if any(talks(source) for source in sources):
            return OMIT
        return "alpaca" if all(source.format == "instruction" for source in sources) else "empty"
    if name not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        advice = f"use one of {known}; or drop it and set overrides.llamafactory.template, such as mistral"
        raise Unsupported("model.chat_template", f"LLaMA-Factory has no template like {name}", advice)
    return TEMPLATES[name]


def _entry(source: DataSource) -> dict[str, Any]:
    """One data set of `dataset_info.json`; its own names of roles hold one name each."""
    columns, row = source.columns, _place(source)
    if talks(source):
        row |= {"formatting": "sharegpt", "columns": {"messages": columns["messages"]}}
        row["tags"] = {"role_tag": columns["role"], "content_tag": columns["content"]}
        for role, tag in TAGS.items():
            names = source.roles.get(role, (role,))
            if len(names) > 1:
                message = f"LLaMA-Factory knows one name of a role, not {', '.join(names)}"
                raise Unsupported("data.train", message, "give one name, or rename the roles in the data")
            row["tags"][tag] = names[0]
    else:
        row["formatting"] = "alpaca"
        row["columns"] = {
            "instruction": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
            "completion": {"prompt": "prompt", "response": "completion"},
            "text": {"prompt": "text"},
            "preference": {"prompt": "prompt"},
            "unpaired-preference": {"prompt": "prompt", "response": "completion", "kto_tag": "label"},
        }[source.format]
        row["columns"] = {key: columns[name] for key, name in row["columns"].items() if name in columns}
    if source.format == "preference":
        row["ranking"] = True
        row["columns"] |= {"chosen": columns["chosen"], "rejected": columns["rejected"]}
    return row


def _place(source: DataSource) -> dict[str, Any]:
    if source.path is not None:
        return {
            "file_name": source.path if source.path.startswith("/") else f"{START}/{source.path}",
            "split": source.split,
        }
    if source.revision is not None:
        advice = "drop revision, or download that revision and give its path"
        raise Unsupported("data.train", "LLaMA-Factory takes hub data as it is now, not at a revision", advice)
    row: dict[str, Any] = {"hf_hub_url": source.hub, "split": source.split}
    return row | ({"subset": source.subset} if source.subset is not None else {})


def _names(group: str, sources: tuple[DataSource, ...]) -> list[tuple[str, int]]:
    """Return the names of a group's data sets, each with its source's place; a weight of n makes n of them."""
    return [
        (f"{group}-{index + 1}" + (f"-copy-{copy + 1}" if copy else ""), index)
        for index, source in enumerate(sources)
        for copy in range(source.weight)
    ]


def listed(group: str) -> Any:
    """Return the row of the names of `train` or `validation`."""

    def names(s: Train) -> Any:
        found = _names(group, getattr(s.data, group))
        return ",".join(name for name, _index in found) if found else OMIT

    return names


def rows(s: Train) -> tuple[Row, ...]:
    """Return the rows of `dataset_info.json`: one for each data set."""

    def row(group: str, name: str, index: int) -> Row:
        return computed(name, lambda stage: _entry(getattr(stage.data, group)[index]))

    groups = ("train", "validation")
    return tuple(row(group, *found) for group in groups for found in _names(group, getattr(s.data, group)))


def held_out(s: Train) -> Any:
    """Return the share or the number of rows that are held out."""
    share = s.data.holdout
    if not share:
        return OMIT
    if share == 1:
        raise Unsupported(
            "data.holdout", "LLaMA-Factory takes 1 for all rows, not for one", "hold out 2 rows or a percentage"
        )
    if s.data.streaming and isinstance(share, float):
        advice = "hold out a number of rows"
        raise Unsupported("data.holdout", "streamed rows cannot be held out by percentage", advice)
    return share


def streamed(s: Train) -> Any:
    """Return whether rows are read while training."""
    if not s.data.streaming:
        return OMIT
    if not s.data.shuffle:
        raise Unsupported("data.shuffle", "LLaMA-Factory always shuffles what it streams", "drop shuffle or streaming")
    return True


def packing(s: Train) -> Any:
    """Return whether rows are packed: pre-training does unless told not to, and only untold in blocks of cutoff_len."""
    if s.method == "pretrain":
        return OMIT if s.data.packing else False
    return True if s.data.packing else OMIT


def rendered(s: Train) -> list[Refusal]:
    """Return how rows without turns are rendered another way."""
    name = s.model.chat_template
    if name not in ("tokenizer", "alpaca"):
        message = f"LLaMA-Factory renders every row as turns of the template {name}, not as plain text"
        return [Refusal("model.chat_template", message, "drop chat_template where plain text is meant")]
    if all(source.format == "instruction" for source in sources_of(s)):
        message = (
            "in LLaMA-Factory's alpaca template the input stands below the instruction without a heading of its own"
        )
        return [Refusal("data.train", message, "name a chat template to have turns instead")]
    message = "plain text ends without an end-of-text token in LLaMA-Factory: where to stop is not learnt"
    return [Refusal("data.train", message, "name a chat template, such as model.chat_template: chatml")]
