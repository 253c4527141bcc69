"""Axolotl's `datasets`: where rows come from, and which of its loaders, or of ours, reads them."""

from __future__ import annotations

from typing import Any

from recipec.facts.tokens import Template, template
from recipec.kinds.train.records import DataSource
from recipec.systems.axolotl import loaders
from recipec.systems.axolotl.objective import RL
from recipec.systems.check import Check, differs, refuses
from recipec.systems.table import OMIT, Row, choice, constant, flag, made, nonzero, same

FILE_KINDS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
NO_KIND = ("dpo", "ipo", "simpo", "kto")  # no key for the kind of a file, which its name tells, nor for a subset
SUPERVISED = ("pretrain", "sft")
PREFERRED = ("reward", *RL)
CAUSAL = (*SUPERVISED, "reward")  # built by Axolotl's causal builder, which alone knows some keys

NONE = Template("", None, ())

Sources = tuple[DataSource, ...]


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


def _weighed(sources: Sources) -> list[DataSource]:
    """Return each source as often as it weighs."""
    return [source for source in sources for _copy in range(source.weight)]


def _supervised(sources: Sources) -> Any:
    return [_place(source) | _kind(source) for source in _weighed(sources)] or OMIT


def _alpaca(source: DataSource) -> bool:
    """Return whether Axolotl's own `alpaca` reads these instructions as they are meant."""
    plain = source.columns == {name: name for name in ("instruction", "input", "output")}
    return plain and not source.turns and source.system is None


def _kind(source: DataSource) -> dict[str, Any]:
    columns, kind = source.columns, source.format
    if kind == "chat":
        row: dict[str, Any] = {"type": "chat_template", "field_messages": columns["messages"]}
        row["message_property_mappings"] = {"role": columns["role"], "content": columns["content"]}
        if source.roles:
            row["roles"] = {role: list(names) for role, names in source.roles.items()}
        return {**row, "roles_to_train": ["assistant"], "train_on_eos": "turn"}
    if kind == "instruction":
        return {"type": "alpaca" if _alpaca(source) else loaders.name("sft", source)}
    if kind == "completion":
        fields = {"field_instruction": columns["prompt"], "field_output": columns["completion"]}
        return {"type": {**fields, "format": "{instruction}", "no_input_format": "{instruction}"}}
    return {"type": "completion", "field": columns["text"]}


def _preferred(sources: Sources, method: str, *, validated: bool) -> Any:
    rows: list[dict[str, Any]] = []
    for source in _weighed(sources):
        row, kind = _place(source), _loader(method, source, validated=validated)
        if method in NO_KIND:
            row = {key: value for key, value in row.items() if key not in ("ds_type", "name")}
        rows.append(row | ({"type": kind} if kind is not OMIT else {}))
    return rows or OMIT


def _loader(method: str, source: DataSource, *, validated: bool) -> Any:
    """Axolotl's own loader where it reads the rows as they are; else one of ours, which is emitted beside the file.

    Its loaders read the columns of a validation source from the training source of the same number.
    """
    columns, own = source.columns, loaders.name(method, source)
    if validated or method in ("orpo", "reward"):
        return own
    if method == "kto":
        return {f"field_{name}": columns[name] for name in ("prompt", "completion", "label")}
    if method == "grpo":
        return OMIT if all(name == column for name, column in columns.items()) and not source.turns else own
    if "prompt" in columns:
        return {f"field_{name}": columns[name] for name in ("prompt", "chosen", "rejected")}
    return own  # its own takes all of `messages` for the prompt, and drops tools


def used(method: str, train: Sources, validation: Sources) -> list[DataSource]:
    """Return the sources that a loader of ours reads."""
    sources = (*train, *validation)
    if method not in PREFERRED:
        return [s for s in sources if s.format == "instruction" and not _alpaca(s)]
    return [s for s in sources if _loader(method, s, validated=bool(validation)) == loaders.name(method, s)]


def _streamed(sources: Sources) -> Any:
    """Return `pretraining_dataset`, which is read while training."""
    source = sources[0]
    row = _place(source)
    if source.path is not None:
        row = {"path": row["ds_type"], "data_files": source.path, "split": source.split}
    return [{**row, "text_column": source.columns["text"], "type": "pretrain"}]


ROWS: tuple[Row, ...] = (
    made("pretraining_dataset", _streamed, "data.train").when("data.streaming"),
    made("datasets", _supervised, "data.train").when("method", *SUPERVISED).unless("data.streaming"),
    made(
        "datasets",
        lambda train, validation, method: _preferred(train, method, validated=bool(validation)),
        "data.train",
        "data.validation",
        "method",
    ).when("method", *PREFERRED),
    made("test_datasets", _supervised, "data.validation").when("method", *SUPERVISED),
    made(
        "test_datasets",
        lambda validation, method: _preferred(validation, method, validated=True),
        "data.validation",
        "method",
    ).when("method", *PREFERRED),
    nonzero("val_set_size", "data.holdout"),
    same("dataset_prepared_path", "data.cache"),
    same("shuffle_merged_datasets", "data.shuffle"),
    choice("train_on_inputs", "data.train_on", {"all": True}).when("method", "sft"),
    same("sequence_len", "model.max_length").unless("method", "grpo"),
    constant("excess_length_strategy", "drop", "rows that are too long are dropped whole").unless(
        "method", "pretrain", "grpo", "reward"
    ),
    same("sample_packing", "data.packing").when("method", *SUPERVISED),
    flag("group_by_length", "data.group_by_length").when("method", *CAUSAL),
    choice(
        "eval_sample_packing", "data.packing", {True: False}, why="so that validation loss is per row, not per pack"
    ),
    flag("pad_to_sequence_len", "data.packing", "one shape, so that memory does not vary"),
)
CHECKS: tuple[Check, ...] = (
    differs(
        "model.template",
        when=lambda name: name is not None and (template(name) or NONE).opens,
        message=lambda name: (
            f"Axolotl does not train the {(template(name) or NONE).opens} that {name} writes before an answer"
        ),
        advice="nothing is lost where the answers have thoughts of their own; the other trainers train it",
    ).when("method", "sft"),
    refuses(
        "data.streaming",
        "data.train",
        when=lambda streaming, sources: streaming and len(_weighed(sources)) > 1,
        message="Axolotl streams one data source, of weight 1",
        advice="give one source, or drop streaming",
    ),
    # utils/data/sft.py takes what is above 1 for a number of rows, utils/data/rl.py always for a share
    refuses(
        "data.holdout",
        "method",
        when=lambda share, _method: isinstance(share, int) and share > 0,
        message=lambda _share, method: f"of the rows of {method} Axolotl holds out a fraction, not a number",
        advice="give a percentage, such as holdout: 2%",
    ).unless("method", *CAUSAL),
    refuses(
        "data.holdout",
        when=lambda share: isinstance(share, int) and share == 1,
        message="Axolotl takes 1 for all rows, not for one",
        advice="hold out 2 rows, or a percentage",
    ).when("method", *CAUSAL),
    *(
        refuses(
            f"data.{group}.*.subset",
            "method",
            when=lambda subset, _method: subset is not None,
            message=lambda _subset, method: f"Axolotl's {method} data cannot choose a subset",
            advice="use a copy that has only this subset",
        ).when("method", *NO_KIND)
        for group in ("train", "validation")
    ),
)
