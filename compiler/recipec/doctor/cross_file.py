"""Files given together against each other: what each decides, and whether another decides it otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from recipec.diagnostics import Finding
from recipec.doctor.contract_check import File
from recipec.doctor.gathering import resolved
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


class Place(NamedTuple):
    """How a file came to be looked at: from a folder, or because another names it (where)."""

    folder: bool = False
    by: Span | None = None


def cross_file_findings(
    files: Sequence[File], scripts: Sequence[Script], places: dict[str, Place]
) -> Iterator[Finding]:
    """Yield where files contradict each other.

    Files are compared if one names the other, or if a person gave both and nothing says that they belong to others: so a
    further file takes nothing away. Of files in a folder, only those that name each other belong together.
    """
    together = _Together(files, scripts, places)
    for file in files:
        if file.holder:
            yield from _of_two(file.holder, file)
    for trainer in together.trainers:
        yield from _layer(trainer, trainer)
        inside = next((file for file in files if file.holder is trainer), None)
        for deepspeed in together.deepspeeds:
            if inside and together.may(trainer, deepspeed):
                yield _unread(trainer, deepspeed)
            elif together.linked(trainer, deepspeed):
                yield from _of_two(trainer, deepspeed)
            elif together.may(trainer, deepspeed):
                if not trainer.get("deepspeed") or together.is_missing(trainer):
                    yield from _of_two(trainer, deepspeed)
                yield from _unnamed(trainer, deepspeed)
        for accelerate in together.accelerates:
            if together.linked(trainer, accelerate) or together.may(trainer, accelerate):
                yield from _strategies(trainer, accelerate)
                yield from _launched_precision(trainer, accelerate)
                yield from _layer(trainer, accelerate)
        if inside:
            yield from _worlds(together, inside, trainer)
    for accelerate in together.accelerates:
        for deepspeed in together.deepspeeds:
            if accelerate.get("distributed_type") == "FSDP" and together.may(accelerate, deepspeed):
                message = f"accelerate shards by FSDP, but {deepspeed.name} is a file for DeepSpeed"
                yield Finding("D205", message, accelerate.span("distributed_type"), help="keep one of them")
        yield from _worlds(together, None, accelerate)
    for deepspeed in together.deepspeeds:
        yield from _worlds(together, deepspeed, deepspeed)
    for script in scripts:
        yield from _mentioned(script, together)


def answered(files: Sequence[File], scripts: Sequence[Script], places: dict[str, Place]) -> Iterator[tuple[str, str]]:
    """Yield code and file of what one says of accelerate's file alone, where every script that starts it says it itself."""
    together = _Together(files, scripts, places)
    for accelerate in together.accelerates:
        launches = [launch for script in together.scripts_of(accelerate) for launch in script.launches]
        if launches and all("main_process_ip" in launch.options for launch in launches):
            yield "D183", accelerate.name


class _Together:
    """Which of some files belong together."""

    def __init__(self, files: Sequence[File], scripts: Sequence[Script], places: dict[str, Place]) -> None:
        own = [file for file in files if not file.holder and file.guess.document != "dataset_info"]
        self.trainers = [file for file in own if file.guess.tool in TRAINERS]
        self.deepspeeds = [file for file in own if file.guess.tool == "deepspeed"]
        self.accelerates = [file for file in own if file.guess.tool == "accelerate"]
        self.scripts, self.places = scripts, places

    def linked(self, one: File, other: File) -> bool:
        """Return whether one file names the other, or one script both."""
        return _names(one, other) or any(
            self.mentions(script, one) and self.mentions(script, other) for script in self.scripts
        )

    def mentions(self, script: Script, file: File) -> bool:
        """Return whether a script has a file's name among its words."""
        last = PurePath(file.name).name
        return any(PurePath(word.text.rpartition("=")[2]).name == last for words in script.commands for word in words)

    def may(self, one: File, other: File) -> bool:
        """Return whether two files are to be taken for one job: a person gave both, and neither belongs to another such file."""
        if self.places[one.name].folder or self.places[other.name].folder:
            return False
        if any(self.places[file.name].by for file in (one, other)):
            return self.linked(one, other)
        rivals = [
            file
            for file in (*self.trainers, *self.accelerates)
            if file.guess.tool == one.guess.tool and file is not one
        ]
        return self.linked(one, other) or not any(self.linked(rival, other) for rival in rivals)

    def is_missing(self, trainer: File) -> bool:
        """Return whether a trainer names a DeepSpeed file that is not here."""
        return not any(_names(trainer, deepspeed) for deepspeed in self.deepspeeds)

    def scripts_of(self, file: File) -> list[Script]:
        """Return the scripts that start a file's job: those that name it, else those that name no other of its kind."""
        naming = [script for script in self.scripts if self.mentions(script, file)]
        if naming or self.places[file.name].folder or self.places[file.name].by:
            return naming
        kind = {"trainer": self.trainers, "deepspeed": self.deepspeeds, "accelerate": self.accelerates}
        others = [one for one in kind.get(file.guess.tool, self.trainers) if one is not file]
        given = [script for script in self.scripts if not self.places[script.source.name].folder]
        return [script for script in given if not any(self.mentions(script, other) for other in others)]


def _names(one: File, other: File) -> bool:
    keys = ("deepspeed", "accelerate_config", "deepspeed_config.deepspeed_config_file")
    return any(isinstance(said := one.get(key), str) and _same(said, one, other) for key in keys)


def _same(said: str, one: File, other: File) -> bool:
    if PurePath(said).name != PurePath(other.name).name:
        return False
    path = resolved(said, one.name)
    return path is None or os.path.realpath(path) == os.path.realpath(other.name)


def _worlds(together: _Together, deepspeed: File | None, file: File) -> Iterator[Finding]:
    """Compare numbers of processes over every script, and accelerate's file, that goes with a file."""
    scripts: list[Script | None] = [*together.scripts_of(file)] or [None]
    accelerates: list[File | None] = [file] if file.guess.tool == "accelerate" else [
        one for one in together.accelerates if together.linked(one, file) or together.may(one, file)
    ]  # fmt: skip
    for script in scripts:
        for accelerate in accelerates or [None]:
            yield from _world(deepspeed, accelerate, script)


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
            message = f"{mine} {trainer.get(mine)} has no effect: {_at(deepspeed, key)} has its own {key}"
            yield Finding("D203", message, trainer.span(mine), help=f"delete {key} there")


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


def _unnamed(trainer: File, deepspeed: File) -> Iterator[Finding]:
    """A DeepSpeed file that nothing names has no effect."""
    said = trainer.get("deepspeed")
    name = PurePath(deepspeed.name).name
    if isinstance(said, str):
        message = f"deepspeed names {said}, not {name}"
        advice = f"name {name}, or pass doctor the file that is meant"
        yield Finding("D208", message, trainer.span("deepspeed", value=True), help=advice, severity="warning")
    else:
        message = f"nothing names this file: {trainer.name} has no `deepspeed:`"
        advice = f"add `deepspeed: {name}` there"
        span = deepspeed.span(next(iter(deepspeed.values), ""))
        yield Finding("D208", message, span, help=advice, severity="warning")


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


def _mentioned(script: Script, together: _Together) -> Iterator[Finding]:
    """A configuration that the script names, where another of its kind was given."""
    here = {PurePath(name).name for name in together.places}
    for launch in script.launches:
        word = launch.options.get("config_file")
        if (
            word
            and word.known
            and PurePath(word.text).name not in here
            and (other := _stray(together, together.accelerates))
        ):
            yield _other(word.text, word.span, other)
        other = _stray(together, together.trainers)
        for word in launch.program if other else ():
            if word.known and word.text.endswith((".yaml", ".yml")) and PurePath(word.text).name not in here:
                assert other is not None
                yield _other(word.text, word.span, other)


def _stray(together: _Together, files: Sequence[File]) -> File | None:
    """Return the first file of a kind that a person gave, if no script names any of them."""
    given = [file for file in files if not together.places[file.name].folder and not together.places[file.name].by]
    named = any(together.mentions(script, file) for script in together.scripts for file in given)
    return given[0] if given and not named else None


def _other(named: str, span: Span, given: File) -> Finding:
    message = f"the script names {named}, which is not among the files"
    return Finding(
        "D208", message, span, help=f"name {given.name}, or pass doctor the file that is meant", severity="warning"
    )
