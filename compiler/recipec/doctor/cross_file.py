"""Files given together against each other: what each decides, and whether another decides it otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from recipec.diagnostics import Finding
from recipec.doctor.contract_check import File
from recipec.doctor.recognise import TRAINERS
from recipec.doctor.rules import number, whole
from recipec.doctor.rules.script import gpus, nodes, world
from recipec.doctor.shell import Script
from recipec.source import Span

# What a trainer calls the numbers that DeepSpeed has too: (DeepSpeed's key, the trainer's, its default where it is one).
_HF = (
    ("train_micro_batch_size_per_gpu", "per_device_train_batch_size", 8),
    ("gradient_accumulation_steps", "gradient_accumulation_steps", 1),
    ("gradient_clipping", "max_grad_norm", 1.0),
)
SHARED: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "axolotl": (
        ("train_micro_batch_size_per_gpu", "micro_batch_size", 1),
        ("gradient_accumulation_steps", "gradient_accumulation_steps", None),
        ("gradient_clipping", "max_grad_norm", 1.0),
    ),
    "llamafactory": _HF,
    "trl": _HF,
}
# Only names that the makers of a family gave themselves: a model called after a family need not be of it.
LAYERS = {
    r"meta-llama/(meta-)?llama-(2|3|3\.[123])-\d+b.*": "LlamaDecoderLayer",
    r"mistralai/mistral-7b.*": "MistralDecoderLayer",
    r"mistralai/mixtral-.*": "MixtralDecoderLayer",
    r"qwen/qwen2(\.5)?(-coder|-math)?-[\d.]+b(-instruct)?": "Qwen2DecoderLayer",
    r"qwen/qwen3-[\d.]+b(-base)?": "Qwen3DecoderLayer",
    r"google/gemma-2-.*": "Gemma2DecoderLayer",
    r"microsoft/phi-3-(mini|medium)-.*": "Phi3DecoderLayer",
}  # fmt: skip


def cross_file_findings(files: Sequence[File], scripts: Sequence[Script]) -> Iterator[Finding]:
    """Yield where files contradict each other; of two files of one kind nobody knows which is meant, so they are left alone."""
    by_tool: dict[str, list[File]] = {}
    for file in files:
        if file.holder:
            yield from _of_two(file.holder, file)
        elif file.guess.document != "dataset_info":
            by_tool.setdefault("trainer" if file.guess.tool in TRAINERS else file.guess.tool, []).append(file)
    only = {tool: found[0] for tool, found in by_tool.items() if len(found) == 1}
    trainer, deepspeed, accelerate = only.get("trainer"), only.get("deepspeed"), only.get("accelerate")
    script = scripts[0] if len(scripts) == 1 else None
    inside = next((file for file in files if file.holder and file.holder is trainer), None)
    if trainer and deepspeed and inside:
        yield _unread(trainer, deepspeed)
    elif trainer and deepspeed:
        yield from _of_two(trainer, deepspeed)
        yield from _named(trainer, deepspeed, accelerate, script)
    if trainer and accelerate:
        yield from _strategies(trainer, accelerate)
        yield from _launched_precision(trainer, accelerate)
    if deepspeed and accelerate and accelerate.get("distributed_type") == "FSDP":
        message = f"accelerate shards by FSDP, but {deepspeed.name} is a file for DeepSpeed"
        yield Finding("D205", message, accelerate.span("distributed_type"), help="keep one of them")
    if trainer:
        yield from _layer(trainer, trainer)
    if trainer and accelerate:
        yield from _layer(trainer, accelerate)
    yield from _world(inside or deepspeed, accelerate, script)
    if script:
        yield from _mentioned(script, by_tool)


def _of_two(trainer: File, deepspeed: File) -> Iterator[Finding]:
    yield from _numbers(trainer, deepspeed)
    yield from _schedule(trainer, deepspeed)
    yield from _precision(trainer, deepspeed)


def _unread(trainer: File, deepspeed: File) -> Finding:
    message = f"nothing reads this file: {_at(trainer, 'deepspeed')} has its own mapping"
    advice = f"name {PurePath(deepspeed.name).name} there, or drop it"
    return Finding("D208", message, deepspeed.span(next(iter(deepspeed.values), "")), None, advice, "warning")


def _at(file: File, path: str) -> str:
    return f"{file.name}:{file.span(path).line}"


def _numbers(trainer: File, deepspeed: File) -> Iterator[Finding]:
    """The trainer refuses a DeepSpeed file whose numbers are not its own (transformers' `trainer_config_finalize`)."""
    for theirs, mine, default in SHARED[trainer.guess.tool]:
        there, here = deepspeed.get(theirs), trainer.get(mine, default)
        if trainer.guess.tool == "axolotl" and mine == "gradient_accumulation_steps" and here is None:
            here = None if trainer.get("batch_size") else 1
        if number(there) and number(here) and there != here:
            said = (
                f"{_at(trainer, mine)} says {mine} {here}"
                if mine in trainer.values
                else f"{trainer.name} leaves {mine} at {here}"
            )
            code = "D202" if theirs == "gradient_clipping" else "D201"
            yield Finding(
                code,
                f"{theirs} is {there}, but {said}",
                deepspeed.span(theirs, value=True),
                help='write "auto": the trainer fills it in',
            )


def _schedule(trainer: File, deepspeed: File) -> Iterator[Finding]:
    """What DeepSpeed's file says of optimiser and schedule replaces the trainer's words."""
    words = {"optimizer": ("optimizer", "optim"), "scheduler": ("lr_scheduler", "lr_scheduler_type")}
    for key, names in words.items():
        if not deepspeed.get(key):
            continue
        mine = next((name for name in names if trainer.get(name)), None)
        if mine:
            message = f"this {key} replaces {mine} {trainer.get(mine)} of {_at(trainer, mine)}"
            yield Finding("D203", message, deepspeed.span(key), help=f"delete {key} here")


def _precision(trainer: File, deepspeed: File) -> Iterator[Finding]:
    """The trainer refuses a DeepSpeed file of another precision."""
    for key, other in (("bf16", "fp16"), ("fp16", "bf16")):
        off = False if trainer.get(other) is True or trainer.guess.tool == "llamafactory" else None
        there, here = deepspeed.get(f"{key}.enabled"), trainer.get(key, off)
        if isinstance(there, bool) and isinstance(here, bool) and there != here:
            said = f"{_at(trainer, key)} turns it" if key in trainer.values else f"{trainer.name} leaves it"
            message = f"{key} is {'on' if there else 'off'}, but {said} {'on' if here else 'off'}"
            yield Finding(
                "D204",
                message,
                deepspeed.span(f"{key}.enabled", value=True),
                help='write "auto": the trainer fills it in',
            )


def _launched_precision(trainer: File, accelerate: File) -> Iterator[Finding]:
    said = accelerate.get("mixed_precision")
    here = next((key for key in ("bf16", "fp16") if trainer.get(key) is True), None)
    if said in ("bf16", "fp16") and here and here != said:
        message = f"mixed_precision is {said}, but {_at(trainer, here)} trains in {here}"
        yield Finding("D204", message, accelerate.span("mixed_precision", value=True), help="make them the same")


def _strategies(trainer: File, accelerate: File) -> Iterator[Finding]:
    kind = accelerate.get("distributed_type")
    for key, other in (("deepspeed", "FSDP"), ("fsdp_config", "DEEPSPEED"), ("fsdp", "DEEPSPEED")):
        if trainer.get(key) and kind == other:
            message = f"distributed_type is {kind}, but {_at(trainer, key)} sets {key}"
            yield Finding("D205", message, accelerate.span("distributed_type", value=True), help="keep one of them")
    steps, mine = (
        accelerate.get("deepspeed_config.gradient_accumulation_steps"),
        trainer.get("gradient_accumulation_steps"),
    )
    if whole(steps) and whole(mine) and steps != mine:
        path = "deepspeed_config.gradient_accumulation_steps"
        message = (
            f"gradient_accumulation_steps is {steps}, but {_at(trainer, 'gradient_accumulation_steps')} says {mine}"
        )
        yield Finding("D201", message, accelerate.span(path, value=True), help="delete it here: the trainer decides")


def _layer(trainer: File, file: File) -> Iterator[Finding]:
    """A class to wrap that the model does not have: FSDP finds nothing to shard, or stops."""
    model = str(trainer.get("base_model") or trainer.get("model_name_or_path") or "")
    own = next((layer for name, layer in LAYERS.items() if re.fullmatch(name, model.lower())), None)
    for key in ("transformer_layer_cls_to_wrap", "fsdp_transformer_layer_cls_to_wrap"):
        named = file.get(f"fsdp_config.{key}")
        if own and isinstance(named, str) and named in LAYERS.values() and named != own:
            span = file.span(f"fsdp_config.{key}", value=True)
            yield Finding("D207", f"{model} has no {named}", span, own, "FSDP wraps the layers of this class")


def _named(trainer: File, deepspeed: File, accelerate: File | None, script: Script | None) -> Iterator[Finding]:
    """A DeepSpeed file that nothing names has no effect."""
    said = trainer.get("deepspeed")
    name = PurePath(deepspeed.name).name
    if isinstance(said, str) and PurePath(said).name != name:
        message = f"deepspeed names {said}, not {name}"
        yield Finding(
            "D208",
            message,
            trainer.span("deepspeed", value=True),
            help=f"name {name}, or pass doctor the file that is meant",
            severity="warning",
        )
    elif not said:
        other = accelerate.get("deepspeed_config.deepspeed_config_file") if accelerate else None
        in_script = script is not None and any(name in word.text for words in script.commands for word in words)
        if not (isinstance(other, str) and PurePath(other).name == name) and not in_script:
            message = f"nothing names this file: {trainer.name} has no `deepspeed:`"
            advice = f"add `deepspeed: {name}` there"
            yield Finding(
                "D208", message, deepspeed.span(next(iter(deepspeed.values), "")), help=advice, severity="warning"
            )


def _world(deepspeed: File | None, accelerate: File | None, script: Script | None) -> Iterator[Finding]:
    """The number of processes, which the launcher, accelerate's file and DeepSpeed's total batch must agree on."""
    said: tuple[int, Span] | None = None
    for launch in script.launches if script else ():
        said = said or world(launch)
    mine = accelerate.get("num_processes") if accelerate else None
    if accelerate and whole(mine):
        asked, each = (nodes(script), gpus(script)) if script else (None, None)
        wanted = said or ((each[0] * (asked[0] if asked else 1), each[1]) if each else None)
        if wanted and wanted[0] != mine:
            message = f"num_processes is {mine}, but {wanted[1].where()} makes it {wanted[0]}"
            yield Finding(
                "D206",
                message,
                accelerate.span("num_processes", value=True),
                help="it counts the processes of all machines",
            )
        said = said or (mine, accelerate.span("num_processes"))
    if deepspeed and said:
        total, micro, steps = (
            deepspeed.get(key)
            for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
        )
        if (
            whole(total)
            and whole(micro)
            and whole(steps)
            and total % (micro * steps) == 0
            and total != micro * steps * said[0]
        ):
            message = f"train_batch_size {total} is for {total // (micro * steps)} processes, but {said[1].where()} makes {said[0]}"
            yield Finding(
                "D206",
                message,
                deepspeed.span("train_batch_size", value=True),
                help=f'write {micro * steps * said[0]}, or "auto"',
            )


def _mentioned(script: Script, by_tool: dict[str, list[File]]) -> Iterator[Finding]:
    """A configuration that the script names, where another of its kind was given."""
    given = {PurePath(file.name).name for files in by_tool.values() for file in files}
    for launch in script.launches:
        word = launch.options.get("config_file")
        if word and word.known and "accelerate" in by_tool and PurePath(word.text).name not in given:
            yield _other(word.text, word.span, by_tool["accelerate"][0])
        if "trainer" not in by_tool:
            continue
        for word in launch.program:
            if word.known and word.text.endswith((".yaml", ".yml")) and PurePath(word.text).name not in given:
                yield _other(word.text, word.span, by_tool["trainer"][0])


def _other(named: str, span: Span, given: File) -> Finding:
    message = f"the script names {named}, which is not among the files"
    return Finding(
        "D208", message, span, help=f"name {given.name}, or pass doctor the file that is meant", severity="warning"
    )
