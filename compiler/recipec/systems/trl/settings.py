"""What TRL's configurations say: flat keys, the same in the YAML of a command and in a call of its configuration class."""

from __future__ import annotations

from typing import Any

from recipec.kinds.train.records import Train
from recipec.systems.check import Unsupported
from recipec.systems.table import OMIT, Row, computed, named, same

OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adamw_paged": "paged_adamw_32bit",
    "adamw_paged_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
    "lion_8bit": "lion_8bit",
}
SCHEDULERS = {name: name for name in ("cosine", "linear", "constant", "constant_with_warmup", "cosine_with_min_lr")}
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
FOUR_BIT = ("nf4", "fp4")
ONLINE = ("grpo", "rloo")


def dtype(s: Train) -> str:
    """Return the number format of the weights that are not quantised."""
    if s.numerics.precision == "fp16" and s.adapter is None and not s.parallel.strategy.startswith("zero"):
        return "float32"  # AMP cannot step fp16 weights; told as a difference
    return DTYPES[s.numerics.precision if s.model.load_in in (*FOUR_BIT, "int8") else s.model.load_in]


def attention(s: Train) -> str:
    """Return the attention implementation, all of which TRL passes to Transformers."""
    return s.model.attention


def _only(condition: Any, value: Any) -> Any:
    return value if condition else OMIT


def _every(unit: Any) -> Any:
    return unit if isinstance(unit, int) else OMIT


def _strategy(unit: Any) -> str:
    return {"epoch": "epoch", "never": "no"}.get(unit, "steps")


def _checkpointing(s: Train) -> bool:
    """With FSDP2 accelerate checkpoints the activations; the trainer must not do it again."""
    return s.numerics.gradient_checkpointing and s.parallel.strategy != "fsdp2"


def _cpu(value: Any) -> Any:
    return lambda s: value if s.hardware.device == "cpu" else OMIT


def _adam(s: Train, word: str) -> Any:
    return getattr(s.optimizer, word) if "adam" in s.optimizer.name else OMIT


def _trackers(s: Train) -> Any:
    found = ["wandb"] * (s.track.wandb_project is not None) + ["mlflow"] * (s.track.mlflow_uri is not None)
    return [*found, *["tensorboard"] * s.track.tensorboard] or "none"


def _order(s: Train) -> Any:
    return OMIT if s.data.shuffle else "sequential"


TRAINING: tuple[Row, ...] = (
    same("output_dir", "output"),
    computed("run_name", lambda s: s.track.run_name),
    same("per_device_train_batch_size", "batch.micro"),
    computed(
        "per_device_eval_batch_size",
        lambda s: s.rollout.completions if s.method in ONLINE else s.batch.micro,
    ),
    same("gradient_accumulation_steps", "batch.accumulation"),
    computed("num_train_epochs", lambda s: s.length.amount if s.length.unit == "epochs" else OMIT),
    computed("max_steps", lambda s: s.length.amount if s.length.unit == "steps" else OMIT),
    named("optim", "optimizer.name", OPTIMIZERS),
    same("learning_rate", "optimizer.learning_rate"),
    named("lr_scheduler_type", "optimizer.scheduler", SCHEDULERS),
    computed(
        "lr_scheduler_kwargs", lambda s: _only(s.optimizer.min_lr_ratio, {"min_lr_rate": s.optimizer.min_lr_ratio})
    ),
    computed("warmup_steps", lambda s: s.optimizer.warmup, "below 1 a fraction of all steps"),
    same("weight_decay", "optimizer.weight_decay"),
    computed("adam_beta1", lambda s: _adam(s, "beta1")),
    computed("adam_beta2", lambda s: _adam(s, "beta2")),
    computed("adam_epsilon", lambda s: _adam(s, "epsilon")),
    same("max_grad_norm", "optimizer.max_grad_norm"),
    computed("bf16", lambda s: s.numerics.precision == "bf16"),
    computed("fp16", lambda s: s.numerics.precision == "fp16"),
    computed("tf32", lambda s: True if s.hardware.sm >= 80 else OMIT),
    computed("use_cpu", _cpu(True)),
    computed("gradient_checkpointing", _checkpointing),
    computed(
        "gradient_checkpointing_kwargs",
        lambda s: {"use_reentrant": False} if _checkpointing(s) else OMIT,
        "re-entrant checkpointing breaks LoRA under DDP",
    ),
    computed("torch_compile", lambda s: True if s.numerics.torch_compile else OMIT),
    computed("trust_remote_code", lambda s: True if s.model.trust_remote_code else OMIT),
    same("dataloader_num_workers", "data.workers"),
    computed("dataloader_pin_memory", _cpu(False), "pinned memory is for GPUs"),
    computed("save_strategy", lambda s: _strategy(s.watch.save_every)),
    computed("save_steps", lambda s: _every(s.watch.save_every)),
    computed("save_total_limit", lambda s: _every(s.watch.save_keep)),
    computed("eval_strategy", lambda s: _strategy(s.watch.evaluate_every)),
    computed("eval_steps", lambda s: _every(s.watch.evaluate_every)),
    same("logging_steps", "watch.log_every"),
    computed("report_to", _trackers),
    same("seed", "seed"),
)


def _dpo_losses(s: Train) -> list[str]:
    """IPO is a loss of DPO's; next-token loss on the chosen answer stands beside as a loss of its own."""
    first = "ipo" if s.method == "ipo" else s.objective.loss  # type: ignore[union-attr]  # these methods have an objective
    return [str(first), *["sft"] * bool(s.objective.sft_weight)]  # type: ignore[union-attr]


def _scale(s: Train) -> Any:
    """RLOO's baseline is the other completions of the prompt; it can normalise only over the whole batch."""
    if s.rollout.scale_rewards == "group":  # type: ignore[union-attr]  # online methods have rollouts
        raise Unsupported("rollout.scale_rewards", "TRL's RLOO does not divide by a group's deviation", "batch or none")
    return s.rollout.scale_rewards == "batch"  # type: ignore[union-attr]


def _hf(s: Train) -> Any:
    """Generation by Transformers needs no key; vLLM needs another torch than this environment."""
    if s.rollout.engine == "vllm":  # type: ignore[union-attr]
        message = "vLLM needs another torch than TRL's environment"
        raise Unsupported("rollout.engine", message, "use engine: hf, or a trainer whose environment has vLLM")
    return OMIT


SAMPLING: tuple[Row, ...] = (
    same("beta", "objective.beta"),
    same("num_generations", "rollout.completions"),
    same("max_completion_length", "rollout.max_new_tokens"),
    same("temperature", "rollout.temperature"),
    same("top_p", "rollout.top_p"),
    same("num_iterations", "rollout.iterations"),
    same("epsilon", "rollout.clip"),
    same("epsilon_high", "rollout.clip_high"),
    same("mask_truncated_completions", "rollout.mask_truncated"),
    computed("use_vllm", _hf),
    computed("shuffle_dataset", lambda s: s.data.shuffle),
)
ORDER = computed("train_sampling_strategy", _order)
LENGTH = same("max_length", "model.max_length")
PAIRS: tuple[Row, ...] = (
    same("beta", "objective.beta"),
    computed("loss_type", _dpo_losses),
    computed("loss_weights", lambda s: _only(s.objective.sft_weight, [1.0, s.objective.sft_weight])),
    computed("label_smoothing", lambda s: s.objective.label_smoothing or OMIT),
    LENGTH,
    ORDER,
)


def _pairs_in_a_batch(s: Train) -> Any:
    """KTO estimates its KL term from the other rows of a forward pass."""
    if s.objective.loss == "kto" and s.batch.micro < 2:  # type: ignore[union-attr]  # KTO has an objective
        raise Unsupported("batch.micro", "KTO estimates its KL term from at least two rows", "micro_batch_size: 2")
    return s.objective.loss  # type: ignore[union-attr]


METHODS: dict[str, tuple[Row, ...]] = {
    "sft": (
        LENGTH,
        ORDER,
        computed("packing", lambda s: s.data.packing),
        computed("eval_packing", lambda s: False if s.data.packing else OMIT, "validation loss per row, not per pack"),
    ),
    "dpo": PAIRS,
    "kto": (
        same("beta", "objective.beta"),
        computed("loss_type", _pairs_in_a_batch),
        same("desirable_weight", "objective.desirable_weight"),
        same("undesirable_weight", "objective.undesirable_weight"),
        LENGTH,
    ),
    "reward": (LENGTH, ORDER),
    "orpo": (same("beta", "objective.beta"), LENGTH, ORDER),
    "cpo": (
        same("beta", "objective.beta"),
        same("loss_type", "objective.loss"),
        same("cpo_alpha", "objective.sft_weight"),
        same("label_smoothing", "objective.label_smoothing"),
        LENGTH,
        ORDER,
    ),
    "simpo": (
        same("beta", "objective.beta"),
        computed("loss_type", lambda _s: "simpo"),
        same("simpo_gamma", "objective.margin"),
        same("cpo_alpha", "objective.sft_weight"),
        LENGTH,
        ORDER,
    ),
    "grpo": (
        *SAMPLING,
        computed("loss_type", lambda s: "grpo" if s.objective.loss == "gspo" else s.objective.loss),
        computed("importance_sampling_level", lambda s: "sequence" if s.objective.loss == "gspo" else OMIT),
        same("scale_rewards", "rollout.scale_rewards"),
        computed("reward_weights", lambda s: [reward.weight for reward in s.rewards]),
    ),
    "rloo": (
        *SAMPLING,
        computed("normalize_advantages", _scale),
        computed("reward_weights", lambda s: [reward.weight for reward in s.rewards]),
    ),
}
METHODS |= {"pretrain": METHODS["sft"], "ipo": PAIRS}


def rows(method: str) -> tuple[Row, ...]:
    """Return the table of a method."""
    return (*TRAINING, *METHODS[method])
