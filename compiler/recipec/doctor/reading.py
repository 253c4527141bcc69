"""Files of other tools as located trees, with the values that those tools themselves would see.

They read YAML by PyYAML, which keeps to YAML 1.1: `yes` is true, `1e-4` is text, `010` is eight, `<<` merges, and the
last of two equal keys wins without a message. OmegaConf differs in numbers and refuses equal keys. JSON is Python's own.
"""

from __future__ import annotations

import json
import re
from datetime import date
from functools import partial
from json import decoder
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from ruamel.yaml.events import AliasEvent, MappingEndEvent, ScalarEvent

from recipec.diagnostics import Finding, RecipeError
from recipec.source import Items, Mapping, Node, Scalar, Source, Span, beginning, plain
from recipec.yaml_reader import MAX_DEPTH, Builder, read_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from ruamel.yaml.events import Event

# Text from behind its opening quote, and where it ends.
_scanstring: Callable[[str, int, bool], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]  # typeshed has it in `_json` only

TOO_LONG = 400  # characters of a number that is worth reading

_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
)
_OMEGA_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
)
_INT = re.compile(
    r"[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+"
)
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:.*"
)
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
for _truth, _spelt in ((True, ("yes", "true", "on")), (False, ("no", "false", "off"))):
    for _word in _spelt:
        _WORDS.update(dict.fromkeys((_word, _word.capitalize(), _word.upper()), _truth))
_MALFORMED = re.compile(r"JSON is malformed: (?P<what>.*) \(byte (?P<byte>[0-9]+)\)")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_JSON_WORDS = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_SPACE = re.compile(r"[ \t\n\r]*")

# What the reader says of a recipe, and what it says of a file of another tool.
_SAID = {
    "S002": ("this is a folder, not a file", "name the file inside it"),
    "S004": (None, "a configuration names its data files, it does not hold them"),
    "S010": ("a second YAML document starts here; the tools read one", "write each to its own file"),
    "S011": (None, "there is nothing to check"),
    "S014": (None, "no tool reads anything so deep; flatten it"),
}


class Twice(NamedTuple):
    """A key that is written a second time in one mapping: where, the line of the first, and whether both say the same."""

    span: Span
    name: str
    first: int
    agree: bool


class Read(NamedTuple):
    """A file that could be read: its tree, keys that were written twice (the tree has the last), and what aliases repeat."""

    tree: Mapping
    twice: list[Twice]
    aliased: frozenset[Span] = frozenset()  # where values stand that an alias takes up elsewhere


def number(text: str, *, omega: bool = False) -> int | float | None:
    """Return the number that PyYAML (or OmegaConf) makes of a plain scalar, or None where it makes none."""
    if len(text) > TOO_LONG:
        return None
    if (_OMEGA_FLOAT if omega else _FLOAT).fullmatch(text):
        digits = text.replace("_", "")
        return _sixties(digits, float) if ":" in digits else float(digits)
    if not _INT.fullmatch(text):
        return None
    digits = text.replace("_", "")
    sign = -1 if digits[0] == "-" else 1
    bare = digits.lstrip("+-")
    if ":" in bare:
        return _sixties(digits, int)
    try:
        return sign * int(bare, {"0b": 2, "0x": 16}.get(bare[:2], 8 if bare[0] == "0" and len(bare) > 1 else 10))
    except ValueError:  # only underscores behind the prefix, on which PyYAML itself stumbles
        return None


def _sixties(text: str, of: type[int] | type[float]) -> int | float:
    sign = -1 if text.startswith("-") else 1
    total: int | float = 0
    for part in text.lstrip("+-").split(":"):
        total = total * 60 + of(part)
    return sign * total


def scalar_11(text: str) -> Any:
    """Return what PyYAML's safe loader makes of a plain scalar."""
    return _scalar(text, omega=False)


def scalar_omega(text: str) -> Any:
    """Return what OmegaConf's loader makes of a plain scalar: as PyYAML, but `1e-4` is a number and no text a date."""
    return _scalar(text, omega=True)


def _scalar(text: str, *, omega: bool) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if (found := number(text, omega=omega)) is not None:
        return found
    if infinite := _INFINITE.fullmatch(text):
        return float(infinite[1] + "inf")
    if text in (".nan", ".NaN", ".NAN"):
        return float("nan")
    if not omega and (day := _DATE.fullmatch(text)):
        try:
            return date(*(int(part) for part in day.groups())) if day[1] else date.min  # only its type is ever shown
        except ValueError:
            return date.min
    return text


class _Yaml11(Builder):
    """PyYAML's safe loader."""

    means = staticmethod(scalar_11)
    tags = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "timestamp"))

    def __init__(self, source: Source, first_column: int, *, twice: list[Twice], aliased: set[Span]) -> None:
        super().__init__(source, first_column)
        self.twice = twice
        self.aliased = aliased

    def _node(self, event: Event, depth: int) -> Node:
        node = super()._node(event, depth)
        if isinstance(event, AliasEvent):
            self.aliased.add(node.span)
        return node

    def _key(self, event: Event, span: Span, depth: int) -> str | None:
        if isinstance(event, ScalarEvent) and event.value == "" and not event.implicit[0]:
            return ""  # as `device_map` has it, for the whole model
        return super()._key(event, span, depth)

    def _scalar(self, event: ScalarEvent, span: Span) -> Any:
        if event.tag in self.tags:
            return self.means(event.value)
        return super()._scalar(event, span)

    def _mapping(self, start: Span, depth: int) -> Mapping:
        entries: dict[str, Node] = {}
        keys: dict[str, Span] = {}
        merged: list[Node] = []
        end = start
        while not isinstance(event := self.next(), MappingEndEvent):
            assert event is not None
            span = self._span(event)
            merge = isinstance(event, ScalarEvent) and event.value == "<<" and event.implicit[0]
            name = None if merge else self._key(event, span, depth)
            follows = self.next()
            assert follows is not None
            value = self._node(follows, depth)
            end = self._place(follows, value)
            if merge:
                merged += value.nodes if isinstance(value, Items) else [value]
            elif name is not None:
                if name in entries:
                    self.twice.append(Twice(span, name, keys[name].line, plain(entries[name]) == plain(value)))
                entries[name], keys[name] = value, span
        for node in merged:
            if not isinstance(node, Mapping):
                self._note("S017", "`<<` merges something that is no mapping", node.span, "merge `*name` of a mapping")
                continue
            self._grow(node.size, node.span)
            for name, value in node.entries.items():
                if name not in entries:
                    entries[name], keys[name] = value, node.keys[name]
        return Mapping(entries, keys, self._stretch(start, end))


class _Omega(_Yaml11):
    """OmegaConf's loader."""

    means = staticmethod(scalar_omega)


def read(source: Source, *, omega: bool = False) -> Read:
    """Read YAML, or JSON where the name says so, as its tool would.

    Raises RecipeError with every finding where the tool could not read it, or reads no mapping in it.
    """
    twice: list[Twice] = []
    aliased: set[Span] = set()
    if source.name.endswith(".json"):
        tree = _Json(source, twice).root()
    else:
        tree = read_text(source, dialect=partial(_Omega if omega else _Yaml11, twice=twice, aliased=aliased))
    if not isinstance(tree, Mapping):
        advice = "the tools that doctor knows read `key: value` files, and scripts"
        message = "the file is not a mapping of keys to values"
        raise RecipeError([Finding("D101", message, beginning(tree), help=advice)])
    return Read(tree, twice, frozenset(aliased))


def reworded(finding: Finding) -> Finding:
    """Return what the reader says of a recipe, as it is said of a file of another tool."""
    message, advice = _SAID.get(finding.code, (None, finding.help))
    return finding._replace(message=message or finding.message, help=advice)


class _Json:
    """JSON as Python's `json` reads it, with the place of everything."""

    def __init__(self, source: Source, twice: list[Twice]) -> None:
        self.source, self.text, self.at = source, source.text, 0
        self.twice = twice
        breaks = [0, *(found.end() for found in re.finditer(r"\r\n|\n|\r", source.text))]
        self.breaks = breaks

    def root(self) -> Node:
        """Return the tree. Raises RecipeError."""
        if not self.text.strip():
            raise RecipeError([Finding("S011", "the file is empty", self.source.at(0))])
        try:
            json.loads(self.text)
        except json.JSONDecodeError as error:
            what, at = self._mistake(error.pos)
            advice = "JSON needs double quotes, commas between entries and none after the last, and has no comments"
            raise RecipeError([Finding("S021", f"not valid JSON{what}", self._span(at, at + 1), help=advice)]) from None
        except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
            advice = "shorten the numbers of thousands of digits, or the brackets within brackets"
            raise RecipeError(
                [Finding("S021", "not JSON that Python can read", self.source.at(0), help=advice)]
            ) from None
        self._skip()
        return self._value(0)

    def _mistake(self, at: int) -> tuple[str, int]:
        """Return what is wrong with the text, and where; `at` is where Python's `json` stopped.

        msgspec's words and places are the same under every Python.
        """
        try:
            msgspec.json.decode(self.text.encode("utf-8", "replace"))
        except msgspec.DecodeError as error:
            found = _MALFORMED.fullmatch(str(error))
            if found is None:
                return ": it ends too early", len(self.text)
            before = self.text.encode("utf-8", "replace")[: int(found["byte"])]
            return f": {found['what']}", len(before.decode("utf-8", "ignore"))
        return "", min(at, len(self.text))

    def _span(self, start: int, end: int) -> Span:
        from bisect import bisect_right

        line, last = bisect_right(self.breaks, start), bisect_right(self.breaks, end)
        return Span(self.source, line, start - self.breaks[line - 1] + 1, last, end - self.breaks[last - 1] + 1)

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def _value(self, depth: int) -> Node:
        start, mark = self.at, self.text[self.at]
        if depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels deep"
            raise RecipeError([Finding("S014", message, self._span(start, start + 1))])
        if mark == "{":
            return self._object(start, depth)
        if mark == "[":
            nodes: list[Node] = []
            while self._goes_on("]"):
                nodes.append(self._value(depth + 1))
            return Items(nodes, self._span(start, self.at))
        if mark == '"':
            text, self.at = _scanstring(self.text, start + 1, True)
            return Scalar(text, self._span(start, self.at), text)
        for word, value in _JSON_WORDS.items():
            if self.text.startswith(word, start):
                self.at += len(word)
                return Scalar(value, self._span(start, self.at), word)
        found = _JSON_NUMBER.match(self.text, start)
        assert found is not None
        self.at = found.end()
        of = float if found[1] or found[2] else int
        return Scalar(of(found[0]), self._span(start, self.at), found[0])

    def _goes_on(self, closing: str) -> bool:
        """Step over the opening bracket or a comma; False where the closing bracket was stepped over."""
        self._skip()
        if self.text[self.at] != closing:
            self.at += 1
            self._skip()
        if self.text[self.at] == closing:
            self.at += 1
            return False
        return True

    def _object(self, start: int, depth: int) -> Mapping:
        entries: dict[str, Node] = {}
        keys: dict[str, Span] = {}
        while self._goes_on("}"):
            first = self.at
            name, self.at = _scanstring(self.text, first + 1, True)
            span = self._span(first, self.at)
            self._skip()
            self.at += 1  # the colon
            self._skip()
            value = self._value(depth + 1)
            if name in entries:
                self.twice.append(Twice(span, name, keys[name].line, plain(entries[name]) == plain(value)))
            entries[name], keys[name] = value, span
        return Mapping(entries, keys, self._span(start, self.at))
