"""Batch algebra, length, optimiser, checkpoints, trackers."""

from __future__ import annotations

from recipec.decide.draft import Draft
from recipec.decide.methods import METHODS
from recipec.decide.script import wanted
from recipec.facts import releases
from recipec.plan import Batch, Length, Optimizer, Track, TrainStage, Watch
from recipec.suggest import nearest


def _learners(d: Draft) -> tuple[int, str]:
    """Return how many processes hold the trained model, and why: those whose GPUs generate do not.

    With engines apart, OpenRLHF gives critic and reward model GPUs of their own too, as many as the policy's.
    """
    world: int = d.values["hardware.world"]
    engines = d.get("rollout.engines")
    if not METHODS[d.values["train.method"]].online or d.get("rollout.engine") != "vllm" or engines is None:
        return world, "every process holds its own sequences"
    taken = engines * d.get("rollout.tensor_parallel")
    rest, why = world - taken, f"{world} GPUs − {taken} that generate"
    if rest < 1:
        message = f"{engines} engines take {taken} of {world} GPUs, and leave none to train on"
        d.error("P098", "rollout.engines", message, "use fewer engines, or declare more hardware")
        return world, why
    critic = d.values["train.method"] == "ppo" and d.get("train.loss") != "reinforce++"
    judged = any(reward.type == "model" for reward in d.get("rewards") or ())
    if d.values["train.trainer"] == "openrlhf" and (critic or judged):
        if rest % 2:
            message = (
                f"{rest} GPUs beside the engines cannot be halved between the policy and its critic or reward model"
            )
            d.error("P098", "rollout.engines", message, "leave an even number of GPUs")
        rest, why = max(1, rest // 2), f"half of {why}: the critic or reward model has the other half"
    return rest, why


def batch(d: Draft) -> None:
    """total = micro × accumulation × data-parallel world; whatever is missing follows from the rest."""
    world, alone = _learners(d)
    total, micro, steps = (
        d.get(f"train.{word}") for word in ("batch_size", "micro_batch_size", "gradient_accumulation")
    )
    here = ("train.batch_size", "train.micro_batch_size", "train.gradient_accumulation")
    machine = ("hardware.per_node", "hardware.nodes", "rollout.engines", "rollout.tensor_parallel")
    if total is not None and micro is None and steps is not None:
        micro = max(1, total // (steps * world))
        why = f"{total} sequences per step ÷ ({steps} accumulation × {world} processes)"
        d.put("train.batch.micro", micro, why, "train.batch_size", "train.gradient_accumulation", *machine)
    else:
        micro = d.copy("train.batch.micro", "train.micro_batch_size", 1, "least memory")
    if total is not None and steps is None:
        steps = max(1, total // (micro * world))
        why = f"{total} sequences per step ÷ ({micro} micro batch × {world} processes)"
        d.put("train.batch.accumulation", steps, why, "train.batch_size", "train.micro_batch_size", *machine)
    else:
        steps = d.copy("train.batch.accumulation", "train.gradient_accumulation", 1)
    if all(d.said(path) for path in here):  # a total that says again what its parts say is held against them: it acts
        origin = d.origins["train.batch.accumulation"]
        d.origins["train.batch.accumulation"] = origin._replace(reads=(*origin.reads, d.real("train.batch_size")))
    product = micro * steps * world
    d.put("train.batch.data_parallel", world, alone, *machine)
    d.put(
        "train.batch.total", product, f"{micro} micro batch × {steps} accumulation × {world} processes", *here, *machine
    )
    if total is not None and total != product:
        unit = micro * world if d.get("train.gradient_accumulation") is None else product
        below = total // unit * unit
        near = " or ".join(str(size) for size in (below, below + unit) if size) if unit != product else str(product)
        advice = f"batch_size = micro_batch_size × gradient_accumulation × processes; here {near} would do"
        message = (
            f"batch_size {total} is not {micro} micro batch × {steps} accumulation × {world} processes = {product}"
        )
        d.error("P060", "train.batch_size", message, advice)
    d.values["train.batch"] = d.make(Batch, "train.batch")


def length(d: Draft) -> None:
    """Epochs or steps."""
    if d.get("train.steps") is not None:
        d.put("train.length.unit", "steps", "steps are given", "train.steps")
        d.copy("train.length.amount", "train.steps")
        if d.get("train.epochs") is not None:
            apart = d.span("train.epochs").source != d.span("train.steps").source
            advice = "give one of them" + "; `null` takes out what is said in another place" * apart
            d.error("P061", "train.epochs", "both epochs and steps are given", advice)
    else:
        d.put("train.length.unit", "epochs", "no number of steps is given", "train.epochs")
        d.copy("train.length.amount", "train.epochs", 1.0, "one pass over the data")
    d.values["train.length"] = d.make(Length, "train.length")


def optimizer(d: Draft) -> None:
    """Optimiser and schedule."""
    for leaf in ("learning_rate", "weight_decay", "beta1", "beta2", "epsilon", "max_grad_norm", "scheduler"):
        d.copy(f"train.optimizer.{leaf}", f"train.{leaf}")
    if d.get("train.learning_rate") is None and not wanted(d):
        d.error("R002", "train", "train needs the key `learning_rate`", "learning_rate: Peak learning rate.")
    name = d.copy("train.optimizer.name", "train.optimizer")
    ratio = d.copy("train.optimizer.min_lr_ratio", "train.min_lr_ratio", 0.0)
    with_floor = d.values["train.optimizer.scheduler"] == "cosine_with_min_lr"
    if d.said("train.min_lr_ratio") and not with_floor:
        d.error(
            "P062",
            "train.min_lr_ratio",
            "only cosine_with_min_lr has a floor",
            "use scheduler: cosine_with_min_lr, or drop it",
        )
    if with_floor and not ratio:
        d.error("P063", "train.scheduler", "cosine_with_min_lr needs a floor", "set train.min_lr_ratio, such as 0.1")
    warmup = _share(d, "warmup")
    _shape(d, warmup)
    if d.values["train.optimizer.scheduler"] == "constant" and warmup:
        d.error("P065", "train.scheduler", "schedule constant has no warmup", "use constant_with_warmup")
    if name == "adamw_schedule_free" and not d.values["train.optimizer.scheduler"].startswith("constant"):
        d.error("P102", "train.scheduler", f"{name} needs no schedule", "use scheduler: constant")
    strategy = d.values["train.parallel.strategy"]
    if not name.startswith(("adamw", "ademamix")) and (d.said("train.beta2") or d.said("train.epsilon")):
        word = "beta2" if d.said("train.beta2") else "epsilon"
        d.error("P066", f"train.{word}", f"{name} is not Adam: it has no {word} here", "drop it, or use adamw")
    if strategy == "fsdp2" and (name.endswith(("8bit", "4bit")) or "paged" in name):
        d.error("P067", "train.optimizer", f"{name} keeps states that FSDP2 cannot shard", "use adamw, or zero2")
    if d.values["train.parallel.optimizer_offload"] != "none" and name != "adamw":
        d.error(
            "P068", "train.optimizer", f"{name} cannot be offloaded", "use adamw, whose states can live in host memory"
        )
    d.copy("train.optimizer.embedding_learning_rate", "train.embedding_learning_rate")
    if d.copy("train.optimizer.neftune_alpha", "train.neftune_alpha") and d.values["train.method"] != "sft":
        d.error("P096", "train.neftune_alpha", "NEFTune is for method sft", "drop it")
    d.values["train.optimizer"] = d.make(Optimizer, "train.optimizer")


def _share(d: Draft, word: str) -> float | int:
    """Decide a length that is given as a percentage of all steps or as a number of steps; absent: 0."""
    given = d.get(f"train.{word}")
    if isinstance(given, str):
        share = float(given.rstrip("%")) / 100
        return d.put(f"train.optimizer.{word}", share, f"{given} of all steps", f"train.{word}")
    steps: int = d.copy(f"train.optimizer.{word}", f"train.{word}", 0)
    total = d.get("train.steps")
    if total is not None and steps > total:
        d.error("P064", f"train.{word}", f"{word} of {steps} steps is longer than the training of {total}", "lower it")
    return steps


def _shape(d: Draft, warmup: float | int) -> None:
    """What only some schedules have: the number of cosines, the length of the decay."""
    scheduler = d.values["train.optimizer.scheduler"]
    restarts = scheduler == "cosine_with_restarts"
    if restarts or d.said("train.cycles"):
        d.copy("train.optimizer.cycles", "train.cycles", 1, "one cosine")
    else:
        d.values["train.optimizer.cycles"] = 0
    decay = _share(d, "decay")
    for word, owner in (("cycles", "cosine_with_restarts"), ("decay", "warmup_stable_decay")):
        if d.said(f"train.{word}") and scheduler != owner:
            d.error("P062", f"train.{word}", f"only {owner} has {word}", f"use scheduler: {owner}, or drop it")
    if scheduler != "warmup_stable_decay":
        return
    if not decay:
        d.error("P063", "train.scheduler", "warmup_stable_decay needs a decay", "set train.decay, such as 10%")
    elif isinstance(decay, float) and isinstance(warmup, float) and decay + warmup > 1:
        d.error("P064", "train.decay", "warmup and decay are longer than the training", "lower one of them")


def watch(d: Draft) -> None:
    """Checkpoints, validation, logs."""
    d.copy("train.watch.save_every", "train.save.every")
    d.copy("train.watch.save_keep", "train.save.keep", "all", "none is deleted")
    d.copy("train.watch.save_only_model", "train.save.only_model")
    validated = bool(d.get("data.holdout") or d.get("data.validation"))
    default = "epoch" if validated else "never"
    d.copy(
        "train.watch.evaluate_every",
        "train.evaluate_every",
        default,
        "there is validation data" if validated else "no validation data",
    )
    if d.said("train.evaluate_every") and not validated:
        d.error("P069", "train.evaluate_every", "there is no validation data", "add data.holdout or data.validation")
    _early_stopping(d)
    d.copy("train.watch.log_every", "train.log_every")
    d.values["train.watch"] = d.make(Watch, "train.watch")


def _early_stopping(d: Draft) -> None:
    """Stopping early needs validations in steps, at each of which that is saved there is a checkpoint to go back to."""
    if d.copy("train.watch.early_stopping", "train.early_stopping") is None:
        return
    every, save = d.values["train.watch.evaluate_every"], d.values["train.watch.save_every"]
    if every == "never":
        d.error("P101", "train.early_stopping", "there is no validation data", "add data.holdout or data.validation")
    elif not isinstance(every, int) or not isinstance(save, int) or save % every:
        advice = "set evaluate_every in steps, and save.every to a multiple of it"
        d.error("P101", "train.early_stopping", "the best checkpoint could not be kept", advice)


def track(d: Draft) -> None:
    """Trackers."""
    d.put("track.run_name", d.recipe.name, "name of the recipe", "name")
    d.copy("track.wandb_project", "track.wandb.project")
    d.copy("track.wandb_entity", "track.wandb.entity")
    d.copy("track.mlflow_uri", "track.mlflow.tracking_uri")
    d.copy("track.mlflow_experiment", "track.mlflow.experiment")
    d.copy("track.trackio_project", "track.trackio.project")
    d.copy("track.trackio_space", "track.trackio.space")
    d.copy("track.tensorboard", "track.tensorboard")
    d.copy("track.telemetry", "track.telemetry")
    d.values["track"] = d.make(Track, "track")


def trainer(d: Draft) -> None:
    """The system that trains, its release, and the method."""
    name = d.copy("train.trainer", "trainer")
    known = releases(name)
    release = d.copy("train.release", f"versions.{name}", known[0] if known else "", "the newest known release")
    if release not in known and (known or release):
        close = nearest(release, known)
        message = f"release {release} of {name} is not known here"
        d.error("P094", f"versions.{name}", message, f"known: {', '.join(known) or 'none'}", close)
    d.copy("train.method", "train.method")


def stage(d: Draft) -> TrainStage:
    """Put the training stage together."""
    d.copy("train.seed", "seed")
    d.put("train.id", d.id, "stages in order")
    d.values["train.name"] = d.part.name
    d.put("train.output", f"runs/{d.recipe.name}/{d.id}", "results of a run stay out of the emitted files", "name")
    for shared in ("model", "hardware", "track"):
        share(d, shared, "train")
    return d.make(TrainStage, "train")


def share(d: Draft, section: str, stage_name: str) -> None:
    """Give a stage a section that several stages have, with its origins."""
    d.values[f"{stage_name}.{section}"] = d.values[section]
    for leaf, origin in list(d.origins.items()):
        if leaf.startswith(f"{section}."):
            d.origins[f"{stage_name}.{leaf}"] = origin
