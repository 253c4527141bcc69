"""What is known of a model without loading it: a row of `models.yaml`, or the `config.json` of a folder that is here."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from recipec.facts import FOLDER
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

LARGEST = 4_000_000  # bytes of a JSON file that is read
QUANTISERS = ("awq", "gptq")


class KnownModel(NamedTuple):
    """A model's sizes, and what its tokenizer brings. None: not known, and nothing may be concluded.

    `context` is in tokens; `parameters` and `embedding_parameters` (of input and output together) are numbers of
    weights; `template` is `none` where the tokenizer has no chat template; `quantised` names AWQ or GPTQ.
    """

    id: str
    family: str
    context: int | None
    vocab: int | None
    parameters: int | None
    embedding_parameters: int
    template: str | None
    tokens: tuple[str, ...]
    layer: str | None
    linear: tuple[str, ...]
    quantised: str | None


def known_model(path: str, *, folders: bool = True) -> KnownModel | None:
    """Return what is known of a hub id or a local folder; None where nothing is.

    Without `folders`, the answer is the same on every machine.
    """
    row = _row(path) if "/" in path else None
    if row is not None:
        return _made(path, _laid(row))
    config = read_json(Path(path) / "config.json") if folders else None
    if config is not None:
        return _made(path, _of_folder(Path(path), config))
    name = path.lower().rsplit("/", 1)[-1]
    quantised = next((word for word in QUANTISERS if word in name.replace("_", "-").split("-")), None)
    return _made(path, {"quantised": quantised}) if quantised is not None else None


@cache
def _text() -> str:
    return (FOLDER / "models.yaml").read_text(encoding="utf-8")


@cache
def _row(name: str) -> Any:
    """Return what stands behind a name; None where there is none. A row is one line: a cold start reads no others."""
    start = f"\n  {name}:"
    if not name or start not in _text():
        return None
    return plain(read_text(Source("models.yaml", _text().partition(start)[2].partition("\n")[0])))


def _laid(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with what the row that it is like says."""
    if "like" not in row:
        return row
    return {**_laid(_row(row["like"])), **{word: value for word, value in row.items() if word != "like"}}


def _made(path: str, row: dict[str, Any]) -> KnownModel:
    family = _row(row.get("family") or "") or {}
    total, embeddings = _count(row, family)
    tokens = row.get("tokens", ())
    return KnownModel(
        path,
        row.get("family") or "",
        row.get("context"),
        row.get("vocab"),
        total,
        embeddings,
        row.get("template"),
        tuple(_row(tokens) if isinstance(tokens, str) else tokens),
        family.get("layer"),
        tuple(family.get("linear", ())),
        row.get("quantised"),
    )


def _count(row: dict[str, Any], family: dict[str, Any]) -> tuple[int | None, int]:
    """Count the weights of a decoder with grouped-query attention and a gated feed-forward layer, as all families here.

    Per layer: q and o are hidden × heads·d, k and v hidden × kv_heads·d, the three of the feed-forward hidden × ffn, and
    two norms; qwen2 adds biases to q, k and v. Embeddings are vocab × hidden, twice unless tied.
    """
    needed = ("vocab", "hidden", "layers", "heads", "kv_heads", "ffn", "tied")
    if not family or any(row.get(word) is None for word in needed):
        return None, 0
    hidden, heads, kv = row["hidden"], row["heads"], row["kv_heads"]
    width = row.get("head_dim") or hidden // heads
    layer = hidden * width * (2 * heads + 2 * kv) + 3 * hidden * row["ffn"] + 2 * hidden
    layer += family["bias"] * width * (heads + 2 * kv)
    embeddings = row["vocab"] * hidden * (1 if row["tied"] else 2)
    return row["layers"] * layer + hidden + embeddings, embeddings


def _of_folder(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    tokenizer = read_json(folder / "tokenizer_config.json")
    template: str | None = None
    tokens: tuple[str, ...] = ()
    if tokenizer is not None:
        has = bool(tokenizer.get("chat_template")) or any(folder.glob("*chat_template*"))
        template = "own" if has else "none"
        added = tokenizer.get("added_tokens_decoder")
        if isinstance(added, dict):
            tokens = tuple(
                str(entry["content"]) for entry in added.values() if isinstance(entry, dict) and "content" in entry
            )
    quantisation = config.get("quantization_config")
    method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None

    def number(word: str) -> int | None:
        value = config.get(word)
        return value if isinstance(value, int) and value > 0 else None

    return {
        "family": config.get("model_type") if isinstance(config.get("model_type"), str) else None,
        "context": number("max_position_embeddings"),
        "vocab": number("vocab_size"),
        "layers": number("num_hidden_layers"),
        "hidden": number("hidden_size"),
        "heads": number("num_attention_heads"),
        "kv_heads": number("num_key_value_heads") or number("num_attention_heads"),
        "ffn": number("intermediate_size"),
        "head_dim": number("head_dim"),
        "tied": bool(config.get("tie_word_embeddings", False)),
        "template": template,
        "tokens": tokens,
        "quantised": method if method in QUANTISERS else None,
    }


def read_json(file: Path) -> dict[str, Any] | None:
    """Return a JSON object that is here; None where there is none that can be read: a run finds the model, or says so."""
    try:
        if file.stat().st_size > LARGEST:
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
