"""Rules about names of models: what is not known is said, and what cannot be meant is told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from recipec.facts.models import KnownModel, folder_of, format_of, formats, is_folder, original_of
from recipec.facts.repositories import instead_of, kind_of, needs_code
from recipec.facts.spelling import close_model
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
    if name is None or _nowhere(see, name) or close_model(name) is not None:
        return  # other findings tell it
    if is_folder(name) and not os.path.exists(name):  # noqa: PTH110
        return
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
    if (known is None or known.parameters is None) and stage.resources.device == "gpu":
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


def _nowhere(see: Context, name: str) -> tuple[str, ...]:
    """Return the models that are most like a name on the hub which there is no model of; nothing where there may be one."""
    if is_folder(name) or (see.folders and folder_of(name) is not None):
        return ()
    return instead_of(name) if close_model(name) is None else ()


@rule("L330", "no-model-of-this-name", "warning", "train", "evaluate", sources="huggingface_hub: Repository Not Found")
def nowhere(see: Context, s: Train | Evaluate) -> Iterator[Fault]:
    """Finds the name of a size, a version or a variant that a family of models does not have.

    Why is this bad:
    The hub answers that there is no such repository: after the environment is made, and on every machine that was paid for. Only families of
    which all names are known are judged, and only under the organisation that published them.

    Example:
        model: {base: Qwen/Qwen2.5-8B-Instruct}
        adapter: {rank: 16}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
    """
    name = s.model.path
    close = _nowhere(see, name) if see.stage is not None and name == _outside(see.stage) else ()
    if close:
        yield Fault("model.path", f"there is no model {name} on the hub", f"the nearest are {', '.join(close)}")


# What a kind of model is, as one would say it of it.
KINDS = {
    "encoder": "is an encoder, which reads text and writes none",
    "embedding": "gives a vector for each text, and writes none",
    "seq2seq": "is an encoder with a decoder, and what is trained and evaluated here is a decoder alone",
    "reward": "is a reward model or a classifier: it has a head that gives scores, and none that writes",
    "speech": "is a model of speech",
    "pictures": "is a model of pictures",
}


@rule(
    "L331",
    "model-that-writes-nothing",
    "error",
    "train",
    "evaluate",
    sources="Transformers: Unrecognized configuration class for AutoModelForCausalLM",
)
def writes_nothing(see: Context, s: Train | Evaluate) -> Iterator[Fault]:
    """Finds a model that is no decoder of text, such as an encoder, T5 or a reward model, where one is to be taught or asked to write.

    Why is this bad:
    Loading ends with an error; or, worse, the head that writes is made anew, of random weights, and a message tells so that nobody reads.

    Example:
        model: {base: google-bert/bert-base-uncased}

    Use instead:
        model: {base: Qwen/Qwen2.5-0.5B-Instruct}
    """
    name = s.model.path
    if see.stage is None or name != _outside(see.stage) or system(see.stage.system).own_program:
        return
    kind = kind_of(name, folders=see.folders)
    if kind not in KINDS or _right(see, s, kind):
        return
    yield Fault("model.path", f"{name} {KINDS[kind]}", "use a model that writes, such as an instruct model")


def _right(see: Context, s: Train | Evaluate, kind: str) -> bool:
    """Return whether a kind of model is right here: to give scores, or because lm-evaluation-harness asks it in its own way."""
    assert see.stage is not None
    if see.stage.kind == "train":
        return getattr(s, "method", "") == "reward" and kind in ("encoder", "embedding", "reward")
    return kind == "seq2seq" and getattr(s, "backend", "") == "hf"


@rule("L332", "model-that-also-sees", "warning", "train", "evaluate")
def also_sees(see: Context, s: Train | Evaluate) -> Iterator[Fault]:
    """Finds a model that sees pictures or hears, in a recipe, whose rows are text.

    Why is this bad:
    A recipe has no words for pictures. What the model is made for is not trained, and gets worse; some trainers do not load it as a model of text.

    Example:
        model: {base: Qwen/Qwen2.5-VL-7B-Instruct}
        adapter: {rank: 16}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct}
    """
    name = s.model.path
    if see.stage is None or name != _outside(see.stage) or system(see.stage.system).own_program:
        return
    if kind_of(name, folders=see.folders) == "vision":
        message = f"{name} is made for pictures or sound beside text, and a recipe has only text"
        yield Fault("model.path", message, "use the language model of its family; allow it where text alone is meant")


@rule(
    "L333",
    "code-that-may-not-run",
    "error",
    "train",
    "evaluate",
    sources="Transformers: requires you to execute the configuration file in that repo",
)
def code_not_allowed(see: Context, s: Train | Evaluate) -> Iterator[Fault]:
    """Finds a model that is loaded only by the Python code of its repository, which the recipe does not allow to run.

    Why is this bad:
    Transformers has no such architecture of its own, and asks whether it may run the code; where nobody can answer, the run ends.

    Example:
        model: {base: internlm/internlm2_5-7b-chat}
        adapter: {rank: 16}

    Use instead:
        model: {base: internlm/internlm2_5-7b-chat, trust_remote_code: true}
    """
    name, trusted = s.model.path, getattr(s, "trust_remote_code", False) or getattr(s.model, "trust_remote_code", False)
    if see.stage is None or name != _outside(see.stage) or trusted:
        return
    runs = system(see.stage.system)
    if runs.own_program or runs.trusts_code or not needs_code(name, folders=see.folders):
        return
    paths = "model.trust_remote_code model.path" if see.stage.kind == "train" else "trust_remote_code model.path"
    message = f"{name} is loaded by Python code of its own, which may not run"
    yield Fault(paths, message, "read that code, and set model.trust_remote_code: true")


RULES = (not_known, unread_format, misspelt, nowhere, writes_nothing, also_sees, code_not_allowed)
