"""What counts batches: a schedule made for all batches of an epoch, of which each process now takes its part.

Accelerate lets a prepared schedule go on once for every process at each step. That is right for one whose length was
computed from all batches, and wrong for one with a length of its own, or of a loader that is prepared already.
"""

import re
from collections.abc import Iterator

import libcst as cst

from recipec.adopt.flow import Flow
from recipec.adopt.survey import Assignment, Key
from recipec.adopt.tree import calls, dotted, names, paths


def counts_rows_of_all(flow: Flow, made: Assignment, joined: set[Key], line: int) -> bool:
    """Return whether a schedule's length comes from all batches: of a loader that is prepared after it, or of a data set."""
    for scope, length in _lengths(flow, made.scope, made.value, set()):
        of = length.args[0].value
        if flow.survey.role(scope, of) != "loader":
            return True
        origins = flow.origins(scope, of)
        later = any(o.made is not None and (o.made.scope, o.name) in joined for o in origins)
        if later and flow.survey.line(length) <= max(line, flow.survey.line(made.statement)):
            return True
    return False


def _lengths(flow: Flow, scope: str, node: cst.CSTNode, seen: set[Key]) -> Iterator[tuple[str, cst.Call]]:
    """Yield every `len(…)` that a value depends on, with its scope."""
    survey = flow.survey
    for call in calls(node):
        if dotted(call.func) == "len" and call.args:
            yield scope, call
    for name in sorted(names(node) | paths(node)):
        function = survey.called(scope, name)
        key = survey.key(scope, name)
        if key in seen or survey.role(scope, cst.parse_expression(name)) in ("model", "optimizer", "loader"):
            continue
        seen.add(key)
        if function is not None and not survey.is_module(name):
            yield from _lengths(flow, function.name, function.node.body, seen)
        for made in survey.assignments:
            if name in made.targets and survey.key(made.scope, name) == key:
                yield from _lengths(flow, made.scope, made.value, seen)
        for where, called, parameter, value in flow.bindings:
            if (called.name, parameter) == key:
                yield from _lengths(flow, where, value, seen)


def counted_by_hand(flow: Flow, made: Assignment, loader: str) -> bool:
    """Return whether a script computes with a loader's length itself: it must be that of one process from the start."""
    survey, code = flow.survey, cst.Module([]).code_for_node
    for other in survey.assignments:
        if other.scope != made.scope or len(other.targets) != 1 or not other.targets[0]:
            continue
        if f"len({loader})" not in code(other.value) or survey.role(other.scope, other.value) == "scheduler":
            continue
        word = re.compile(rf"(?<![\w.]){re.escape(other.targets[0])}\b(?!\s*=[^=])")
        uses = [n for n in survey.statements if n is not other.statement and word.search(code(n))]
        makers = {
            m.statement
            for m in survey.assignments
            if isinstance(m.value, cst.Call) and survey.role(m.scope, m.value) == "scheduler"
        }
        if any(n not in makers and not code(n).lstrip().startswith("print(") for n in uses):
            return True
    return False
