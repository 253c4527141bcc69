"""Located values: where a value stands in a file or on the command line.

The tree that `yaml_reader` builds consists of these nodes. Nothing here knows what a recipe may say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeGuard

Plain: TypeAlias = "str | int | float | bool | None | list[Plain] | tuple[Plain, ...] | dict[str, Plain]"
# The same of any mapping and any sequence: what is written out, and not changed.
Readable: TypeAlias = "str | int | float | bool | None | Sequence[Readable] | AnyMapping[str, Readable]"
Path: TypeAlias = "tuple[str | int, ...]"


KNOWN_PATHS = 4096  # that are not spelled or read anew: nearly all are those of the language
MAX_STEPS = 64  # of a path; as deep as a recipe may be
_BREAK = re.compile(r"\r\n|\n|\r")
_INDEX = re.compile(r"[0-9]{1,9}")
_PLAIN_STEP = re.compile(r"[^.\[\]\"\s]+")
_STEP = re.compile(r"\.([^.\[\]\"\s]+)|\[([0-9]{1,9})\]|\[(\"(?:[^\"\\]|\\.)*\")\]", re.DOTALL)


def is_mapping(value: object) -> TypeGuard[dict[Any, Any]]:
    """Return whether a value of which nothing is known is a mapping."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Return whether a value of which nothing is known is a list."""
    return isinstance(value, list)


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Return whether a value of which nothing is known is a tuple."""
    return isinstance(value, tuple)


def visible(text: str) -> str:
    """Make control characters visible, so that a hostile file cannot drive a terminal, or an emitted script."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Source:
    """One text that values came from: a file, or an option of the command line.

    `name` is what the person typed (shown in messages); `label` is the same without any folder, on one line (written
    into emitted files, so that they do not depend on where the compiler was started).
    """

    __slots__ = ("_lines", "label", "name", "text")

    def __init__(self, name: str, text: str, label: str | None = None) -> None:
        self.name = name
        self.text = text
        self.label = label if label is not None else visible(name.rsplit("/", 1)[-1])
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """Return line `number` (from 1) without its line break; empty beyond the end."""
        if self._lines is None:
            self._lines = _BREAK.split(self.text)
        return self._lines[number - 1] if 1 <= number <= len(self._lines) else ""

    def index(self, line: int, column: int) -> int:
        """Return the index in the text of a line and column, both from 1; the text's end where there is no such line."""
        begin = 0
        for found in _BREAK.finditer(self.text):
            if line == 1:
                break
            line, begin = line - 1, found.end()
        return begin + column - 1 if line == 1 else len(self.text)

    def at(self, index: int) -> Span:
        """Return the span of the one character at `index` of the text."""
        line, begin = 1, 0
        for found in _BREAK.finditer(self.text, 0, index):
            line, begin = line + 1, found.end()
        return Span(self, line, index - begin + 1, line, index - begin + 2)


class Span(NamedTuple):
    """A stretch of a source; lines and columns count from 1, columns in characters, the end is exclusive."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int

    def where(self) -> str:
        """Return `file:line:column` as the person would name the file."""
        return f"{self.source.name}:{self.line}:{self.column}"

    def offsets(self) -> tuple[int, int]:
        """Return where it begins and ends in the text of its source, as indexes."""
        return self.source.index(self.line, self.column), self.source.index(self.end_line, self.end_column)

    def label(self) -> str:
        """Return `file:line:column` without any folder, for emitted files."""
        return f"{self.source.label}:{self.line}:{self.column}"


class Scalar:
    """A single value, with the text it was written as."""

    __slots__ = ("size", "span", "text", "value")

    def __init__(self, value: str | int | float | bool | None, span: Span, text: str) -> None:
        self.value = value
        self.span = span
        self.text = text
        self.size: int = 1


class Items:
    """A YAML sequence."""

    __slots__ = ("nodes", "size", "span")

    def __init__(self, nodes: list[Node], span: Span) -> None:
        self.nodes = nodes
        self.span = span
        self.size: int = 1 + sum([node.size for node in nodes])


class Mapping:
    """A YAML mapping; `keys` holds where each key stands. Size counts values with every alias expanded."""

    __slots__ = ("entries", "keys", "size", "span")

    def __init__(self, entries: dict[str, Node], keys: dict[str, Span], span: Span) -> None:
        self.entries = entries
        self.keys = keys
        self.span = span
        self.size: int = 1 + sum([node.size for node in entries.values()])


Node: TypeAlias = "Scalar | Items | Mapping"


def plain(node: Node) -> Plain:
    """Return the node's value as Python data without positions."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Items):
        return [plain(child) for child in node.nodes]
    return {key: plain(child) for key, child in node.entries.items()}


def child(node: Node, step: str | int) -> Node | None:
    """Return the member of `node` that `step` names, or None."""
    if isinstance(node, Mapping):
        return node.entries.get(str(step))
    if isinstance(node, Items):
        if isinstance(step, str):
            if not _INDEX.fullmatch(step):
                return None
            step = int(step)
        return node.nodes[step] if 0 <= step < len(node.nodes) else None
    return None


def find(node: Node, path: Sequence[str | int]) -> Node | None:
    """Return the node at `path` below `node`, or None."""
    at: Node | None = node
    for step in path:
        if at is None:
            return None
        at = child(at, step)
    return at


def by_name(tree: Node, path: Path) -> Path:
    """Return a path with the name of a stage, or of what else has a `name` in a list, as its number there."""
    steps: list[str | int] = []
    at: Node | None = tree
    for step in path:
        if isinstance(at, Items) and isinstance(step, str):
            named = [n for n, one in enumerate(at.nodes) if getattr(find(one, ("name",)), "value", None) == step]
            step = named[0] if named else step
        steps.append(step)
        at = child(at, step) if at is not None else None
    return tuple(steps)


def key_span(node: Node, path: Sequence[str | int]) -> Span | None:
    """Return where the last step of `path` is written: its key, or the item itself in a sequence."""
    if not path:
        return node.span
    parent = find(node, path[:-1])
    if isinstance(parent, Mapping):
        return parent.keys.get(str(path[-1]))
    found = child(parent, path[-1]) if parent is not None else None
    return found.span if found is not None else None


def beginning(node: Node) -> Span:
    """Return the first character of a node; of nothing, which stands behind the end of a text, the first of the text."""
    nothing = isinstance(node, Scalar) and node.value is None
    start = node.span.source.at(0) if nothing else node.span
    return start._replace(end_line=start.line, end_column=start.column + 1)


@lru_cache(maxsize=8)  # several judges ask for those of one tree, one behind the other
def leaves(node: Node) -> tuple[tuple[Path, Node], ...]:
    """Return every scalar and every empty collection with its path. A node does not change once this was asked."""
    found: list[tuple[Path, Node]] = []
    _gather_leaves(node, (), found)
    return tuple(found)


def _gather_leaves(node: Node, path: Path, found: list[tuple[Path, Node]]) -> None:
    if isinstance(node, Mapping) and node.entries:
        for key, value in node.entries.items():
            _gather_leaves(value, (*path, key), found)
    elif isinstance(node, Items) and node.nodes:
        for index, value in enumerate(node.nodes):
            _gather_leaves(value, (*path, index), found)
    else:
        found.append((path, node))


def with_value(node: Node | None, path: Sequence[str | int], value: Node, key: Span) -> Node:
    """Return a copy of `node` in which `path` holds `value`; missing mappings on the way are made.

    Raises LookupError when a step of the path goes through a scalar or beyond the end of a sequence.
    """
    if not path:
        return value
    step, rest = path[0], path[1:]
    if node is None or (isinstance(node, Scalar) and node.value is None):
        node = Mapping({}, {}, key)
    if isinstance(node, Mapping):
        name = str(step)
        entries = {**node.entries, name: with_value(node.entries.get(name), rest, value, key)}
        return Mapping(entries, {**node.keys, name: key} if not rest or name not in node.keys else node.keys, node.span)
    if isinstance(node, Items) and (isinstance(step, int) or _INDEX.fullmatch(step)) and int(step) < len(node.nodes):
        nodes = list(node.nodes)
        nodes[int(step)] = with_value(nodes[int(step)], rest, value, key)
        return Items(nodes, node.span)
    raise LookupError(str(step))


@lru_cache(maxsize=KNOWN_PATHS)
def dotted(path: Path) -> str:
    """Spell a path as people write it: `data.train[0].path`; a step that is no plain word is quoted: `a["b.c"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_STEP.fullmatch(step):
            text += f".{step}" if text else step
        else:
            from json import dumps  # a rare spelling

            text += f"[{dumps(step, ensure_ascii=False)}]"
    return text


@lru_cache(maxsize=KNOWN_PATHS)
def split_path(text: str) -> Path:
    """Read a dotted path; `a[0].b` and `a.0.b` mean the same, `a["b.c"]` is how `dotted` spells any other key.

    Raises ValueError when a step is empty, or there are more than MAX_STEPS.
    """
    rest = text if text.startswith("[") else "." + text
    steps: list[str | int] = []
    while rest:
        found = _STEP.match(rest)
        if found is None or len(steps) == MAX_STEPS:
            raise ValueError(text)
        word, index, quoted = found.groups()
        if quoted is not None:
            from json import loads

            word = loads(quoted, strict=False)
            word.encode()  # half a surrogate pair is a ValueError too
        steps.append(word if index is None else int(index))
        rest = rest[found.end() :]
    return tuple(steps)
