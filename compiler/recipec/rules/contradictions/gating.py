"""Contradictions about what scores must be for a course to go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipec.decide.said import indexed
from recipec.kinds import kind
from recipec.kinds.code import asked
from recipec.kinds.evaluate import TERMS
from recipec.kinds.gate import is_among, measuring, name_of, required
from recipec.kinds.judge import NAME as JUDGE
from recipec.kinds.judge import task_of
from recipec.language.recipe import Recipe
from recipec.plan import ScoresOutput, Stage
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest

OF_PROGRAMS = ("samples", "temperature", "top_p", "max_new_tokens", "seconds", "memory_gib", "file_mib")
KINDS = "write >= 0.45, > 45%, >= base + 2pt (2 percentage points) or <= base"


@contradiction(
    "P256",
    "requirement-that-is-not-measured",
    "recipe",
    "part",
    words=(
        "evaluate.require",
        "evaluate.models",
        "evaluate.tasks",
        "evaluate.code.tasks",
        "evaluate.judge",
        *(f"evaluate.{word}" for word in TERMS),
    ),
)
def unmeasured(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds required scores that cannot be read, that nothing measures, or that were measured on other terms.

    Why is this bad:
    The course would end behind its evaluations, for want of a score to compare with.

    Example:
        evaluate: {tasks: [gsm8k], models: [tuned], require: {gsm8k: ">= base + 2pt"}}

    Use instead:
        evaluate: {tasks: [gsm8k], models: [base, tuned], require: {gsm8k: ">= base + 2pt"}}
    """
    given = recipe.evaluate
    if given is None or not given.require:
        return
    stages = _measured(see)
    if not stages:  # an error of its own (P080)
        return
    tasks = [*(task for text in asked(given) for task in text.split(",")), *map(task_of, given.judge)]
    measured = list(dict.fromkeys(_model(stage) for stage in reversed(stages)))  # the subject is the last of them
    subject = measured[0]
    for word, text in given.require.items():
        here, read, (task, _) = indexed("evaluate.require", word), required(text), name_of(word)
        if read is None:
            yield Fault(here, f'"{text}" is not a requirement', KINDS)
        elif not is_among(task, tasks):
            advice = f"tasks: {', '.join(tasks)}; a metric stands behind the task, as in gsm8k/exact_match"
            yield Fault(here, f"{task} is not evaluated here", advice)
        elif read.against == subject:
            yield Fault(here, f"{subject} is compared with itself", "name another model, such as base, or a number")
        elif read.against is not None and read.against not in measured:
            names = [name for name in reversed(measured) if name != subject]
            advice = f"evaluated are {', '.join(names)}" if names else "evaluate it too: add it to evaluate.models"
            yield Fault(here, f"{read.against} is not evaluated here, nor before", advice, nearest(read.against, names))
        elif read.against is not None and (other := _apart(stages, subject, read.against, task)):
            yield Fault(here, f"{read.against} is evaluated on other terms: {other}", "evaluate both on the same terms")


def _measured(see: Context) -> list[Stage[Any]]:
    """Return the stages that measure a model, up to where something is required; none where that measures nothing."""
    part = see.said.part
    found = [stage for stage in see.plan.stages if kind(stage.kind).terms]
    if part.own is None:
        return found
    names = (part.name, f"{part.name}-{JUDGE}-")
    own = [number for number, one in enumerate(found) if one.name == names[0] or one.name.startswith(names[1])]
    return found[: own[-1] + 1] if own else []


def _model(stage: Stage[Any]) -> str:
    """Return the name of the model that a stage measures."""
    scores = stage.outputs[0]
    assert isinstance(scores, ScoresOutput)
    return scores.model


def _apart(stages: list[Stage[Any]], subject: str, against: str, task: str) -> str:
    """Return what differs between the terms of two evaluations on a task; an empty text where nothing does."""
    own, other = measuring(stages, subject, task), measuring(stages, against, task)
    if own is None or other is None:
        return f"without {task}" if own is not None else ""
    for term in kind(own.kind).terms:
        mine, its = getattr(own.body, term), getattr(other.body, term, None)
        if mine != its:
            return f"{term} {its}, not {mine}" if not isinstance(mine, tuple) else f"{term} is another"
    mine, its = getattr(own.body, "code", None), getattr(other.body, "code", None)
    if mine is not None and its is not None and task in mine.tasks:
        for term in OF_PROGRAMS:
            if getattr(mine, term) != getattr(its, term):
                return f"code.{term} {getattr(its, term)}, not {getattr(mine, term)}"
    return ""


RULES = (unmeasured,)
