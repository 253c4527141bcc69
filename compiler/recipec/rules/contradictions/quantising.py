"""Contradictions about weights in fewer bits: what is quantised, by what, and for which GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from recipec.decide.machine import hardware
from recipec.facts.models import KnownModel, formats
from recipec.facts.schemes import schemes
from recipec.kinds.evaluate import Evaluate
from recipec.kinds.quantize import UNPAIRED, Quantize, reads
from recipec.kinds.serve import Serve
from recipec.kinds.train.records import Train
from recipec.language import Recipe
from recipec.plan import Hardware, ModelOutput, Stage
from recipec.rules.rule import Context, Fault, contradiction

SCHEME, METHOD, GROUP = "quantize.scheme", "quantize.method", "quantize.group_size"
ROWS = "quantize.calibration"
TILE = 16  # weights of nvfp4 that share a scale
MARLIN = (32, 64, 128)  # groups that vLLM's kernels read, beside one scale for each channel


def _starts(see: Context) -> Iterator[ModelOutput]:
    """Yield the models that a stage starts from."""
    for one in see.stage.inputs if see.stage is not None else ():
        if isinstance(one.output, ModelOutput):
            yield one.output


@contradiction("P265", "quantised-before", "quantize", words=("model.base", "start_from", "quantize"))
def quantised_before(see: Context, s: Quantize) -> Iterator[Fault]:
    """Finds a model to be quantised whose weights are in fewer bits already.

    Why is this bad:
    Tools refuse it, or round twice: the second rounding starts from what the first has lost.

    Example:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: fp8}}
          - {name: smaller, quantize: {scheme: w4a16}}

    Use instead:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: fp8}}
          - {name: smaller, start_from: sft, quantize: {scheme: w4a16}}
    """
    made = next((one.scheme for one in _starts(see) if one.scheme is not None), None)
    known = see.model(s.path)
    if made is not None:
        yield Fault("start_from", f"these weights are {made} already", "start from the stage that trained them")
    elif known is not None and known.quantised is not None:
        held = formats()[known.quantised].says
        yield Fault("start_from", f"the weights of {s.path} are in {held} already", "start from the model in bf16")


@contradiction("P266", "training-of-quantised-weights", words=("start_from", "quantize", "stages"))
def trains_quantised(see: Context, _s: Train) -> Iterator[Fault]:
    """Finds a training that starts from weights that a stage has quantised.

    Why is this bad:
    They are packed for serving: no trainer computes gradients through them. Train first, and quantise the result.

    Example:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: w4a16}}
          - {name: more, train: {learning_rate: 1e-6}}

    Use instead:
        stages:
          - {name: sft}
          - {name: more, train: {learning_rate: 1e-6}}
          - {name: small, quantize: {scheme: w4a16}}
    """
    made = next((one.scheme for one in _starts(see) if one.scheme is not None), None)
    if made is not None:
        yield Fault(
            "start_from", f"weights in {made} cannot be trained", "start from the stage before, and quantise last"
        )


@contradiction("P267", "nothing-to-calibrate-by", "quantize", words=("quantize", "data", "start_from"))
def no_rows(see: Context, s: Quantize) -> Iterator[Fault]:
    """Finds a model that reads rows while it is quantised, and no rows that it could read; or so few that none is read.

    Why is this bad:
    GPTQ, AWQ and ranges of activations follow from what the model reads. Without rows the tool ends, after the trainings.

    Example:
        data: null
        train: null
        stages:
          - {name: small, start_from: base, quantize: {scheme: w4a16}}

    Use instead:
        data: null
        train: null
        stages:
          - name: small
            start_from: base
            quantize: {scheme: w4a16, calibration: {data: [{path: data/chat.jsonl, format: chat}]}}
    """
    if s.rows and not s.sources:
        message = (
            f"{s.scheme} by {s.method} reads rows, and nothing that it starts from was trained on any that it could"
        )
        yield Fault(ROWS if see.said.wrote(ROWS) else SCHEME, message, "name them: calibration: {data: […]}")
    for index, one in enumerate(s.sources if see.said.wrote(f"{ROWS}.data") else ()):
        if one.format == UNPAIRED:
            message = "half of such answers are those that a model shall not give"
            yield Fault(f"{ROWS}.data[{index}].format", message, "name rows of another format")
    if not s.rows and s.measure and not s.sources:
        yield Fault("quantize.measure", "there are no rows to measure on", "name them: calibration: {data: […]}")


@contradiction("P268", "word-of-another-quantisation", "quantize", words=("quantize",))
def other_words(see: Context, s: Quantize) -> Iterator[Fault]:
    """Finds a word that the chosen scheme, or the chosen method, does not have.

    Why is this bad:
    It would have no effect, and whoever reads the recipe counts on it.

    Example:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: fp8, group_size: 64}}

    Use instead:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: w4a16, group_size: 64}}
    """
    scheme = schemes()[s.scheme]
    smooths = scheme.number == "whole" and scheme.activations == 8
    for word, fits, message, advice in (
        (
            "group_size",
            scheme.groups,
            f"{s.scheme} fixes which weights share a scale",
            "drop it: it belongs to w4a16 and w8a16",
        ),
        ("symmetric", scheme.groups, f"{s.scheme} has no zero points", "drop it: it belongs to w4a16 and w8a16"),
        ("act_order", s.method == "gptq", f"{s.method} has no order of columns", "drop it: it belongs to gptq"),
        ("damping", s.method == "gptq", f"{s.method} has no Hessian", "drop it: it belongs to gptq"),
        ("smoothing", smooths, f"{s.scheme} is not smoothed", "drop it: it belongs to w8a8"),
    ):
        if not fits and see.said.wrote(f"quantize.{word}"):
            yield Fault(f"quantize.{word}", message, advice)
    for index, name in enumerate(s.ignore if see.said.wrote("quantize.ignore") else ()):
        try:
            re.compile(name.removeprefix("re:") if name.startswith("re:") else "")
        except re.error as error:
            yield Fault(f"quantize.ignore[{index}]", f"this is no pattern: {error}", "correct it, or name the layer")
    learns = reads(s.scheme, s.method) or bool(s.smoothing)
    looks = learns or s.measure > 0
    for word, fits in (("rows", learns), ("max_length", looks), ("data", looks)):
        if not fits and see.said.wrote(f"{ROWS}.{word}"):
            message = f"{s.scheme} by {s.method} reads no rows"
            yield Fault(f"{ROWS}.{word}", message, f"drop {word}: gptq and awq read rows")


@contradiction("P269", "groups-that-divide-no-row", "quantize", words=("quantize", "model.base", "start_from"))
def group_size(see: Context, s: Quantize) -> Iterator[Fault]:
    """Finds groups of weights that do not divide the width of a layer, or that vLLM's kernels do not read.

    Why is this bad:
    The tool ends when it comes to that layer; or the checkpoint is made, and no server loads it.

    Example:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: w4a16, group_size: 96}}

    Use instead:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: w4a16, group_size: 128}}
    """
    scheme = schemes()[s.scheme]
    size = s.group_size if scheme.groups else TILE if s.scheme.startswith("nvfp4") else None
    if not isinstance(size, int):
        return
    if scheme.groups and size not in MARLIN:
        sizes = ", ".join(map(str, MARLIN))
        yield Fault(GROUP, f"vLLM reads no groups of {size} weights", f"use one of {sizes}, or channel")
        return
    known = see.model(s.path)
    odd = [f"{name} of {width:,}" for name, width in _rows_of(known) if width % size]
    if odd:
        fits = [one for one in MARLIN if all(width % one == 0 for _, width in _rows_of(known))]
        advice = (
            f"use {fits[-1]}" if fits and scheme.groups else "use scheme: fp8" if not scheme.groups else "use channel"
        )
        place = GROUP if see.said.wrote(GROUP) else SCHEME
        yield Fault(place, f"groups of {size} weights do not divide {', '.join(odd)}", advice)


def _rows_of(known: KnownModel | None) -> Iterator[tuple[str, int]]:
    """Yield the widths of what linear layers read: of the hidden state, of all heads, of the feed-forward layer."""
    if known is None:
        return
    heads = known.heads * known.head_size if known.heads and known.head_size else None
    for name, width in (
        ("the hidden state", known.hidden_size),
        ("the heads", heads),
        ("the feed-forward layer", known.ffn_size),
    ):
        if width:
            yield name, width


def _served_on(see: Context, s: Quantize | Serve | Evaluate) -> Iterator[tuple[str, Hardware]]:
    """Yield the scheme of a stage and the GPU that computes with it: of what is quantised only where nothing in the course serves it."""
    on = s.hardware
    if on.device == "cpu" or see.stage is None:
        return
    if isinstance(s, Quantize):
        if not any(_computes(one) for one in see.plan.stages if see.stage.name in one.after):
            yield s.scheme, on
    elif _computes(see.stage):
        scheme = s.scheme if isinstance(s, Serve) else s.model.scheme
        if scheme is not None:
            yield scheme, on


def _computes(stage: Stage[Any]) -> bool:
    """Return whether a stage answers by vLLM."""
    body = stage.body
    return (stage.kind == "serve" and body.hardware.device == "gpu") or (
        stage.kind == "evaluate" and body.backend == "vllm"
    )


@contradiction(
    "P270",
    "scheme-that-no-server-runs-here",
    "quantize",
    "serve",
    "evaluate",
    words=("quantize", "serve", "hardware.gpu"),
    waivable=True,
)
def not_served(see: Context, s: Quantize | Serve | Evaluate) -> Iterator[Fault]:
    """Finds a scheme that vLLM does not serve on the declared GPU.

    Why is this bad:
    The server ends when it loads the model. On Blackwell that is INT8: "Int8 not supported on SM120. Use FP8 quantization instead".

    Example:
        hardware: {gpu: rtx-5090}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: small, quantize: {scheme: w8a8}}

    Use instead:
        hardware: {gpu: rtx-5090}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: small, quantize: {scheme: fp8}}

    When it is meant:
    The model is served on other GPUs than these.
    """
    for name, on in _served_on(see, s):
        if schemes()[name].served(on.sm):
            continue
        able = [other for other, one in schemes().items() if one.computed(on.sm)]
        better = "fp8" if "fp8" in able else next(iter(able), None)
        message = f"vLLM does not serve {name} on {on.gpu}, of compute capability {on.sm / 10:.1f}"
        advice = f"use scheme: {better}, or another GPU" if better else "use a newer GPU"
        yield Fault(_place_of(s), message, advice)


def _place_of(s: Quantize | Serve | Evaluate) -> str:
    return SCHEME if isinstance(s, Quantize) else "start_from"


@contradiction(
    "P274",
    "scheme-without-its-speed",
    "quantize",
    "serve",
    "evaluate",
    words=("quantize", "serve", "hardware.gpu"),
    severity="warning",
    waivable=True,
)
def not_computed(see: Context, s: Quantize | Serve | Evaluate) -> Iterator[Fault]:
    """Finds a scheme in which the declared GPU cannot compute: it only holds the weights.

    Why is this bad:
    vLLM turns the weights into 16 bits for every layer. Memory is saved, but throughput under load is not gained, and activations
    keep their bits: FP8 is computed from compute capability 8.9 on (in blocks from 9.0), NVFP4 from 10.0.

    Example:
        hardware: {gpu: a100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: small, quantize: {scheme: fp8}}

    Use instead:
        hardware: {gpu: a100-80gb}
        stages:
          - {name: sft, adapter: {rank: 16}}
          - {name: small, quantize: {scheme: w8a8}}

    When it is meant:
    The model is served on other GPUs than these, or only memory counts.
    """
    for name, on in _served_on(see, s):
        scheme = schemes()[name]
        if scheme.served(on.sm) and not scheme.computed(on.sm):
            message = (
                f"{on.gpu} holds {name} and computes in 16 bits: it wants compute capability {scheme.full / 10:.1f}"
            )
            fits = (n for n in ("fp8", "w8a8") if scheme.weights == 8 and schemes()[n].full <= on.sm)
            yield Fault(_place_of(s), message, f"use scheme: {next(fits, 'w4a16')}, or other GPUs")


@contradiction("P275", "stage-of-one-process", "part", words=("hardware.per_node", "quantize", "serve"))
def one_process(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds several GPUs for a stage that quantises, or several processes for a server on a CPU.

    Why is this bad:
    Quantising holds one layer at a time on one GPU, and the rest of the model in the machine's memory; a server on a CPU is one process.
    The others would be paid for, and idle.

    Example:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: w4a16}, hardware: {per_node: 2}}
        hardware: {gpu: a100-80gb, per_node: 4}

    Use instead:
        stages:
          - {name: sft}
          - {name: small, quantize: {scheme: w4a16}, hardware: {per_node: 1}}
        hardware: {gpu: a100-80gb, per_node: 4}
    """
    part, own = see.said.part, see.said.part.own
    alone = part.quantize is not None or (part.serve is not None and hardware(see.said).value.device == "cpu")
    said = own.entries.get("hardware") if own is not None else None
    if alone and recipe.hardware.per_node > 1 and "per_node" in getattr(said, "entries", {}):
        what = "quantising takes one GPU" if part.quantize is not None else "a server on a CPU is one process"
        yield Fault("hardware.per_node", what, "set per_node: 1")


RULES = (one_process, quantised_before, trains_quantised, no_rows, other_words, group_size, not_served, not_computed)
