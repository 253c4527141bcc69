"""Transformers and PEFT alone: a model from scratch, and an adapter merged into its base.

Each is a script of ours that is copied as it is, and a settings file for it.
"""

from pathlib import Path
from typing import Any, NamedTuple

from recipec.facts import pinned
from recipec.plan import DataSource
from recipec.systems.document import Sheet
from recipec.systems.table import Row, constant, made, same, within

TOOL = "transformers"
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
    return [{"path": source.path, "format": source.format, "columns": source.columns} for source in sources]


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

MERGE_ROWS: tuple[Row, ...] = tuple(
    same(word, word)
    for word in ("base", "revision", "adapter", "tokenizer", "precision", "trust_remote_code", "output")
)


class Scripted(NamedTuple):
    """A stage done by a script of ours; `tables` are its JSON files, of which `settings` is the script's argument."""

    script: str
    settings: str
    tables: dict[str, tuple[Row, ...]]

    def sheets(self, environment: str) -> list[Sheet]:
        """Return the settings files, for the release of Transformers in an environment."""
        release = pinned(environment, TOOL)
        return [Sheet(file, rows, TOOL, release, "", "json") for file, rows in self.tables.items()]

    def text(self) -> str:
        """Return the script."""
        return (Path(__file__).parent / "scripts" / self.script).read_text(encoding="utf-8")


init = Scripted("init_model.py", "init.json", {"config.json": CONFIG_ROWS, "init.json": INIT_ROWS})
merge = Scripted("merge_adapter.py", "merge.json", {"merge.json": MERGE_ROWS})
