"""Axolotl's `datasets`: where rows come from, and which of its loaders, or of ours, reads them."""

from __future__ import annotations

from typing import Any

from recipec.kinds.train.records import DataSource, Train
from recipec.systems.axolotl import loaders
from recipec.systems.check import Unsupported
from recipec.systems.table import OMIT

FILE_KINDS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
NO_KIND = ("dpo", "ipo", "simpo", "kto")  # their data has no key for the kind of a file: its name tells it
PREFERRED = ("preference", "unpaired-preference", "prompt")
TALKING = ("chat", "preference")


def talks(s: Train) -> bool:
    """Return whether any source holds conversations, which a chat template renders."""
    return any(source.format in TALKING for source in s.data.train)


def _place(source: DataSource) -> dict[str, Any]:
    """Where rows come from; files are loaded by the datasets builder of their kind."""
    if source.path is not None:
        kind = FILE_KINDS[source.path[source.path.rindex(".") :]]
        return {"path": source.path, "ds_type": kind, "split": source.split}
    place: dict[str, Any] = {"path": source.hub}
    for key, value in (("name", source.subset), ("split", source.split), ("revision", source.revision)):
        if value is not None:
            place[key] = value
    return place


def _row(s: Train, source: DataSource) -> dict[str, Any]:
    row = _place(source)
    if s.method in NO_KIND:
        row.pop("ds_type", None)
        if "name" in row:
            advice = "use a copy that has only this subset"
            raise Unsupported("data.train", f"Axolotl's {s.method} data cannot choose a subset", advice)
    if source.format in PREFERRED:
        kind = _preferences(s, source)
        return row | ({"type": kind} if kind is not OMIT else {})
    return row | _supervised(s, source)


def _supervised(s: Train, source: DataSource) -> dict[str, Any]:
    columns, kind = source.columns, source.format
    if kind == "chat":
        row: dict[str, Any] = {"type": "chat_template", "field_messages": columns["messages"]}
        row["message_property_mappings"] = {"role": columns["role"], "content": columns["content"]}
        if source.roles:
            row["roles"] = {role: list(names) for role, names in source.roles.items()}
        return {**row, "roles_to_train": ["assistant"], "train_on_eos": "turn"}
    if kind == "instruction":
        if s.model.chat_template in ("tokenizer", "alpaca") and columns == {
            k: k for k in ("instruction", "input", "output")
        }:
            return {"type": "alpaca"}
        fields = {f"field_{name}": column for name, column in columns.items()}
        return {"type": {**fields, "format": "{instruction}\n{input}\n", "no_input_format": "{instruction}\n"}}
    if kind == "completion":
        fields = {"field_instruction": columns["prompt"], "field_output": columns["completion"]}
        return {"type": {**fields, "format": "{instruction}", "no_input_format": "{instruction}"}}
    return {"type": "completion", "field": columns["text"]}


def _preferences(s: Train, source: DataSource) -> Any:
    """Axolotl's own loader where it reads the rows as they are; else one of ours, which is emitted beside the file.

    Its loaders read the columns of a validation source from the training source of the same number.
    """
    columns, own = source.columns, loaders.name(s, source)
    if s.data.validation or s.method in ("orpo", "reward"):
        return own
    if s.method == "kto":
        return {f"field_{name}": columns[name] for name in ("prompt", "completion", "label")}
    if s.method == "grpo":
        return OMIT if all(name == column for name, column in columns.items()) else own
    if "prompt" in columns:
        return {f"field_{name}": columns[name] for name in ("prompt", "chosen", "rejected")}
    plain = all(columns[name] == name for name in ("messages", "chosen", "rejected", "role", "content"))
    return "chat_template.default" if plain and not source.roles else own


def used(s: Train) -> list[DataSource]:
    """Return the sources that a loader of ours reads."""
    sources = [source for source in (*s.data.train, *s.data.validation) if source.format in PREFERRED]
    return [source for source in sources if _preferences(s, source) == loaders.name(s, source)]


def datasets(s: Train, sources: tuple[DataSource, ...]) -> Any:
    """Return the entries of `datasets`, each as often as it weighs."""
    if not sources:
        return OMIT
    return [_row(s, source) for source in sources for _copy in range(source.weight)]


def streamed(s: Train) -> Any:
    """Return `pretraining_dataset`, which is read while training."""
    if not s.data.streaming:
        return OMIT
    if len(s.data.train) > 1 or s.data.train[0].weight > 1:
        raise Unsupported("data.streaming", "Axolotl streams one data source", "give one source, or drop streaming")
    source = s.data.train[0]
    row = _place(source)
    if source.path is not None:
        row = {"path": row["ds_type"], "data_files": source.path, "split": source.split}
    return [{**row, "text_column": source.columns["text"], "type": "pretrain"}]


def holdout(s: Train) -> Any:
    """Return `val_set_size`, a fraction of the rows."""
    share = s.data.holdout
    if isinstance(share, int) and share > 0:
        advice = "give a percentage, such as holdout: 2%"
        raise Unsupported("data.holdout", "Axolotl holds out a fraction of the rows, not a number", advice)
    return float(share) if share else OMIT
