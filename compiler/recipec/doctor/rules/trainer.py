"""What contradicts itself in the words of the Hugging Face trainer, whichever tool hands them to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from recipec.doctor.contract_check import File
from recipec.doctor.rules import Fault, both, number, rule


@rule("D105", "axolotl", "llamafactory", "trl")
def two_precisions(file: File) -> Iterator[Fault]:
    """transformers refuses bf16 and fp16 together; Axolotl turns fp16 off without a message."""
    if file.get("bf16") is True and file.get("fp16") is True:
        does = "Axolotl trains in bf16 and ignores fp16" if file.guess.tool == "axolotl" else "the trainer refuses it"
        yield Fault("fp16", "bf16 and fp16 are both on", f"{does}: keep one of them")


@rule("D106", "axolotl", "llamafactory", "trl")
def two_lengths(file: File) -> Iterator[Fault]:
    """With `max_steps` the trainer repeats the rows until it has taken that many steps, and ignores the epochs."""
    epochs = "num_epochs" if file.guess.tool == "axolotl" else "num_train_epochs"
    steps = file.get("max_steps")
    if number(steps) and steps > 0 and file.get(epochs):
        yield Fault(
            epochs,
            f"max_steps and {epochs} are both set: max_steps wins",
            "delete the one that you do not mean",
            "warning",
        )


@rule("D107", "llamafactory", "trl")
def two_strategies(file: File) -> Iterator[Fault]:
    """accelerate gets a DeepSpeed and an FSDP plugin, and uses only one of them."""
    if both(file, "deepspeed", "fsdp"):
        yield Fault("fsdp", "deepspeed and fsdp are both set", "keep one of them")


@rule("D108", "llamafactory", "trl")
def best_at_other_steps(file: File) -> Iterator[Fault]:
    """transformers refuses to load the best model unless the save and evaluation strategies match."""
    if not file.get("load_best_model_at_end"):
        return
    save, evaluate = file.get("save_strategy", "steps"), file.get("eval_strategy", "no")
    if save != evaluate and "best" not in (save,):
        yield Fault(
            "load_best_model_at_end",
            f"load_best_model_at_end saves by {save} but evaluates by {evaluate}",
            "make save_strategy and eval_strategy the same",
        )
        return
    steps, every = file.get("save_steps"), file.get("eval_steps")
    if save == "steps" and isinstance(steps, int) and isinstance(every, int) and every > 0 and steps % every:
        yield Fault(
            "save_steps",
            f"save_steps {steps} is not a multiple of eval_steps {every}",
            "load_best_model_at_end needs it to be one",
        )


@rule("D109", "llamafactory", "trl")
def two_warmups(file: File) -> Iterator[Fault]:
    """`warmup_steps` overrides `warmup_ratio`."""
    if both(file, "warmup_steps", "warmup_ratio"):
        yield Fault(
            "warmup_ratio",
            "warmup_steps and warmup_ratio are both set: warmup_steps wins",
            "keep one of them",
            "warning",
        )


@cache
def layers() -> frozenset[str]:
    """Return the names of the linear layers of every model in transformers."""
    lines = (Path(__file__).parents[1] / "linear_layers.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(lines[1:])


@rule("D136", "axolotl", "llamafactory", "trl")
def adapted_layers(file: File) -> Iterator[Fault]:
    """PEFT adapts the modules that it finds; a name that no module has is skipped without a message."""
    key = "lora_target" if file.guess.tool == "llamafactory" else "lora_target_modules"
    said = file.get(key)
    names = (
        said.split(",")
        if isinstance(said, str) and file.guess.tool == "llamafactory"
        else [said]
        if isinstance(said, str)
        else said
    )
    for index, name in enumerate(names if isinstance(names, list) else ()):
        if not isinstance(name, str) or name in ("all", "all-linear") or not re.fullmatch(r"[\w.]+", name.strip()):
            continue  # an expression, or all of them
        last = name.strip().rsplit(".", 1)[-1]
        if last not in layers() and not last.isdecimal():
            from recipec.suggest import nearest  # only a mistake pays for it

            close = nearest(last, layers())
            advice = f"did you mean {close}?" if close else "print the model to see its names"
            path = f"{key}.{index}" if isinstance(said, list) else key
            yield Fault(path, f'no model in transformers has a layer "{last}" for LoRA to adapt', advice, "warning")
