"""Findings for where people work: SARIF 2.1.0 for code scanning, annotations for GitHub Actions. Nothing is judged here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from recipec.diagnostics import Finding
from recipec.rules.catalogue import find_rule, page
from recipec.source import Span, visible

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

# What the first letter of a code says. SARIF wants a sentence for each rule; the message of a result says the rest.
FAMILIES = {
    "S": ("Syntax", "The file can be read, and is the YAML that a recipe is written in."),
    "R": ("Words", "Each word of the recipe exists and holds a value of its kind and range."),
    "P": ("Plan", "What the recipe says agrees with itself and can be planned."),
    "L": ("Lint", "What the recipe says is wise: nothing that runs, and does otherwise than was meant."),
    "D": ("Data", "The rows that it trains on hold what the recipe says of them."),
    "T": ("Target", "The tool of the stage can do what the recipe says, at the pinned release."),
    "E": ("Explain", "What was asked for stands in the plan."),
    "O": ("Output", "The output can be written without loss."),
    "U": ("Usage", "The command line is one that the command takes."),
}


def sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return a SARIF 2.1.0 log of one run; columns count characters (Unicode code points), as everywhere here."""
    codes = sorted({finding.code for finding in findings})
    driver = {"name": "recipec", "version": version("recipec"), "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True}],
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The folder in which recipe was run."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, codes.index(finding.code)) for finding in findings],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    documented = find_rule(code)
    if documented is not None:
        told = documented.documentation()
        return {
            "id": code,
            "name": documented.name,
            "shortDescription": {"text": told["What it does"]},
            "fullDescription": {"text": told["Why is this bad"]},
            "help": {"text": page(documented), "markdown": page(documented)},
        }
    name, text = FAMILIES.get(code[0], ("Finding", "A finding of recipec."))
    return {
        "id": code,
        "name": f"{name}{code[1:]}",
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": "The message of each result says what is wrong, and what to do about it."},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": _said(finding)},
    }
    file, span = _file(finding), finding.span
    if file is not None:
        region = _region(span) if span else {"startLine": 1}  # code scanning shows no result without a line
        result["locations"] = [{"physicalLocation": {"artifactLocation": _artifact(file), "region": region}}]
    elif span:  # an option of the command line is no file
        result["locations"] = [{"logicalLocations": [{"fullyQualifiedName": f"{span.source.name} {span.source.text}"}]}]
    return result


def _region(span: Span) -> dict[str, Any]:
    region: dict[str, Any] = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
    if span.line == span.end_line and (text := span.source.line(span.line)[span.column - 1 : span.end_column - 1]):
        region["snippet"] = {"text": text}
    return region


def _file(finding: Finding) -> str | None:
    """Return the file that a finding is about; an option such as `--set` and the command line itself are none."""
    name = finding.span.source.name if finding.span else finding.file
    return None if not name or name.startswith("--") or finding.code.startswith("U") else name


def _artifact(name: str) -> dict[str, str]:
    """Return where a file is: below the folder one is in as a relative URI, elsewhere as a whole one."""
    path, here = os.path.abspath(name), os.getcwd()  # noqa: PTH100, PTH109  # pathlib would follow links
    if path.startswith(here.rstrip("/") + "/"):
        return {"uri": quote(os.fsencode(os.path.relpath(path, here))), "uriBaseId": "ROOT"}
    return {"uri": "file://" + quote(os.fsencode(path))}


def _said(finding: Finding) -> str:
    """Return message, suggestion and advice as lines of one text; each is one line, whatever the recipe holds."""
    hint = f'did you mean "{finding.suggestion}"?' if finding.suggestion is not None else None
    parts = [visible(part) for part in (finding.message, hint, finding.help) if part]
    return "\n".join(part if part.endswith((".", "?")) else f"{part}." for part in parts)


def github(findings: Sequence[Finding]) -> str:
    """Return the workflow commands with which GitHub Actions shows findings beside the lines, one a line."""
    return "\n".join(_annotation(finding) for finding in findings)


def _annotation(finding: Finding) -> str:
    properties: dict[str, object] = {}
    file, span = _file(finding), finding.span
    if file is not None:
        properties["file"] = file
        if span:
            properties |= {"line": span.line, "endLine": span.end_line}
            if span.line == span.end_line:  # GitHub takes columns on one line only
                properties |= {"col": span.column, "endColumn": span.end_column}
    properties["title"] = finding.code
    words = ",".join(f"{key}={_escaped(str(value), inside=True)}" for key, value in properties.items())
    return f"::{finding.severity} {words}::{_escaped(_said(finding))}"


def _escaped(text: str, *, inside: bool = False) -> str:
    """Escape as the runner unescapes; `inside` a property, colons and commas too."""
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), *([(":", "%3A"), (",", "%2C")] if inside else [])]
    for character, code in pairs:
        text = text.replace(character, code)
    return text
