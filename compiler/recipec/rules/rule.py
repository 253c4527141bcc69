"""What a rule is, and how rules check a plan. A rule reads the plan, what was said and the facts; it changes no value."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from recipec.course import Course
from recipec.decide.decision import Decision
from recipec.decide.graph import Graph
from recipec.decide.said import Said
from recipec.diagnostics import Finding, Severity
from recipec.facts.models import KnownModel, known_model
from recipec.facts.tokens import Tokenizer, known_tokenizer
from recipec.plan import ModelOutput, Plan, Record, Resolved, Stage
from recipec.source import Mapping, Span, beginning, find, key_span, split_path
from recipec.systems.emit import heard
from recipec.systems.registry import system

HEADINGS = ("Why is this bad", "Example", "Use instead")
MEANT = "When it is meant"  # a heading of contradictions that can be allowed
_HEADING = rf"^({'|'.join([*HEADINGS, MEANT])}):\s*"


class Fault(Record, frozen=True):
    """What a rule has against a plan: the paths to blame, what is wrong, and what to do.

    Of a rule about values, `path` is a plan path below the stage (`adapter.targets[1]`: that item of it), or a recipe
    path that starts with `overrides.`; of several, separated by blanks, the first that the person wrote is blamed. Of a
    contradiction it is a recipe path. `suggestion` is what may stand there instead of the value.
    """

    path: str
    message: str
    advice: str
    suggestion: str | None = None


class Context(Record, frozen=True):
    """What a rule may look at beside what it checks.

    `said` is what the person wrote, as the checked stage sees it; `stage` is that stage, None for the whole recipe or a
    part that made none. Without `folders`, local folders are not looked at, so that what is found is the same on every
    machine. `usual` are the recipe paths that say what would be decided without them, `whole` is what was said of all stages. `models` remembers what is known of models.
    """

    plan: Plan
    graph: Graph
    said: Said
    stage: Stage[Any] | None
    overrides: dict[str, dict[str, Any]]
    folders: bool
    usual: frozenset[str]
    whole: Said
    models: dict[str, KnownModel | None]

    def otherwise(self, path: str) -> bool:
        """Return whether the person wrote, at a recipe path or below it, other than what would be decided anyway."""
        return self.said.place(path) not in self.usual and self.said.otherwise(path)

    def made(self, path: str) -> bool:
        """Return whether a stage of the plan leaves this folder."""
        return self.plan.maker(path) is not None

    def model(self, path: str) -> KnownModel | None:
        """Return what is known of a model; of one that an earlier stage leaves, what is known of where that began."""
        if path not in self.models:
            self.models[path] = self._model(path)
        return self.models[path]

    def _model(self, path: str) -> KnownModel | None:
        stage = self.plan.maker(path)
        start = (
            next((one.output for one in stage.inputs if isinstance(one.output, ModelOutput)), None) if stage else None
        )
        if stage is not None and start is not None and start.path != path:
            return self.model(start.path)
        return known_model(path, folders=self.folders)

    def tokenizer(self, path: str) -> Tokenizer | None:
        """Return what is known of a tokenizer; of one that an earlier stage saves, what that made of it."""
        for handed in (*self.graph.models.values(), *self.graph.merged.values()):
            if handed.stage is not None and handed.model.tokenizer == path:
                return handed.tokenizer
        return known_tokenizer(path, folders=self.folders)


Judge = Callable[[Context, Any], Iterator[Fault]]


class Rule(Record, frozen=True):
    """One rule. `name` is what a waiver says; it reads as "allow <name>". `sources` are threads in which people met it.

    `of` are the kinds of stages whose bodies it checks; `recipe` stands for the recipe as a whole, `part` for what the
    recipe says of each part of its course, `machine` for the whole and each part that says what it runs on. A contradiction names the recipe paths that it rests on as `words`: where one
    of them was wrong itself, nothing is said. `waivable`: a recipe may allow it, because somebody may mean it.
    """

    code: str
    name: str
    severity: Severity
    of: tuple[str, ...]
    sources: str
    judge: Judge
    words: tuple[str, ...] = ()
    waivable: bool = True

    def documentation(self) -> dict[str, str]:
        """Return the parts of its documentation: `What it does`, one for each of HEADINGS, and MEANT where it has one."""
        text = inspect.cleandoc(self.judge.__doc__ or "")  # which Python 3.13 does by itself
        parts = re.split(_HEADING, text, flags=re.MULTILINE)
        found = {"What it does": parts[0].strip()}
        for heading, body in zip(parts[1::2], parts[2::2], strict=True):
            rows = body.strip("\n").split("\n")
            found[heading] = "\n".join(row.removeprefix("    ") for row in rows).strip()
        return found


def rule(code: str, name: str, severity: Severity, *of: str, sources: str = "") -> Callable[[Judge], Rule]:
    """Make a rule of a function that yields what it has against a stage of these kinds (default: a training)."""
    return lambda judge: Rule(code, name, severity, of or ("train",), sources, judge)


def contradiction(
    code: str, name: str, *of: str, words: tuple[str, ...], severity: Severity = "error", waivable: bool = False
) -> Callable[[Judge], Rule]:
    """Make a rule of a function that yields where a recipe contradicts itself; `words` are what it rests on.

    One that is `waivable` has a last part in its documentation that says when it may be meant.
    """
    return lambda judge: Rule(code, name, severity, of or ("train",), "", judge, words, waivable)


def judge(rules: tuple[Rule, ...], course: Course, decision: Decision, *, folders: bool) -> list[Finding]:
    """Return what the rules find, with or without a look at local folders."""
    resolved = decision.resolved
    raw = {tool: keys for tool, keys in course.recipe.overrides if keys}
    whole = Context(
        resolved.plan, decision.graph, decision.whole, None, raw, folders, decision.usual, decision.whole, {}
    )
    subjects: dict[str, list[tuple[Context, Any]]] = {
        "recipe": [(whole, course.recipe)],
        "part": [(whole.replaced(said=said), said.recipe) for said in decision.parts],
    }
    own = (one for one in subjects["part"] if one[0].said.says_own("hardware"))
    subjects["machine"] = [*subjects["recipe"], *own]
    for stage in resolved.plan.stages:
        context = whole.replaced(said=decision.said[stage.name], stage=stage)
        subjects.setdefault(stage.kind, []).append((context, stage.body))
    found: list[Finding] = []
    for one in rules:
        for kind in one.of:
            for context, subject in subjects.get(kind, ()):
                if context.said.part.wrong and context.said.unsure(one.words):
                    continue
                for fault in one.judge(context, subject):
                    if one.words and _unheard(resolved, context, one.words):
                        continue
                    span = (
                        context.said.span(fault.path)
                        if one.words
                        else _place(course.tree, resolved, context, fault.path)
                    )
                    found.append(Finding(one.code, fault.message, span, fault.suggestion, fault.advice, one.severity))
    return found


def _unheard(resolved: Resolved, context: Context, words: tuple[str, ...]) -> bool:
    """Return whether a program of the user's own is told of nothing that some words decide: that is all to say of them."""
    stage = context.stage
    if stage is None or not system(stage.system).own_program:
        return False
    said = set(context.said.places(words))
    leaves = [leaf for leaf, origin in resolved.origins.items() if not said.isdisjoint(origin.reads)]
    own = [leaf.removeprefix(f"{stage.name}.") for leaf in leaves if leaf.startswith(f"{stage.name}.")]
    told: set[str] = heard(stage) if own else set()
    return bool(own) and not any(leaf == one or leaf.startswith(f"{one}.") for leaf in own for one in told)


def unwaived(names: dict[str, str], course: Course, findings: list[Finding]) -> list[Finding]:
    """Return the findings that the recipe does not allow; `names` gives the name of each code that may be allowed."""
    allowed = {names.get(word, word) for word in course.recipe.allow}
    return [finding for finding in findings if names.get(finding.code) not in allowed]


def waive(names: dict[str, str], course: Course, findings: list[Finding], unsure: set[str]) -> list[Finding]:
    """Return the findings that the recipe does not allow, and a warning for each allowance that matches none of them.

    `names` gives the name of each code that may be allowed; of those that are `unsure`, nothing is said of no match.
    """
    left = unwaived(names, course, findings)
    settled = {names[finding.code] for finding in findings if finding.code in names} | unsure
    for word in course.recipe.allow:
        if names.get(word, word) in set(names.values()) - settled:
            message = f'"{word}" is allowed, but that rule finds nothing here'
            span = key_span(course.tree, ("allow", word))
            left.append(Finding("L002", message, span, help="drop it from allow", severity="warning"))
    return left


def not_waivable(names: dict[str, str], never: dict[str, str], course: Course) -> list[Finding]:
    """Return an error for each allowance of what may never be allowed, or of what no rule is called.

    `names` and `never` give the names of the codes that may be allowed, and of those that may not.
    """
    found: list[Finding] = []
    for word in course.recipe.allow:
        span = key_span(course.tree, ("allow", word))
        if word in never or word in never.values():
            advice = "correct what it finds, and drop it from allow"
            found.append(
                Finding("L003", f'"{word}" cannot be allowed: the recipe would contradict itself', span, help=advice)
            )
        elif word not in names and word not in names.values():
            from recipec.suggest import nearest

            close = nearest(word, [*names, *names.values(), *never, *never.values()])
            may = close if close in names or close in names.values() else None
            if re.fullmatch(r"[A-Za-z]\d{3}", word) and may and may[0] != word[0].upper():
                may = None  # the code of another kind of finding is no slip
            advice = "`recipe rules` lists what can be waived"
            found.append(Finding("L001", f'there is no rule "{word}"', span, may, advice))
    return found


def _place(tree: Mapping, resolved: Resolved, context: Context, paths: str) -> Span:
    """Return where the person wrote the first of some paths that stands in the recipe; else the recipe's first line."""
    name = context.stage.name if context.stage is not None else ""
    for path in paths.split():
        reads: tuple[str, ...] = (path,)
        leaf, bracket, item = path.partition("[")
        if not path.startswith("overrides."):
            origin = resolved.origins.get(f"{name}.{leaf}")
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
