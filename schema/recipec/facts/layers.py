"""The modules of a known model by the dotted names that Transformers gives them, and an adapter's own configuration.

What has names here are decoders of one build, as `named_modules()` of Transformers 5.23 lists it: a test compares.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from recipec.facts.models import KnownModel, family_row, folder_of, read_json
from recipec.source import Plain

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
HEADS = ("lm_head", "score", "v_head")  # of a language model; of a reward model in Transformers, and in LLaMA-Factory
NORMED = ("q_norm", "k_norm")  # of families that normalise each head's queries and keys


@lru_cache(maxsize=16)
def modules(known: KnownModel) -> tuple[str, ...]:
    """Return the dotted name of every module of a known model, without a head; none where its layers are not known, or others."""
    if not known.linear or known.layers is None or family_row(known.family).get("others"):
        return ()
    inner = ["self_attn", "mlp", "mlp.act_fn", "input_layernorm", "post_attention_layernorm"]
    inner += [f"self_attn.{name}" if name in ATTENTION else f"mlp.{name}" for name in known.linear]
    inner += [f"self_attn.{name}" for name in NORMED] if family_row(known.family).get("qk_norm") else []
    layers = [f"model.layers.{number}" for number in range(known.layers)]
    return (
        *("model", "model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb"),
        *(f"{layer}{name}" for layer in layers for name in ("", *(f".{one}" for one in inner))),
    )


def adapter_config(path: str) -> dict[str, Plain] | None:
    """Return what an adapter says of itself; None where it is not at hand, in its folder or the cache of the hub."""
    folder = folder_of(path)
    return read_json(Path(folder) / "adapter_config.json") if folder is not None else None


def matching(pattern: str, names: list[str]) -> list[str]:
    """Return the modules that a pattern means, as PEFT 0.20 looks for them. Raises re.error where it is none."""
    found = re.compile(pattern)
    return [name for name in names if found.fullmatch(name)]
