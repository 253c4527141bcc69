"""Contradictions about what scores must be for a course to go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipec.decide.said import indexed
from recipec.kinds.code import asked
from recipec.kinds.gate import is_among, name_of, required
from recipec.language.recipe import Recipe
from recipec.plan import ScoresOutput, Stage
from recipec.rules.rule import Context, Fault, contradiction
from recipec.suggest import nearest

TERMS = ("few_shot", "limit", "task_folder")  # of which scores that are compared must have the same
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
    measured, own = _measured(see)
    if own is None:  # an error of its own (P080)
        return
    tasks = [task for text in asked(given) for task in text.split(",")]
    subject = list(measured)[-1]
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
            names = [name for name in measured if name != subject]
            advice = f"evaluated are {', '.join(names)}" if names else "evaluate it too: add it to evaluate.models"
            yield Fault(here, f"{read.against} is not evaluated here, nor before", advice, nearest(read.against, names))
        elif read.against is not None and (other := _apart(own, measured[read.against], task)):
            yield Fault(here, f"{read.against} is evaluated on other terms: {other}", "evaluate both on the same terms")


def _measured(see: Context) -> tuple[dict[str, Stage[Any]], Stage[Any] | None]:
    """Return the evaluations by their models up to where something is required, and the last of them: of what it is required."""
    part = see.said.part
    found: dict[str, Stage[Any]] = {}
    last: Stage[Any] | None = None
    for stage in see.plan.of_kind("evaluate"):
        scores = stage.outputs[0]
        assert isinstance(scores, ScoresOutput)
        found.pop(scores.model, None)  # the subject is the last of them
        found[scores.model] = stage
        last = stage
        if part.own is not None and stage.name == part.name:
            return found, stage
    return found, last if part.own is None else None


def _apart(own: Stage[Any], other: Stage[Any], task: str) -> str:
    """Return what differs between the terms of two evaluations; an empty text where nothing does."""
    if not is_among(task, [one for text in other.body.tasks for one in text.split(",")]):
        return f"without {task}"
    for term in TERMS:
        mine, its = getattr(own.body, term), getattr(other.body, term)
        if mine != its:
            return f"{term} {its}, not {mine}"
    if own.body.code is not None and other.body.code is not None and task in own.body.code.tasks:
        for term in OF_PROGRAMS:
            mine, its = getattr(own.body.code, term), getattr(other.body.code, term)
            if mine != its:
                return f"code.{term} {its}, not {mine}"
    return ""


RULES = (unmeasured,)
