"""Rules: what is likely not meant, or cannot go well, in a plan that is decided. Each is a function with its documentation.

A new rule is a function in a module here, in that module's `RULES`; its documentation holds an example that is tested.
"""

import os

from recipec import rows
from recipec.course import Course
from recipec.diagnostics import Finding
from recipec.plan import Resolved, TrainStage
from recipec.rules import memory, model, tools, training
from recipec.rules.rule import Rule, judge, waive

RULES: tuple[Rule, ...] = tuple(sorted((*model.RULES, *memory.RULES, *tools.RULES, *training.RULES)))


def findings(course: Course, resolved: Resolved, told: list[Finding]) -> list[Finding]:
    """Return what was told and what every rule finds, less what the recipe allows."""
    names = rows.NAMES | {one.code: one.name for one in RULES}
    local = [
        source.path for stage in resolved.plan.stages if isinstance(stage, TrainStage) for source in stage.data.train
    ]
    unsure = set() if all(path and os.path.isfile(path) for path in local) else set(rows.NAMES.values())  # noqa: PTH113
    return waive(names, course, [*told, *judge(RULES, course, resolved, folders=True)], unsure)


def lasting(course: Course, resolved: Resolved) -> list[Finding]:
    """Return what the rules find wherever the recipe is compiled, less what it allows: what emitted files may hold."""
    names = {one.code: one.name for one in RULES}
    found = judge(RULES, course, resolved, folders=False)
    return [finding for finding in found if names[finding.code] not in course.recipe.allow]
