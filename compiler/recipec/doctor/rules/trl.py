"""What contradicts itself in a file of TRL's commands. Facts: `trl/trainer/*_config.py` and `model_config.py` of 1.16."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.doctor.contract_check import File
from recipec.doctor.rules import Fault, both, number, rule


@rule("D160", "trl")
def adapter_settings_without_adapter(file: File) -> Iterator[Fault]:
    """TRL creates an adapter only with `use_peft`; without it, the whole model is trained without a message."""
    if not file.get("use_peft"):
        for key in ("lora_r", "lora_alpha", "lora_target_modules", "use_dora"):
            if file.get(key):
                yield Fault(
                    key,
                    f"{key} has no effect without use_peft: the whole model is trained",
                    "add `use_peft: true`, or delete it",
                )
                return


@rule("D161", "trl")
def quantised_without_adapter(file: File) -> Iterator[Fault]:
    """The trainer refuses to train quantised weights without an adapter."""
    if not file.get("use_peft"):
        for key in ("load_in_4bit", "load_in_8bit"):
            if file.get(key) is True:
                yield Fault(
                    key,
                    f"{key} without use_peft: quantised weights cannot be trained",
                    "add `use_peft: true`, or delete this",
                )


@rule("D162", "trl")
def two_quantisations(file: File) -> Iterator[Fault]:
    """TRL refuses to load a model in both 4 and 8 bits."""
    if both(file, "load_in_4bit", "load_in_8bit"):
        yield Fault("load_in_8bit", "load_in_4bit and load_in_8bit are both set", "keep one of them")


@rule("D164", "trl")
def too_few_generations(file: File) -> Iterator[Fault]:
    """GRPO and RLOO compare the completions of one prompt, so they need at least two."""
    answers = file.get("num_generations")
    if file.guess.document in ("grpo", "rloo") and number(answers) and answers < 2:
        yield Fault("num_generations", "answers to one prompt are compared, and there is one", "write 2 or more")


@rule("D165", "trl")
def losses_without_weights(file: File) -> Iterator[Fault]:
    """TRL refuses `loss_weights` unless there is one for each loss."""
    weights, losses = file.get("loss_weights"), file.get("loss_type")
    if isinstance(weights, list) and isinstance(losses, list) and len(weights) != len(losses):
        yield Fault(
            "loss_weights", f"{len(weights)} loss_weights for {len(losses)} loss_type", "give each loss its weight"
        )
