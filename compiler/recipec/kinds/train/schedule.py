"""Length, optimiser and schedule, checkpoints and validation."""

from __future__ import annotations

from recipec.decide.said import Decided, Said, plain, section
from recipec.kinds.train.records import Length, Optimizer, Watch
from recipec.language.train import Train


def length(say: Said, train: Train) -> Decided[Length]:
    """Epochs or steps."""
    if train.steps is not None:
        return section(
            Length,
            unit=say.rule("steps", "steps are given", "train.steps"),
            amount=say.word("train.steps", train.steps),
        )
    return section(
        Length,
        unit=say.rule("epochs", "no number of steps is given", "train.epochs"),
        amount=say.take("train.epochs", train.epochs, 1.0, "one pass over the data"),
    )


def optimizer(say: Said, train: Train) -> Decided[Optimizer]:
    """Optimiser and schedule."""
    restarts = train.scheduler == "cosine_with_restarts" or train.cycles is not None
    return section(
        Optimizer,
        name=say.word("train.optimizer", train.optimizer),
        learning_rate=say.word("train.learning_rate", train.learning_rate),
        weight_decay=say.word("train.weight_decay", train.weight_decay),
        beta1=say.word("train.beta1", train.beta1),
        beta2=say.word("train.beta2", train.beta2),
        epsilon=say.word("train.epsilon", train.epsilon),
        max_grad_norm=say.word("train.max_grad_norm", train.max_grad_norm),
        scheduler=say.word("train.scheduler", train.scheduler),
        min_lr_ratio=say.take("train.min_lr_ratio", train.min_lr_ratio, 0.0),
        cycles=say.take("train.cycles", train.cycles, 1, "one cosine") if restarts else plain(0),
        decay=_share(say, "train.decay", train.decay),
        warmup=_share(say, "train.warmup", train.warmup),
        embedding_learning_rate=say.word("train.embedding_learning_rate", train.embedding_learning_rate),
        neftune_alpha=say.word("train.neftune_alpha", train.neftune_alpha),
    )


def _share(say: Said, path: str, given: str | int | None) -> Decided[float | int]:
    """Decide a length that is given as a percentage of all steps or as a number of steps; absent: 0."""
    if isinstance(given, str) and float(given.rstrip("%")):
        return say.rule(float(given.rstrip("%")) / 100, f"{given} of all steps", path)
    return say.take(path, given if isinstance(given, int) else 0, 0)


def _every(say: Said, train: Train, usual: str, why: str) -> Decided[int | float | str]:
    """Decide how often there is validation: what lies between two is a number of steps, or a fraction of all of them."""
    given = train.evaluate_every
    if isinstance(given, str) and given.endswith("%"):
        return say.rule(float(given.rstrip("%")) / 100, f"{given} of all steps", "train.evaluate_every")
    if isinstance(given, str) and given.startswith("epoch/"):
        times = int(given.removeprefix("epoch/"))
        epochs = train.epochs or 1.0
        reads = ("train.evaluate_every", "train.epochs")
        return say.rule(1 / (times * epochs), f"{times} in each of {epochs:g} epochs", *reads)
    return say.take("train.evaluate_every", given, usual, why, "data.holdout", "data.validation[0].format")


def watch(say: Said, train: Train) -> Decided[Watch]:
    """Checkpoints, validation, logs."""
    data, save = say.recipe.data, train.save
    validated = data is not None and bool(data.holdout or data.validation)
    usual = "epoch" if validated else "never"
    why = "there is validation data" if validated else "no validation data"
    return section(
        Watch,
        save_every=say.word("train.save.every", save.every),
        save_keep=say.take("train.save.keep", save.keep, "all", "no checkpoint is deleted"),
        save_only_model=say.word("train.save.only_model", save.only_model),
        evaluate_every=_every(say, train, usual, why),
        early_stopping=say.word("train.early_stopping", train.early_stopping),
        log_every=say.word("train.log_every", train.log_every),
    )
