"""Rules: what is likely not meant, or cannot go well, in a plan that is decided. Each is a function with its documentation.

A new rule is a function in a module here, in that module's `RULES`; its documentation holds an example that is tested.
"""

import os

from recipec import rows
from recipec.course import Course
from recipec.decide.decision import Decision
from recipec.diagnostics import Finding
from recipec.rules import memory, model, tools, training
from recipec.rules.contradictions import CONTRADICTIONS
from recipec.rules.local_rows import findings as of_rows
from recipec.rules.rule import Rule, judge, waive

RULES: tuple[Rule, ...] = tuple(sorted((*model.RULES, *memory.RULES, *tools.RULES, *training.RULES)))


def findings(course: Course, decision: Decision, told: list[Finding]) -> list[Finding]:
    """Return what was told and what every rule finds, less what the recipe allows."""
    names = rows.NAMES | {one.code: one.name for one in RULES}
    local = [source.path for stage in decision.resolved.plan.of_kind("train") for source in stage.body.data.train]
    unsure = set() if all(path and os.path.isfile(path) for path in local) else set(rows.NAMES.values())  # noqa: PTH113
    return waive(names, course, [*told, *judge(RULES, course, decision, folders=True)], unsure)


def lasting(course: Course, decision: Decision) -> list[Finding]:
    """Return what the rules find wherever the recipe is compiled, less what it allows: what emitted files may hold."""
    names = {one.code: one.name for one in RULES}
    found = judge(RULES, course, decision, folders=False)
    return [finding for finding in found if names[finding.code] not in course.recipe.allow]


def contradictions(course: Course, decision: Decision) -> list[Finding]:
    """Return where the recipe contradicts itself, and what local rows have against it.

    What it allows is left out; that an allowance of these matches nothing is told with the other rules.
    """
    found = judge(CONTRADICTIONS, course, decision, folders=True)
    waivable = {one.code: one.name for one in CONTRADICTIONS if one.waivable} | rows.NAMES
    allowed = {waivable.get(word, word) for word in course.recipe.allow}
    found += of_rows(decision, {one.span for one in found if one.span is not None})
    return [one for one in found if waivable.get(one.code) not in allowed]
