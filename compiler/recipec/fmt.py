"""`recipe fmt`: one layout for recipe files. What it writes is read again: the same values and the same comments.

Sections stand in the order of the language, indents are two spaces, quotes that say nothing go, one empty line stays
where there were several, a remark stands two spaces behind its value, and a flow collection that makes a line longer
than WIDTH is written out. All else stays as the person wrote it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode

from recipec.compose import no_mapping
from recipec.diagnostics import Finding, RecipeError
from recipec.edit import TextPlaces
from recipec.language import Recipe
from recipec.output import replace
from recipec.render.yaml_writer import scalar
from recipec.source import Items, Mapping, Node, Scalar, Source, Span, plain
from recipec.yaml_reader import read_text, read_utf8

WIDTH = 100
_ORDER = {word: index for index, word in enumerate(Recipe.model_fields)}


class Formatted(NamedTuple):
    """A file whose text is another one after formatting."""

    file: str
    before: str
    after: str


def format_files(files: Sequence[str], *, write: bool) -> list[Formatted]:
    """Return the files that formatting changes, and write them if asked. Raises RecipeError before anything is written."""
    rows = [Formatted(file, before := read_utf8(file), formatted(before, file)) for file in dict.fromkeys(files)]
    changed = [row for row in rows if row.before != row.after]
    for row in changed if write else []:
        replace(Path(row.file), row.after)
    return changed


def difference(row: Formatted) -> str:
    """Return what formatting changes, as a unified diff."""
    from difflib import unified_diff

    lines = (row.before.splitlines(keepends=True), row.after.splitlines(keepends=True))
    return "".join(unified_diff(*lines, f"as it is: {row.file}", f"formatted: {row.file}"))


def formatted(text: str, name: str = "recipe") -> str:
    """Return a recipe's text in the one layout.

    Raises RecipeError when it is no YAML mapping, or when the result would say anything else or lose a comment.
    """
    tree = read_text(Source(name, text))
    if not isinstance(tree, Mapping):
        raise no_mapping(tree)
    unix = text.replace("\r\n", "\n").replace("\r", "\n")
    ordered = _in_order(unix, name)
    ordered = ordered if _says(ordered, unix, name) else unix  # an alias stays behind its anchor
    now = _tidied(_laid_out(ordered, name), name, _deeper(ordered, name))
    if not _says(now, text, name):
        raise RecipeError([_refusal(text, tree)])
    return now


def _refusal(text: str, tree: Mapping) -> Finding:
    """Say why a file stays as it is: nearly always a comment within brackets, for which one layout has no place."""
    source = tree.span.source
    for at, _ in _comments(text, tree):
        if any(first < at < last for first, last in _brackets(TextPlaces(source), tree)):
            advice = "write that collection out, a key or an item on a line"
            return Finding("S033", "a comment within brackets would be lost by formatting", source.at(at), help=advice)
    message = "formatting this file would change its meaning"
    return Finding("S033", message, source.at(0), help="format it by hand")


def _brackets(places: TextPlaces, node: Node) -> Iterator[tuple[int, int]]:
    members = [] if isinstance(node, Scalar) else node.nodes if isinstance(node, Items) else [*node.entries.values()]
    if members and places.text[places.start(node.span)] in "{[":
        yield places.start(node.span), places.end(node)
    for inner in members:
        yield from _brackets(places, inner)


def _says(text: str, before: str, name: str) -> bool:
    """Return whether two texts hold the same values, sections in any order, and the same comments."""
    try:
        return _meaning(text, name) == _meaning(before, name)
    except RecipeError:
        return False


def _meaning(text: str, name: str) -> tuple[list[str], list[str]]:
    tree = read_text(Source(name, text))
    value = plain(tree)
    assert isinstance(value, dict)
    return sorted(repr(item) for item in value.items()), sorted(comment for _, comment in _comments(text, tree))


def _scalars(node: Node) -> Iterator[Span]:
    """Yield where each scalar and each key of a tree stands."""
    if isinstance(node, Scalar):
        yield node.span
    elif isinstance(node, Items):
        for inner in node.nodes:
            yield from _scalars(inner)
    else:
        for key, inner in node.entries.items():
            yield node.keys[key]
            yield from _scalars(inner)


def _comments(text: str, tree: Node) -> list[tuple[int, str]]:
    """Return every comment of a text, with where it begins."""
    places = TextPlaces(tree.span.source)
    covered = bytearray(len(text) + 1)
    for span in set(_scalars(tree)):
        first, last = places.start(span), places.stop(span)
        covered[first:last] = b"\1" * (last - first)
    found: list[tuple[int, str]] = []
    at = 0
    for match in re.finditer(r"(?:^|(?<=[ \t]))#[^\n\r]*", text, re.MULTILINE):
        if match.start() >= at and not covered[match.start()]:
            found.append((match.start(), match[0].rstrip()))
            at = match.end()
    return found


def _in_order(text: str, name: str) -> str:
    """Return a text with its sections in the order of the language; each takes the comments above it along."""
    tree = read_text(Source(name, text))
    assert isinstance(tree, Mapping)
    keys = list(tree.keys.items())
    if any(span.column != 1 for _, span in keys) or not keys:
        return text
    lines = text.splitlines(keepends=True)
    places = TextPlaces(tree.span.source)
    starts = [span.line - 1 for _, span in keys]
    for index in range(1, len(keys)):
        body = text[: places.start(keys[index][1])]
        end = body[: places.end(tree.entries[keys[index - 1][0]])].count("\n")
        while starts[index] - 1 > end and re.match(r"#|[ \t]*$", lines[starts[index] - 1]):
            starts[index] -= 1
    pieces = ["".join(lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    pieces[-1] += "" if pieces[-1].endswith("\n") else "\n"
    ranks = [_ORDER.get(key.removesuffix("+"), len(_ORDER)) for key, _ in keys]
    ordered = [piece for _, piece in sorted(zip(ranks, pieces, strict=True), key=lambda pair: pair[0])]
    return "".join([*lines[: starts[0]], *ordered])


def _laid_out(text: str, name: str) -> str:
    """Return a text after ruamel's round trip, at the level of nodes: no value is ever made of a scalar."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes, yaml.allow_unicode = 10**6, True, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    text, blocks = _without_blocks(text, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML 1.2 allows it
            root = yaml.compose(text)
            assert root is not None
            _restyle(root, 0, text)
            yaml.serialize(root, out)
    except YAMLError as error:  # what our reader takes and ruamel does not
        reason = str(getattr(error, "problem", "") or error).splitlines()[0]
        place = Source(name, text).at(0)
        raise RecipeError([Finding("S033", f"this file cannot be formatted: {reason}", place, help="format it by hand")]) from None  # fmt: skip
    made = out.getvalue()
    for mark, block in blocks.items():
        line = next(line for line in made.split("\n") if mark in line)
        indent = " " * (len(line) - len(line.lstrip(" -")) + 2)
        old = min((len(one) - len(one.lstrip()) for one in block[1:] if one.strip()), default=0)
        body = [indent + one[old:] if one.strip() else "" for one in block[1:]]
        made = made.replace(mark, "\n".join([block[0], *body]))
    return made


def _without_blocks(text: str, name: str) -> tuple[str, dict[str, list[str]]]:
    """Return a text with a word in the place of each block scalar, whose lines ruamel would fold anew, and those lines."""
    tree = read_text(Source(name, text))
    places = TextPlaces(tree.span.source)
    blocks: dict[str, list[str]] = {}
    for span in sorted(set(_scalars(tree)), key=lambda one: one[1:], reverse=True):
        first, last = places.start(span), _stop(places, span)
        if text[first : first + 1] in ("|", ">"):
            mark = f"recipec-block-{len(blocks)}-"
            blocks[mark] = text[first:last].split("\n")
            text = text[:first] + mark + text[last:]
    return text, blocks


def _stop(places: TextPlaces, span: Span) -> int:
    """Return where a scalar ends: a block scalar before the line breaks behind it, unless it keeps them."""
    first, last = places.start(span), places.stop(span)
    body = places.text[first:last]
    return first + len(body[:-1] if re.match(r"[|>][0-9]*\+", body) and body.endswith("\n") else body.rstrip("\n"))


def _restyle(node: YamlNode, column: int, text: str) -> None:
    """Drop needless quotes, and write out flow collections that make a line too long."""
    if isinstance(node, ScalarNode):
        if node.style in ("'", '"') and scalar(node.value) == node.value:
            node.style = None
        return
    assert isinstance(node, SequenceNode | MappingNode)
    members = [*node.value] if isinstance(node, SequenceNode) else [inner for pair in node.value for inner in pair]
    if node.flow_style and node.value and "#" not in text[node.start_mark.index : node.end_mark.index]:
        node.flow_style = column + _length(node) <= WIDTH
    for index, inner in enumerate(members):
        key = members[index - 1] if isinstance(node, MappingNode) and index % 2 else None
        lead = len(key.value) + 2 if isinstance(key, ScalarNode) else 2
        _restyle(inner, column + lead if not node.flow_style else -WIDTH * 100, text)


def _length(node: YamlNode) -> int:
    """Return how many characters a node takes on one line."""
    if isinstance(node, ScalarNode):
        return len(node.value) + (2 if node.style else 0)
    if isinstance(node, SequenceNode):
        return 2 + sum(_length(inner) + 2 for inner in node.value) - 2 * bool(node.value)
    assert isinstance(node, MappingNode)
    return 2 + sum(_length(key) + _length(inner) + 4 for key, inner in node.value) - 2 * bool(node.value)


def _tidied(text: str, name: str, deeper: Sequence[bool]) -> str:
    """Return a text with remarks, comment lines, empty lines and line ends in order, outside of long scalars.

    `deeper` says of each comment line in order whether it stays with what stands before it.
    """
    tree = read_text(Source(name, text))
    places = TextPlaces(tree.span.source)
    inside = _inside(text, tree)
    remarks = {text.count("\n", 0, at) + 1: (at, remark) for at, remark in _comments(text, tree)}
    lines: list[str] = []
    within: list[bool] = []
    for number, line in enumerate(text.split("\n"), 1):
        at, remark = remarks.get(number, (0, ""))
        before = line[: at - places.starts[number - 1]] if remark else ""
        if number in inside:
            lines.append(line)
        elif before.strip():
            lines.append(f"{before.rstrip()}  {remark}")
        elif line.strip() or (lines and lines[-1].strip()):
            lines.append(line.rstrip())
        else:
            continue
        within.append(number in inside)
    stays = iter(deeper)
    for index, line in enumerate(lines):
        if line.lstrip().startswith("#") and not within[index]:
            below, above = _around(lines, within, index)
            lines[index] = " " * (max(above, below) if next(stays, False) else below) + line.lstrip()
    while lines and not lines[-1].strip() and not within[-1]:
        del lines[-1], within[-1]
    return "\n".join(lines) + "\n"


def _inside(text: str, tree: Node) -> set[int]:
    """Return the lines that begin within a scalar."""
    places = TextPlaces(tree.span.source)
    found: set[int] = set()
    for span in _scalars(tree):
        found.update(range(span.line + 1, text.count("\n", 0, _stop(places, span)) + 2))
    return found


def _deeper(text: str, name: str) -> list[bool]:
    """Return of each comment line whether it is indented like what stands before it, and more than what follows."""
    inside = _inside(text, read_text(Source(name, text)))
    lines = text.split("\n")
    within = [number in inside for number in range(1, len(lines) + 1)]
    found: list[bool] = []
    for index, line in enumerate(lines):
        if line.lstrip().startswith("#") and not within[index]:
            below, above = _around(lines, within, index)
            found.append(len(line) - len(line.lstrip()) > below < above)
    return found


def _around(lines: Sequence[str], within: Sequence[bool], index: int) -> tuple[int, int]:
    """Return the columns at which the next line and the one before a comment have their words."""

    def content(steps: range) -> str:
        for at in steps:
            if lines[at].strip() and not lines[at].lstrip().startswith("#") and not within[at]:
                return lines[at]
        return ""

    after, before = content(range(index + 1, len(lines))), content(range(index - 1, -1, -1))
    return len(after) - len(after.lstrip()), len(before) - len(before.lstrip(" -"))
