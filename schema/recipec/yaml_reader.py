"""YAML text to a located tree, by the C parser's events and the scalar rules of the YAML 1.2 core schema.

Bounded in time and memory whatever the file holds; every mistake becomes a located finding.
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

from _ruamel_yaml import CParser
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from recipec.diagnostics import Finding, RecipeError
from recipec.source import Items, Mapping, Node, Scalar, Source, Span

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 1_000_000  # values in the file once every alias is expanded
SMALL = 256 * 1024  # characters that the Python parser takes about as many seconds for as the C parser for MAX_BYTES
ADDRESS = "found unexpected ':'"  # what the C parser has against `{uri: https://…}`, which is YAML 1.2

_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, bool | float | None] = {"": None, "~": None}
for _word, _value in (("null", None), ("true", True), ("false", False)):
    for _spelling in (_word, _word.capitalize(), _word.upper()):
        _WORDS[_spelling] = _value
for _spelling in (".inf", ".Inf", ".INF"):
    _WORDS.update({_spelling: float("inf"), "+" + _spelling: float("inf"), "-" + _spelling: float("-inf")})
_WORDS.update(dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")))
_FORBIDDEN = r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # compiled when it is needed: a twentieth of a cold start
_OLD_BREAK = re.compile("[\x85\u2028\u2029]")
_new = tuple[Any, ...].__new__  # half the time of a named tuple's own, and there is one for each value of a file
_MAY_START_NUMBER = frozenset("0123456789+-.")


def scalar_value(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means in the YAML 1.2 core schema: `no` is text, `1e-4` is a number."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _MAY_START_NUMBER and len(text) <= 400:
        if _INT.match(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.match(text):
            return float(text)
    return text


def read_file(path: str) -> Node:
    """Read the recipe file at `path` (`-` is not special) into a located tree.

    Raises RecipeError with a located finding when it cannot be read or is not one YAML mapping.
    """
    return read_text(Source(path, read_utf8(path)))


def read_utf8(path: str) -> str:
    """Return the text of a file. Raises RecipeError when it is missing, not a file, too large or not UTF-8."""

    def refuse(code: str, message: str, advice: str, span: Span | None = None) -> RecipeError:
        return RecipeError([Finding(code, message, span, help=advice, file=path)])

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer must not hang
        os.set_blocking(handle, True)
        with os.fdopen(handle, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refuse("S001", "no such file", _neighbour(path)) from None
    except IsADirectoryError:
        raise refuse("S002", "this is a folder, not a recipe", "name the recipe file inside it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise refuse("S003", f"cannot be read: {reason}", "check the path and its permissions") from None
    if len(data) > MAX_BYTES:
        message = f"larger than {MAX_BYTES // 1024 // 1024} MiB"
        raise refuse("S004", message, "a recipe names its data files, it does not hold them")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
        raise refuse("S005", "the file is UTF-16, not UTF-8", "save it as UTF-8", Source(path, text).at(0))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bom = data[:3] == b"\xef\xbb\xbf"
        good = data[: error.start + 3 * bom].decode("utf-8-sig")
        span = Source(path, data.decode("utf-8-sig", "replace")).at(len(good))
        byte = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise refuse("S005", byte, "save the file as UTF-8", span) from None


def _neighbour(path: str) -> str:
    from recipec.suggest import nearest

    folder = FilePath(path).parent
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:  # no such folder, or not ours to list
        names = []
    close = nearest(FilePath(path).name, names)
    return f"did you mean {folder / close}?" if close else "check the path"


def read_text(
    source: Source, *, first_column: int = 1, dialect: Callable[[Source, int], Builder] | None = None
) -> Node:
    """Read YAML text into a located tree; `first_column` is where the first line starts within its source.

    `dialect` is a builder of another YAML than the recipes' own, for files that other tools read.

    Raises RecipeError with every finding: bad syntax, duplicate keys, tags, merge keys, alias bombs.
    """
    if not source.text.isascii() and (found := _OLD_BREAK.search(source.text)):
        message = f"U+{ord(found[0]):04X} ends a line in YAML 1.1 but not in 1.2"
        advice = f'delete it, or write "\\u{ord(found[0]):04x}" in double quotes'
        raise RecipeError([Finding("S022", message, source.at(found.start()), help=advice)])
    try:
        builder = (dialect or Builder)(source, first_column)
    except UnicodeEncodeError:  # only the command line can hold such text
        half = next(index for index, char in enumerate(source.text) if "\ud800" <= char <= "\udfff")
        advice = "type it again, in UTF-8"
        raise RecipeError([Finding("S005", "the text is not UTF-8", source.at(half), help=advice)]) from None
    collecting = gc.isenabled()
    gc.disable()  # a tree has no cycles to look for: half the time of a large file
    try:
        try:
            return builder.build()
        except MarkedYAMLError as error:
            if error.problem != ADDRESS or len(source.text) > SMALL:
                raise
            return builder.build_slowly()
    except MarkedYAMLError as error:
        raise RecipeError([*builder.findings, builder.syntax_error(error)]) from None
    except YAMLError as error:  # the C reader's own: characters that YAML forbids
        raise RecipeError([*builder.findings, builder.reader_error(error)]) from None
    finally:
        if collecting:
            gc.enable()


class Builder:
    """Turns parser events into nodes, counting as it goes; a dialect overrides what scalars and mappings mean."""

    means = staticmethod(scalar_value)

    def __init__(self, source: Source, first_column: int) -> None:
        self.source = source
        self.foreign = not source.text.isascii()  # what looks like ASCII can only be in such a text
        self.shift = first_column
        self.text = source.text[first_column - 1 :]
        self._start(CParser(self.text).get_event)

    def _start(self, events: Callable[[], Event | None]) -> None:
        self.next = events
        self.anchors: dict[str, Node | None] = {}
        self.findings: list[Finding] = []
        self.values = 0

    def build_slowly(self) -> Node:
        """Return the tree by the parser in Python, which knows all of YAML 1.2. Raises as `build` does."""
        from ruamel.yaml import YAML

        events = YAML(typ="safe", pure=True).parse(self.text)
        self._start(lambda: next(events, None))
        return self.build()

    def build(self) -> Node:
        """Return the tree. Raises RecipeError, or the parser's own errors."""
        root: Node | None = None
        while (event := self.next()) is not None and not isinstance(event, StreamEndEvent):
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    message = "a second YAML document starts here; a recipe is one document"
                    self._note("S010", message, self._span(event), "write each recipe to its own file")
                    break
                body = self.next()
                assert body is not None
                root = self._node(body, 0)
        if self.findings:
            raise RecipeError(self.findings)
        if root is None:
            message = "the file is empty" if not self.source.text.strip() else "the file holds only comments"
            help_ = "a recipe starts with `recipe: 1` and `name: …`; `recipe schema --example` prints one"
            raise RecipeError([Finding("S011", message, self.source.at(0), help=help_)])
        return root

    def _span(self, event: Event) -> Span:
        start, end = event.start_mark, event.end_mark
        line, end_line, shift = start.line, end.line, self.shift
        left = start.column + (1 if line else shift)
        right = end.column + (1 if end_line else shift)
        return _new(Span, (self.source, line + 1, left, end_line + 1, right))

    def _stretch(self, start: Span, end: Span) -> Span:
        return _new(Span, (self.source, start[1], start[2], end[3], end[4]))

    def _note(self, code: str, message: str, span: Span, advice: str) -> None:
        self.findings.append(Finding(code, message, span, help=advice))

    def _grow(self, count: int, span: Span) -> None:
        self.values += count
        if self.values > MAX_VALUES:
            message = f"more than {MAX_VALUES:,} values once aliases are expanded"
            raise RecipeError([Finding("S012", message, span, help="write the values out, or drop the aliases")])

    def _node(self, event: Event, depth: int) -> Node:
        span = self._span(event)
        if type(event) is ScalarEvent and not event.anchor and event.tag is None:  # nearly all of a file
            self.values += 1
            if self.values > MAX_VALUES:
                self._grow(0, span)
            text = event.value
            if self.foreign and event.implicit[0]:
                self._look_alikes(text, span)
            return Scalar(self.means(text) if event.implicit[0] else text, span, text)
        if isinstance(event, AliasEvent):
            found = self.anchors.get(event.anchor)
            if found is None:
                what = "contains itself" if event.anchor in self.anchors else "is not defined above this line"
                self._note("S013", f"alias *{event.anchor} {what}", span, f"define it first: `&{event.anchor} value`")
                return Scalar(None, span, "")
            self._grow(found.size, span)
            return found
        self._grow(1, span)
        anchor: str | None = getattr(event, "anchor", None)
        if anchor:
            self.anchors[anchor] = None
        node: Node
        if isinstance(event, ScalarEvent):
            node = Scalar(self._scalar(event, span), span, event.value)
        elif depth >= MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels deep"
            raise RecipeError([Finding("S014", message, span, help="a recipe never needs this; flatten it")])
        elif isinstance(event, MappingStartEvent):
            node = self._mapping(span, depth + 1)
        else:
            assert isinstance(event, SequenceStartEvent)
            node = self._items(span, depth + 1)
        if anchor:
            self.anchors[anchor] = node
        return node

    def _scalar(self, event: ScalarEvent, span: Span) -> str | int | float | bool | None:
        text: str = event.value
        if event.tag in (None, "!"):
            return self.means(text) if event.implicit[0] else text
        if event.tag == "tag:yaml.org,2002:str":
            return text
        self._note("S015", f"tag {event.tag} is not allowed", span, "write the plain value; quotes make it text")
        return None

    def _items(self, start: Span, depth: int) -> Items:
        nodes: list[Node] = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            assert event is not None
            nodes.append(self._node(event, depth))
        end = self._span(event)
        return Items(nodes, self._stretch(start, end))

    def _mapping(self, start: Span, depth: int) -> Mapping:
        entries: dict[str, Node] = {}
        keys: dict[str, Span] = {}
        follows: Event | None = None
        value: Node | None = None
        while not isinstance(event := self.next(), MappingEndEvent):
            assert event is not None
            span = self._span(event)
            name: str | None
            if isinstance(event, ScalarEvent) and event.value and event.value != "<<" and not event.anchor:
                name = event.value  # nearly all of them
            else:
                name = self._key(event, span, depth)
            follows = self.next()
            assert follows is not None
            value = self._node(follows, depth)
            if name is None:
                continue
            if self.foreign:
                self._look_alikes(name, span)
            if name in entries:
                message = f'key "{name}" is written twice in one mapping'
                self._note("S016", message, span, f"the first is on line {keys[name].line}; keep one of them")
                continue
            entries[name], keys[name] = value, span
        end = self._place(follows, value) if follows is not None and value is not None else start
        return Mapping(entries, keys, self._stretch(start, end))

    def _look_alikes(self, text: str, span: Span) -> None:
        """Name what only looks like a blank, a dash or a colon around an unquoted value or key."""
        from recipec.look_alikes import around

        line = self.source.line(span.line)
        shift = self.shift - 1 if span.line == 1 and self.shift > 1 else 0
        if line[span.column - 1 : span.column] in ('"', "'") or not text:
            return
        found = around(text, alone=not line[shift : span.column - 1].strip())
        if found is not None:
            at = span._replace(column=span.column + found.at, end_line=span.line, end_column=span.column + found.at + 1)
            self._note(found.code, found.message, at, found.advice)

    def _place(self, event: Event, node: Node) -> Span:
        """Return where a value stands in its mapping: an alias there, not at its anchor."""
        return self._span(event) if isinstance(event, AliasEvent) else node.span

    def _key(self, event: Event, span: Span, depth: int) -> str | None:
        if isinstance(event, ScalarEvent) and event.value:
            name: str = event.value
            if event.anchor:
                self.anchors[event.anchor] = Scalar(name, span, name)
            if name == "<<" and event.implicit[0]:
                advice = "merge keys belong to YAML 1.1; write the keys out"
                self._note("S017", "`<<` merges are not part of YAML 1.2", span, advice)
                return None
            return name
        if not isinstance(event, ScalarEvent):
            self._node(event, depth)
        self._note("S018", "a key must be a plain word", span, "write `name: value`")
        return None

    def syntax_error(self, error: MarkedYAMLError) -> Finding:
        """Explain what the parser stumbled over, in the words of someone who writes YAML by hand."""
        mark = error.problem_mark or error.context_mark
        assert mark is not None
        line, column = mark.line + 1, mark.column + (self.shift if mark.line == 0 else 1)
        end = self.source.at(len(self.source.text))  # without a last line break, the parser stands one line below
        span = min(Span(self.source, line, column, line, column + 1), end, key=lambda span: span[1:])
        line, column = span.line, span.column
        text = self.source.line(line)
        problem = str(error.problem or error.context)
        if self.foreign:
            from recipec.look_alikes import in_line

            for number in range(line, max(0, line - 3), -1):  # a line is mostly seen to be wrong by the next
                if (found := in_line(self.source.line(number))) is not None:
                    span = Span(self.source, number, found.at + 1, number, found.at + 2)
                    return Finding(found.code, found.message, span, help=found.advice)
        if "did not find expected ',' or" in problem and error.context_mark is not None:
            opened = error.context_mark
            first = opened.column + (self.shift if opened.line == 0 else 1)
            bracket = Span(self.source, opened.line + 1, first, opened.line + 1, first + 1)
            message = f"this bracket is still open at line {line}"
            advice = "close it, and separate its values by commas"
            if "${" in text:
                advice = 'quote a reference within brackets: {size: "${var:size}"}'
            return Finding("S021", message, bracket, help=advice)
        indent = text[: len(text) - len(text.lstrip())]
        if "\t" in indent or text[column - 1 : column] == "\t":
            at = (indent.index("\t") if "\t" in indent else column - 1) + 1
            tab = Span(self.source, line, at, line, at + 1)
            return Finding("S020", "a tab is used to indent", tab, help="YAML indents with spaces only")
        if "did not find expected key" in problem or "block mapping" in str(error.context or ""):
            advice = "check the indentation of this line against the one above, and that every key ends in `: `"
        elif "mapping values are not allowed" in problem:
            advice = "quote the value if it contains `: `, or check the indentation"
        elif "cannot start any token" in problem:
            advice = f"quote the value: it starts with {text[column - 1 : column]!r}, which YAML reserves"
        else:
            advice = "check quotes, brackets and indentation around here"
        return Finding("S021", f"not valid YAML: {problem}", span, help=advice)

    def reader_error(self, error: YAMLError) -> Finding:
        """Locate a character that YAML does not allow at all."""
        bad = re.search(_FORBIDDEN, self.source.text)
        if bad is None:
            reason, advice = str(error).splitlines()[0], "look for characters that cannot be seen"
            return Finding("S021", f"not valid YAML: {reason}", self.source.at(0), help=advice)
        message = f"control character U+{ord(bad[0]):04X} is not allowed in YAML"
        return Finding("S022", message, self.source.at(bad.start()), help="delete it")
