"""The whole way from a recipe file to the text of every emitted file. Writes nothing."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as Mapping_
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from recipec import rules
from recipec.compose import Composed, compose, no_mapping
from recipec.course import Course, bind_course
from recipec.decide.decision import decide
from recipec.diagnostics import MOST, Finding, RecipeError, errors, tidy
from recipec.emission import place
from recipec.plan import Record, Resolved
from recipec.references import is_shell_variable, misplaced
from recipec.render.tree import files_of
from recipec.secrets import has_shape, is_named, shapes
from recipec.source import Mapping, Node, Plain, Scalar, Span, dotted, key_span, leaves, split_path
from recipec.source import Path as Steps
from recipec.sweep import Sweep, Variant, sweep_of

if TYPE_CHECKING:
    from recipec.variants import Outcome

_ADVICE = (
    "set HF_TOKEN, WANDB_API_KEY, … where you run it, or write NAME: ${env:NAME} in launch.environment; "
    "revoke this one if it was shared"
)

PROFILES = 16  # that are not chosen, and judged as if they were


class Compiled(Record, frozen=True):
    """What came of one recipe. `files` is empty when there are errors.

    `notes` say what could not be judged, where there are no errors; `findings` are everything else that there is to say.
    `variant` is the one of a sweep that this is, None without one: its name then ends the recipe's, behind a slash.
    """

    name: str
    files: dict[str, str]
    findings: list[Finding]
    resolved: Resolved | None
    notes: list[Finding] = []
    variant: Variant | None = None

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
    variants: Sequence[str] = (),
) -> Compiled:
    """Compile a recipe file to the text of every file. Never raises RecipeError.

    It is merged over what it extends; chosen profiles, `a.b=c` settings and `a=c` variables are merged over it.
    With `text`, that is taken for what the file holds; what a `rehearsal` swaps is laid over all of it. Of a sweep, it is the
    first variant, of those whose names match one of the `variants`, that has no errors; if all have, the first.
    """
    try:
        return compile_composed(path, compose(path, settings, profiles, variables, text, rehearsal), variants)
    except RecipeError as error:
        return Compiled("", {}, error.findings, None)


def compile_composed(path: str, composed: Composed, variants: Sequence[str] = ()) -> Compiled:
    """Compile a composed recipe as `compile_file` does. Never raises RecipeError."""
    try:
        sweep = sweep_of(composed.tree)
        if sweep is None:
            return _whole(path, composed, composed.tree)
        first: Compiled | None = None
        for one in of_sweep(path, composed, sweep, variants):
            if not errors(one.findings):
                return one
            first = first or one
        assert first is not None  # there is one at least, or an error has been raised
    except RecipeError as error:
        return Compiled("", {}, error.findings, None)
    return first


def of_sweep(
    path: str,
    composed: Composed,
    sweep: Sweep,
    chosen: Sequence[str] = (),
    trials: Iterable[Mapping_[str, Plain]] = (),
) -> Iterator[Compiled]:
    """Yield every variant of a sweep, or those whose names match one of the `chosen` patterns, as it is compiled.

    `trials` are the values of those that a search has chosen.

    One that the rules refuse has their errors; raises RecipeError where a path or a value is no word of the language.
    """
    from recipec.variants import NAME, Known, Outcome, Traced

    first = True

    def of(compiled: Compiled) -> Outcome:
        return Outcome(compiled.name, compiled.files, compiled.findings, compiled.notes)

    def plainly(variant: Variant) -> Outcome:
        return of(_whole(path, composed, variant.tree(sweep.base), variant, alone=not first))

    def traced(variant: Variant, numbers: Traced) -> Outcome:
        named = variant._replace(name=NAME)
        return of(_whole(path, composed, variant.tree(sweep.base), named, alone=True, traced=numbers.course))

    known = Known(plainly, traced)
    for variant in sweep.variants(chosen, trials):
        if first:  # whoever wants but one gets it whole, and nothing is done for the others
            compiled = _whole(path, composed, variant.tree(sweep.base), variant)
            first = False
        else:
            compiled = Compiled(*_fields(known.outcome(variant)), variant)
        if any(finding.code[0] in "RS" for finding in errors(compiled.findings)):
            exact = _whole(path, composed, variant.tree(sweep.base, exact=True), variant, alone=True)
            raise RecipeError([_whole_path(one, sweep) for one in errors(exact.findings) or compiled.findings])
        yield compiled


def _fields(found: "Outcome") -> tuple[str, dict[str, str], list[Finding], None, list[Finding]]:
    return found.name, found.files, found.findings, None, found.notes


def _whole_path(finding: Finding, sweep: Sweep) -> Finding:
    """Return a finding with the whole path as its suggestion, where it is about one that a sweep names."""
    path = next((path for path, key in sweep.keys.items() if key == finding.span), None)
    if path is None or finding.suggestion is None:
        return finding
    return finding._replace(suggestion=dotted((*split_path(path)[:-1], finding.suggestion)))


def _whole(
    path: str,
    composed: Composed,
    tree: Node,
    variant: Variant | None = None,
    *,
    alone: bool = False,
    traced: Callable[[Course], Course] | None = None,
) -> Compiled:
    """Compile a composed recipe, or a variant of it, with all that there is to say; of it `alone`, not of its profiles."""
    compiled = compile_tree(tree, composed, variant=variant, traced=traced)
    found = [*compiled.findings, *([] if alone else _of_profiles(composed, compiled.findings))]
    name = compiled.name.partition("/")[0]
    kept = os.path.join(os.path.dirname(path), f"{name}.tokens.json")  # noqa: PTH118, PTH120  # mostly not there
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
    for number, (name, other) in enumerate((name, _first(other)) for name, other in composed.others.items()):
        shape = bind_course(other)[1]
        whole = number < PROFILES and not shape and not errors(findings)
        more = errors(compile_tree(other, composed, written=False).findings) if whole else []
        new = [finding for finding in (*shape, *more) if (finding.code, finding.message) not in told]
        for finding in new:
            advice = "; ".join([*filter(None, [finding.help]), f"with the profile {name}"])
            span = finding.span if finding in shape else _of_profile(composed.tree, other, finding.span)
            found.append(finding._replace(span=span, help=advice, severity="error" if finding in shape else "warning"))
    return found


def _first(tree: Mapping) -> Mapping:
    """Return a recipe as the first variant of its sweep sees it, or itself."""
    try:
        sweep = sweep_of(tree)
        return tree if sweep is None else next(sweep.variants()).tree(sweep.base)
    except RecipeError:
        return tree


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


def compile_tree(
    tree: Node,
    composed: Composed | None = None,
    *,
    written: bool = True,
    variant: Variant | None = None,
    traced: Callable[[Course], Course] | None = None,
) -> Compiled:
    """Compile a located tree, made as `composed` says, of a `variant` if it is one; files are made where they are to be `written`.

    `traced` puts traced numbers into what was bound. Raises RecipeError when it is no mapping.
    """
    if not isinstance(tree, Mapping):
        raise no_mapping(tree)
    course, findings = bind_course(tree)
    told = {finding.span for finding in findings}
    findings += [*_secrets(tree, composed), *(finding for finding in misplaced(tree) if finding.span not in told)]
    if course is None:
        return Compiled("", {}, tidy(findings), None, variant=variant)
    if variant is not None:
        course = course.named(f"{course.recipe.name}/{variant.name}")
    if traced is not None:
        course = traced(course)
        tree = course.tree
    findings += rules.unallowable(course)
    recipe = course.recipe
    decision = decide(course)
    more = rules.contradictions(course, decision)
    left = rules.unallowed(course, more)
    if errors(left) or any(part.wrong for part in course.parts):
        left = [finding for finding in left if finding.span is None or finding.span not in told]  # one thing of a value
        return Compiled(recipe.name, {}, tidy([*findings, *_of(left, note=False)]), None, variant=variant)
    before = set(findings)
    every = rules.findings(course, decision, [*findings, *more])
    every = [one for one in every if one in before or one.span is None or one.span not in told]
    findings, notes = _of(every, note=False), tidy(_of(every, note=True))
    placed = place(course, decision, findings)
    findings = tidy(findings)
    weighty = _of(findings, note=False)
    if errors(weighty):
        return Compiled(recipe.name, {}, weighty, None, variant=variant)
    files = files_of(course, decision, placed, findings, composed) if written else {}
    notes = tidy([*notes, *_of(findings, note=True)])
    return Compiled(recipe.name, files, weighty, decision.resolved, notes, variant)


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
