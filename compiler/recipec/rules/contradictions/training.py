"""Contradictions about the batch, the length, the optimiser and its schedule, checkpoints and validation."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts import releases
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.parallel import MACHINE, SIZES
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest
from recipec.systems.registry import system

SCHEDULE = ("train.scheduler", "train.min_lr_ratio", "train.warmup", "train.decay", "train.cycles")
WATCH = ("train.save", "train.evaluate_every", "train.early_stopping", "data")


@contradiction("R002", "no-learning-rate", words=("train.learning_rate", "trainer"))
def learning_rate(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a training without a learning rate."""
    if s.optimizer.learning_rate is None and not system(s.trainer).own_program:
        advice = "learning_rate: Peak learning rate."
        yield Fault("train", "train needs the key `learning_rate`", advice)


@contradiction("P060", "batch-that-does-not-multiply-out", words=(*SIZES, *MACHINE))
def batch(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a batch size that is not micro batch × accumulation × processes."""
    words, b = see.said.recipe.train, s.batch
    if words is None or words.batch_size is None or words.batch_size == b.total:
        return
    total = words.batch_size
    unit = b.micro * b.data_parallel if words.gradient_accumulation is None else b.total
    below = total // unit * unit
    near = " or ".join(str(size) for size in (below, below + unit) if size) if unit != b.total else str(b.total)
    processes = "process" if b.data_parallel == 1 else "processes"
    parts = f"{b.micro} micro batch × {b.accumulation} accumulation × {b.data_parallel} {processes}"
    advice = f"batch_size = micro_batch_size × gradient_accumulation × processes; here {near} would do"
    yield Fault("train.batch_size", f"batch_size {total} is not {parts} = {b.total}", advice)


@contradiction("P061", "length-given-twice", words=("train.epochs", "train.steps"))
def length(see: Context, _s: Train) -> Iterator[Fault]:
    """Finds both epochs and steps."""
    words = see.said.recipe.train
    if words is not None and words.steps is not None and words.epochs is not None:
        apart = see.said.span("train.epochs").source != see.said.span("train.steps").source
        advice = "give one of them" + "; `null` takes out what is said in another place" * apart
        yield Fault("train.epochs", "both epochs and steps are given", advice)


@contradiction("P062", "word-of-another-schedule", words=SCHEDULE)
def other_schedule(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a word about the shape of a schedule that another schedule has."""
    for word, owner in (
        ("min_lr_ratio", "cosine_with_min_lr"),
        ("cycles", "cosine_with_restarts"),
        ("decay", "warmup_stable_decay"),
    ):
        zero = word == "min_lr_ratio" and not s.optimizer.min_lr_ratio
        if see.said.wrote(f"train.{word}") and s.optimizer.scheduler != owner and not zero:
            what = "has a floor" if word == "min_lr_ratio" else f"has {word}"
            yield Fault(f"train.{word}", f"only {owner} {what}", f"use scheduler: {owner}, or drop it")


@contradiction("P063", "schedule-without-its-shape", words=SCHEDULE)
def shapeless(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a schedule without the floor or the decay that it needs."""
    if s.optimizer.scheduler == "cosine_with_min_lr" and not s.optimizer.min_lr_ratio:
        yield Fault("train.scheduler", "cosine_with_min_lr needs a floor", "set train.min_lr_ratio, such as 0.1")
    if s.optimizer.scheduler == "warmup_stable_decay" and not s.optimizer.decay:
        yield Fault("train.scheduler", "warmup_stable_decay needs a decay", "set train.decay, such as 10%")


@contradiction("P064", "schedule-longer-than-the-training", words=(*SCHEDULE, "train.steps"))
def too_long(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds warmup and decay that are longer than the training."""
    total = s.length.amount if s.length.unit == "steps" else None
    for word in ("warmup", "decay"):
        steps = getattr(s.optimizer, word)
        if total is not None and isinstance(steps, int) and steps > total:
            message = f"{word} of {steps} steps is longer than the training of {total}"
            yield Fault(f"train.{word}", message, "lower it")
    warmup, decay = s.optimizer.warmup, s.optimizer.decay
    shares = isinstance(decay, float) and isinstance(warmup, float)
    if s.optimizer.scheduler == "warmup_stable_decay" and shares and decay + warmup > 1:
        yield Fault("train.decay", "warmup and decay are longer than the training", "lower one of them")


@contradiction("P065", "warmup-of-a-constant", words=SCHEDULE)
def constant_warmup(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a warmup with the schedule `constant`, which has none."""
    if s.optimizer.scheduler == "constant" and s.optimizer.warmup:
        yield Fault("train.scheduler", "schedule constant has no warmup", "use constant_with_warmup")


@contradiction("P066", "adam-words-of-another-optimiser", words=("train.optimizer", "train.beta2", "train.epsilon"))
def not_adam(see: Context, s: Train) -> Iterator[Fault]:
    """Finds Adam's β₂ or ε with an optimiser that has neither."""
    name, usual = s.optimizer.name, {"beta2": 0.999, "epsilon": 1e-8}
    if name.startswith(("adamw", "ademamix")):
        return
    for word in ("beta2", "epsilon"):
        if see.said.wrote(f"train.{word}") and getattr(s.optimizer, word) != usual[word]:
            message = f"{name} is not Adam: it has no {word} here"
            yield Fault(f"train.{word}", message, "drop it, or use adamw")
            return


@contradiction("P067", "states-that-cannot-be-sharded", words=("train.optimizer", "parallel.strategy"))
def unsharded(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an optimiser under FSDP2 whose states cannot be sharded."""
    name = s.optimizer.name
    if s.parallel.strategy == "fsdp2" and (name.endswith(("8bit", "4bit")) or "paged" in name):
        yield Fault("train.optimizer", f"{name} keeps states that FSDP2 cannot shard", "use adamw, or zero2")


@contradiction("P068", "optimiser-that-cannot-be-offloaded", words=("train.optimizer", "parallel.offload"))
def offloaded(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an optimiser other than AdamW whose states are to live in host memory."""
    if s.parallel.optimizer_offload != "none" and s.optimizer.name != "adamw":
        advice = "use adamw, whose states can live in host memory"
        yield Fault("train.optimizer", f"{s.optimizer.name} cannot be offloaded", advice)


@contradiction("P069", "validation-without-data", words=WATCH)
def unvalidated(see: Context, s: Train) -> Iterator[Fault]:
    """Finds validations without data for them."""
    if see.said.wrote("train.evaluate_every") and not (s.data.holdout or s.data.validation):
        yield Fault("train.evaluate_every", "there is no validation data", "add data.holdout or data.validation")


@contradiction("P094", "unknown-release", words=("versions", "trainer"))
def release(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a release of a tool that there are no exact pins of."""
    known = releases(s.trainer)
    if s.release not in known and (known or s.release):
        message = f"release {s.release} of {s.trainer} is not known here"
        close = nearest(s.release, known)
        yield Fault(f"versions.{s.trainer}", message, f"known: {', '.join(known) or 'none'}", close)


@contradiction("P103", "neftune-beyond-sft", words=("train.neftune_alpha", "train.method"))
def neftune(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds NEFTune with another method than SFT."""
    if s.optimizer.neftune_alpha and s.method != "sft":
        yield Fault("train.neftune_alpha", "NEFTune is for method sft", "drop it")


@contradiction("P101", "early-stopping-without-a-best", words=WATCH)
def early_stopping(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds early stopping without a validation at each checkpoint to go back to."""
    if s.watch.early_stopping is None:
        return
    every, save = s.watch.evaluate_every, s.watch.save_every
    if every == "never":
        yield Fault("train.early_stopping", "there is no validation data", "add data.holdout or data.validation")
    elif not isinstance(every, int) or not isinstance(save, int) or save % every:
        advice = "set evaluate_every in steps, and save.every to a multiple of it"
        yield Fault("train.early_stopping", "the best checkpoint could not be kept", advice)


@contradiction("P102", "schedule-of-a-schedule-free-optimiser", words=("train.optimizer", "train.scheduler"))
def schedule_free(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a schedule with schedule-free AdamW."""
    if s.optimizer.name == "adamw_schedule_free" and not s.optimizer.scheduler.startswith("constant"):
        yield Fault("train.scheduler", f"{s.optimizer.name} needs no schedule", "use scheduler: constant")


@contradiction("P105", "engines-that-leave-no-gpu", words=("rollout", *MACHINE))
def engines(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds generation engines that take all GPUs, or leave a number that cannot be shared out."""
    roll, world = s.rollout, s.hardware.world
    if roll is None or roll.engine != "vllm" or roll.engines is None or not METHODS[s.method].online:
        return
    taken = roll.engines * roll.tensor_parallel
    rest = world - taken
    if rest < 1:
        message = f"{roll.engines} engines take {taken} of {world} GPUs, and leave none to train on"
        yield Fault("rollout.engines", message, "use fewer engines, or declare more hardware")
        return
    critic = s.method == "ppo" and (s.objective is None or s.objective.loss != "reinforce++")
    scored = any(reward.type == "model" for reward in s.rewards)
    if system(s.trainer).engines_apart and (critic or scored) and rest % 2:
        message = f"{rest} GPUs beside the engines cannot be halved between the policy and its critic or reward model"
        yield Fault("rollout.engines", message, "leave an even number of GPUs")


RULES = (
    learning_rate,
    batch,
    length,
    other_schedule,
    shapeless,
    too_long,
    constant_warmup,
    not_adam,
    unsharded,
    offloaded,
    unvalidated,
    release,
    neftune,
    early_stopping,
    schedule_free,
    engines,
)
