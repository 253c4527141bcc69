"""The arguments of the Hugging Face trainers, as one base table that the trainers' tables are merged over.

Axolotl, TRL, LLaMA-Factory and Unsloth all end in `transformers.TrainingArguments` and PEFT's `LoraConfig`. A trainer
takes rows from here by key, gives them its own keys (`called`) and its own conditions, and adds what is its own.
Keys: https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments
"""

from __future__ import annotations

from math import ceil
from typing import Any

from recipec.systems.check import differs
from recipec.systems.document import alike
from recipec.systems.table import (
    OMIT,
    Row,
    by_unit,
    choice,
    flag,
    made,
    named,
    nonzero,
    per_unit,
    renamed,
    same,
    whole,
)

# transformers.training_args.OptimizerNames, by the recipe's names
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adamw_paged": "paged_adamw_32bit",
    "adamw_paged_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
    "lion_8bit": "lion_8bit",
    "ademamix": "ademamix",
    "ademamix_8bit": "ademamix_8bit",
    "adamw_schedule_free": "schedule_free_adamw",
}
# optimisers that take Adam's epsilon, and both betas (transformers/trainer_optimizer.py, of Muon the two trainers that have
# it: its weights that are no matrices are trained by AdamW)
ADAM = (
    "adamw", "adamw_8bit", "adamw_8bit_torchao", "adamw_4bit", "adamw_paged", "adamw_paged_8bit", "adamw_schedule_free",
    "ademamix", "ademamix_8bit", "muon",
)  # fmt: skip
BETAS = (*ADAM, "lion", "lion_8bit")
FOUR_BIT = ("nf4", "fp4")
RECOMPUTED = "ZeRO-3 cannot recompute beside an adapter otherwise"
REENTRANT = "re-entrant checkpointing breaks LoRA under DDP"


def report_to(wandb: str | None, mlflow: str | None, tensorboard: bool, trackio: str | None) -> list[str] | str:
    """Return the value of `report_to`: the names of the trackers in use, or that there is none."""
    return trackers(wandb, mlflow, tensorboard, trackio) or "none"


def trackers(wandb: str | None, mlflow: str | None, tensorboard: bool, trackio: str | None = None) -> list[str]:
    """Return the names that `report_to` has for the trackers in use."""
    used = {"wandb": wandb is not None, "mlflow": mlflow is not None, "tensorboard": tensorboard}
    return [name for name, wanted in {**used, "trackio": trackio is not None}.items() if wanted]


TRACKERS = ("track.wandb_project", "track.mlflow_uri", "track.tensorboard")


def _checkpointing(on: bool, strategy: str) -> bool:
    """Under FSDP2 accelerate checkpoints the activations; the trainer must not do it again."""
    return on and strategy != "fsdp2"


_ROWS = (
    same("output_dir", "output"),
    same("run_name", "track.run_name"),
    same("per_device_train_batch_size", "batch.micro"),
    same("per_device_eval_batch_size", "batch.micro"),
    same("gradient_accumulation_steps", "batch.accumulation"),
    by_unit({"epochs": "num_train_epochs", "steps": "max_steps"}, "length.unit", "length.amount"),
    named("optim", "optimizer.name", OPTIMIZERS),
    same("learning_rate", "optimizer.learning_rate"),
    same("lr_scheduler_type", "optimizer.scheduler"),
    same("warmup_steps", "optimizer.warmup", "below 1: fraction of all steps"),
    same("weight_decay", "optimizer.weight_decay"),
    *(same(f"adam_{word}", f"optimizer.{word}").when("optimizer.name", *BETAS) for word in ("beta1", "beta2")),
    same("adam_epsilon", "optimizer.epsilon").when("optimizer.name", *ADAM),
    same("max_grad_norm", "optimizer.max_grad_norm"),
    choice("bf16", "numerics.precision", {"bf16": True}, other=False),
    choice("fp16", "numerics.precision", {"fp16": True}, other=False),
    made("tf32", lambda sm: True if sm >= 80 else OMIT, "hardware.sm"),
    choice("use_cpu", "hardware.device", {"cpu": True}),
    made("gradient_checkpointing", _checkpointing, "numerics.gradient_checkpointing", "parallel.strategy"),
    flag("torch_compile", "numerics.torch_compile"),
    flag("trust_remote_code", "model.trust_remote_code"),
    same("dataloader_num_workers", "data.workers"),
    choice("dataloader_pin_memory", "hardware.device", {"cpu": False}, why="pinned memory is for GPUs"),
    per_unit("save_strategy", "save_steps", "watch.save_every"),
    renamed("save_total_limit", "watch.save_keep", {"all": OMIT}),
    flag("save_only_model", "watch.save_only_model"),
    per_unit("eval_strategy", "eval_steps", "watch.evaluate_every"),
    same("logging_steps", "watch.log_every"),
    made("report_to", report_to, *TRACKERS, "track.trackio_project"),
    same("project", "track.trackio_project"),
    same("trackio_space_id", "track.trackio_space"),
    same("seed", "seed"),
    # bitsandbytes, as transformers.BitsAndBytesConfig and TRL's ModelConfig have it
    choice("load_in_4bit", "model.load_in", dict.fromkeys(FOUR_BIT, True)),
    choice("load_in_8bit", "model.load_in", {"int8": True}),
    choice("bnb_4bit_quant_type", "model.load_in", {name: name for name in FOUR_BIT}),
    same("bnb_4bit_use_double_quant", "model.double_quant").when("model.load_in", *FOUR_BIT),
    # peft.LoraConfig
    same("r", "adapter.rank"),
    whole("lora_alpha", "adapter.alpha", "PEFT takes whole numbers for alpha"),
    same("lora_dropout", "adapter.dropout"),
    nonzero("modules_to_save", "adapter.also_train"),
    flag("use_dora", "adapter.dora"),
    flag("use_rslora", "adapter.rslora"),
    same("loraplus_lr_ratio", "adapter.lora_plus_ratio"),
)  # fmt: skip
BASE: dict[str, Row] = {row.key: row for row in _ROWS}


# transformers.TrainingArguments: one of these wins without a message, or the tool refuses the pair
ALIKE = (
    alike("train.epochs, or train.steps", "num_train_epochs", "max_steps"),
    alike("train.evaluate_every: a number of steps, epoch, or epoch/4", "eval_strategy", "eval_steps"),
    alike("train.save.every: a number of steps, or epoch", "save_strategy", "save_steps"),
    alike("train.log_every", "logging_steps", "logging_strategy"),
    alike("train.warmup: a percentage, or a number of steps", "warmup_steps", "warmup_ratio"),
    alike("train.micro_batch_size", "per_device_train_batch_size", "auto_find_batch_size"),
    alike("train.precision", "bf16", "fp16", "pure_bf16"),
    alike("model.load_in", "load_in_4bit", "load_in_8bit"),
    alike("train.min_lr_ratio", "lr_scheduler_kwargs.min_lr", "lr_scheduler_kwargs.min_lr_rate"),
    alike("data.shuffle, or data.group_by_length", "train_sampling_strategy", "group_by_length"),
    alike("data.holdout, or data.validation", "val_size", "eval_dataset"),
)


def reentrant(plain: Row, other: Row) -> tuple[Row, ...]:
    """Return the rows of checkpointing that is not re-entrant, and of the `other`, for an adapter under ZeRO-3.

    There DeepSpeed compares recomputed weights with the empty ones that it has shared out, and stops
    (https://github.com/huggingface/trl/issues/2514; TRL's trainers force it to be re-entrant).
    """
    strategy = "parallel.strategy"
    return (
        plain.unless(strategy, "zero3"),
        plain.when(strategy, "zero3").unless("adapter.type"),
        other.when(strategy, "zero3").when("adapter.type").because(RECOMPUTED),
    )


_KWARGS = choice(
    "gradient_checkpointing_kwargs", "numerics.gradient_checkpointing", {True: {"use_reentrant": False}}, why=REENTRANT
)
CHECKPOINTING = tuple(
    row.unless("parallel.strategy", "fsdp2")
    for row in reentrant(
        _KWARGS,
        choice("gradient_checkpointing_kwargs", "numerics.gradient_checkpointing", {True: {"use_reentrant": True}}),
    )
)


def base(*keys: str) -> tuple[Row, ...]:
    """Return rows of the base table in this order. Raises KeyError when there is none of a key."""
    return tuple(BASE[key] for key in keys)


def in_steps(length: float, unit: str, amount: float) -> Any:
    """Return a share of all steps in steps; OMIT where their number is not known, which a check refuses."""
    if without_steps(length, unit):
        return OMIT
    return ceil(length * amount) if isinstance(length, float) else length


def without_steps(length: float, unit: str) -> bool:
    """Return whether a length is a share of steps whose number is not known."""
    return isinstance(length, float) and unit != "steps"


def _decay_back(steps: Any) -> dict[str, Any]:
    return {} if steps is OMIT else {"optimizer.decay": steps}


# a word of `lr_scheduler_kwargs`; without it Transformers makes no such schedule
DECAY = made("num_decay_steps", in_steps, "optimizer.decay", "length.unit", "length.amount", back=_decay_back).when(
    "optimizer.scheduler", "warmup_stable_decay"
)


UPCAST = (
    differs(  # accelerate/utils/fsdp_utils.py, fsdp2_prepare_model
        "model.load_in",
        when=lambda load_in: load_in in ("bf16", "fp16"),
        message=lambda load_in: f"under FSDP2, accelerate trains fp32 copies of weights that are loaded in {load_in}",
        advice="drop load_in; nothing is lost by it, and 16 bytes per parameter are shared out over the GPUs",
    )
    .unless("adapter.type")
    .when("parallel.strategy", "fsdp2")
)
