"""What contradicts itself in the words of the Hugging Face trainer, whichever tool hands them to it."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.doctor.judge import File
from recipec.doctor.rules import Told, both, number, rule


@rule("D105", "axolotl", "llamafactory", "trl")
def two_precisions(file: File) -> Iterator[Told]:
    """transformers refuses both; Axolotl turns fp16 off in silence."""
    if file.get("bf16") is True and file.get("fp16") is True:
        does = (
            "Axolotl trains in bf16 and drops fp16 in silence"
            if file.guess.tool == "axolotl"
            else "the trainer refuses it"
        )
        yield Told("fp16", "bf16 and fp16 are both on", f"{does}: keep one of them")


@rule("D106", "axolotl", "llamafactory", "trl")
def two_lengths(file: File) -> Iterator[Told]:
    """With `max_steps` the trainer goes round the rows until it has that many, whatever the epochs say."""
    epochs = "num_epochs" if file.guess.tool == "axolotl" else "num_train_epochs"
    steps = file.get("max_steps")
    if number(steps) and steps > 0 and file.get(epochs):
        yield Told(
            epochs,
            f"max_steps and {epochs} are both set: max_steps wins",
            "delete the one that you do not mean",
            "warning",
        )


@rule("D107", "llamafactory", "trl")
def two_strategies(file: File) -> Iterator[Told]:
    """accelerate would have two plugins, of which one wins."""
    if both(file, "deepspeed", "fsdp"):
        yield Told("fsdp", "deepspeed and fsdp are both set", "keep one of them")


@rule("D108", "llamafactory", "trl")
def best_at_other_steps(file: File) -> Iterator[Told]:
    """transformers refuses to load the best model unless it saves when it evaluates."""
    if not file.get("load_best_model_at_end"):
        return
    save, evaluate = file.get("save_strategy", "steps"), file.get("eval_strategy", "no")
    if save != evaluate and "best" not in (save,):
        yield Told(
            "load_best_model_at_end",
            f"load_best_model_at_end saves by {save} but evaluates by {evaluate}",
            "make save_strategy and eval_strategy the same",
        )
        return
    steps, every = file.get("save_steps"), file.get("eval_steps")
    if save == "steps" and isinstance(steps, int) and isinstance(every, int) and every > 0 and steps % every:
        yield Told(
            "save_steps",
            f"save_steps {steps} is no multiple of eval_steps {every}",
            "load_best_model_at_end needs it to be one",
        )


@rule("D109", "llamafactory", "trl")
def two_warmups(file: File) -> Iterator[Told]:
    """`warmup_steps` wins over `warmup_ratio`."""
    if both(file, "warmup_steps", "warmup_ratio"):
        yield Told(
            "warmup_ratio",
            "warmup_steps and warmup_ratio are both set: warmup_steps wins",
            "keep one of them",
            "warning",
        )
