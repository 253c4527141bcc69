"""Characters that look like YAML's own and are none: what a text copied from a page or typed in another script holds.

Asked only of texts that are not ASCII.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from unicodedata import name

# Blanks: no-break, thin, ideographic, of no width.
BLANKS = "\xa0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff"
DASHES = "\u2010-\u2015\u2022\u2043\u2212\uff0d"
MARKS = {
    "\uff1a": ":",
    "\uff0c": ",",
    "\u3001": ",",
    "\uff5b": "{",
    "\uff5d": "}",
    "\uff3b": "[",
    "\uff3d": "]",
    "\uff03": "#",
}
_INDENT = re.compile(rf"[ \t]*([{BLANKS}])[ \t{BLANKS}]*[^ \t{BLANKS}]")
_EDGE = re.compile(rf"^[{BLANKS}]|[{BLANKS}](?=[ \t{BLANKS}]*(?:#|$))")
_AFTER_COLON = re.compile(rf"\w:([{BLANKS}])")
_ITEM = re.compile(rf"[ \t{BLANKS}]*([{DASHES}])[ \t{BLANKS}]")
_COLON = re.compile(r"[A-Za-z_]\w*[ \t]*(\uff1a)")
_MARK = re.compile(f"[{''.join(MARKS)}]")
_CURLY = re.compile("[\u2018-\u201f]")


class LookAlike(NamedTuple):
    """One such character: at which index of a text, the code of the finding, what to say of it, and what to do."""

    at: int
    code: str
    message: str
    advice: str


def spelled(char: str) -> str:
    """Return the name of a character as people read it: `no-break space (U+00A0)`."""
    return f"{name(char, 'a character').lower()} (U+{ord(char):04X})"


def _article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


def around(text: str, *, alone: bool) -> LookAlike | None:
    """Return what is wrong at the edges of an unquoted value or key; `alone`: nothing stands before it on its line."""
    if text.isascii():
        return None
    if found := _EDGE.search(text):
        if alone and found.start() == 0:
            return _indent(found.start(), found[0])
        return LookAlike(found.start(), "S022", f"{_article(spelled(found[0]))} is part of this text", "delete it, or write a space")  # fmt: skip
    if alone and (found := _ITEM.match(text)):
        return _item(found.start(1), found[1])
    if alone and (found := _COLON.match(text)):
        return _mark(found.start(1), found[1])
    return None


def in_line(line: str) -> LookAlike | None:
    """Return what may be the reason that a line is no YAML."""
    if line.isascii() or line.lstrip(" \t").startswith("#"):
        return None
    if found := _INDENT.match(line):
        return _indent(found.start(1), found[1])
    if found := _ITEM.match(line):
        return _item(found.start(1), found[1])
    if found := _AFTER_COLON.search(line):
        message = f"{_article(spelled(found[1]))} follows the colon"
        return LookAlike(found.start(1), "S022", message, "write a space")
    if found := _MARK.search(line):
        return _mark(found.start(), found[0])
    if found := _CURLY.search(line):
        message = f"{_article(spelled(found[0]))} begins or ends no text in YAML"
        return LookAlike(found.start(), "S022", message, """write plain quotes: " or '""")
    return None


def _indent(at: int, char: str) -> LookAlike:
    return LookAlike(at, "S020", f"{_article(spelled(char))} is used to indent", "YAML indents with spaces only")


def _item(at: int, char: str) -> LookAlike:
    return LookAlike(at, "S022", f"{_article(spelled(char))} begins no item of a list", 'write "- "')


def _mark(at: int, char: str) -> LookAlike:
    mark = MARKS[char]
    return LookAlike(at, "S022", f"{_article(spelled(char))} is no {_WORDS[mark]} to YAML", f'write "{mark}"')


_WORDS = {":": "colon", ",": "comma", "{": "brace", "}": "brace", "[": "bracket", "]": "bracket", "#": "comment"}
