"""Rules about names of models: what is not known is said, and what cannot be meant is told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from recipec.facts.models import KnownModel, close_model, format_of, formats, is_folder, original_of
from recipec.kinds.evaluate import Evaluate
from recipec.kinds.train.records import Train
from recipec.plan import ModelOutput, Stage
from recipec.rules.rule import Context, Fault, rule
from recipec.systems.registry import system


def _outside(stage: Stage[Any]) -> str | None:
    """Return the model that a stage takes from outside the recipe, where it takes one."""
    for one in stage.inputs:
        if one.stage is None and isinstance(one.output, ModelOutput):
            return one.output.path
    return None


def _first(see: Context) -> str | None:
    """Return the model that a stage takes from outside, where no stage before takes the same."""
    name = _outside(see.stage) if see.stage is not None else None
    taking = next((stage for stage in see.plan.stages if name and _outside(stage) == name), None)
    return name if taking is see.stage else None


@rule("L150", "model-not-known", "note", "train", "evaluate")
def not_known(see: Context, _s: Train | Evaluate) -> Iterator[Fault]:
    """Notes a model of which nothing, or not everything, is known, and what was therefore not judged.

    Why is this bad:
    It need not be. But the rules about lengths, templates, tokens, adapters and memory had nothing to compare with, so that
    no finding means less than usual.

    Example:
        model: {base: my-lab/my-model}

    Use instead:
        model: {base: meta-llama/Llama-3.1-8B-Instruct}
    """
    name = _first(see)
    if name is None or close_model(name) is not None or (is_folder(name) and not os.path.exists(name)):  # noqa: PTH110
        return  # other findings tell it
    known = see.model(name)
    if known is not None and known.quantised is not None and not formats()[known.quantised].bits:
        return
    left: list[str] = []
    for stage in see.plan.stages:
        if _outside(stage) == name:
            left += [one for one in _not_judged(see, known, stage) if one not in left]
    if not left:
        return
    what = ", ".join(left[:-1]) + (" and " if left[1:] else "") + "".join(left[-1:])
    some = "not a known model" if known is None else "known in part only"
    folder = is_folder(name) or os.path.isdir(name)  # noqa: PTH112
    advice = (
        f"put its config.json and tokenizer_config.json into {name} where you check it"
        if folder
        else f"to have it judged, put its configuration into the hub's cache here: `hf download {name} config.json "
        "tokenizer_config.json`"
    )
    yield Fault("model.path", f"{name} is {some}: {what} {'were' if left[1:] else 'was'} not judged", advice)


def _not_judged(see: Context, known: KnownModel | None, stage: Stage[Any]) -> Iterator[str]:
    """Yield what the rules could not judge of a stage for want of facts."""
    s = stage.body
    if system(stage.system).own_program:
        return
    if known is None or known.context is None:
        yield "the context"
    if stage.kind == "train":
        if (known is None or not known.linear) and s.adapter is not None and s.adapter.targets != ("all-linear",):
            yield "the adapter's targets"
        tokenizer = see.tokenizer(s.model.tokenizer)
        if tokenizer is None and any(one.format == "chat" for one in s.data.train):
            yield "the chat template"
        if tokenizer is None and s.model.special_tokens:
            yield "special tokens"
    if (known is None or known.parameters is None) and s.hardware.device == "gpu":
        yield "memory"


@rule("L151", "format-that-nothing-reads", "error", "train", "evaluate", sources="Transformers#37032")
def unread_format(see: Context, s: Train | Evaluate) -> Iterator[Fault]:
    """Finds a model in a format that is made for other programs than the trainers and lm-evaluation-harness.

    Why is this bad:
    GGUF, MLX, EXL2, ONNX and the like hold weights for inference by llama.cpp and others. Loading ends with an error, or
    finds no weights.

    Example:
        model: {base: TheBloke/Llama-2-13B-chat-GGUF}
        adapter: {rank: 16}

    Use instead:
        model: {base: meta-llama/Llama-2-13b-chat-hf}
    """
    name = s.model.path
    told = format_of(name)
    if told is None or formats()[told].bits or see.stage is None or name != _outside(see.stage):
        return
    close = original_of(name)
    message = f"{name} is in {formats()[told].says}, which the tools here do not read"
    yield Fault("model.path", message, "name the model that it was made of", close)


@rule("L152", "misspelt-model", "warning", "train", "evaluate")
def misspelt(see: Context, s: Train | Evaluate) -> Iterator[Fault]:
    """Finds a name that is nearly that of a known model, and one without its organisation.

    Why is this bad:
    The hub answers that there is no such repository, or that nobody may read it: after the environment is made, and on every
    machine that was paid for.

    Example:
        model: {base: meta-llama/Llama-3.1-8B-Instuct}
        adapter: {rank: 16}

    Use instead:
        model: {base: meta-llama/Llama-3.1-8B-Instruct}
    """
    name = s.model.path
    if see.stage is None or name != _outside(see.stage) or is_folder(name):
        return
    if see.model(name) is not None or (see.folders and os.path.exists(name)):  # noqa: PTH110
        return
    close = close_model(name)
    if close is not None:
        bare = "/" not in name
        message = f"{name} is written without its organisation" if bare else f"{name} is not a known model"
        advice = "a name on the hub is ORGANISATION/NAME" if bare else "correct it, or allow it if there is one"
        yield Fault("model.path", message, advice, close)
    elif "/" not in name and not re.fullmatch(BARE, name):
        message = f"{name} is neither a folder here nor the name of a repository"
        yield Fault("model.path", message, "a name on the hub is ORGANISATION/NAME; a folder is ./NAME")


# Models that the hub still finds without an organisation: those of its first years.
BARE = r"(distil)?gpt2(-(medium|large|xl))?|openai-gpt|(distil)?(bert|roberta|xlm|camembert|t5|xlnet|ctrl|albert)[\w-]*"


RULES = (not_known, unread_format, misspelt)
