"""What commands print: text, JSON and findings, so that nothing in them can drive a terminal or tell a secret."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from recipec.diagnostics import Finding, errors, render, summary
from recipec.secrets import hidden, named_in
from recipec.terminal import json_text, shown

DONE, WRONG = 0, 1


def print_text(text: str) -> None:
    """Print text, which may hold what others wrote."""
    text = shown(text)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def discreet(text: str) -> str:
    """Return text out of a file of the person, in which no secret can be read."""
    return hidden(text, named_in(text))


def say(text: str) -> None:
    """Print lines for the person, on standard error; they may hold what others wrote."""
    sys.stderr.write(shown(text) + "\n")


def as_json_text(value: Any) -> str:
    """Return JSON that standard output can encode: Python's own escapes would not be valid in JSON."""
    ascii_only = (sys.stdout.encoding or "utf-8").lower() not in ("utf-8", "utf8")
    return json_text(json.dumps(value, indent=2, ensure_ascii=ascii_only))


def print_findings(findings: Sequence[Finding], *, as_json: bool = False, form: str = "text", **more: Any) -> int:
    """Print findings in the asked form, JSON with `more` beside them; return the exit code that they mean."""
    wrong = errors(findings)
    if form in ("sarif", "github", "line"):
        from recipec.finding_formats import github, lines, sarif

        text = (
            as_json_text(sarif(findings))
            if form == "sarif"
            else github(findings)
            if form == "github"
            else lines(findings)
        )
        if text:
            print_text(text)
    elif as_json or form == "json":
        print_text(as_json_text({"ok": not wrong, "findings": [f.as_json() for f in findings], **more}))
    elif findings:
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        sys.stderr.write(render(findings, colour=colour) + "\n" + summary(findings) + "\n")
    return WRONG if wrong else DONE
