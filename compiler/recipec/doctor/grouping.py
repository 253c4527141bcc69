"""Findings that say one thing of several keys, as one: at the first of them, with the lines of the others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from recipec.diagnostics import Finding

_INDEX = re.compile(r"\[\d+\]")
_KEY = re.compile(r'(?P<title>[^:]+): (?P<path>\S+): unknown key "(?P<key>[^"]+)"')
_OLD = re.compile(r'(?P<title>[^:]+): "(?P<key>[^"]+)" is deprecated: (?P<note>.*)', re.DOTALL)


def grouped(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with those of one group as one: the same of several list entries, and keys of one mapping or file."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(_group(finding), []).append(finding)
    return [found[0] if len(found) == 1 else _one(found) for found in groups.values()]


def _group(finding: Finding) -> object:
    if finding.span is None:
        return finding
    where = finding.code, finding.span.source.name, finding.severity
    if _OLD.fullmatch(finding.message) and finding.code == "D103":
        return where
    said = _KEY.match(finding.message) if finding.code == "T020" else None
    if said and finding.suggestion is None:  # keys of one mapping of which the same is to be said
        return *where, _INDEX.sub("[]", said["path"].rpartition(".")[0]), finding.help
    if _INDEX.search(finding.message):
        return *where, _INDEX.sub("[]", finding.message), finding.help, finding.suggestion
    return finding


def _one(found: list[Finding]) -> Finding:
    first = found[0]
    lines = [finding.span.line for finding in found if finding.span]
    old = [said for finding in found if (said := _OLD.fullmatch(finding.message))]
    if first.code == "D103" and len(old) == len(found):
        keys = ", ".join(f'"{said["key"]}" (line {line})' for said, line in zip(old, lines, strict=True))
        notes = list(dict.fromkeys(_note(said) for said in old))
        message = f"{old[0]['title']}: {len(found)} keys are deprecated: {keys}"
        return first._replace(
            message=message, suggestion=None, help=f"{'; '.join(notes)}; they still work at this release"
        )
    names = list(dict.fromkeys(said["key"] for finding in found if (said := _KEY.match(finding.message))))
    more = ", ".join(str(line) for line in dict.fromkeys(lines[1:]))
    if first.suggestion is None and len(names) > 1:
        said = _KEY.match(first.message)
        assert said is not None
        parent = said["path"].rpartition(".")[0]
        shown = ", ".join(f'"{key}"' for key in names)
        message = f"{said['title']}: {parent + ': ' if parent else ''}unknown keys {shown}"
        return first._replace(message=f"{message} (also line {more})" if more else message)
    return first._replace(message=f"{first.message} (also line {more})")


def _note(said: re.Match[str]) -> str:
    if "without the prefix" in said["note"]:
        return "write them without their prefix"
    return f"{said['key']}: {said['note'].rstrip('.')}"
