"""`recipe check --fix`: what can be mended by putting the right name or value in the place of the wrong one."""

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

# Findings whose suggestion may stand where the finding points: names and values, never a choice between ways.
MENDED = frozenset(
    ["R001", "R003", "P001", "P049", "P080", "P094", "D015", "T020", "T021", "L001", "L025", "L032", "L033"]
)
ROUNDS = 5  # a mended key may show a wrong value below it


class Fixed(NamedTuple):
    """What was done to a file: a unified diff, empty when nothing was, and the number of places that were mended."""

    diff: str
    mended: int


def fix(path: str, settings: Sequence[str] = (), profiles: Sequence[str] = (), variables: Sequence[str] = ()) -> Fixed:
    """Mend a recipe in place, keeping everything else of it as it is. Raises RecipeError when it cannot be written.

    A mended place may uncover another mistake, which is mended in its turn; a change that leaves what it was made for is
    not kept.
    """

    def found() -> list[Finding]:
        return compile_file(path, settings, profiles, variables).findings

    before = text = read_utf8(path)
    mended = 0
    for _round in range(ROUNDS):
        told = [finding for finding in found() if _can_be_mended(finding, path)]
        changed, done = _mended(text, told)
        if not done:
            break
        replace(Path(path), changed)
        left = {(finding.code, finding.message) for finding in found()}
        if any((finding.code, finding.message) in left for finding in done):
            replace(Path(path), text)
            break
        text, mended = changed, mended + len(done)
    diff = difflib.unified_diff(before.splitlines(keepends=True), text.splitlines(keepends=True), path, path)
    return Fixed("".join(diff), mended)


def _can_be_mended(finding: Finding, path: str) -> bool:
    there = finding.span is not None and finding.span.source.name == path
    return finding.code in MENDED and there and finding.suggestion is not None


def _mended(text: str, findings: Sequence[Finding]) -> tuple[str, list[Finding]]:
    """Return the text with suggestions in their places, and the findings that this is for."""
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
