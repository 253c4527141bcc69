"""Rules: what is likely not meant, or cannot go well, in a plan that is decided. Each is a function with its documentation.

A new rule is a function in a module here, in that module's `RULES`; its documentation holds an example that is tested.
"""

from recipec import rows
from recipec.course import Course
from recipec.diagnostics import Finding
from recipec.plan import Resolved
from recipec.rules import memory, model, tools, training
from recipec.rules.rule import Rule, judge, waive

RULES: tuple[Rule, ...] = tuple(sorted((*model.RULES, *memory.RULES, *tools.RULES, *training.RULES)))


def findings(course: Course, resolved: Resolved, told: list[Finding]) -> list[Finding]:
    """Return what was told and what every rule finds, less what the recipe allows."""
    names = rows.NAMES | {one.code: one.name for one in RULES}
    return waive(names, course, [*told, *judge(RULES, course, resolved)])
