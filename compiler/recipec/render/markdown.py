"""Text of a recipe in Markdown: what it says is read, and none of it is markup, a link, an image or HTML."""

from __future__ import annotations

import re

from recipec.source import visible

_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
# `_` and `*` within words and between spaces are no emphasis, and stay readable
_MARKUP = re.compile(r"[\\`\[\]~]|<(?=[A-Za-z/!?])|&(?=[#\w]+;)|\*(?!\s)|(?<!\s)\*|(?<!\w)_|_(?!\w)")


def inert(text: str) -> str:
    """Return text as one line of Markdown that says it; code spans in it stay, in which nothing is markup."""
    line = visible(" ".join(text.split("\n")))
    parts: list[str] = []
    begin = 0
    for span in _CODE.finditer(line):
        parts += [_escaped(line[begin : span.start()]), span[0]]
        begin = span.end()
    return "".join([*parts, _escaped(line[begin:])])


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", text)


def cell(value: object) -> str:
    """Return a value as the cell of a table."""
    return inert(str(value)).replace("|", "\\|")


def paragraphs(text: str) -> list[str]:
    """Return text of several lines as lines of Markdown, whose paragraphs are its own."""
    return [_no_block(inert(line.strip())) for line in text.strip().split("\n")]


def _no_block(line: str) -> str:
    """Return a line that begins no heading, list or rule."""
    found = re.match(r"[#+=>-]|\d+(?=[.)](?:\s|$))", line)
    if found is None:
        return line
    at = found.end() if found[0].isdigit() else 0
    return f"{line[:at]}\\{line[at:]}"


def code(text: str) -> str:
    """Return text as a code span."""
    line = visible(text)
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if "`" in line or not line.strip() else ""
    return f"{fence}{space}{line}{space}{fence}"
