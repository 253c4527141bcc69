"""Findings that a person has looked at and wants no longer told: by a comment beside them, or on the command line.

`# doctor: allow D103: reason` silences codes on its own line, or on the next one where the comment stands alone;
`--allow [FILE:[LINE:]]CODE` does so from outside, as for JSON, which has no comments. What silences nothing is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from recipec.diagnostics import Finding
from recipec.source import Source, Span

_COMMENT = re.compile(r"#\s*doctor:\s*allow\s+([A-Z]\d{3}(?:\s*,\s*[A-Z]\d{3})*)\s*(?::\s*(\S.*))?$")
_FLAG = re.compile(r"(?:(?P<file>.+?):(?:(?P<line>\d{1,9}):)?)?(?P<code>[A-Z]\d{3})")


class Waiver(NamedTuple):
    """One code that is allowed: in which file and on which line (none: on any), and where that is said (none: `--allow`)."""

    code: str
    file: str | None
    line: int | None
    span: Span | None = None
    reason: str = ""

    def covers(self, finding: Finding) -> bool:
        """Return whether a finding is the one that is meant."""
        name = finding.span.source.name if finding.span else finding.file
        return (
            finding.code == self.code
            and self.file in (None, name)
            and (self.line is None or (finding.span is not None and finding.span.line == self.line))
        )


def waivers_in(source: Source) -> list[Waiver]:
    """Return what the comments of a file allow."""
    found: list[Waiver] = []
    lines = source.text.splitlines()
    for number, line in enumerate(lines, 1):
        said = _COMMENT.search(line)
        if said is None:
            continue
        at = number
        if not line[: said.start()].strip():  # alone on its line: it is about the next one that says something
            at = next((n for n in range(number + 1, len(lines) + 1) if lines[n - 1].split("#")[0].strip()), number)
        span = Span(source, number, said.start() + 1, number, said.end() + 1)
        found += [Waiver(code.strip(), source.name, at, span, said[2] or "") for code in said[1].split(",")]
    return found


def waivers_of(flags: Iterable[str]) -> list[Waiver]:
    """Return what `--allow` says. Raises ValueError with what it may say."""
    found: list[Waiver] = []
    for flag in flags:
        said = _FLAG.fullmatch(flag)
        if said is None:
            raise ValueError(
                f"--allow {flag}: write CODE, FILE:CODE or FILE:LINE:CODE, as `--allow train.yaml:12:T020`"
            )
        found.append(Waiver(said["code"], said["file"], int(said["line"]) if said["line"] else None))
    return found


def without_allowed(findings: Sequence[Finding], waivers: Sequence[Waiver]) -> list[Finding]:
    """Return the findings that nobody allowed, and what the waivers themselves deserve."""
    used: set[int] = set()
    kept: list[Finding] = []
    for finding in findings:
        mine = [number for number, waiver in enumerate(waivers) if waiver.covers(finding)]
        used.update(mine)
        if not mine or finding.code.startswith("S"):  # a file that cannot be read is not judged at all
            kept.append(finding)
    for number, waiver in enumerate(waivers):
        place = waiver.file if waiver.span is None else None
        if number not in used:
            message = f"{waiver.code} is allowed here, but doctor finds no such thing"
            kept.append(Finding("D195", message, waiver.span, None, "delete it", "warning", place or "command line"))
        elif waiver.span is not None and not waiver.reason:
            message = f"{waiver.code} is allowed without a reason"
            kept.append(
                Finding("D195", message, waiver.span, None, f"write `# doctor: allow {waiver.code}: reason`", "warning")
            )
    return kept
