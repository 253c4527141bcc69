"""What is known of a model without loading it: a row of `models.yaml`, by its own name or that of a copy, or a `config.json`.

That is looked for in a local folder, and in the cache of the Hugging Face hub.
"""

import json
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from recipec.facts import FOLDER
from recipec.regular_file import read_regular
from recipec.source import Plain, Source, plain
from recipec.yaml_reader import read_text

LARGEST = 4_000_000  # bytes of a JSON file that is read
WEIGHTS_OF = {"bitsandbytes": "bnb", "fbgemm_fp8": "fp8", "modelopt": "nvfp4", "auto-round": "autoround"}


class KnownModel(NamedTuple):
    """A model's sizes, and what its tokenizer brings. None: not known, and nothing may be concluded.

    `context` is in tokens; `vocab` is the number of embeddings. The decoder has `layers` layers over vectors of
    `hidden_size`; each layer has `heads` query heads that share `kv_heads` keys and values, all of `head_size`
    components, and a feed-forward layer of `ffn_size` inside. `tied_embeddings` tells whether the output uses the
    input's embeddings. `parameters` and `embedding_parameters` (of input and output together) are numbers of weights.

    `template` is `none` where the tokenizer has no chat template; `layer` is the class of one layer in Transformers,
    `linear` the names of its linear layers. `quantised` is the format of quantised weights, one of `formats`.
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


class Format(NamedTuple):
    """A format that a checkpoint may be in. `bits` of one weight, 0 where no tool reads it; `says` is its name."""

    bits: int
    says: str


def known_model(path: str, *, folders: bool = True) -> KnownModel | None:
    """Return what is known of a hub id or a local folder; None where nothing is.

    Without `folders`, the answer is the same on every machine.
    """
    known = _of_row(_as_listed(path))
    if known is not None:
        return known._replace(id=path)
    folder = folder_of(path) if folders else None
    config = read_json(folder / "config.json") if folder is not None else None
    if folder is not None and config is not None:
        return _made(path, _of_folder(folder, config))
    return _of_name(path) or (_made(path, parts) if (parts := _parts_of(path)) else None)


def follows(known: KnownModel | None) -> bool:
    """Return whether a model is known to follow instructions: it has a template, and is no base model by its name."""
    if known is None or known.template in (None, "none"):
        return False
    words = re.split(r"[-_.]", known.id.lower().rpartition("/")[2])
    return bool({"instruct", "chat", "it", "sft", "dpo", "zephyr"} & set(words)) or (
        known.family == "qwen3" and "base" not in words  # of which the base models are the ones that say so
    )


@cache
def _part_rows() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return the rows of `parts`: the patterns of each, and what it says."""
    rows = re.findall(r'^  - \{of: "(.*)", (\w+: .*)\}$', _file(), re.MULTILINE)
    return tuple((tuple(names.split(", ")), said) for names, said in rows)


def _parts_of(name: str) -> dict[str, Plain]:
    """Return what is known in part of a model that has no row of its own."""
    found: dict[str, Plain] = {}
    for patterns, said in _part_rows():
        if any(fnmatchcase(name.lower(), pattern) for pattern in patterns):
            row = plain(read_text(Source("models.yaml", f"{{{said}}}")))
            found.update(row if isinstance(row, dict) else {})
    return found


def folder_of(path: str) -> Path | None:
    """Return the folder that holds a model's files: itself, or the cache of the hub; None where there is none."""
    if os.path.isdir(path):  # noqa: PTH112  # pathlib takes longer to load
        return Path(path)
    organisation, _, name = path.partition("/")
    if not name or "/" in name:
        return None
    cache = Path(hub_cache()) / f"models--{organisation}--{name}"
    try:
        revision = (cache / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return cache / "snapshots" / revision


def is_folder(path: str) -> bool:
    """Return whether a text names a folder and cannot be the id of a repository, by its spelling alone."""
    return path.startswith(("/", "./", "../", "~")) or path in (".", "..") or path.rstrip("/").count("/") > 1


def hub_cache() -> str:
    """Return the folder in which the Hugging Face hub keeps what was downloaded, as its own client finds it."""
    home = os.environ.get("HF_HOME") or os.path.join(  # noqa: PTH118
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),  # noqa: PTH111
        "huggingface",
    )
    return os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")  # noqa: PTH118


def licence_of(name: str) -> str | None:
    """Return the licence that must be accepted on the hub before a model can be downloaded; None where none is known."""
    wanted = name.lower()
    for pattern, licence in _gated():
        if fnmatchcase(wanted, pattern):
            return licence
    return None


@cache
def _gated() -> tuple[tuple[str, str], ...]:
    rows = re.findall(r"^  - (\{names: .*\})$", _file(), re.MULTILINE)
    read = [plain(read_text(Source("models.yaml", row))) for row in rows]
    return tuple(
        (pattern, str(row["licence"]))
        for row in read
        if isinstance(row, dict)
        for pattern in str(row["names"]).split(", ")
    )


def _kept(name: str) -> str | None:
    """Return the format of the weights of a repository whose name does not tell it; None where none is known."""
    for row in re.findall(r"^  - \{kept: \"(.*)\", format: (\w+)\}$", _file(), re.MULTILINE):
        if any(fnmatchcase(name.lower(), pattern) for pattern in row[0].split(", ")):
            return str(row[1])
    return None


def adapter_weights(known: KnownModel, rank: int, names: tuple[str, ...] | None = None) -> int | None:
    """Return how many weights LoRA adds at a rank: rank × (inputs + outputs) of each layer that it adapts.

    `names` are layers; None means every linear layer of the decoder. None where a size is not known.
    """
    hidden, ffn, head, heads, kv = known.hidden_size, known.ffn_size, known.head_size, known.heads, known.kv_heads
    if hidden is None or ffn is None or head is None or heads is None or kv is None or known.layers is None:
        return None
    sides = {"q_proj": heads * head, "k_proj": kv * head, "v_proj": kv * head, "o_proj": heads * head}
    sides |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), ffn)
    sides |= {"qkv_proj": (heads + 2 * kv) * head, "gate_up_proj": 2 * ffn}
    wanted = known.linear if names is None else names
    if not wanted or not set(wanted) <= set(sides) or not set(known.linear) <= set(sides):
        return None
    return known.layers * sum(rank * (hidden + sides[name]) for name in wanted)


def model_ids() -> tuple[str, ...]:
    """Return the hub ids of all rows."""
    return tuple(re.findall(r"^  ([\w.-]+/[\w.-]+):", _file(), re.MULTILINE))


def plain_name(name: str) -> str:
    """Return a model's name, without its organisation, as copies write it: case, `Meta-` and `-hf` do not count."""
    return name.rpartition("/")[2].lower().replace("_", "-").removeprefix("meta-").removesuffix("-hf")


def _as_listed(path: str) -> str:
    """Return a hub id as its row writes it: the hub does not mind the case of letters."""
    return path if "/" not in path or f"\n  {path}:" in _file() else _by_case().get(path.lower(), path)


@cache
def _by_case() -> dict[str, str]:
    return {model.lower(): model for model in model_ids()}


@cache
def rows_by_name() -> dict[str, str]:
    """Return the hub id of each row by its plain name."""
    found: dict[str, str] = {}
    for model in model_ids():
        found.setdefault(plain_name(model), model)
    return found


def format_of(name: str) -> str | None:
    """Return the format of the weights that a name tells; None where it tells none."""
    return _cut(name)[1]


@cache
def formats() -> dict[str, Format]:
    """Return every format of weights by the word that names speak of it."""
    rows = re.findall(r"^  ([\w-]+): +(\{bits: .*\})$", _file(), re.MULTILINE)
    return {name: Format(**plain(read_text(Source("models.yaml", row)))) for name, row in rows}  # type: ignore[arg-type]


def _cut(name: str) -> tuple[str, str | None]:
    """Return a plain name without what it says of the format of its weights, and that format."""
    whole = plain_name(name)
    words = re.split(r"[-.]", whole)
    owner = name.partition("/")[0].lower()
    found = "mlx" if owner.startswith("mlx-") else None
    for word in formats():
        at = whole.find(f"-{word}")
        if (word in words or (at > 0 and "-" in word)) and not (found and formats()[word].bits):
            found = word
    if found is None:
        return whole, None
    ends = [
        at
        for word in (*formats(), "unsloth-bnb", "quantized", "int4", "int8", "4bit", "8bit")
        if (at := whole.find(f"-{word}")) > 0
    ]
    return whole[: min(ends, default=len(whole))], found


def original_of(name: str) -> str | None:
    """Return the hub id of the row that a name in a format of weights was made of; None where there is no such row."""
    return rows_by_name().get(_cut(name)[0])


def _of_name(path: str) -> KnownModel | None:
    """Return what the name of a copy says: the row of the original, and how its weights are kept."""
    organisation = path.partition("/")[0]
    copies = _row(organisation) if "/" in path else None
    name, quantised = _cut(path)
    listed = isinstance(copies, dict) and "exact" in copies
    origin = rows_by_name().get(name) if listed or quantised is not None else None
    fields: dict[str, Plain] = {**_fields(origin)} if origin is not None else {}
    if quantised is not None or _kept(path) is not None:
        fields = fields or _parts_of(path)
    quantised = quantised or _kept(path)
    if quantised is not None:
        fields["quantised"] = quantised
    exact = isinstance(copies, dict) and copies.get("exact") is True and quantised is None
    if not exact and fields.get("template") == "none":
        fields["template"] = None  # some copies bring one
    if origin is not None and not exact:
        fields["tokens"] = []
    return _made(path, fields) if fields else None


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


def family_row(name: str) -> dict[str, Plain]:
    """Return the row of a family of models; empty where the name is of none, as a folder may say anything."""
    fields = _fields(name)
    return fields if "linear" in fields else {}


def embeddings_of(known: KnownModel | None) -> tuple[str, ...]:
    """Return what the embeddings of a model are called; `embed_tokens` where its family is not known."""
    names = _texts(family_row(known.family).get("embeds")) if known is not None else ()
    return names or ("embed_tokens",)


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
    family = family_row(name)
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
    known = _counted(known, family, _number(fields, "experts") or 1) if family else known
    return known._replace(parameters=_number(fields, "parameters") or known.parameters)


def _counted(known: KnownModel, family: Mapping[str, Plain], experts: int) -> KnownModel:
    """Count the weights of a decoder with grouped-query attention and gated feed-forward layers; of others nothing is counted.

    Per layer: q and o are hidden × heads·d, k and v hidden × kv_heads·d, the three of each expert's feed-forward hidden × ffn, and
    two norms, or as many as the family's `norms`; a family whose `bias` is 1 adds biases to q, k and v, one whose
    `qk_norm` is 1 a norm of each head's queries and of its keys. Several experts are chosen from by hidden × experts.
    Embeddings are vocab × hidden, twice unless tied.
    """
    if family.get("gated") == 0:
        return known
    vocab, layers, hidden, tied = known.vocab, known.layers, known.hidden_size, known.tied_embeddings
    heads, kv_heads, width, ffn = known.heads, known.kv_heads, known.head_size, known.ffn_size
    if vocab is None or layers is None or hidden is None or tied is None:
        return known
    if heads is None or kv_heads is None or width is None or ffn is None:
        return known
    layer = hidden * width * (2 * heads + 2 * kv_heads) + experts * 3 * hidden * ffn
    layer += hidden * (_number(family, "norms") or 2) + (hidden * experts if experts > 1 else 0)
    if family.get("bias"):
        layer += width * (heads + 2 * kv_heads)
    if family.get("qk_norm"):
        layer += 2 * width
    embeddings = vocab * hidden * (1 if tied else 2)
    return known._replace(parameters=layers * layer + hidden + embeddings, embedding_parameters=embeddings)


MOST_GPUS = 4096  # that a layer is split over where a model's heads are not known


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
    if not unfit(known, most, copies=copies):
        return most
    heads = known.heads if known is not None else None  # no more GPUs than heads: `most` may be any number
    able = range(min(most, heads or MOST_GPUS), 0, -1)
    return next(parts for parts in able if most % parts == 0 and not unfit(known, parts, copies=copies))


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
    inner = config.get("text_config")
    if isinstance(inner, dict):  # a model of several modalities: its language model
        config = {**config, **inner}
    family = _text(config, "model_type")
    tied, kv_heads = config.get("tie_word_embeddings"), _number(config, "num_key_value_heads")
    row = family_row(family) if family is not None else {}
    if row:  # what these leave out has a default; that of others is not known here
        tied = bool(row.get("tied")) if tied is None else bool(tied)
        kv_heads = kv_heads or _number(config, "num_attention_heads")
    return {
        "family": family,
        "context": _number(config, "max_position_embeddings"),
        "vocab": _number(config, "vocab_size"),
        "layers": _number(config, "num_hidden_layers"),
        "hidden": _number(config, "hidden_size"),
        "heads": _number(config, "num_attention_heads"),
        "kv_heads": kv_heads,
        "ffn": _number(config, "moe_intermediate_size") or _number(config, "intermediate_size"),
        "experts": _number(config, "num_local_experts") or _number(config, "num_experts"),
        "head_dim": _number(config, "head_dim"),
        "tied": tied,
        "template": template,
        "tokens": tokens,
        "quantised": _quantised(config.get("quantization_config")),
    }


def _quantised(said: Plain) -> str | None:
    """Return the format of weights that a configuration of a quantisation tells."""
    method = said.get("quant_method") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(method, str):
        return None
    word = WEIGHTS_OF.get(method, method)
    if word == "bnb":
        word = "bnb-4bit" if said.get("load_in_4bit") else "bnb-8bit"
    if word == "compressed-tensors":
        word = "fp8" if "float" in json.dumps(said) and '"num_bits": 8' in json.dumps(said) else "w4a16"
    return word if word in formats() else None


def read_json(file: Path) -> dict[str, Plain] | None:
    """Return a JSON object that is here; None where there is none that can be read: a run finds the model, or says so."""
    try:
        found: Plain = json.loads(read_regular(file, LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
