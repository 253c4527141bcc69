"""`recipe check --fix`: corrects misspelt names and values in a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recipec.diagnostics import Finding
from recipec.output import replace
from recipec.pipeline import compile_file
from recipec.render.yaml_writer import scalar
from recipec.yaml_reader import read_utf8, scalar_value

# Findings whose suggestion can replace the text that they point at; none where the user has a choice to make.
FIXABLE = frozenset(
    ["R001", "R003", "P001", "P049", "P080", "P094", "D015", "T020", "T021", "L001", "L025", "L032", "L033"]
)
ROUNDS = 5  # a corrected key can reveal a wrong value below it


class Fixed(NamedTuple):
    """What was changed in a file: a unified diff, empty when nothing was, and the number of corrections."""

    diff: str
    corrections: int


def fix(path: str, settings: Sequence[str] = (), profiles: Sequence[str] = (), variables: Sequence[str] = ()) -> Fixed:
    """Correct a recipe in place and leave the rest of it as it is. Raises RecipeError when it cannot be written.

    A correction that reveals another mistake is followed by another round. A round that leaves any of its findings
    unresolved is undone.
    """

    def found() -> list[Finding]:
        return compile_file(path, settings, profiles, variables).findings

    before = text = read_utf8(path)
    corrections = 0
    for _round in range(ROUNDS):
        fixable = [finding for finding in found() if _is_fixable(finding, path)]
        changed, fixed = _corrected(text, fixable)
        if not fixed:
            break
        replace(Path(path), changed)
        left = {(finding.code, finding.message) for finding in found()}
        if any((finding.code, finding.message) in left for finding in fixed):
            replace(Path(path), text)
            break
        text, corrections = changed, corrections + len(fixed)
    diff = difflib.unified_diff(before.splitlines(keepends=True), text.splitlines(keepends=True), path, path)
    return Fixed("".join(diff), corrections)


def _is_fixable(finding: Finding, path: str) -> bool:
    in_file = finding.span is not None and finding.span.source.name == path
    return finding.code in FIXABLE and in_file and finding.suggestion is not None


def _corrected(text: str, findings: Sequence[Finding]) -> tuple[str, list[Finding]]:
    """Return the text with suggestions applied, and the findings whose suggestion was."""
    edits: list[tuple[int, int, str]] = []
    done: list[Finding] = []
    for finding in findings:
        assert finding.span is not None
        assert finding.suggestion is not None
        begin, end = finding.span.offsets()
        if all(end <= first or begin >= last for first, last, _ in edits):
            new = finding.suggestion
            edits.append((begin, end, new if scalar_value(new) != new else scalar(new)))
            done.append(finding)
    for begin, end, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    return text, done
