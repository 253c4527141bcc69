"""Findings: what is wrong, where, and what to do about it; how they are sorted and shown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from recipec.plural import counted
from recipec.secrets import hidden, named_in
from recipec.source import Span, visible

Severity = Literal["error", "warning", "note"]  # a note says what could not be judged

MOST = 1000  # findings that are told of one recipe
WINDOW = 100  # characters of a source line that are shown around a finding


class Finding(NamedTuple):
    """One thing to tell the person. `suggestion` is the closest right name or value, `help` what to do."""

    code: str
    message: str
    span: Span | None = None
    suggestion: str | None = None
    help: str | None = None
    severity: Severity = "error"
    file: str | None = None  # for a finding about a file that has no text to point into

    def as_json(self) -> dict[str, Any]:
        """Return the machine-readable form, as `--json` prints it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "file": self.span.source.name if self.span else self.file,
            "line": self.span.line if self.span else None,
            "column": self.span.column if self.span else None,
            "end_line": self.span.end_line if self.span else None,
            "end_column": self.span.end_column if self.span else None,
            "message": self.message,
            "suggestion": self.suggestion,
            "help": self.help,
        }


class RecipeError(Exception):
    """Something in a recipe or a file stops the work; carries every finding, not just the first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = tidy(findings)


def tidy(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by place and drop repeated ones, so that output never depends on the order of checks.

    None of them says a secret of the text that it is about.
    """

    def place(finding: Finding) -> tuple[str, int, int, str, str]:
        span = finding.span
        name = span.source.name if span else finding.file or ""
        return name, span.line if span else 0, span.column if span else 0, finding.code, finding.message

    every = dict.fromkeys(findings)
    once = [finding for finding in every if finding.code != "S050"]
    if len(once) <= MOST:
        once = list(every)
    else:
        once.sort(key=lambda finding: (finding.severity != "error", place(finding)))
        more = Finding(
            "S050",
            f"more than {MOST:,} findings: the others are not shown",
            once[0].span,
            help="correct those that are, and check again",
            file=once[0].file,
        )
        once = [*once[:MOST], more._replace(severity=once[MOST].severity)]
    return sorted(map(_discreet, once), key=place)


def _discreet(finding: Finding) -> Finding:
    known = named_in(finding.span.source.text) if finding.span else ()
    said = (finding.message, finding.suggestion, finding.help)
    message, suggestion, advice = (hidden(text, known) if text else text for text in said)
    if (message, suggestion, advice) == said:
        return finding
    return finding._replace(message=message or "", suggestion=suggestion, help=advice)


def discreet_line(span: Span) -> str:
    """Return the first line of a span, in which no secret can be read."""
    return _discreet_text(span.source.line(span.line), span.source.text)


@lru_cache(maxsize=8)  # of a file on one line, many findings show parts
def _discreet_text(line: str, text: str) -> str:
    return hidden(line, named_in(text)).replace("\t", " ")


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop a compile."""
    return [finding for finding in findings if finding.severity == "error"]


def summary(findings: Sequence[Finding]) -> str:
    """Return `2 errors, 1 warning`, each severity that there is."""
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(counted(counts[word], word) for word in get_args(Severity) if counts[word]) or "no findings"


_COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36", "gutter": "1;34", "bold": "1", "help": "36"}


def render(findings: Sequence[Finding], *, colour: bool = False) -> str:
    """Return findings as text: message, `file:line:column`, the line, a caret under the exact key or value."""
    return "\n".join(_render_one(finding, colour=colour) for finding in findings)


def _render_one(finding: Finding, *, colour: bool) -> str:
    def paint(text: str, style: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if colour and text else text

    head = paint(f"{finding.severity}[{finding.code}]", finding.severity)
    lines = [f"{head}: {paint(visible(finding.message), 'bold')}"]
    advice = finding.help
    hint = f"did you mean {_quoted(finding.suggestion)}?" if finding.suggestion is not None else ""
    span = finding.span
    if span is None:
        if finding.file:
            lines.append(f"  --> {visible(finding.file)}")
    else:
        gutter = " " * len(str(span.line))
        lines.append(f"{gutter} {paint('-->', 'gutter')} {visible(span.where())}")
        text, start, width = _window(span)
        bar = paint("|", "gutter")
        lines.append(f"{gutter} {bar}")
        lines.append(f"{paint(str(span.line), 'gutter')} {bar} {text}".rstrip())
        marks = paint("^" * width, finding.severity)
        lines.append(f"{gutter} {bar} {' ' * start}{marks}{' ' + paint(hint, 'help') if hint else ''}")
        hint = ""
    indent = " " * (len(str(span.line)) if span else 0)
    for text in (hint, advice or ""):
        if text:
            lines.append(f"{indent} {paint('=', 'gutter')} {paint(visible(text), 'help')}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return f'"{visible(text)}"'


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(0 if category(c) in ("Mn", "Me") else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _window(span: Span) -> tuple[str, int, int]:
    """Return the shown line, the cell at which the mark starts, and how many cells it covers (at least 1)."""
    line = discreet_line(span)
    first = span.column - 1
    last = span.end_column - 1 if span.end_line == span.line else len(line)
    last = max(first + 1, min(last, len(line)))
    begin, cut_left, cut_right = 0, "", ""
    if len(line) > WINDOW:
        begin = max(0, min(first - 20, len(line) - WINDOW))
        cut_left = "…" if begin else ""
        cut_right = "…" if begin + WINDOW < len(line) else ""
    shown = line[begin : begin + WINDOW]
    before = cut_left + visible(shown[: first - begin])
    marked = visible(shown[first - begin : last - begin])
    return (
        cut_left + visible(shown) + cut_right,
        _cells(before),
        max(1, _cells(marked)),
    )
