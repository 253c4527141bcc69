"""Options that all of OpenRLHF's programs share: model, numerics, ZeRO, LoRA, optimiser, checkpoints, trackers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recipec.kinds.train.records import Train
from recipec.systems.check import Unsupported
from recipec.systems.deepspeed import STAGES
from recipec.systems.table import OMIT, Row, computed, named, same

Make = Callable[[Train], Any]
EVERY = 1_000_000  # checkpoints to keep where all are kept


def _model(s: Train) -> Any:
    model = s.model
    continued = s.adapter is not None and s.adapter.start_from is not None  # refused for itself
    for path, wrong, message, advice in (
        ("model.revision", model.revision is not None, "reads no revision of a model", "download it; give the folder"),
        (
            "model.tokenizer",
            model.tokenizer != model.path and not continued,
            "takes the tokenizer of the model",
            "put it in its folder",
        ),
        (
            "model.chat_template",
            model.chat_template != "tokenizer",
            "takes the chat template of the tokenizer",
            "use chat_template: tokenizer",
        ),
    ):
        if wrong:
            raise Unsupported(path, f"OpenRLHF {message}", advice)
    assert model.trust_remote_code in (True, False)  # read: it is true whatever is said
    return model.path


def _dtype(s: Train) -> Any:
    if s.numerics.precision == "fp32":
        raise Unsupported("numerics.precision", "OpenRLHF computes in bf16 or fp16", "use bf16")
    if s.numerics.torch_compile:
        raise Unsupported("numerics.torch_compile", "OpenRLHF has no torch.compile", "drop it")
    return s.numerics.precision


def _four_bit(s: Train) -> Any:
    """`models/actor.py` asserts bf16 beside 4-bit weights, and always quantises the scales too."""
    if s.model.load_in == s.numerics.precision:
        return OMIT
    if s.model.load_in != "nf4":
        advice = "use nf4, or the precision of the computation"
        raise Unsupported("model.load_in", f"OpenRLHF cannot hold the weights in {s.model.load_in}", advice)
    if s.numerics.precision != "bf16":
        raise Unsupported("model.load_in", "OpenRLHF computes in bf16 beside 4-bit weights", "use precision: bf16")
    if not s.model.double_quant:
        raise Unsupported(
            "model.double_quant", "OpenRLHF always quantises the scales too", "set it to true, or drop it"
        )
    return True


def _offload(s: Train) -> Any:
    if s.parallel.parameter_offload != "none":
        advice = "offload the optimiser only, or use more GPUs"
        raise Unsupported("parallel.parameter_offload", "OpenRLHF keeps trained parameters on the GPU", advice)
    if s.parallel.optimizer_offload == "nvme":
        raise Unsupported("parallel.optimizer_offload", "OpenRLHF offloads optimiser states to CPU only", "use cpu")
    return True if s.parallel.optimizer_offload == "cpu" else OMIT


def _alpha(s: Train) -> Any:
    if s.adapter is None:
        return OMIT
    if s.adapter.start_from is not None:
        raise Unsupported(
            "adapter.start_from", "OpenRLHF starts a new adapter", "merge the old one into its base first"
        )
    if s.adapter.alpha != int(s.adapter.alpha):
        raise Unsupported("adapter.alpha", "OpenRLHF takes whole numbers for alpha", "round it")
    return int(s.adapter.alpha)


def _targets(s: Train) -> Any:
    """All linear modules are its default, and cannot be said: a single word would become a list of it."""
    return OMIT if s.adapter is None or tuple(s.adapter.targets) == ("all-linear",) else list(s.adapter.targets)


def _warmup(s: Train) -> Any:
    """The share of all steps that warms up; OpenRLHF takes no number of steps."""
    if isinstance(s.optimizer.warmup, int) and s.optimizer.warmup > 0:
        raise Unsupported("optimizer.warmup", "OpenRLHF warms up for a share of the steps", "give a percentage")
    return float(s.optimizer.warmup)


def epochs(s: Train) -> Any:
    """Whole passes over the data; OpenRLHF counts no steps."""
    amount = s.length.amount
    if s.length.unit == "steps" or amount != int(amount):
        advice = "give a whole number of train.epochs; overrides.openrlhf: {data.max_samples: …} takes fewer rows"
        raise Unsupported("length.amount", "OpenRLHF trains for whole passes over its data", advice)
    return int(amount)


def _save_every(s: Train) -> Any:
    """-1 in OpenRLHF is never; what it leaves at the end is that of the last epoch."""
    if s.watch.save_every != "epoch":
        return s.watch.save_every
    if s.length.unit == "epochs" and s.length.amount > 1:
        advice = "set train.save: {every: 100}"
        raise Unsupported("watch.save_every", "OpenRLHF saves every so many steps, not after an epoch", advice)
    return OMIT


def _adam(s: Train) -> Any:
    if s.optimizer.name != "adamw":
        raise Unsupported("optimizer.name", f"OpenRLHF cannot do {s.optimizer.name} as others do", "use adamw")
    return "adam"


def optimiser(entity: str, rate: Make, there: Make = lambda _s: True) -> tuple[Row, ...]:
    """The optimiser and schedule of `actor.` or `critic.`, or of the only model, where `there` is one."""

    def row(name: str, make: Make) -> Row:
        return computed(f"{entity}{name}", lambda s: make(s) if there(s) else OMIT)

    return (
        row("optim", _adam),
        row("adam.lr", rate),
        row("adam.betas", lambda s: [s.optimizer.beta1, s.optimizer.beta2]),
        row("adam.eps", lambda s: s.optimizer.epsilon),
        row("adam.weight_decay", lambda s: s.optimizer.weight_decay),
        row("lr_scheduler", lambda s: s.optimizer.scheduler),
        row("lr_warmup_ratio", _warmup),
        row("min_lr_ratio", lambda s: s.optimizer.min_lr_ratio or OMIT),
        row("max_norm", lambda s: s.optimizer.max_grad_norm),
    )


def learning_rate(s: Train) -> Any:
    """The peak learning rate."""
    return s.optimizer.learning_rate


def model(entity: str) -> tuple[Row, ...]:
    """The model, and how it computes; `entity` is `actor` or `model`."""
    return (
        computed(
            f"{entity}.model_name_or_path", _model, "Python code that comes with it runs: OpenRLHF always trusts it"
        ),
        same("data.max_len", "model.max_length"),
        same("ds.attn_implementation", "model.attention"),
        computed(
            "ds.packing_samples",
            lambda s: True if s.model.attention == "flash_attention_2" else OMIT,
            "leaves padding out of the computation, which changes no result",
        ),
        computed("ds.param_dtype", _dtype),
        computed("ds.load_in_4bit", _four_bit),
        computed(f"{entity}.gradient_checkpointing_enable", lambda s: s.numerics.gradient_checkpointing),
        named("ds.zero_stage", "parallel.strategy", STAGES),
        computed("ds.adam_offload", _offload),
        same("ds.lora.rank", "adapter.rank"),
        computed("ds.lora.alpha", _alpha),
        same("ds.lora.dropout", "adapter.dropout"),
        computed("ds.lora.target_modules", _targets),
    )


def _wandb(s: Train) -> Any:
    return "WANDB_API_KEY" if s.track.wandb_project is not None else OMIT


def _name(s: Train) -> Any:
    return s.track.run_name if s.track.wandb_project is not None or s.track.tensorboard else OMIT


KEEPING: tuple[Row, ...] = (
    same("train.seed", "seed"),
    same("ckpt.output_dir", "output"),
    computed("ckpt.path", lambda s: f"{s.output}/checkpoints"),
    computed("ckpt.save_steps", _save_every),
    computed("ckpt.max_num", lambda s: EVERY if s.watch.save_keep == "all" else s.watch.save_keep),
    computed("ckpt.load_enable", lambda _s: True, "goes on from the last checkpoint there, where there is one"),
    same("logger.logging_steps", "watch.log_every"),
    computed("logger.wandb.key", _wandb, "only turns it on: the key is that of the variable"),
    same("logger.wandb.project", "track.wandb_project"),
    same("logger.wandb.org", "track.wandb_entity"),
    computed("logger.wandb.run_name", _name),
)
