"""Changes to the text of a recipe that leave comments and layout as they are.

A change is spliced into the text where its place allows that, else the file goes through ruamel's round trip. Whatever
way it takes, the result is read again and must say exactly what was asked for; a wrong text is never returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.render.yaml_writer import scalar
from recipec.source import Items, Mapping, Node, Path, Plain, Scalar, Source, Span, dotted, find, key_span, plain
from recipec.yaml_reader import read_text


class _Delete:
    def __repr__(self) -> str:
        return "DELETE"


DELETE: Final = _Delete()


class Change(NamedTuple):
    """One change at `path`: a new plain value (missing mappings on the way are made), or DELETE, or a new name.

    With `rename`, the key at `path` gets that name, and `value` is not looked at.
    """

    path: Path
    value: Plain | _Delete = DELETE
    rename: str | None = None


def edited(text: str, changes: Sequence[Change], name: str = "recipe") -> str:
    """Return a recipe's text with changes made one after the other. `name` is the file's name in findings.

    Raises RecipeError when the text is no YAML mapping, a path has no place in it, or nothing can make a change safely.
    """
    for change in changes:
        text = _changed(text, change, name)
    return text


def flow(value: Plain) -> str:
    """Return a plain value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(str(key))}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def same(text: str, wanted: Plain) -> bool:
    """Return whether a text is read as exactly the plain value `wanted`: types and the order of keys count."""
    try:
        return repr(plain(read_text(Source("recipe", text)))) == repr(wanted)
    except RecipeError:
        return False


def _changed(text: str, change: Change, name: str) -> str:
    source = Source(name, text)
    tree = read_text(source)
    value = plain(tree)
    try:
        if not isinstance(tree, Mapping) or not change.path:
            raise LookupError("a mapping")
        wanted = _applied(value, change.path, change)
    except LookupError as step:
        found = key_span(tree, change.path[:1]) or source.at(0)
        message = f"the recipe has no place for {dotted(change.path)}"
        advice = f"there is nothing at the step {step.args[0]}"
        raise RecipeError([Finding("S031", message, found, help=advice)]) from None
    if repr(wanted) == repr(value):
        return text
    attempts: tuple[Callable[[Source, Mapping, Change], str | None], ...] = (_spliced, _round_trip)
    for attempt in attempts:
        made = attempt(source, tree, change)
        if made is not None and same(made, wanted):
            return made
    place = key_span(tree, change.path) or key_span(tree, change.path[:1]) or source.at(0)
    message = f"{dotted(change.path)} cannot be changed here without changing something else"
    raise RecipeError([Finding("S032", message, place, help="edit the file by hand")])


def _applied(value: Plain, path: Sequence[str | int], change: Change) -> Plain:
    """Return plain data with a change made. Raises LookupError with the step that has no place."""
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        if not str(step).isdigit() or int(step) >= len(value) or (not rest and change.rename is not None):
            raise LookupError(str(step))
        index = int(step)
        if rest:
            return [*value[:index], _applied(value[index], rest, change), *value[index + 1 :]]
        new = [] if isinstance(change.value, _Delete) else [change.value]
        return [*value[:index], *new, *value[index + 1 :]]
    needs = change.rename is not None or isinstance(change.value, _Delete)
    if not isinstance(value, dict | None) or (needs and str(step) not in (value or {})):
        raise LookupError(str(step))
    entries = dict(value or {})
    word = str(step)
    if rest:
        entries[word] = _applied(entries.get(word), rest, change)
    elif change.rename is not None:
        if change.rename in entries:
            raise LookupError(change.rename)
        return {change.rename if key == word else key: inner for key, inner in entries.items()}
    elif isinstance(change.value, _Delete):
        del entries[word]
    else:
        entries[word] = _plain_data(change.value)
    return entries


def _plain_data(value: Plain) -> Plain:
    if isinstance(value, dict):
        return {str(key): _plain_data(inner) for key, inner in value.items()}
    return [_plain_data(inner) for inner in value] if isinstance(value, list | tuple) else value


class TextPlaces:
    """A text with offsets of the places in it."""

    def __init__(self, source: Source) -> None:
        self.text = source.text
        self.starts = [0, *(found.end() for found in re.finditer(r"\r\n|\n|\r", source.text))]

    def start(self, span: Span) -> int:
        """Return where a span begins."""
        return self.starts[span.line - 1] + span.column - 1

    def stop(self, span: Span) -> int:
        """Return where a span ends."""
        return self.starts[min(span.end_line, len(self.starts)) - 1] + span.end_column - 1

    def end(self, node: Node) -> int:
        """Return where the text of a value ends: a block collection ends with its last member, before any comment."""
        first = self.start(node.span)
        last = self.stop(node.span)
        members = list(node.entries.values()) if isinstance(node, Mapping) else getattr(node, "nodes", [])
        if members and self.text[first] not in "{[":
            return max(self.end(members[-1]), first)
        if isinstance(node, Mapping) and self.text[first] == "{":  # the place of a mapping ends with its last value
            inside = max((self.end(member) for member in members), default=first + 1)
            closing = re.compile(r"(?:[\s,]|#[^\r\n]*)*\}").match(self.text, inside)
            return closing.end() if closing else last
        if isinstance(node, Scalar):  # a block scalar ends where the next line begins
            return first + len(self.text[first:last].rstrip())
        return last

    def line_end(self, index: int) -> int:
        """Return where the line of `index` ends, before its break."""
        found = re.compile(r"[\r\n]").search(self.text, index)
        return found.start() if found else len(self.text)

    def line_start(self, index: int) -> int:
        """Return where the line of `index` begins."""
        return max(self.text.rfind("\n", 0, index), self.text.rfind("\r", 0, index)) + 1

    def line_break(self) -> str:
        """Return how the lines of this text end."""
        found = re.search(r"\r\n|\n|\r", self.text)
        return found[0] if found else "\n"

    def put(self, first: int, last: int, new: str) -> str:
        """Return the text with another one in the place of a stretch."""
        return self.text[:first] + new + self.text[last:]


def _spliced(source: Source, tree: Mapping, change: Change) -> str | None:
    """Return the text with the change in its place, or None where that is not a matter of splicing."""
    at = TextPlaces(source)
    path, node = change.path, find(tree, change.path)
    key = key_span(tree, path)
    if change.rename is not None:
        return (
            at.put(at.start(key), at.start(key) + key.end_column - key.column, scalar(change.rename)) if key else None
        )
    if isinstance(change.value, _Delete):
        return _without(at, tree, path)
    if node is not None and key is not None:
        return _replaced(at, node, key, path, change.value)
    for depth in range(len(path) - 1, -1, -1):
        parent = find(tree, path[:depth])
        if parent is not None:
            value: Plain = change.value
            for step in reversed(path[depth + 1 :]):
                value = {str(step): value}
            if isinstance(parent, Mapping):
                return _added(at, parent, f"{scalar(str(path[depth]))}: {flow(value)}")
            above = key_span(tree, path[:depth])  # an empty section
            return _replaced(at, parent, above, path[:depth], {str(path[depth]): value}) if above else None
    return None


def _replaced(at: TextPlaces, node: Node, key: Span, path: Path, value: Plain) -> str:
    first, last, new = at.start(node.span), at.end(node), flow(value)
    after = at.start(key) + key.end_column - key.column
    if first < at.start(key) and (alias := re.compile(r"[ \t]*:[ \t]*(\*[^\s,\]}]+)").match(at.text, after)):
        return at.put(alias.start(1), alias.end(1), new)
    if isinstance(node, Scalar) and first == last:
        return at.put(first, last, new if at.text[first - 1 : first] in " -" else f" {new}")
    if not isinstance(node, Scalar) and at.text[first] not in "{[" and isinstance(path[-1], str):
        said = re.compile(r"[ \t]*:[ \t]*(#[^\r\n]*)?").match(at.text, after)
        remark = f"  {said[1]}" if said and said[1] else ""
        return at.put(after, last, f": {new}{remark}")
    return at.put(first, last, new)


def _added(at: TextPlaces, parent: Mapping, entry: str) -> str:
    first, last = at.start(parent.span), at.end(parent)
    if at.text[first : first + 1] == "{":
        inside = at.text[first + 1 : last - 1].rstrip()
        lead = "" if not inside.strip() else " " if inside.endswith(",") else ", "
        place = first + 1 + len(inside)
        return at.put(place, place, lead + entry)
    indent = " " * (next(iter(parent.keys.values())).column - 1)
    end = at.line_end(last)
    return at.put(end, end, f"{at.line_break()}{indent}{entry}")


def _without(at: TextPlaces, tree: Mapping, path: Path) -> str | None:
    parent, node, key = find(tree, path[:-1]), find(tree, path), key_span(tree, path)
    if not isinstance(parent, Mapping | Items) or node is None or key is None:
        return None
    keys = list(parent.keys.values()) if isinstance(parent, Mapping) else [member.span for member in parent.nodes]
    index, first, last = keys.index(key), at.start(key), at.end(node)
    start = at.start(parent.span)
    if at.text[start] in "{[":
        if index + 1 < len(keys):
            return at.put(first, at.start(keys[index + 1]), "")
        begin = at.text.rindex(",", 0, first) if index else start + 1
        return at.put(begin, last, "")
    if len(keys) == 1:
        if len(path) == 1:
            return None
        above = key_span(tree, path[:-1])
        nothing: Plain = {} if isinstance(parent, Mapping) else []
        return _replaced(at, parent, above, path[:-1], nothing) if above else None
    line = at.line_start(first)
    lead = at.text[line:first]
    alone = not lead.strip() if isinstance(parent, Mapping) else lead.strip() == "-"
    if alone:
        end = at.line_end(last)
        following = re.compile(r"\r\n|\n|\r").match(at.text, end)
        return at.put(line, following.end() if following else end, "")
    if isinstance(parent, Mapping) and index + 1 < len(keys):  # the first key behind a dash
        return at.put(first, at.start(keys[index + 1]), "")
    return None


def _round_trip(source: Source, _tree: Mapping, change: Change) -> str | None:
    """Return the text after ruamel's round trip, or None when it does not take the text."""
    import warnings
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.error import ReusedAnchorWarning, YAMLError

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 10**6, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML 1.2 allows it
            data = yaml.load(source.text)
    except (YAMLError, ValueError):  # such as a number of more digits than Python reads
        return None
    at = data
    for step in change.path[:-1]:
        if isinstance(at, CommentedSeq):
            at = at[int(step)]
        elif isinstance(at, CommentedMap):
            at = at.setdefault(step, CommentedMap())
        else:  # an empty section
            return None
    last = change.path[-1]
    if isinstance(at, CommentedSeq):
        if isinstance(change.value, _Delete):
            del at[int(last)]
        else:
            at[int(last)] = change.value
    elif isinstance(at, CommentedMap):
        word = str(last)
        if change.rename is not None:
            at.insert(list(at).index(word), change.rename, at.pop(word))
        elif isinstance(change.value, _Delete):
            del at[word]
        else:
            at[word] = change.value
    else:
        return None
    out = StringIO()
    yaml.dump(data, out)
    return out.getvalue()
