"""What a rehearsal puts in the place of models: tiny ones of the same architecture, in a hub cache of its own.

The recipe goes on naming the real ones, so nothing else of what is emitted changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from recipec.environments import environments_folder
from recipec.facts import FOLDER
from recipec.facts.models import KnownModel, folder_of, is_folder, known_model, read_json
from recipec.facts.tokens import known_tokenizer
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

REVISION = "0" * 40
SCRIPT = Path(__file__).parent / "scripts" / "make_stand_ins.py"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer_config.json")


class StandIn(NamedTuple):
    """A tiny model in the place of `name`, and how it is made: what `scripts/make_stand_ins.py` reads.

    `sources` say in words where its architecture and its tokenizer come from.
    """

    name: str
    revision: str | None
    spec: dict[str, Any]
    sources: str

    @property
    def kept(self) -> Path:
        """The folder in which it is kept, for every rehearsal: it depends on nothing but how it is made."""
        text = json.dumps([self.spec, SCRIPT.read_text(encoding="utf-8")], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return environments_folder().parent / "stand-ins" / f"{self.name.rpartition('/')[2]}-{key}"

    def place(self, folder: Path) -> Path:
        """Return where it stands in the folder of a rehearsal: where the hub's client looks, or in the place of a folder."""
        if is_folder(self.name) or Path(self.name).is_dir():
            digest = hashlib.sha256(self.name.encode()).hexdigest()[:6]
            return folder / "models" / f"{Path(self.name).name}-{digest}"
        return folder / "hub" / f"models--{self.name.replace('/', '--')}"

    def put(self, folder: Path) -> None:
        """Put it where the tools of a rehearsal look for it."""
        place = self.place(folder)
        if place.parent.name != "hub":
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(self.kept)
            return
        (place / "refs").mkdir(parents=True)
        (place / "snapshots").mkdir()
        for name in {REVISION, self.revision or REVISION}:
            (place / "snapshots" / name).symlink_to(self.kept)
        for name in {"main", self.revision or "main"}:
            (place / "refs" / name).write_text(REVISION, encoding="utf-8")


@cache
def _facts() -> dict[str, Any]:
    found = plain(read_text(Source("stand_ins.yaml", (FOLDER / "stand_ins.yaml").read_text(encoding="utf-8"))))
    assert isinstance(found, dict)
    return found


def stand_in(name: str, revision: str | None, *, scores: bool, tokenizers: Iterable[str] = ()) -> StandIn:
    """Return what stands in for a model; `scores`: it is a reward model. `tokenizers` are others that are used with it."""
    folder, known = folder_of(name), known_model(name)
    config = read_json(folder / "config.json") if folder is not None else None
    sizes, architecture = _sizes(known), known.family if known is not None and known.family else "llama"
    if config is not None:
        base: dict[str, Any] = {"at": str(folder)}
        told = "its own config.json, made small"
    else:
        base, told = {"type": architecture, "values": _values(known)}, f"{architecture}, as is known of it"
        if known is None or not known.family:
            told = "llama, for nothing is known of its architecture"
    spec: dict[str, Any] = {
        "architecture": base,
        "sizes": sizes,
        "scores": scores,
        "spare": architecture in _facts()["spare"],
        "tokenizer": _tokenizer(name, folder),
        "fits": sorted(str(Path(one).resolve()) for one in tokenizers if Path(one).is_dir()),
    }
    own = "its own tokenizer" if "at" in spec["tokenizer"] else "a tokenizer with its special tokens and chat template"
    return StandIn(name, revision, spec, f"{told}; {own}")


def _sizes(known: KnownModel | None) -> dict[str, int]:
    """Return the sizes of the tiny model: keys and values are shared by as many heads as in the real one, in proportion."""
    sizes: dict[str, int] = dict(_facts()["sizes"])
    heads = sizes["heads"]
    shared = known.heads // known.kv_heads if known is not None and known.heads and known.kv_heads else 1
    return sizes | {"kv_heads": max(1, heads // shared)}


def _values(known: KnownModel | None) -> dict[str, Any]:
    """Return what of the real model's configuration stays as it is."""
    found = {"max_position_embeddings": known.context, "tie_word_embeddings": known.tied_embeddings} if known else {}
    return {word: value for word, value in found.items() if value is not None}


def _tokenizer(name: str, folder: Path | None) -> dict[str, Any]:
    """Return how the tokenizer comes about: it is copied where it is at hand, else made with what is known of it."""
    if folder is not None and any((folder / file).exists() for file in TOKENIZER_FILES[:3]):
        return {"at": str(folder)}
    facts, known = _facts(), known_tokenizer(name, folders=False)
    template = "chatml" if known is None or known.template is None else known.template
    chatml = ["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
    tokens = list(known.tokens) if known is not None and known.tokens else chatml
    eos = known.eos if known is not None and known.eos else next(t for t in ("<|im_end|>", *tokens) if t in tokens)
    special = {"eos_token": eos}
    for word, row in (("bos_token", "begins"), ("pad_token", "pads"), ("unk_token", "unknown")):
        found = next((token for token in facts[row] if token in tokens), None)
        if found is not None:
            special[word] = found
    if "pad_token" not in special and "<|endoftext|>" in tokens:
        special["pad_token"] = "<|endoftext|>"
    own = facts["templates"].get(template, {} if template == "none" else facts["templates"]["chatml"])
    return {"tokens": tokens, "special": special, "templates": own.get("of", []), "template": own.get("text")}
