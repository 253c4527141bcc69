"""The whole way from a recipe file to the text of every emitted file. Writes nothing."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from recipec import rules
from recipec.compose import Composed, compose, no_mapping
from recipec.course import bind_course
from recipec.decide.decision import decide
from recipec.diagnostics import Finding, RecipeError, errors, tidy
from recipec.emission import place
from recipec.plan import Record, Resolved
from recipec.references import is_shell_variable, misplaced
from recipec.render.tree import files_of
from recipec.source import Mapping, Node, dotted, key_span, leaves

_SECRET_NAME = re.compile(r"(?:^|_)(?:api_?key|token|secret|password|passwd)$", re.IGNORECASE)
_TOKEN_OF_TEXT = re.compile(
    r"(?:^|_)(?:bos|eos|pad|unk|sep|cls|mask|think_start|think_end)_token$"
)  # a tokenizer's, no secret
_SECRET_TEXT = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16})\b"
)


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
) -> Compiled:
    """Compile a recipe file to the text of every file. Never raises RecipeError.

    It is merged over what it extends; chosen profiles, `a.b=c` settings and `a=c` variables are merged over it.
    With `text`, that is taken for what the file holds.
    """
    try:
        composed = compose(path, settings, profiles, variables, text)
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
    """Return what is wrong in the shape of the profiles that were not chosen, beside what is wrong anyway."""
    told = {(finding.code, finding.message) for finding in findings}
    return [
        finding._replace(help="; ".join([*filter(None, [finding.help]), f"with the profile {name}"]))
        for name, other in composed.others.items()
        for finding in bind_course(other)[1]
        if (finding.code, finding.message) not in told
    ]


def compile_tree(tree: Node, composed: Composed | None = None) -> Compiled:
    """Compile a located tree, made as `composed` says. Raises RecipeError when it is no mapping."""
    if not isinstance(tree, Mapping):
        raise no_mapping(tree)
    course, findings = bind_course(tree)
    told = {finding.span for finding in findings}
    findings += [*_secrets(tree), *(finding for finding in misplaced(tree) if finding.span not in told)]
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
    if errors(findings):
        return Compiled(recipe.name, {}, findings, None)
    files = files_of(course, decision, placed, findings, composed)
    return Compiled(recipe.name, files, findings, decision.resolved, notes)


def _of(findings: list[Finding], *, note: bool) -> list[Finding]:
    return [finding for finding in findings if (finding.severity == "note") is note]


def _secrets(tree: Node) -> list[Finding]:
    found: list[Finding] = []
    for path, node in leaves(tree):
        value = getattr(node, "value", None)
        if not isinstance(value, str) or not value:
            continue
        if ("${env:" in value or is_shell_variable(value)) and not _SECRET_TEXT.search(value):
            continue  # a reference, which `misplaced` checks
        name = str(path[-1])
        named = path[0] != "model" and _SECRET_NAME.search(name) and not _TOKEN_OF_TEXT.search(name)
        if named or _SECRET_TEXT.search(value):
            advice = "set HF_TOKEN, WANDB_API_KEY, … where you run it, or write NAME: ${env:NAME} in launch.environment; revoke this one if it was shared"
            span = key_span(tree, path) or node.span
            found.append(Finding("L027", f"{dotted(path)} holds a secret", span, help=advice))
    return found
