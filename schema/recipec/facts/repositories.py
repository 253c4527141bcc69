"""What a model's name on the hub, or its `config.json` where it is at hand, says of its kind: rows of `repositories.yaml`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache, lru_cache

from recipec.facts import FOLDER
from recipec.facts.models import folder_of, formats, is_folder, read_json
from recipec.source import Plain

# Words that organisations distinguish variants of one model by; a name with other words may be anything.
VARIANTS = frozenset(("base", "instruct", "chat", "it", "pt", "hf", "sft", "dpo", "thinking", "preview", "vision"))
TALKING = ("instruct", "chat", "it")  # which mean the same
_VERSION = re.compile(r"v\d+(\.\d+)?")
_SIZE = re.compile(r"(?<![a-z0-9.])(?:\d+x)?e?(\d+(?:[._]\d+)?)([bm])(\d?)(?![a-z])")
_OTHERS = ("quantized", "int4", "int8", "4bit", "8bit")  # of the words for formats, those that are no format alone
ENCODERS = ("bert", "roberta", "xlm-roberta", "deberta", "deberta-v2", "modernbert", "electra", "distilbert", "albert", "mpnet", "nomic_bert")  # fmt: skip


@cache
def _file() -> str:
    return (FOLDER / "repositories.yaml").read_text(encoding="utf-8")


@cache
def _listed(section: str) -> tuple[str, ...]:
    """Return the lines of a section, without what stands before each row."""
    text = _file().partition(f"\n{section}:\n")[2]
    return tuple(line[4:] for line in re.split(r"\n(?=[^ ])", text)[0].splitlines() if line.startswith("  - "))


@cache
def _patterns(section: str) -> tuple[tuple[str, str], ...]:
    """Return every pattern of a section, with the kind that its row is of."""
    found: list[tuple[str, str]] = []
    for row in _listed(section):
        kind, names = re.search(r"kind: (\w+)", row), re.search(r'names: "([^"]*)"', row)
        found += [(one, kind[1] if kind else "") for one in (names[1] if names else "").split(", ")]
    return tuple(found)


def _types(word: str) -> frozenset[str]:
    found = re.search(rf'\b{word}: "([^"]*)"', _file())
    return frozenset(found[1].split()) if found else frozenset()


def _matched(section: str, name: str) -> str | None:
    """Return the kind of the first pattern of a section that a name matches; None where there is none."""
    wanted = name.lower()
    return next((kind for pattern, kind in _patterns(section) if fnmatchcase(wanted, pattern)), None)


def _config(name: str, *, folders: bool) -> dict[str, Plain]:
    folder = folder_of(name) if folders else None
    return (read_json(folder / "config.json") if folder is not None else None) or {}


@lru_cache(maxsize=64)
def kind_of(name: str, *, folders: bool = True) -> str | None:
    """Return the kind of a model that is no plain decoder of text, as `repositories.yaml` has kinds; None where none is known.

    Without `folders`, the answer is the same on every machine.
    """
    config = _config(name, folders=folders)
    return _kind_by(config) if config or is_folder(name) else _matched("kinds", name)


def _kind_by(config: dict[str, Plain]) -> str | None:
    """Return the kind that a `config.json` tells by the class that the weights were saved from."""
    classes = config.get("architectures")
    names = [one for one in classes if isinstance(one, str)] if isinstance(classes, list) else []
    if config.get("is_encoder_decoder") is True:
        return "seq2seq"
    if config.get("model_type") in _types("seeing"):
        return "vision"
    if any(one.endswith(("ForCausalLM", "LMHeadModel")) for one in names) or not names:
        return None
    if any(one.endswith(("ForSequenceClassification", "ForTokenClassification", "RewardModel")) for one in names):
        return "reward"
    if any(one.endswith(("ForMaskedLM", "ForPreTraining")) for one in names):
        return "encoder"
    return "embedding" if config.get("model_type") in ENCODERS else None


@lru_cache(maxsize=64)
def needs_code(name: str, *, folders: bool = True) -> bool:
    """Return whether a model is known to be loaded only by the Python code of its repository."""
    if _matched("code", name) is not None:
        return True
    config = _config(name, folders=folders)
    return isinstance(config.get("auto_map"), dict) and config.get("model_type") in _types("unnative")


def overflows(name: str, family: str) -> bool:
    """Return whether the activations of a model, or of all of a family, are known to be too large for fp16."""
    return family in _types("overflowing") or _matched("fp16", name) is not None


@lru_cache(maxsize=64)
def instead_of(name: str) -> tuple[str, ...]:
    """Return the models of its family that are most like a name which none of them has; nothing where the name may be one.

    Of a family all of whose names are known, a name is judged if its size is no other's, or if it consists of words that the
    family's names have. Names of other organisations, and those with further words, are never judged.
    """
    plain, low = _without_format(name), name.lower()
    for row in _listed("closed"):
        like = re.search(r'like: "([^"]*)"', row)
        if like is None or not re.fullmatch(like[1].replace("\\\\", "\\"), low):
            continue
        names = _names(row)
        lower = {one.lower() for one in names}
        if plain in lower or low in lower:
            return ()
        sizes = {_size(one) for one in lower}
        words = {word for one in lower for word in _rest(one)} | VARIANTS
        own = any(re.fullmatch(like[1].replace("\\\\", "\\"), one) for one in lower)  # else no such version was made
        if (
            own
            and _size(plain) in sizes
            and any(one not in words and not _VERSION.fullmatch(one) for one in _rest(plain))
        ):
            return ()
        return tuple(sorted(names, key=lambda one: _unlike(plain, one.lower()))[:3])
    return ()


@lru_cache(maxsize=16)
def _names(row: str) -> tuple[str, ...]:
    names = re.search(r'names: "([^"]*)"', row)
    return tuple(one for text in (names[1] if names else "").split() for one in _expanded(text))


def _expanded(text: str) -> Iterator[str]:
    """Yield every name that a text with alternatives in braces stands for."""
    found = re.search(r"\{([^{}]*)\}", text)
    if found is None:
        yield text
        return
    for one in found[1].split(","):
        yield from _expanded(f"{text[: found.start()]}{one}{text[found.end() :]}")


def _without_format(name: str) -> str:
    low = name.lower()
    ends = [at for word in (*formats(), *_OTHERS) if (at := low.find(f"-{word}")) > 0]
    return low[: min(ends, default=len(low))]


def _size(name: str) -> float | None:
    """Return the number of parameters that a name tells, in billions; None where it tells none."""
    found = _SIZE.search(name.rpartition("/")[2])
    if found is None:
        return None
    number = float(f"{found[1].replace('_', '.')}{'.' + found[3] if found[3] else ''}")
    times = re.search(r"(\d+)x$", name.rpartition("/")[2][: found.start(1)])
    return number * (int(times[1]) if times else 1) / (1000 if found[2] == "m" else 1)


def _rest(name: str) -> set[str]:
    """Return the words of a name without its size."""
    return set(filter(None, re.split(r"[-_]", _SIZE.sub("", name.rpartition("/")[2]))))


def _unlike(name: str, other: str) -> tuple[float, float]:
    """Return how different two names are: by their words, and by the ratio of their sizes."""
    mine, theirs = _size(name), _size(other)
    ratio = abs(math.log(mine / theirs)) if mine and theirs else 0.0
    here, there = ({"it" if word in TALKING else word for word in _rest(one)} for one in (name, other))
    return len(here ^ there) + (ratio >= 1), ratio
