"""Transformers: a model from scratch, as a `config.json` of its family and what `init_model.py` is to do."""

from __future__ import annotations

from typing import Any

from recipec.plan import DataSource, InitStage
from recipec.targets.table import Row, made, same

TOOL, RELEASE = "transformers", "5.16.1"
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


def _source(source: DataSource) -> dict[str, Any]:
    return {"path": source.path, "format": source.format, "columns": source.columns}


def _tokenizer(s: InitStage) -> dict[str, Any]:
    data = [_source(source) for source in s.data]
    return {"train_on": data, "vocab_size": s.model.vocab_size, "special_tokens": SPECIAL}


INIT_ROWS: tuple[Row, ...] = (
    same("seed", "seed"),
    same("output", "output"),
    made("config", lambda _s: "config.json"),
    made("tokenizer", _tokenizer),
    same("chat_template", "model.chat_template"),
)
