"""What is known of a model without loading it: a row of `models.yaml`, or the `config.json` of a folder that is here."""

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from recipec.facts import FOLDER
from recipec.source import Plain, Source, plain
from recipec.yaml_reader import read_text

LARGEST = 4_000_000  # bytes of a JSON file that is read
QUANTISERS = ("awq", "gptq")


class KnownModel(NamedTuple):
    """A model's sizes, and what its tokenizer brings. None: not known, and nothing may be concluded.

    `context` is in tokens; `vocab` is the number of embeddings. The decoder has `layers` layers over vectors of
    `hidden_size`; each layer has `heads` query heads that share `kv_heads` keys and values, all of `head_size`
    components, and a feed-forward layer of `ffn_size` inside. `tied_embeddings` tells whether the output uses the
    input's embeddings. `parameters` and `embedding_parameters` (of input and output together) are numbers of weights.

    `template` is `none` where the tokenizer has no chat template; `quantised` names AWQ or GPTQ; `layer` is the class
    of one layer in Transformers, `linear` the names of its linear layers.
    """

    id: str
    family: str
    context: int | None
    vocab: int | None
    layers: int | None
    hidden_size: int | None
    heads: int | None
    kv_heads: int | None
    head_size: int | None
    ffn_size: int | None
    tied_embeddings: bool | None
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
    known = _of_row(path)
    if known is not None:
        return known
    config = read_json(Path(path) / "config.json") if folders else None
    if config is not None:
        return _made(path, _of_folder(Path(path), config))
    name = path.lower().rsplit("/", 1)[-1]
    quantised = next((word for word in QUANTISERS if word in name.replace("_", "-").split("-")), None)
    return _made(path, {"quantised": quantised}) if quantised is not None else None


@lru_cache(maxsize=256)
def _of_row(name: str) -> KnownModel | None:
    fields = _fields(name) if "/" in name else {}
    return _made(name, fields) if fields else None


@cache
def _file() -> str:
    return (FOLDER / "models.yaml").read_text(encoding="utf-8")


@lru_cache(maxsize=256)
def _row(name: str) -> Plain:
    """Return what stands behind a name; None where there is none. A row is one line: a cold start reads no others."""
    start = f"\n  {name}:"
    if not name or start not in _file():
        return None
    return plain(read_text(Source("models.yaml", _file().partition(start)[2].partition("\n")[0])))


def _fields(name: str) -> dict[str, Plain]:
    """Return the row of a name with what the row that it is like says; empty where there is none."""
    row = _row(name)
    if not isinstance(row, dict):
        return {}
    like = row.get("like")
    if not isinstance(like, str):
        return row
    return {**_fields(like), **{word: value for word, value in row.items() if word != "like"}}


def _family(name: str) -> dict[str, Plain]:
    """Return the row of a family of models; empty where the name is of none, as a folder may say anything."""
    fields = _fields(name)
    return fields if "linear" in fields else {}


def _number(fields: Mapping[str, Plain], word: str) -> int | None:
    value = fields.get(word)
    return value if isinstance(value, int) and value > 0 else None


def _text(fields: Mapping[str, Plain], word: str) -> str | None:
    value = fields.get(word)
    return value if isinstance(value, str) else None


def _texts(value: Plain) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, (list, tuple)) else ()


def _made(path: str, fields: Mapping[str, Plain]) -> KnownModel:
    name = _text(fields, "family") or ""
    family = _family(name)
    tied, tokens = fields.get("tied"), fields.get("tokens")
    hidden, heads, head = (_number(fields, word) for word in ("hidden", "heads", "head_dim"))
    if head is None and family and hidden is not None and heads is not None:
        head = hidden // heads
    known = KnownModel(
        id=path,
        family=name,
        context=_number(fields, "context"),
        vocab=_number(fields, "vocab"),
        layers=_number(fields, "layers"),
        hidden_size=hidden,
        heads=heads,
        kv_heads=_number(fields, "kv_heads"),
        head_size=head,
        ffn_size=_number(fields, "ffn"),
        tied_embeddings=tied if isinstance(tied, bool) else None,
        parameters=None,
        embedding_parameters=0,
        template=_text(fields, "template"),
        tokens=_texts(_row(tokens) if isinstance(tokens, str) else tokens),
        layer=_text(family, "layer"),
        linear=_texts(family.get("linear")),
        quantised=_text(fields, "quantised"),
    )
    return _counted(known, family) if family else known


def _counted(known: KnownModel, family: Mapping[str, Plain]) -> KnownModel:
    """Count the weights of a decoder with grouped-query attention and a gated feed-forward layer, as all families here.

    Per layer: q and o are hidden × heads·d, k and v hidden × kv_heads·d, the three of the feed-forward hidden × ffn, and
    two norms; a family whose `bias` is 1 adds biases to q, k and v. Embeddings are vocab × hidden, twice unless tied.
    """
    vocab, layers, hidden, tied = known.vocab, known.layers, known.hidden_size, known.tied_embeddings
    heads, kv_heads, width, ffn = known.heads, known.kv_heads, known.head_size, known.ffn_size
    if vocab is None or layers is None or hidden is None or tied is None:
        return known
    if heads is None or kv_heads is None or width is None or ffn is None:
        return known
    layer = hidden * width * (2 * heads + 2 * kv_heads) + 3 * hidden * ffn + 2 * hidden
    if family.get("bias"):
        layer += width * (heads + 2 * kv_heads)
    embeddings = vocab * hidden * (1 if tied else 2)
    return known._replace(parameters=layers * layer + hidden + embeddings, embedding_parameters=embeddings)


def unfit(known: KnownModel | None, parts: int, *, copies: bool) -> str:
    """Return what of a model's attention cannot be split over some GPUs; an empty text where all can, or it is not known.

    With `copies`, keys and values of fewer heads than GPUs are kept several times, as vLLM does.
    """
    if known is None or parts == 1:
        return ""
    if known.heads is not None and known.heads % parts:
        return f"{known.id} has {known.heads} attention heads, which cannot be split over {parts} GPUs"
    kv = known.kv_heads
    if kv is not None and kv % parts and not (copies and parts % kv == 0):
        return f"{known.id} has {kv} heads of keys and values, which cannot be split over {parts} GPUs"
    return ""


def fitting(known: KnownModel | None, most: int, *, copies: bool) -> int:
    """Return the largest number of GPUs up to `most`, a divisor of it, that a model can be split over."""
    return next(parts for parts in range(most, 0, -1) if most % parts == 0 and not unfit(known, parts, copies=copies))


def _of_folder(folder: Path, config: Mapping[str, Plain]) -> dict[str, Plain]:
    """Return what the files of a folder say, in the words of a row."""
    tokenizer = read_json(folder / "tokenizer_config.json")
    template: str | None = None
    tokens: list[Plain] = []
    if tokenizer is not None:
        has = bool(tokenizer.get("chat_template")) or any(folder.glob("*chat_template*"))
        template = "own" if has else "none"
        added = tokenizer.get("added_tokens_decoder")
        if isinstance(added, dict):
            tokens = [
                str(entry["content"]) for entry in added.values() if isinstance(entry, dict) and "content" in entry
            ]
    quantisation = config.get("quantization_config")
    method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
    family = _text(config, "model_type")
    tied, kv_heads = config.get("tie_word_embeddings"), _number(config, "num_key_value_heads")
    if family is not None and _family(family):  # what these leave out has a default; that of others is not known here
        tied, kv_heads = bool(tied), kv_heads or _number(config, "num_attention_heads")
    return {
        "family": family,
        "context": _number(config, "max_position_embeddings"),
        "vocab": _number(config, "vocab_size"),
        "layers": _number(config, "num_hidden_layers"),
        "hidden": _number(config, "hidden_size"),
        "heads": _number(config, "num_attention_heads"),
        "kv_heads": kv_heads,
        "ffn": _number(config, "intermediate_size"),
        "head_dim": _number(config, "head_dim"),
        "tied": tied,
        "template": template,
        "tokens": tokens,
        "quantised": method if method in QUANTISERS else None,
    }


def read_json(file: Path) -> dict[str, Plain] | None:
    """Return a JSON object that is here; None where there is none that can be read: a run finds the model, or says so."""
    try:
        if file.stat().st_size > LARGEST:
            return None
        found: Plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
