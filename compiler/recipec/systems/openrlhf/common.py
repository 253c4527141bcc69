"""Options that all of OpenRLHF's programs share: model, numerics, ZeRO, LoRA, optimiser, checkpoints, trackers."""

from __future__ import annotations

from recipec.systems import huggingface, trainers
from recipec.systems.check import Check, differs, refuses
from recipec.systems.deepspeed import STAGES
from recipec.systems.table import (
    OMIT,
    Row,
    below,
    choice,
    constant,
    flag,
    gathered,
    listed,
    named,
    present,
    renamed,
    same,
    whole,
)

EVERY = 1_000_000  # checkpoints to keep where all are kept


def model(entity: str) -> tuple[Row, ...]:
    """Return the rows of the model and of how it computes; `entity` is `actor` or `model`."""
    return (
        same(
            f"{entity}.model_name_or_path",
            "model.path",
            "OpenRLHF always runs code that comes with a model",
        ),
        same("data.max_len", "model.max_length"),
        same("ds.attn_implementation", "model.attention"),
        choice(
            "ds.packing_samples",
            "model.attention",
            {"flash_attention_2": True},
            why="skips padding; results do not change",
        ),
        named("ds.param_dtype", "numerics.precision", {"bf16": "bf16", "fp16": "fp16"}),
        choice("ds.load_in_4bit", "model.load_in", {"nf4": True}),
        same(f"{entity}.gradient_checkpointing_enable", "numerics.gradient_checkpointing"),
        flag(f"{entity}.gradient_checkpointing_reentrant", "numerics.gradient_checkpointing", huggingface.RECOMPUTED)
        .when("parallel.strategy", "zero3")
        .when("adapter.type"),
        named("ds.zero_stage", "parallel.strategy", STAGES),
        renamed("ds.ring_attn_size", "parallel.context_parallel", {1: OMIT}, "ring attention"),
        renamed("ds.tensor_parallel_size", "parallel.tensor_parallel", {1: OMIT}),
        choice("ds.adam_offload", "parallel.optimizer_offload", {"cpu": True}),
        same("ds.lora.rank", "adapter.rank"),
        whole("ds.lora.alpha", "adapter.alpha", "OpenRLHF takes whole numbers for alpha"),
        same("ds.lora.dropout", "adapter.dropout"),
        # all linear modules are its default, and cannot be said: a single word would become a list of it
        listed("ds.lora.target_modules", "adapter.targets", {"all-linear": OMIT}),
    )


def optimiser(entity: str, learning_rate: str) -> tuple[Row, ...]:
    """Return the rows of the optimiser and schedule of `actor.` or `critic.`, or of the only model.

    `learning_rate` is the plan path of its peak learning rate.
    """
    rows = (
        named("optim", "optimizer.name", {"adamw": "adam"}),
        same("adam.lr", learning_rate),
        gathered("adam.betas", "optimizer.beta1", "optimizer.beta2"),
        same("adam.eps", "optimizer.epsilon"),
        same("adam.weight_decay", "optimizer.weight_decay"),
        same("lr_scheduler", "optimizer.scheduler"),
        same("lr_warmup_ratio", "optimizer.warmup").replaced(say=float),
        # unsaid, it is 0.1
        same("min_lr_ratio", "optimizer.min_lr_ratio").when("optimizer.scheduler", "cosine_with_min_lr"),
        same("max_norm", "optimizer.max_grad_norm"),
    )
    return tuple(row.called(f"{entity}{row.key}") for row in rows)


def passes(key: str, why: str = "") -> Row:
    """The key holds how many times the data is passed over; checks see to it that the number is whole."""
    return same(key, "length.amount", why).replaced(say=int)


KEEPING: tuple[Row, ...] = (
    same("train.seed", "seed"),
    same("ckpt.output_dir", "output"),
    below("ckpt.path", "output", "checkpoints"),
    renamed("ckpt.save_steps", "watch.save_every", {"epoch": OMIT}),  # unsaid, it saves at the end only
    renamed("ckpt.max_num", "watch.save_keep", {"all": EVERY}),
    constant("ckpt.load_enable", True, "resumes from the last checkpoint there, if there is one"),
    same("logger.logging_steps", "watch.log_every"),
    present(
        "logger.wandb.key",
        "track.wandb_project",
        "WANDB_API_KEY",
        "only turns wandb on: the key comes from WANDB_API_KEY",
    ),
    same("logger.wandb.project", "track.wandb_project"),
    same("logger.wandb.org", "track.wandb_entity"),
    same("logger.wandb.group", "track.group").when("track.wandb_project"),
    # TensorBoard's folder has the name too
    same("logger.wandb.run_name", "track.run_name").when("track.wandb_project"),
    same("logger.wandb.run_name", "track.run_name").when("track.tensorboard").unless("track.wandb_project"),
)

_TEMPLATE = "OpenRLHF uses only the tokenizer's own chat template"
_PASSES = "OpenRLHF trains for whole passes over its data"
_WHOLE = "give a whole number of train.epochs; overrides.openrlhf: {data.max_samples: …} takes fewer rows"
CHECKS: tuple[Check, ...] = (
    trainers.ring("OpenRLHF"),  # asserted by cli/train_*.py
    refuses(  # asserted by utils/deepspeed/deepspeed.py
        "numerics.precision",
        when=lambda precision: precision != "bf16",
        message="OpenRLHF's tensor parallelism computes in bf16",
        advice="use precision: bf16",
    ).unless("parallel.tensor_parallel", 1),
    refuses(
        "model.revision",
        when=lambda revision: revision is not None,
        message="OpenRLHF cannot choose the revision of a model",
        advice="download it, and give the folder",
    ),
    refuses(
        "model.tokenizer",
        "model.path",
        when=lambda tokenizer, path: tokenizer != path,
        message="OpenRLHF uses only the model's own tokenizer",
        advice="put it in the model's folder",
    ).unless("adapter.start_from"),
    refuses(
        "model.chat_template",
        when=lambda template: template != "tokenizer",
        message=_TEMPLATE,
        advice="use chat_template: tokenizer",
    ),
    refuses(
        "model.chat_template_file",
        when=lambda file: file is not None,
        message=_TEMPLATE,
        advice="put it in the tokenizer's folder, and drop chat_template_file",
    ),
    differs(
        "model.turn_end",
        when=lambda end: end is not None,
        message=lambda end: (
            f"OpenRLHF keeps the tokenizer's EOS token and writes it behind the last {end}: generation does not stop at {end}"
        ),
        advice="use the instruct model, or a copy whose tokenizer has the end of a turn as its EOS token",
    ),
    differs(
        "model.trust_remote_code",
        when=lambda trusted: not trusted,
        message="OpenRLHF runs Python code that comes with a model, whatever trust_remote_code says",
        advice="use another trainer for models that you do not trust",
        said="written",
    ),
    refuses(
        "numerics.torch_compile",
        when=bool,
        message="OpenRLHF has no torch.compile",
        advice="drop it",
    ),
    refuses(
        "model.load_in",
        when=lambda load_in: load_in in ("int8", "fp4"),
        message=lambda load_in: f"OpenRLHF cannot hold the weights in {load_in}",
        advice="use nf4, or the precision of the computation",
    ),
    refuses(
        "model.load_in",
        "numerics.precision",
        when=lambda load_in, precision: load_in == "fp32" != precision,
        message=lambda _load_in, precision: f"OpenRLHF loads the weights in {precision}; DeepSpeed keeps fp32 copies",
        advice="drop load_in",
    ),
    refuses(  # asserted by models/actor.py
        "model.load_in",
        "numerics.precision",
        when=lambda load_in, precision: load_in == "nf4" and precision != "bf16",
        message="OpenRLHF computes in bf16 with 4-bit weights",
        advice="use precision: bf16",
    ),
    refuses(
        "model.double_quant",
        when=lambda twice: not twice,
        message="OpenRLHF always quantises the scales too",
        advice="set it to true, or drop it",
    ).when("model.load_in", "nf4"),
    refuses(
        "parallel.parameter_offload",
        when=lambda device: device != "none",
        message="OpenRLHF keeps trained parameters on the GPU",
        advice="offload the optimiser only, or use more GPUs",
    ),
    refuses(
        "parallel.optimizer_offload",
        when=lambda device: device == "nvme",
        message="OpenRLHF offloads optimiser states to CPU only",
        advice="use cpu",
    ),
    refuses(
        "adapter.start_from",
        when=lambda start_from: start_from is not None,
        message="OpenRLHF cannot continue an adapter",
        advice="merge the old one into its base first",
    ),
    refuses(
        "optimizer.warmup",
        when=lambda warmup: isinstance(warmup, int) and warmup > 0,
        message="OpenRLHF warms up for a share of the steps",
        advice="give a percentage",
    ),
    refuses(
        "optimizer.cycles",
        when=lambda cycles: cycles > 1,
        message="OpenRLHF does not restart its cosine",
        advice="drop cycles, or use another trainer",
    ).when("optimizer.scheduler", "cosine_with_restarts"),
    refuses(
        "length.amount",
        "length.unit",
        when=lambda amount, unit: unit == "steps" or amount != int(amount),
        message=_PASSES,
        advice=_WHOLE,
    ),
    refuses(
        "watch.save_every",
        "length.unit",
        "length.amount",
        when=lambda every, unit, amount: every == "epoch" and unit == "epochs" and amount > 1,
        message="OpenRLHF saves by steps, not after an epoch",
        advice="set train.save: {every: 100}",
    ),
)
