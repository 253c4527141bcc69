"""Contradictions about the checkpoints of a training: which are evaluated, what says which is the best, and who takes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipec.facts.models import known_model
from recipec.kinds.checkpoints import Checkpoints, continuous
from recipec.kinds.code import asked
from recipec.kinds.evaluate import held
from recipec.kinds.gate import name_of
from recipec.language.base import BEST
from recipec.language.evaluate import Evaluate, Every
from recipec.language.recipe import Recipe
from recipec.plan import Stage
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest
from recipec.systems.registry import system

OF_CHECKPOINTS = ("best", "beside", "early_stopping")


@contradiction(
    "P259",
    "checkpoints-that-cannot-be-evaluated",
    "recipe",
    "part",
    words=(
        "evaluate.when",
        "evaluate.models",
        "evaluate.tasks",
        "evaluate.code.tasks",
        *(f"evaluate.{word}" for word in OF_CHECKPOINTS),
        "train.save.every",
        "parallel.strategy",
        "trainer",
    ),
)
def no_checkpoints(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds checkpoints that are to be evaluated and cannot be: there are none, or not at those steps, or in no form that loads.

    Why is this bad:
    The training would run to its end, and nothing of what was asked would have been measured on the way.

    Example:
        train: {learning_rate: 1e-5, steps: 1000, save: {every: 200}}
        evaluate: {tasks: [gsm8k], when: {every: 300}}

    Use instead:
        train: {learning_rate: 1e-5, steps: 1000, save: {every: 100}}
        evaluate: {tasks: [gsm8k], when: {every: 300}}
    """
    given, part = recipe.evaluate, see.said.part
    if given is None or not asked(given) or (see.graph.several and part.own is not None and part.kind != "evaluate"):
        return
    if not continuous(given):
        for word in OF_CHECKPOINTS:
            if see.said.wrote(f"evaluate.{word}"):
                message = f"{word} is about checkpoints, and none is evaluated"
                yield Fault(f"evaluate.{word}", message, f"add when: every_checkpoint, or drop {word}")
        return
    yield from _decided(given)
    trainings = [stage for stage in see.plan.of_kind("train") if _asked(see, stage)]
    if not trainings:
        message = "there are no checkpoints: none of the models that are evaluated is trained here"
        yield Fault("evaluate.when", message, "write when: end, or evaluate a training")
    for stage in trainings:
        yield from _unfit(given, stage)


def _asked(see: Context, stage: Stage[Any]) -> bool:
    """Return whether the checkpoints of a training are those that are meant here."""
    part = see.said.part
    if part.own is not None:
        listed = next(
            (one for one in see.plan.stages if one.name == part.name), None
        )  # which knows what stood before it
        meant = part.start_from or (listed.after[0] if listed is not None and listed.after else see.graph.previous)
        return stage.name == meant
    return any(one.kind == "checkpoints" and one.after[:1] == (stage.name,) for one in see.plan.stages)


def _decided(given: Evaluate) -> Iterator[Fault]:
    """Yield what is wrong with how the best is found."""
    texts = asked(given)
    tasks = [task for text in texts for task in text.split(",")]
    task, _ = name_of(given.best or tasks[0])
    if task not in tasks:
        advice = f"tasks: {', '.join(tasks)}; a metric stands behind the task, as in gsm8k/exact_match"
        yield Fault("evaluate.best", f"{task} is not evaluated here", advice, nearest(task, tasks))
    elif given.best is None and texts[0] != tasks[0]:
        message = f"which of {texts[0]} says which checkpoint is the best?"
        yield Fault("evaluate.when", message, f"name it: best: {tasks[0]}")
    if given.early_stopping is not None and given.beside is False:
        message = "a training cannot be ended by scores that are measured behind its end"
        yield Fault("evaluate.early_stopping", message, "drop beside: false, or early_stopping")


def _unfit(given: Evaluate, stage: Stage[Any]) -> Iterator[Fault]:
    """Yield why the checkpoints of one training cannot be evaluated as asked."""
    doer, saved = system(stage.system), stage.body.watch.save_every
    if doer.own_program or doer.own_loop:
        message = f"{stage.system} saves no checkpoints that lm-eval can load"
        yield Fault("evaluate.when", message, "write when: end, or train with axolotl, trl, llamafactory or unsloth")
    elif stage.body.parallel.strategy == "fsdp2":
        message = f"under fsdp2, {stage.name} saves its checkpoints in shards, which lm-eval cannot load"
        yield Fault("evaluate.when", message, "write when: end, or set parallel.strategy: zero3")
    if not isinstance(given.when, Every):
        return
    if saved == "epoch":
        message = f"{stage.name} saves a checkpoint behind each epoch, at steps that are not known"
        yield Fault("evaluate.when.every", message, "write when: every_checkpoint, or set train.save.every in steps")
    elif given.when.every % saved:
        fits = max(1, round(given.when.every / saved)) * saved
        message = f"{stage.name} saves a checkpoint every {saved} steps, of which {given.when.every} is no multiple"
        yield Fault("evaluate.when.every", message, f"write {fits}, or change train.save.every", str(fits))


@contradiction("P263", "best-of-what-nobody-measured", "part", words=("start_from", "merge", "evaluate"))
def no_best(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage that takes the best checkpoint of a training whose checkpoints are not evaluated before it.

    Why is this bad:
    Nothing says which of them is the best, and nothing keeps it.

    Example:
        data: null
        train: null
        stages:
          - {name: sft, data: {train: [{path: data/chat.jsonl, format: chat}]}, train: {learning_rate: 1e-5}}
          - {name: check, start_from: sft@best, evaluate: {tasks: [gsm8k]}}

    Use instead:
        data: null
        train: null
        stages:
          - {name: sft, data: {train: [{path: data/chat.jsonl, format: chat}]}, train: {learning_rate: 1e-5}}
          - {name: check, start_from: sft, evaluate: {tasks: [gsm8k], when: every_checkpoint}}
    """
    part = see.said.part
    for word, name in (("start_from", part.start_from), ("merge", part.merge)):
        if isinstance(name, str) and name.endswith(BEST) and not _before(see, name):
            training = name.removesuffix(BEST)
            advice = f"evaluate them before: evaluate.when: every_checkpoint, or a stage that does so for {training}"
            yield Fault(word, f"the checkpoints of {training} are not evaluated before", advice)


def _before(see: Context, name: str) -> bool:
    """Return whether the best checkpoint is chosen before this stage."""
    best = see.graph.models.get(name)
    order = [stage.name for stage in see.plan.stages]
    own = see.said.part.name
    return best is not None and (own not in order or order.index(str(best.stage)) < order.index(own))


@contradiction(
    "P264",
    "evaluation-on-the-GPUs-of-a-training",
    "checkpoints",
    words=("evaluate.beside", "evaluate.early_stopping", "hardware.gpu"),
    severity="note",
    waivable=True,
)
def shares_gpus(see: Context, s: Checkpoints) -> Iterator[Fault]:
    """Finds checkpoints that are evaluated on a GPU on which the training still runs.

    Why is this bad:
    A second copy of the model needs room beside all that the training holds; without it the evaluation ends for want of memory, or
    the training does.

    Example:
        evaluate: {tasks: [gsm8k], when: every_checkpoint, beside: true}

    Use instead:
        evaluate: {tasks: [gsm8k], when: every_checkpoint}

    When it is meant:
    The training leaves that much of the GPU.
    """
    if not s.beside or s.hardware.device == "cpu":
        return
    name = see.stage.name if see.stage is not None else None
    root = next((one.root for one in see.graph.models.values() if one.stage == name), None)
    known = known_model(root, folders=False) if root is not None else None
    size = held(known, s.precision) / 1024**3
    room = (
        f"{size:.1f} GiB for its weights alone" if size else "room for its weights, of a size that is not known here,"
    )
    word = "evaluate.beside" if see.said.wrote("evaluate.beside") else "evaluate.early_stopping"
    message = f"each evaluation beside the training takes {room} on a GPU that the training uses"
    yield Fault(
        word, message, "see that the training leaves that much, or evaluate behind it: drop beside and early_stopping"
    )


RULES = (no_checkpoints, no_best, shares_gpus)
