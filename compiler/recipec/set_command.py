"""`recipe set`: values of a recipe file given or taken out in place, where the result is a better recipe or as good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recipec.compose import read_setting
from recipec.diagnostics import Finding, RecipeError, errors
from recipec.edit import DELETE, Change, edited
from recipec.output import replace
from recipec.pipeline import compile_file
from recipec.source import Source, Span, plain, split_path
from recipec.yaml_reader import read_utf8


def change_file(path: str, settings: Sequence[str], unset: Sequence[str]) -> tuple[list[Finding], bool]:
    """Change a recipe file; return what the result is told, and whether the file changed.

    The file stays as it is, and the errors are among the findings, where the result has an error that it had not
    before. Raises RecipeError when a setting is malformed, or the file has no place for it.
    """
    if not settings and not unset:
        raise RecipeError([Finding("S030", "nothing to set", file=path, help="write recipe set FILE train.epochs=3")])
    changes = [_change(setting) for setting in settings]
    changes += [Change(_path(text), DELETE) for text in unset]
    before = read_utf8(path)
    try:
        after = edited(before, changes, path)
    except RecipeError as error:
        advice = "delete a value of an extended file with null: recipe set FILE a.b=null"
        told = [
            one._replace(help=f"{one.help}; {advice}") if unset and one.code == "S031" else one
            for one in error.findings
        ]
        raise RecipeError(told) from None
    if after == before:
        return [], False
    findings = findings_after(path, after)
    old = {(finding.code, finding.message) for finding in errors(compile_file(path).findings)}
    if any((finding.code, finding.message) not in old for finding in errors(findings)):
        return findings, False
    replace(Path(path), after)
    return [finding for finding in findings if finding.severity == "warning"], True


def findings_after(path: str, text: str) -> list[Finding]:
    """Return what a recipe would be told if its file held `text`: it is read from there, its parents from beside."""
    return compile_file(path, text=text).findings


def _change(setting: str) -> Change:
    path, value = read_setting(setting, "recipe set")
    return Change(path, plain(value))


def _path(text: str) -> tuple[str | int, ...]:
    try:
        return split_path(text)
    except ValueError:
        whole = Span(Source("--unset", text, "--unset"), 1, 1, 1, max(2, len(text) + 1))
        raise RecipeError([Finding("S030", "expected a path", whole, help="write --unset train.epochs")]) from None
