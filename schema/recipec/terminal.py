"""Text that others wrote, made harmless: for a terminal, where it keeps its lines, and for JSON.

What a tool, a recipe or a file says must not drive the terminal that shows it (clear it, write the clipboard, hide text
by bidirectional controls). Colours are dropped, whatever else does not print is spelled out.
"""

from __future__ import annotations

import re

from recipec.source import visible

# A whole control sequence (ECMA-48, 5.4), in both spellings of its start: nearly always a colour.
_CONTROL = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]")
_NOT_PLAIN = re.compile(r"[^ -~\n\t]")
_BEGUN = re.compile(r"(?:\x1b|(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8})\Z")  # one that goes on in the next piece of text
_JOINERS = "\u200c\u200d"  # of Persian and Indic words and of emoji; they move nothing


def shown(text: str, kept: str = "\n\t") -> str:
    """Return text of several lines without colours, and with every other control or invisible character spelled out.

    A carriage return too, which would write over what stands before it; `kept` are those that stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c in kept or c in _JOINERS else visible(c) for c in _CONTROL.sub("", text))


class Shown:
    """`shown` for the output of a tool, in pieces that may be cut anywhere; progress bars keep their carriage returns."""

    def __init__(self) -> None:
        self._held = ""

    def __call__(self, piece: str, *, last: bool = False) -> str:
        """Return what can be shown of the text so far and has not been returned yet; with `last`, all of it."""
        text = self._held + piece
        begun = None if last else _BEGUN.search(text)
        self._held = begun[0] if begun else ""
        return shown(text[: begun.start()] if begun else text, "\n\t\r")


def json_text(text: str) -> str:
    """Return JSON in which what does not print is escaped; its meaning is the same."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _NOT_PLAIN.sub(lambda found: found[0] if found[0].isprintable() else _json_escape(found[0]), text)


def _json_escape(character: str) -> str:
    raw = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{raw[at : at + 4]}" for at in range(0, len(raw), 4))
