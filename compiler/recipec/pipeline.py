"""The whole way from a recipe file to the text of every emitted file. Writes nothing."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from recipec import rules
from recipec.compose import Composed, compose, no_mapping
from recipec.course import bind_course
from recipec.decide.decision import decide
from recipec.diagnostics import MOST, Finding, RecipeError, errors, tidy
from recipec.emission import place
from recipec.plan import Record, Resolved
from recipec.references import is_shell_variable, misplaced
from recipec.render.tree import files_of
from recipec.secrets import has_shape, is_named, shapes
from recipec.source import Mapping, Node, Scalar, Span, dotted, key_span, leaves
from recipec.source import Path as Steps

_ADVICE = (
    "set HF_TOKEN, WANDB_API_KEY, … where you run it, or write NAME: ${env:NAME} in launch.environment; "
    "revoke this one if it was shared"
)

PROFILES = 16  # that are not chosen, and judged as if they were


class Compiled(Record, frozen=True):
    """What came of one recipe. `files` is empty when there are errors.

    `notes` say what could not be judged, where there are no errors; `findings` are everything else that there is to say.
    """

    name: str
    files: dict[str, str]
    findings: list[Finding]
    resolved: Resolved | None
    notes: list[Finding] = []

    @property
    def told(self) -> list[Finding]:
        """All that there is to say, in the order of its places."""
        return tidy([*self.findings, *self.notes])


def compile_file(
    path: str,
    settings: Sequence[str] = (),
    profiles: Sequence[str] = (),
    variables: Sequence[str] = (),
    text: str | None = None,
    rehearsal: Sequence[str] = (),
) -> Compiled:
    """Compile a recipe file to the text of every file. Never raises RecipeError.

    It is merged over what it extends; chosen profiles, `a.b=c` settings and `a=c` variables are merged over it.
    With `text`, that is taken for what the file holds; what a `rehearsal` swaps is laid over all of it.
    """
    try:
        composed = compose(path, settings, profiles, variables, text, rehearsal)
        compiled = compile_tree(composed.tree, composed)
    except RecipeError as error:
        return Compiled("", {}, error.findings, None)
    found = [*compiled.findings, *_of_profiles(composed, compiled.findings)]
    kept = os.path.join(os.path.dirname(path), f"{compiled.name}.tokens.json")  # noqa: PTH118, PTH120  # mostly not there
    if compiled.resolved is not None and os.path.exists(kept):  # noqa: PTH110
        from recipec import snapshot

        found += snapshot.findings(Path(kept), compiled.resolved, path)
    findings = tidy(composed.told(found))
    notes = tidy(composed.told(compiled.notes))
    return compiled.replaced(files={} if errors(findings) else compiled.files, findings=findings, notes=notes)


def _of_profiles(composed: Composed, findings: Sequence[Finding]) -> list[Finding]:
    """Return what is wrong with the profiles that were not chosen, beside what is wrong anyway.

    A shape is wrong with whatever else is chosen. What contradicts or does not fit is a warning: another profile, chosen
    together with it, may mend it.
    """
    told = {(finding.code, finding.message) for finding in findings}
    found: list[Finding] = []
    for number, (name, other) in enumerate(composed.others.items()):
        shape = bind_course(other)[1]
        whole = number < PROFILES and not shape and not errors(findings)
        more = errors(compile_tree(other, composed, written=False).findings) if whole else []
        new = [finding for finding in (*shape, *more) if (finding.code, finding.message) not in told]
        for finding in new:
            advice = "; ".join([*filter(None, [finding.help]), f"with the profile {name}"])
            span = finding.span if finding in shape else _of_profile(composed.tree, other, finding.span)
            found.append(finding._replace(span=span, help=advice, severity="error" if finding in shape else "warning"))
    return found


def _of_profile(tree: Node, other: Mapping, span: Span | None) -> Span | None:
    """Return the place in a profile that a finding is about: what it says in the section that the finding points into.

    Where it says nothing there, the first thing that it says: without it, there would be no finding.
    """
    before = {node.span for _, node in leaves(tree)}
    own = {path: node.span for path, node in leaves(other) if node.span not in before}
    section = next((path[:-1] for path, node in leaves(other) if span in (node.span, key_span(other, path))), None)
    if span in own.values() or section is None:
        return span
    return next(
        (place for path, place in own.items() if path[: len(section)] == section), next(iter(own.values()), span)
    )


def compile_tree(tree: Node, composed: Composed | None = None, *, written: bool = True) -> Compiled:
    """Compile a located tree, made as `composed` says; files are made where they are to be `written`.

    Raises RecipeError when it is no mapping.
    """
    if not isinstance(tree, Mapping):
        raise no_mapping(tree)
    course, findings = bind_course(tree)
    told = {finding.span for finding in findings}
    findings += [*_secrets(tree, composed), *(finding for finding in misplaced(tree) if finding.span not in told)]
    if course is None:
        return Compiled("", {}, tidy(findings), None)
    findings += rules.unallowable(course)
    recipe = course.recipe
    decision = decide(course)
    more = rules.contradictions(course, decision)
    left = rules.unallowed(course, more)
    if errors(left) or any(part.wrong for part in course.parts):
        left = [finding for finding in left if finding.span is None or finding.span not in told]  # one thing of a value
        return Compiled(recipe.name, {}, tidy([*findings, *_of(left, note=False)]), None)
    before = set(findings)
    every = rules.findings(course, decision, [*findings, *more])
    every = [one for one in every if one in before or one.span is None or one.span not in told]
    findings, notes = _of(every, note=False), tidy(_of(every, note=True))
    placed = place(course, decision, findings)
    findings = tidy(findings)
    weighty = _of(findings, note=False)
    if errors(weighty):
        return Compiled(recipe.name, {}, weighty, None)
    files = files_of(course, decision, placed, findings, composed) if written else {}
    return Compiled(recipe.name, files, weighty, decision.resolved, tidy([*notes, *_of(findings, note=True)]))


def _of(findings: list[Finding], *, note: bool) -> list[Finding]:
    return [finding for finding in findings if (finding.severity == "note") is note]


def _secrets(tree: Mapping, composed: Composed | None) -> list[Finding]:
    """Name every secret: in values and keys of the recipe and of each file that it is made of, and in their comments."""
    found: dict[Span, Finding] = {}
    for one in (tree, *(composed.trees if composed is not None else ())):
        for path, node in leaves(one):
            if _holds_secret(path, node.value if isinstance(node, Scalar) else None):
                span = key_span(one, path) or node.span
                found.setdefault(span, Finding("L027", f"{dotted(path)} holds a secret", span, help=_ADVICE))
    told = {(span.source, line) for span in found for line in range(span.line, span.end_line + 1)}
    for source in (tree.span.source, *(composed.layers if composed is not None else ())):
        for begin, end in islice(shapes(source.text), MOST):
            span = source.at(begin)
            if (source, span.line) not in told:
                told.add((source, span.line))
                last = source.at(end - 1)
                span = span._replace(end_line=last.line, end_column=last.end_column)
                found.setdefault(span, Finding("L027", "this text holds a secret", span, help=_ADVICE))
    return list(found.values())


def _holds_secret(path: Steps, value: object) -> bool:
    if any(isinstance(step, str) and has_shape(step) for step in path):
        return True
    if not isinstance(value, str) or not value:
        return False
    if has_shape(value):
        return True
    if "${env:" in value or is_shell_variable(value):
        return False  # a reference, which `misplaced` checks
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    return path[0] != "model" and is_named(name, value)
