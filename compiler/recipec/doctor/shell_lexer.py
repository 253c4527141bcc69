"""The text of a shell as commands of words, with the place of each: quotes are taken off, and nothing is filled in."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from recipec.source import Source, Span

_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_SEPARATORS = ("&&", "||", ";;", ";", "|", "&", "(", ")", "\n")
_ESCAPED = ('"', "\\", "$", "`", "\n")  # what a backslash takes its meaning from within double quotes
_OPENS_LIST = re.compile(r"\s*(?:\w+\s+)?[A-Za-z_]\w*\+?=\((?!.*\))")
LONGEST = 200  # lines of one command


class PlacedText:
    """A logical line, or what was quoted in one; it knows where each of its characters stands."""

    def __init__(self, source: Source, line: int, whole: str) -> None:
        self.text = self.whole = whole
        self.source, self.line = source, line
        self.where: Sequence[int] = range(len(whole))
        self.breaks = [0, *(found.end() for found in re.finditer("\n", whole))]

    def span(self, start: int, end: int) -> Span:
        """Return the place of the characters from `start` to before `end`, of which there is one at least."""
        return Span(self.source, *self._place(self.where[start]), *self._place(self.where[end - 1], 1))

    def part(self, kept: Sequence[int]) -> PlacedText:
        """Return some of the characters as a text of their own."""
        found = PlacedText(self.source, self.line, self.whole)
        found.text = "".join(self.text[index] for index in kept)
        found.where = [self.where[index] for index in kept]
        return found

    def _place(self, index: int, beyond: int = 0) -> tuple[int, int]:
        row = bisect_right(self.breaks, index) - 1
        return self.line + row, index - self.breaks[row] + 1 + beyond


class RawWord(NamedTuple):
    """A word as it is written: what is left without its quotes, its place, and the mark that it begins with."""

    text: str
    span: Span
    quote: str
    within: PlacedText
    kept: list[int]

    def inner(self) -> PlacedText:
        """Return the word as the text of another shell."""
        return self.within.part(self.kept)


def logical_lines(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the lines with continuations joined by a line break, without the bodies of here-documents."""
    lines = re.split(r"\r\n|\n|\r", source.text)
    index, until = 0, None
    while index < len(lines):
        start, text = index + 1, lines[index]
        index += 1
        if until is not None:
            until = None if text.strip() == until else until
            continue
        joined, ahead, goes_on = [text], index, "" if text.lstrip().startswith("#") else _goes_on(text, "")
        if _OPENS_LIST.match(text):
            end = next((at for at in range(ahead, min(len(lines), index + LONGEST)) if ")" in lines[at]), None)
            if end is not None:
                joined, ahead, goes_on = lines[index - 1 : end + 1], end + 1, ""
        while goes_on and ahead < min(len(lines), index + LONGEST):
            joined.append(lines[ahead])
            goes_on = _goes_on(lines[ahead], goes_on)
            ahead += 1
        if not goes_on:  # a quote that is never closed ends with its line
            text, index = "\n".join(joined), ahead
        if (found := _HEREDOC.search(text)) and "<<<" not in text:
            until = found[2]
        yield start, text


def _goes_on(line: str, before: str) -> str:
    """Return what makes a line go on below, "" for nothing: the quote that it leaves open, or its last backslash.

    `before` is what made the line above go on.
    """
    quote, at = before.strip("\\"), 0
    while at < len(line):
        char = line[at]
        if char == "\\" and quote != "'":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and (at == 0 or line[at - 1] in " \t;"):
            return ""
        at += 1
    return quote or ("\\" if at > len(line) else "")


def commands(text: PlacedText) -> Iterator[list[RawWord]]:
    """Yield the commands of a text as words; comments are left out."""
    words: list[RawWord] = []
    at, said = 0, text.text
    while at < len(said):
        char = said[at]
        if char in " \t" or said.startswith("\\\n", at):
            at += 1 + (char == "\\")
        elif char == "#":
            end = said.find("\n", at)
            at = end if end >= 0 else len(said)
        elif separator := next((s for s in _SEPARATORS if said.startswith(s, at)), None):
            at += len(separator)
            if separator != "\n" and _in_test(words):
                continue
            if words:
                yield words
            words = []
        else:
            kept, end = _word(said, at)
            word = "".join(said[index] for index in kept)
            words.append(RawWord(word, text.span(at, end), char if char in "'\"" else "", text, kept))
            at = end
    if words:
        yield words


def _in_test(words: list[RawWord]) -> bool:
    """Return whether a `[[` is open, in which `&&`, `||` and brackets separate no commands."""
    mark = next((word.text for word in reversed(words) if word.text in ("[[", "]]")), "")
    return mark == "[["


def _word(text: str, at: int) -> tuple[list[int], int]:
    """Return the characters of a word without its quotes, and where it ends. What is in single quotes keeps its `$` all the same."""
    kept: list[int] = []
    size, depth, listed = len(text), 0, False
    while at < size:
        char = text[at]
        if listed and char == "#" and text[at - 1] in " \t\n":
            end = text.find("\n", at)
            at = end if end >= 0 else size
        elif char in "'\"" and (depth == 0 or (listed and depth == 1)):
            at += 1
            while at < size and text[at] != char:
                if char == '"' and text[at] == "\\" and text[at + 1 : at + 2] in _ESCAPED:
                    at += 1
                    kept += [at] if text[at] != "\n" else []  # a continued line is joined
                else:
                    kept.append(at)
                at += 1
            at += 1
        elif char == "\\" and at + 1 < size and text[at + 1] != "\n":
            kept.append(at + 1)
            at += 2
        elif depth == 0 and (char in " \t\n;|&)" or text.startswith("\\\n", at)):
            break
        else:
            if text.startswith(("$(", "${"), at):
                depth += 1
                kept.append(at)
                at += 1
            elif char == "(" and depth == 0 and kept and text[at - 1] == "=":
                depth, listed = 1, True  # a list of words
            elif depth and char in "({":
                depth += 1
            elif depth and char in ")}":
                depth -= 1
            kept.append(at)
            at += 1
    return kept, min(at, size)
