"""What TRL's configurations say: flat keys, the same in the YAML of a command and in a call of its configuration class."""

from __future__ import annotations

from typing import Any

from recipec.kinds.train.records import Train
from recipec.source import is_list
from recipec.systems import huggingface, trainers
from recipec.systems.check import Check, refuses
from recipec.systems.huggingface import FOUR_BIT, base
from recipec.systems.table import (
    OMIT,
    Row,
    choice,
    constant,
    flag,
    gathered,
    made,
    nonzero,
    present,
    same,
    within,
)

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
QUANTISED = (*FOUR_BIT, "int8")
ONLINE = ("grpo", "rloo")
SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")  # the losses of DPO that know label_smoothing


def dtype(precision: str, load_in: str) -> str:
    """Return the number format of the weights that are not quantised."""
    return DTYPES[precision if load_in in QUANTISED else load_in]


DTYPE = ("numerics.precision", "model.load_in")  # the paths that `dtype` takes


NEFTUNE = same(
    "neftune_noise_alpha", "optimizer.neftune_alpha"
)  # while it samples, nothing must be added to embeddings
TRAINING: tuple[Row, ...] = (
    *base("output_dir", "run_name", "per_device_train_batch_size"),
    # what a file says of validation alone tells neither of the two
    made("per_device_eval_batch_size", lambda micro: micro, "batch.micro").unless("method", *ONLINE),
    made("per_device_eval_batch_size", lambda group: group, "rollout.completions").when("method", *ONLINE),
    *base("gradient_accumulation_steps", "num_train_epochs", "optim", "learning_rate", "lr_scheduler_type"),
    *within(
        "lr_scheduler_kwargs",
        same("min_lr_rate", "optimizer.min_lr_ratio").when("optimizer.scheduler", "cosine_with_min_lr"),
        same("num_cycles", "optimizer.cycles").when("optimizer.scheduler", "cosine_with_restarts"),
        huggingface.DECAY,  # as a share of steps that only the trainer counts: `script.decaying`
    ),
    *base("warmup_steps", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm"),
    *base("bf16", "fp16", "tf32", "use_cpu", "gradient_checkpointing"),
    *huggingface.CHECKPOINTING,
    *base("torch_compile", "trust_remote_code", "dataloader_num_workers", "dataloader_pin_memory"),
    *base(
        "save_strategy",
        "save_total_limit",
        "save_only_model",
        "eval_strategy",
        "logging_steps",
        "report_to",
        "project",
        "trackio_space_id",
        "seed",
    ),
    # to be the best, a checkpoint must be measured: `EarlyStoppingCallback` of the script counts those that are not
    present("load_best_model_at_end", "watch.early_stopping").unless("method", *ONLINE),
    NEFTUNE.unless("method", *ONLINE),
    flag("use_liger_kernel", "numerics.liger_kernel").when("method", "sft", "pretrain"),
)


def _losses(loss: str, sft_weight: float) -> tuple[Any, Any]:
    """Next-token loss on the chosen answer stands beside DPO's own, as a loss with a weight."""
    return ([loss, "sft"], [1.0, sft_weight]) if sft_weight else ([loss], OMIT)


def _of_losses(losses: Any, weights: Any) -> dict[str, Any]:
    names = [losses] if isinstance(losses, str) else losses
    if names == ["ipo"]:
        return {"method": "ipo"}
    if is_list(names) and len(names) == 1 and weights is OMIT:
        return {"objective.loss": names[0], "objective.sft_weight": 0.0}
    if is_list(names) and names[1:] == ["sft"] and is_list(weights) and weights[:1] == [1]:
        return {"objective.loss": names[0], "objective.sft_weight": weights[1]}
    return {}


def _importance(loss: str) -> tuple[Any, Any]:
    """GSPO is GRPO's loss with one ratio for a whole sequence."""
    return ("grpo", "sequence") if loss == "gspo" else (loss, OMIT)


def _of_importance(loss: Any, level: Any) -> dict[str, Any]:
    if loss is OMIT or level not in (OMIT, "token", "sequence") or (level == "sequence" and loss != "grpo"):
        return {}
    return {"objective.loss": "gspo" if level == "sequence" else loss}


BETA = same("beta", "objective.beta")
LENGTH = same("max_length", "model.max_length")
ORDER = choice("train_sampling_strategy", "data.shuffle", {False: "sequential"})
# It takes the lengths from the column `input_ids`, which only texts have, of a data set whose rows can be counted.
GROUPED = made(
    "train_sampling_strategy",
    lambda shuffle, grouped: "group_by_length" if grouped else OMIT if shuffle else "sequential",
    "data.shuffle",
    "data.group_by_length",
).unless("data.streaming", True)
SAMPLING: tuple[Row, ...] = (
    BETA,
    same("num_generations", "rollout.completions"),
    same("max_completion_length", "rollout.max_new_tokens"),
    same("temperature", "rollout.temperature"),
    same("top_p", "rollout.top_p"),
    same("num_iterations", "rollout.iterations"),
    same("epsilon", "rollout.clip"),
    same("epsilon_high", "rollout.clip_high"),
    same("mask_truncated_completions", "rollout.mask_truncated"),
    same("shuffle_dataset", "data.shuffle"),
)
METHODS: dict[str, tuple[Row, ...]] = {
    "sft": (
        LENGTH,
        ORDER.when("data.streaming", True),
        GROUPED,
        same("packing", "data.packing"),
        choice("eval_packing", "data.packing", {True: False}, why="so that validation loss is per row, not per pack"),
        made(
            "pad_to_multiple_of",
            lambda parts: 2 * parts if parts > 1 else OMIT,
            "parallel.context_parallel",
            why="each process takes two pieces of a sequence",
        ),
    ),
    "dpo": (
        BETA,
        Row(("loss_type", "loss_weights"), ("objective.loss", "objective.sft_weight"), _losses, _of_losses),
        nonzero("label_smoothing", "objective.label_smoothing"),
        LENGTH,
        ORDER,
    ),
    "ipo": (BETA, constant("loss_type", ["ipo"]), LENGTH, ORDER),
    "kto": (
        BETA,
        same("loss_type", "objective.loss"),
        same("desirable_weight", "objective.desirable_weight"),
        same("undesirable_weight", "objective.undesirable_weight"),
        LENGTH,
    ),
    "reward": (LENGTH, ORDER),
    "orpo": (BETA, LENGTH, ORDER),
    "cpo": (
        BETA,
        same("loss_type", "objective.loss"),
        same("cpo_alpha", "objective.sft_weight"),
        same("label_smoothing", "objective.label_smoothing"),
        LENGTH,
        ORDER,
    ),
    "simpo": (
        BETA,
        constant("loss_type", "simpo"),
        same("simpo_gamma", "objective.margin"),
        same("cpo_alpha", "objective.sft_weight"),
        LENGTH,
        ORDER,
    ),
    "grpo": (
        *SAMPLING,
        Row(("loss_type", "importance_sampling_level"), ("objective.loss",), _importance, _of_importance),
        same("scale_rewards", "rollout.scale_rewards"),
    ),
    "rloo": (
        *SAMPLING,
        choice("normalize_advantages", "rollout.scale_rewards", {"batch": True}, other=False),
    ),
}
METHODS["pretrain"] = METHODS["sft"]


def _weights(count: int) -> Row:
    """The key holds the weight of each reward."""
    paths = tuple(f"rewards.{index}.weight" for index in range(count))

    def back(weights: Any) -> dict[str, Any]:
        return {f"rewards.{index}.weight": weight for index, weight in enumerate(weights)}

    return gathered("reward_weights", *paths).replaced(back=back)


def rows(s: Train) -> tuple[Row, ...]:
    """Return the table of a stage."""
    found = (*TRAINING, *METHODS[s.method])
    return (*found, _weights(len(s.rewards))) if s.method in ONLINE else found


# transformers/trainer.py `_prepare_context_parallel_inputs`, trl/trainer/sft_trainer.py and grpo_config.py
_CONTEXT: tuple[Check, ...] = (
    refuses(
        "parallel.context_parallel",
        "parallel.strategy",
        when=lambda _parts, strategy: strategy != "fsdp2",
        message="TRL has context parallelism with FSDP2 only",
        advice="set parallel.strategy: fsdp2",
    ),
    refuses(
        "method",
        when=lambda method: method not in ("sft", "pretrain"),
        message=lambda method: f"TRL has no context parallelism for {method}",
        advice="drop context_parallel, or train by sft",
    ),
    refuses(
        "model.attention",
        when=lambda attention: attention != "sdpa",
        message="Transformers splits sequences with sdpa attention only",
        advice="set model.attention: sdpa",
    ),
    refuses(
        "data.packing",
        when=bool,
        message="TRL's context parallelism drops the mask that keeps packed rows apart",
        advice="set data.packing: false",
    ),
    refuses(
        "model.max_length",
        "parallel.context_parallel",
        when=lambda length, parts: length % (2 * parts),
        message=lambda length, parts: (
            f"{length} tokens cannot be cut into {2 * parts} equal pieces, two for each of {parts}"
        ),
        advice=lambda length, parts: f"use {length // (2 * parts) * 2 * parts}",
    ),
)
SPLITS: tuple[Check, ...] = (
    *trainers.unsplit("TRL", trainers.TENSOR),
    *(check.unless(trainers.CONTEXT, 1) for check in _CONTEXT),
)
# transformers/trainer.py: the best checkpoint is loaded by what DeepSpeed and FSDP saved
STOPPING = (
    refuses(
        "watch.save_only_model",
        "parallel.strategy",
        when=lambda only, _strategy: only,
        message=lambda _only, strategy: (
            f"Transformers cannot load the best checkpoint under {strategy} where it holds the model only"
        ),
        advice="drop save.only_model, or early_stopping",
    )
    .when("watch.early_stopping")
    .when("parallel.strategy", "zero1", "zero2", "zero3", "fsdp2"),
)
CHECKS: tuple[Check, ...] = (
    *STOPPING,
    refuses(
        "rollout.engine",
        when=lambda engine: engine == "vllm",
        message="vLLM needs another torch than this trainer's environment has",
        advice="use engine: hf, or a trainer whose environment has vLLM",
    ),
    refuses(
        "rollout.scale_rewards",
        when=lambda scale: scale == "group",
        message="TRL's RLOO cannot divide by the deviation of a group",
        advice="use batch or none",
    ).when("method", "rloo"),
    refuses(
        "batch.micro",
        when=lambda micro: micro < 2,
        message="KTO estimates its KL term from at least two rows",
        advice="set micro_batch_size to 2 or more",
    )
    .when("method", "kto")
    .when("objective.loss", "kto"),
    refuses(
        "objective.label_smoothing",
        "objective.loss",
        when=lambda share, loss: share and loss not in SMOOTHED,
        message=lambda _share, loss: f"TRL's DPO ignores label_smoothing with loss {loss}",
        advice=f"use a loss that uses it ({', '.join(SMOOTHED)}), or drop it",
    ).when("method", "dpo"),
    refuses(
        "objective.label_smoothing",
        when=bool,
        message="TRL's CPO ignores label_smoothing with loss hinge",
        advice="use loss: sigmoid, or drop it",
    )
    .when("method", "cpo")
    .when("objective.loss", "hinge"),
    huggingface.UPCAST,
)
