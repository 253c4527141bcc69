"""What a rule is, and how rules judge a plan. A rule reads the plan and the facts; it never changes a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from recipec.course import Course
from recipec.diagnostics import Finding, Severity
from recipec.facts.models import KnownModel, known_model
from recipec.plan import Plan, Resolved, Stage, TrainStage
from recipec.source import Mapping, Span, beginning, find, key_span, split_path

HEADINGS = ("Why is this bad", "Example", "Use instead")
_HEADING = re.compile(r"^(Why is this bad|Example|Use instead):\s*", re.MULTILINE)


class Told(NamedTuple):
    """What a rule has against a plan: the paths to blame, what is wrong, and what to do.

    `path` is a plan path below the stage (`adapter.targets[1]`: that item of it), or a recipe path that starts with
    `overrides.`; of several, separated by blanks, the first that the person wrote is blamed. `suggestion` is what may stand there instead of the value.
    """

    path: str
    message: str
    advice: str
    suggestion: str | None = None


class Seen(NamedTuple):
    """What a rule may look at beside its stage: the whole plan, and the raw overrides of the recipe by tool.

    Without `folders`, local folders are not looked at, so that what is found is the same on every machine.
    """

    plan: Plan
    overrides: dict[str, dict[str, Any]]
    folders: bool

    def made(self, path: str) -> bool:
        """Return whether a stage of the plan leaves this folder."""
        return any(getattr(stage, "output", None) == path for stage in self.plan.stages)

    def model(self, path: str) -> KnownModel | None:
        """Return what is known of a model; of one that an earlier stage leaves, what is known of where that began."""
        for stage in reversed(self.plan.stages):
            if getattr(stage, "output", None) == path and isinstance(stage, TrainStage):
                return self.model(stage.model.path)
            if getattr(stage, "output", None) == path and hasattr(stage, "base"):
                return self.model(stage.base)
        return known_model(path, folders=self.folders)


Judge = Callable[[Seen, Any], Iterator[Told]]


class Rule(NamedTuple):
    """One rule. `name` is what a waiver says; it reads as "allow <name>". `sources` are threads in which people met it."""

    code: str
    name: str
    severity: Severity
    of: tuple[type, ...]
    sources: str
    judge: Judge

    def documentation(self) -> dict[str, str]:
        """Return the parts of its documentation: `What it does`, and one for each of HEADINGS."""
        lines = (self.judge.__doc__ or "").split("\n")
        text = "\n".join([lines[0], *(line.removeprefix("    ") for line in lines[1:])]).strip()
        parts = _HEADING.split(text)
        found = {"What it does": parts[0].strip()}
        for heading, body in zip(parts[1::2], parts[2::2], strict=True):
            rows = body.strip("\n").split("\n")
            found[heading] = "\n".join(row.removeprefix("    ") for row in rows).strip()
        return found


def rule(code: str, name: str, severity: Severity, *of: type, sources: str = "") -> Callable[[Judge], Rule]:
    """Make a rule of a function that yields what it has against a stage of these kinds (default: a training)."""
    return lambda judge: Rule(code, name, severity, of or (TrainStage,), sources, judge)


def judge(rules: tuple[Rule, ...], course: Course, resolved: Resolved, *, folders: bool) -> list[Finding]:
    """Return what the rules find, with or without a look at local folders."""
    seen = Seen(resolved.plan, {tool: raw for tool, raw in course.recipe.overrides if raw}, folders)
    return [
        Finding(
            one.code,
            told.message,
            _place(course.tree, resolved, stage, told.path),
            told.suggestion,
            told.advice,
            one.severity,
        )
        for one in rules
        for stage in resolved.plan.stages
        if isinstance(stage, one.of)
        for told in one.judge(seen, stage)
    ]


def waive(names: dict[str, str], course: Course, findings: list[Finding], unsure: set[str]) -> list[Finding]:
    """Return the findings without those that the recipe allows; an allowance that matches nothing is found too.

    `names` gives the name of each code that may be allowed; of those that are `unsure`, nothing is said of no match.
    """
    allowed = course.recipe.allow
    left = [finding for finding in findings if names.get(finding.code) not in allowed]
    used = {names[finding.code] for finding in findings if finding.code in names}
    for name in allowed:
        span = key_span(course.tree, ("allow", name))
        if name not in names.values():
            from recipec.suggest import nearest

            advice = "`recipe rules` lists what can be allowed"
            left.append(Finding("L001", f'there is no rule "{name}"', span, nearest(name, names.values()), advice))
        elif name not in used | unsure:
            message = f'"{name}" is allowed, but nothing here would be found by it'
            left.append(Finding("L002", message, span, help="drop it from allow", severity="warning"))
    return left


def _place(tree: Mapping, resolved: Resolved, stage: Stage, paths: str) -> Span:
    """Return where the person wrote the first of some paths that stands in the recipe; else the recipe's first line."""
    for path in paths.split():
        reads: tuple[str, ...] = (path,)
        leaf, bracket, item = path.partition("[")
        if not path.startswith("overrides."):
            origin = resolved.origins.get(f"{stage.name}.{leaf}")
            reads = origin.reads if origin is not None else ()
        for read in reads:
            steps = split_path(read + bracket + item if reads != (path,) else read)
            node = find(tree, steps)
            if node is None:
                continue
            key = key_span(tree, steps)
            return (
                key if key is not None and (isinstance(node, Mapping) or path.startswith("overrides.")) else node.span
            )
    return beginning(tree)
