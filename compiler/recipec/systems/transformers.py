"""Transformers alone: a model from scratch, by a script of ours that is copied as it is, and a settings file for it."""

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.init import Init
from recipec.kinds.train.records import DataSource
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.system import Need, System
from recipec.systems.table import Row, constant, made, same, within
from recipec.systems.trainers import GENERAL

TOOL, SCRIPT, SETTINGS = "transformers", "init_model.py", "init.json"
SPECIAL = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "<pad>"}

CONFIG_ROWS: tuple[Row, ...] = (
    same("model_type", "model.family"),
    same("vocab_size", "model.vocab_size"),
    same("hidden_size", "model.hidden_size"),
    same("intermediate_size", "model.intermediate_size"),
    same("num_hidden_layers", "model.layers"),
    same("num_attention_heads", "model.heads"),
    same("num_key_value_heads", "model.kv_heads"),
    same("max_position_embeddings", "model.max_length"),
    same("tie_word_embeddings", "model.tie_embeddings"),
)


def _rows_of(sources: tuple[DataSource, ...]) -> list[dict[str, Any]]:
    return [_place(source) | {"format": source.format, "columns": source.columns} for source in sources]


def _place(source: DataSource) -> dict[str, Any]:
    if source.path is not None:
        return {"path": source.path}
    return {"hub": source.hub, "subset": source.subset, "split": source.split, "revision": source.revision}


INIT_ROWS: tuple[Row, ...] = (
    same("seed", "seed"),
    same("output", "output"),
    constant("config", "config.json"),
    *within(
        "tokenizer",
        made("train_on", _rows_of, "data"),
        same("vocab_size", "model.vocab_size"),
        constant("special_tokens", SPECIAL),
    ),
    same("chat_template", "model.chat_template"),
)


def _sheets(_s: Init, environment: str) -> list[Sheet]:
    release = pinned(environment, TOOL)
    tables = {"config.json": CONFIG_ROWS, SETTINGS: INIT_ROWS}
    return [Sheet(file, rows, TOOL, release, "", "json", raw_keys=False) for file, rows in tables.items()]


def _job(_s: Init) -> Job:
    return Job(("python", Beside(SCRIPT), Beside(SETTINGS)))


def _files(_s: Init) -> dict[str, str]:
    return {SCRIPT: program(SCRIPT)}


def _need(_s: Init) -> Need:
    return Need(packages=frozenset(["transformers"]), otherwise=GENERAL)


SYSTEM = System(
    TOOL,
    kinds=frozenset(["init"]),
    sheets=_sheets,
    needs=_need,
    job=_job,
    files=_files,
    package=TOOL,
)
