"""Contradictions about adapters that are stacked: two that are trained one over the other, and made one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recipec.facts.models import embeddings_of
from recipec.kinds.train.continued import left
from recipec.kinds.train.records import Adapter, Train
from recipec.plan import Stage
from recipec.rules.contradictions.course import left_adapter
from recipec.rules.rule import Context, Fault, contradiction

MOVING = ("olora", "pissa", "pissa_niter_4", "pissa_niter_16", "loftq")  # they take something out of the base's weights
# Fields of PEFT's configuration that say where an adapter is and how it is scaled or begun: what is made of it has all in it.
KEPT = (
    "rank_pattern", "alpha_pattern", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out",
    "eva_config", "runtime_config", "ensure_weight_tying",
)  # fmt: skip
INSTEAD = "set parent_adapter: merge"


@contradiction("P330", "adapter-that-cannot-be-stacked", words=("parent_adapter", "start_from", "adapter", "model"))
def unstackable(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an adapter that is to be stacked on another, where the two cannot be made one over the base.

    Why is this bad:
    What is handed on is one LoRA whose matrices are those of both. Whatever else an adapter has is no part of it: DoRA's magnitudes, layers that
    are trained in full, embeddings of new tokens, what PiSSA takes out of the base. PEFT combines such adapters without a word, and the model is
    another one.

    Example:
        stages:
          - {name: first, adapter: {rank: 16, dora: true}}
          - {name: second, adapter: {rank: 16}, parent_adapter: stack}

    Use instead:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, adapter: {rank: 16}, parent_adapter: stack}
    """
    name = left_adapter(see)
    if see.said.part.parent_adapter != "stack" or not name:
        return
    if s.adapter is None:
        message = f"this stage has no adapter that could be stacked on that of {name}: it trains all weights"
        yield Fault("parent_adapter", message, f"give it an adapter, or {INSTEAD}")
        return
    found = unfit(see, s.adapter, s)
    if found is not None:
        yield Fault(
            found[0], f"{found[1]}, and that cannot be stacked on the adapter of {name}", f"drop it, or {INSTEAD}"
        )
    handed = see.graph.models[name]
    packed = see.model(handed.model.path)
    below = left(see.plan, handed.model.adapter)
    maker = _training(see, handed.stage)
    found = unfit(see, below, maker.body if maker is not None else None) if below is not None else None
    if found is not None:
        yield Fault(
            "parent_adapter", f"nothing can be stacked on the adapter of {name}: {found[1]} ({found[0]})", INSTEAD
        )
    elif packed is not None and packed.quantised is not None:
        message = f"the adapter of {name} is over {packed.id}, which is quantised: what is trained over both has other weights below"
        yield Fault(
            "parent_adapter", message, "name the model that is not quantised as the base, with model.load_in: nf4"
        )


def _training(see: Context, name: str | None) -> Stage[Train] | None:
    return next((one for one in see.plan.stages if one.name == name and one.kind == "train"), None)


def unfit(see: Context, a: Adapter, s: Train | None) -> tuple[str, str] | None:
    """Return the word of an adapter that cannot be made one with another, and what of it; `s` is its training, if known."""
    moved = next((key for key, value in a.options.items() if value and key not in KEPT), None)
    if a.type != "lora":
        return "adapter.type", f"it is of type {a.type}, which is no LoRA"
    if a.dora:
        return "adapter.dora", "DoRA has magnitudes beside the matrices"
    if a.init in MOVING:
        return "adapter.init", f"{a.init} takes a part of the base's weights into the adapter"
    if a.also_train:
        return "adapter.also_train", f"{', '.join(a.also_train)} is trained in full"
    if moved is not None:
        return f"adapter.options.{moved}", f"it has {moved}"
    where = "adapter.targets" if a.target_pattern is None else "adapter.target_pattern"
    known = see.model(s.model.path) if s is not None else None
    of = next((one for one in (*embeddings_of(known), "lm_head") if _adapts(a, one)), None)
    if of is not None:
        return where, f"it adapts {of}, which PEFT saves whole beside it"
    return _grown(see, s) if s is not None else None


def _grown(see: Context, s: Train) -> tuple[str, str] | None:
    if s.method == "reward":
        return "train.method", "it has a head for scores, which is trained in full"
    if s.model.resize_embeddings:
        return "model.resize_embeddings", "its embeddings have another size than the base's"
    tokenizer = see.tokenizer(s.model.tokenizer)
    has = tokenizer.tokens if tokenizer is not None else ()
    new = [*s.model.new_tokens, *(one for one in s.model.special_tokens.values() if has and one not in has)]
    if new:
        laid = s.model.chat_template != "tokenizer" or s.model.chat_template_file is not None
        return (
            "model.chat_template" if laid else "model.special_tokens",
            f"it has new tokens ({', '.join(dict.fromkeys(new))}), whose embeddings are no part of an adapter",
        )
    return None


def _adapts(a: Adapter, module: str) -> bool:
    """Return whether an adapter is also of a module that a language model has once."""
    if a.target_pattern is None:
        return any(one.rsplit(".", 1)[-1] == module for one in a.targets)
    try:
        return any(
            re.fullmatch(a.target_pattern, name) for name in (module, f"model.{module}", f"transformer.{module}")
        )
    except re.error:  # an error of its own
        return False


RULES = (unstackable,)
