"""Findings as SARIF 2.1.0, for code scanning and editors, and as annotations for GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from recipec.diagnostics import Finding, discreet_line
from recipec.rules.catalogue import find_rule, page
from recipec.secrets import hidden, named_in
from recipec.source import Span, visible

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

# By the first letter of a code. SARIF needs a sentence for each rule; the message of a result has the details.
FAMILIES = {
    "S": ("Syntax", "The file can be read and is valid YAML."),
    "R": ("Schema", "Every key of the recipe exists, and its value has the right type and range."),
    "P": ("Plan", "The settings of the recipe are consistent and can be planned."),
    "L": ("Lint", "The recipe does what was probably intended: no setting is valid but likely a mistake."),
    "D": ("Data", "The training data is as the recipe describes it."),
    "T": ("Target", "The tool of the stage supports what the recipe asks for, at the pinned release."),
    "E": ("Execution", "The run, or the environment that it needs, is in order."),
    "O": ("Output", "The output can be written without overwriting other files."),
    "U": ("Usage", "The command line is valid."),
}


def sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return a SARIF 2.1.0 log of one run; columns count characters (Unicode code points)."""
    codes = sorted({finding.code for finding in findings})
    driver = {"name": "recipec", "version": version("recipec"), "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True}],
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The folder in which recipec was run."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, codes.index(finding.code)) for finding in findings],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    documented = find_rule(code)
    if documented is not None:
        documentation = documented.documentation()
        return {
            "id": code,
            "name": documented.name,
            "shortDescription": {"text": documentation["What it does"]},
            "fullDescription": {"text": documentation["Why is this bad"]},
            "help": {"text": page(documented), "markdown": page(documented)},
        }
    name, text = FAMILIES.get(code[0], ("Finding", "A finding of recipec."))
    return {
        "id": code,
        "name": f"{name}{code[1:]}",
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": "The message of each result says what is wrong and how to fix it."},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": _text(finding)},
    }
    file, span = _file(finding), finding.span
    if file is not None:
        region = _region(span) if span else {"startLine": 1}  # code scanning ignores a result without a line
        result["locations"] = [{"physicalLocation": {"artifactLocation": _artifact(file), "region": region}}]
    elif span:  # an option of the command line, not a file
        result["locations"] = [
            {
                "logicalLocations": [
                    {"fullyQualifiedName": f"{span.source.name} {hidden(span.source.text, named_in(span.source.text))}"}
                ]
            }
        ]
    return result


def _region(span: Span) -> dict[str, Any]:
    region: dict[str, Any] = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
    if span.line == span.end_line and (text := discreet_line(span)[span.column - 1 : span.end_column - 1]):
        region["snippet"] = {"text": text}
    return region


def _file(finding: Finding) -> str | None:
    """Return the file that a finding is about; None for the command line and its options, such as `--set`."""
    name = finding.span.source.name if finding.span else finding.file
    return None if not name or name.startswith("--") or finding.code.startswith("U") else name


def _artifact(name: str) -> dict[str, str]:
    """Return the location of a file: a relative URI below the current folder, elsewhere an absolute one."""
    path, here = os.path.abspath(name), os.getcwd()  # noqa: PTH100, PTH109  # pathlib would follow links
    if path.startswith(here.rstrip("/") + "/"):
        return {"uri": quote(os.fsencode(os.path.relpath(path, here))), "uriBaseId": "ROOT"}
    return {"uri": "file://" + quote(os.fsencode(path))}


def _text(finding: Finding) -> str:
    """Return message, suggestion and advice, one line each; line breaks and control characters in them are escaped."""
    hint = f'did you mean "{finding.suggestion}"?' if finding.suggestion is not None else None
    parts = [visible(part) for part in (finding.message, hint, finding.help) if part]
    return "\n".join(part if part.endswith((".", "?")) else f"{part}." for part in parts)


def lines(findings: Sequence[Finding]) -> str:
    """Return each finding on a line of its own, as compilers and editors have it: `file:line:column: severity[code] message`."""
    return "\n".join(_line(finding) for finding in findings)


def _line(finding: Finding) -> str:
    where = finding.span.where() if finding.span else finding.file or "recipec"
    hint = f'did you mean "{finding.suggestion}"?' if finding.suggestion is not None else None
    said = "; ".join(visible(part) for part in (finding.message, hint, finding.help) if part)
    return f"{visible(where)}: {finding.severity}[{finding.code}] {said}"


def github(findings: Sequence[Finding]) -> str:
    """Return workflow commands, one on each line, with which GitHub Actions shows findings next to the code."""
    return "\n".join(_annotation(finding) for finding in findings)


def _annotation(finding: Finding) -> str:
    properties: dict[str, object] = {}
    file, span = _file(finding), finding.span
    if file is not None:
        properties["file"] = file
        if span:
            properties |= {"line": span.line, "endLine": span.end_line}
            if span.line == span.end_line:  # GitHub accepts columns only within one line
                properties |= {"col": span.column, "endColumn": span.end_column}
    properties["title"] = finding.code
    words = ",".join(f"{key}={_escaped(str(value), inside=True)}" for key, value in properties.items())
    level = "notice" if finding.severity == "note" else finding.severity  # as GitHub calls it
    return f"::{level} {words}::{_escaped(_text(finding))}"


def _escaped(text: str, *, inside: bool = False) -> str:
    """Escape text for a workflow command; `inside` a property, colons and commas too."""
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), *([(":", "%3A"), (",", "%2C")] if inside else [])]
    for character, code in pairs:
        text = text.replace(character, code)
    return text
