"""Contradictions about early stopping: what stops a training, and which checkpoint is kept."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.kinds.train.records import Train
from recipec.plural import counted
from recipec.rules.rule import Context, Fault, contradiction

WATCH = ("train.save", "train.evaluate_every", "train.early_stopping", "data")


@contradiction("P101", "early-stopping-without-a-best", words=WATCH)
def early_stopping(see: Context, s: Train) -> Iterator[Fault]:
    """Finds early stopping without a validation at every checkpoint.

    Why is this bad:
    The trainer keeps the checkpoint with the best validation. It refuses to start when one may be saved without a validation.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 5%}
        train: {learning_rate: 1e-5, steps: 500, early_stopping: 2, evaluate_every: 40, save: {every: 100}}

    Use instead:
        train: {learning_rate: 1e-5, steps: 500, early_stopping: 2, evaluate_every: 50, save: {every: 100}}
    """
    if s.watch.early_stopping is None:
        return
    every, save = s.watch.evaluate_every, s.watch.save_every
    if every == "never" and (s.data.holdout or s.data.validation):
        yield Fault("train.early_stopping", "nothing is validated", "say how often by train.evaluate_every")
    elif every == "never":
        yield Fault("train.early_stopping", "there is no validation data", "add data.holdout or data.validation")
    elif every == save == "epoch":
        return
    elif not isinstance(every, int) or not isinstance(save, int) or save % every:
        advice = "set evaluate_every in steps, and save.every to a multiple of it"
        message, blamed = "the best checkpoint could not be kept", "train.early_stopping"
        if isinstance(every, int) and isinstance(save, int):
            message += f": a checkpoint every {save} steps, and a validation every {every}"
            blamed = next(filter(see.said.wrote, ("train.save.every", "train.evaluate_every")), blamed)
        yield Fault(blamed, message, advice)


@contradiction(
    "P308",
    "early-stopping-that-never-stops",
    words=("train.early_stopping", "train.evaluate_every", "train.steps"),
    severity="warning",
    waivable=True,
)
def never_stops(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds early stopping that waits for more validations than the training has.

    Why is this bad:
    The first validation sets the mark, and so many more without a better one must follow. With fewer the training always runs to its end.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 5%}
        train: {learning_rate: 1e-5, steps: 400, early_stopping: 10, evaluate_every: 50, save: {every: 50}}

    Use instead:
        train: {learning_rate: 1e-5, steps: 400, early_stopping: 3, evaluate_every: 50, save: {every: 50}}

    When it is meant:
    Only the best checkpoint is wanted, which early stopping keeps.
    """
    patience, every = s.watch.early_stopping, s.watch.evaluate_every
    if patience is None or s.length.unit != "steps" or not isinstance(every, int):
        return
    validations = int(s.length.amount // every)
    if 0 < validations <= patience:
        message = (
            f"{s.length.amount:,} steps have {counted(validations, 'validation')}, and stopping takes {patience + 1}"
        )
        yield Fault("train.early_stopping", message, "lower it, or validate more often")


RULES = (early_stopping, never_stops)
