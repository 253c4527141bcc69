"""What contradicts itself in a LLaMA-Factory file. Facts: `llamafactory/hparams/` of 0.9.5."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from recipec.doctor.contract_check import File
from recipec.doctor.rules import Fault, both, number, rule

TOOL = "llamafactory"
ONLY_SFT = ("predict_with_generate", "neat_packing", "train_on_prompt", "mask_history")
ONLY_LORA = ("loraplus_lr_ratio", "use_rslora", "use_dora", "pissa_init")


def _kind(file: File) -> str:
    return str(file.get("finetuning_type", "lora"))


@rule("D140", TOOL)
def quantised_without_adapter(file: File) -> Iterator[Fault]:
    """LLaMA-Factory trains quantised weights only with LoRA or OFT."""
    if file.get("quantization_bit") and _kind(file) not in ("lora", "oft"):
        yield Fault(
            "quantization_bit",
            f"quantization_bit does not go with finetuning_type {_kind(file)}",
            "write `finetuning_type: lora`, or delete this",
        )


@rule("D141", TOOL)
def adapter_without_lora(file: File) -> Iterator[Fault]:
    """LLaMA-Factory loads an existing adapter only for LoRA."""
    if file.get("adapter_name_or_path") and _kind(file) != "lora":
        yield Fault(
            "adapter_name_or_path",
            f"an adapter does not go with finetuning_type {_kind(file)}",
            "write `finetuning_type: lora`, or delete this",
        )


@rule("D142", TOOL)
def only_for_sft(file: File) -> Iterator[Fault]:
    """LLaMA-Factory refuses these keys in any other stage."""
    stage = file.get("stage", "sft")
    if stage != "sft":
        for key in ONLY_SFT:
            if file.get(key):
                yield Fault(key, f"{key} is for stage sft, not {stage}", "delete it")


@rule("D143", TOOL)
def no_rows(file: File) -> Iterator[Fault]:
    """LLaMA-Factory refuses to train without a dataset."""
    if file.get("do_train") is True and not file.get("dataset"):
        yield Fault("do_train", "do_train without a dataset", "name one of dataset_info.json in `dataset:`")


@rule("D144", TOOL)
def nothing_to_evaluate(file: File) -> Iterator[Fault]:
    """LLaMA-Factory refuses to evaluate without evaluation data; setting `eval_strategy` turns evaluation on."""
    size = file.get("val_size", 0)
    if file.get("eval_dataset") or (number(size) and size > 1e-6) or isinstance(size, str):
        return
    for key in ("eval_strategy", "do_eval", "do_predict", "predict_with_generate"):
        if file.get(key) and file.get(key) != "no":
            yield Fault(key, f"{key} without rows to evaluate on", "set `val_size` or `eval_dataset`, or delete this")
            return


@rule("D145", TOOL)
def two_validations(file: File) -> Iterator[Fault]:
    """LLaMA-Factory refuses `val_size` together with `eval_dataset`."""
    size = file.get("val_size", 0)
    if file.get("eval_dataset") and number(size) and size > 1e-6:
        yield Fault("val_size", "val_size and eval_dataset are both set", "keep one of them")


@rule("D146", TOOL)
def streaming(file: File) -> Iterator[Fault]:
    """Streamed rows have no length: LLaMA-Factory needs `max_steps`, a whole `val_size`, and no `max_samples`."""
    if file.get("streaming") is not True:
        return
    steps = file.get("max_steps")
    if not number(steps) or steps < 1:
        yield Fault("streaming", "streamed rows have no length", "add `max_steps`")
    size = file.get("val_size", 0)
    if number(size) and 1e-6 < size < 1:
        yield Fault("val_size", "of streamed rows no share can be held out", "write a number of rows")
    if file.get("max_samples"):
        yield Fault("max_samples", "max_samples does not go with streaming", "delete it: max_steps ends the training")


@rule("D147", TOOL)
def two_masks(file: File) -> Iterator[Fault]:
    """LLaMA-Factory refuses `mask_history` together with `train_on_prompt`."""
    if both(file, "mask_history", "train_on_prompt"):
        yield Fault("mask_history", "mask_history and train_on_prompt are both on", "keep one of them")


@rule("D148", TOOL)
def lora_settings_without_lora(file: File) -> Iterator[Fault]:
    """In other kinds of training, some LoRA options are refused and the rest have no effect."""
    kind = _kind(file)
    if kind == "lora":
        return
    for key in ONLY_LORA:
        if file.get(key):
            yield Fault(
                key, f"{key} does not go with finetuning_type {kind}", "write `finetuning_type: lora`, or delete this"
            )
    for key in ("lora_rank", "lora_target"):
        if file.get(key) and kind != "oft":
            yield Fault(
                key,
                f"{key} has no effect with finetuning_type {kind}",
                "write `finetuning_type: lora`, or delete it",
                "warning",
            )


@rule("D149", TOOL)
def galore_with_lora(file: File) -> Iterator[Fault]:
    """LLaMA-Factory refuses these optimisers with LoRA, with each other, and (except BAdam) with DeepSpeed."""
    chosen = [key for key in ("use_galore", "use_apollo", "use_badam") if file.get(key)]
    for key in chosen:
        if _kind(file) == "lora":
            yield Fault(
                key, f"{key} trains whole matrices, but finetuning_type is lora", "write `finetuning_type: full`"
            )
        elif key != "use_badam" and file.get("deepspeed"):
            yield Fault(key, f"{key} does not go with deepspeed", "keep one of them")
    if len(chosen) > 1:
        yield Fault(chosen[1], f"{' and '.join(chosen)} are both on", "keep one of them")


@rule("D150", TOOL)
def quantised_and_changed(file: File) -> Iterator[Fault]:
    """LLaMA-Factory cannot resize a quantised model, or initialise its adapter by PiSSA."""
    if file.get("quantization_bit"):
        for key in ("resize_vocab", "pissa_init"):
            if file.get(key):
                yield Fault(key, f"{key} does not go with quantization_bit", "delete one of them")


@rule("D151", TOOL)
def smoothing_of_other_losses(file: File) -> Iterator[Fault]:
    """LLaMA-Factory smooths labels only in the sigmoid loss."""
    if file.get("dpo_label_smoothing") and file.get("pref_loss", "sigmoid") != "sigmoid":
        yield Fault(
            "dpo_label_smoothing",
            f"dpo_label_smoothing does not go with pref_loss {file.get('pref_loss')}",
            "delete it",
        )


@rule("D152", TOOL)
def ppo_without_reward(file: File) -> Iterator[Fault]:
    """PPO needs a reward model."""
    if file.get("stage") == "ppo" and not file.get("reward_model"):
        yield Fault("stage", "stage ppo without a reward_model", "name it in `reward_model:`")


# Names of checkpoints that are quantised already: there these keys are only superfluous.
QUANTISED = re.compile(r"(?i)awq|gptq|aqlm|bnb|int[48]\b|[48]bit|fp8|mxfp4")


@rule("D178", TOOL)
def quantisation_of_nothing(file: File) -> Iterator[Fault]:
    """Without `quantization_bit`, LLaMA-Factory quantises nothing: its other quantisation keys have no effect."""
    if file.get("quantization_bit") is not None:
        return
    given = [key for key in ("quantization_method", "quantization_type", "double_quantization") if file.get(key)]
    if given:
        severity: Literal["error", "warning"] = (
            "warning" if QUANTISED.search(str(file.get("model_name_or_path"))) else "error"
        )
        message = f"{' and '.join(given)} without quantization_bit: nothing is quantised"
        yield Fault(given[0], message, "add `quantization_bit: 4`, or delete this", severity)


@rule("D153", TOOL)
def no_model(file: File) -> Iterator[Fault]:
    """LLaMA-Factory has no default model."""
    if not file.get("model_name_or_path"):
        yield Fault(
            "model_name_or_path" if "model_name_or_path" in file.values else "",
            "there is no model_name_or_path",
            "add it",
        )


@rule("D185", TOOL)
def reference_without_the_adapter(file: File) -> Iterator[Fault]:
    """Beside a LoRA that is trained further, LLaMA-Factory compares with the base alone: rewards do not begin at 0."""
    compared = file.get("stage") == "kto" or (
        file.get("stage") == "dpo" and file.get("pref_loss", "sigmoid") not in ("orpo", "simpo")
    )
    continued = file.get("adapter_name_or_path") and not file.get("create_new_adapter")
    if compared and continued and _kind(file) == "lora" and not file.get("ref_model"):
        yield Fault(
            "adapter_name_or_path",
            "the reference model is the base without this adapter",
            "add `ref_model` (the base) and `ref_model_adapters` (this adapter), or merge the adapter first",
            "warning",
        )
