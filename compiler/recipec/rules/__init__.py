"""Rules: what is likely not meant, or cannot go well, in a plan that is decided. Each is a function with its documentation.

A new rule is a function in a module here, in that module's `RULES`; its documentation holds an example that is tested.
Contradictions are checked first: where one is left, the plan means nothing, and the other rules are not asked.
"""

import os

from recipec import rows
from recipec.course import Course
from recipec.decide.decision import Decision
from recipec.diagnostics import Finding
from recipec.rules import (
    adapters,
    amounts,
    evaluation,
    leaks,
    made_for,
    memory,
    model,
    names,
    objectives,
    templates,
    tools,
    training,
    values,
)
from recipec.rules.contradictions import CONTRADICTIONS
from recipec.rules.local_files import findings as of_files
from recipec.rules.local_rows import findings as of_rows
from recipec.rules.rule import Rule, judge, not_waivable, unwaived, waive

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (
            *model.RULES,
            *adapters.RULES,
            *amounts.RULES,
            *memory.RULES,
            *made_for.RULES,
            *names.RULES,
            *tools.RULES,
            *training.RULES,
            *evaluation.RULES,
            *values.RULES,
            *objectives.RULES,
            *leaks.RULES,
            *templates.RULES,
        ),
        key=lambda one: one.code,
    )
)
_BY_CODE = {one.code: one.name for one in (*RULES, *CONTRADICTIONS) if one.waivable} | rows.NAMES
_NEVER = {one.code: one.name for one in CONTRADICTIONS if not one.waivable}


def unallowable(course: Course) -> list[Finding]:
    """Return what the recipe allows that has no name here, or that no recipe may allow."""
    return not_waivable(_BY_CODE, _NEVER, course)


def contradictions(course: Course, decision: Decision) -> list[Finding]:
    """Return where the recipe contradicts itself, and what local rows and files have against it.

    What it allows is among them: `unallowed` leaves that out, and `findings` needs it to know which allowances match.
    """
    found = judge(CONTRADICTIONS, course, decision, folders=True)
    wrong = {one.span for one in found if one.span is not None}
    return [*found, *of_rows(decision, wrong), *of_files(decision, wrong)]


def unallowed(course: Course, found: list[Finding]) -> list[Finding]:
    """Return the findings without those that the recipe allows."""
    return unwaived(_BY_CODE, course, found)


def findings(course: Course, decision: Decision, told: list[Finding]) -> list[Finding]:
    """Return what was told and what every rule finds, less what the recipe allows."""
    local = [source.path for stage in decision.resolved.plan.of_kind("train") for source in stage.body.data.train]
    here = all(path and os.path.isfile(path) for path in local)  # noqa: PTH113
    unsure: set[str] = set() if here else set(rows.NAMES.values())
    return waive(_BY_CODE, course, [*told, *judge(RULES, course, decision, folders=True)], unsure)


def lasting(course: Course, decision: Decision) -> list[Finding]:
    """Return what the rules find wherever the recipe is compiled, less what it allows: what emitted files may hold."""
    return unallowed(course, judge(RULES, course, decision, folders=False))
