"""What a finding tells one to do, where that can be done without thinking: the changes that its words mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError
from words import flat, item_of, section_of

from recipec.diagnostics import Finding
from recipec.language import Recipe
from recipec.source import Items, Mapping, Node, Path, Source, dotted, find, plain, split_path, with_value
from recipec.yaml_reader import read_text

DROP = object()
PATH = r"([a-z_]+(?:\.[a-z_]+|\[\d+\])*)"
_DROPPED = re.compile(rf"\bdrop {PATH}")
_GIVEN = re.compile(rf"\b{PATH}(?:: | to |, such as )([A-Za-z0-9_.%+-]+)")
_USED = re.compile(
    r"\b(?:use|choose|it has|it can do:?|would do|here) (?:one of )?([a-z0-9_+-]+(?:(?:, | or |, or )[a-z0-9_+-]+)*)"
)
_PARTS = re.compile(r"(?:, or |; or |; )")


class Change(NamedTuple):
    """A value to give to a leaf, or DROP, and the words that say so."""

    path: Path
    value: Any
    words: str

    def applied(self, tree: Mapping) -> Mapping | None:
        """Return the recipe with the change made; None where that changes nothing or has no place."""
        if self.value is DROP:
            made: Node | None = _without(tree, self.path)
        else:
            node = node_of(self.value, "advice")
            try:
                made = with_value(tree, self.path, node, node.span)
            except LookupError:
                return None
        return made if isinstance(made, Mapping) and plain(made) != plain(tree) else None

    def reverses(self, other: Change, before: Mapping) -> bool:
        """Return whether this takes back what `other` did to the recipe `before`."""
        if self.path != other.path:
            return False
        if other.value is DROP:
            return self.value is not DROP
        was = find(before, other.path)
        if self.value is DROP:
            return was is None
        return was is not None and plain(was) == self.value


def node_of(value: Any, name: str) -> Node:
    """Return a value as a tree with places of its own."""
    from recipec.edit import flow

    return read_text(Source(name, flow(value)))


def _without(node: Node, path: Path) -> Node | None:
    if len(path) > 1:
        inner = find(node, path[:1])
        below = _without(inner, path[1:]) if inner is not None else None
        return with_value(node, path[:1], below, below.span) if below is not None else None
    if isinstance(node, Mapping) and path[0] in node.entries:
        kept = {key: value for key, value in node.entries.items() if key != path[0]}
        return Mapping(kept, {key: node.keys[key] for key in kept}, node.span)
    if isinstance(node, Items) and isinstance(path[0], int) and path[0] < len(node.nodes):
        return Items([one for index, one in enumerate(node.nodes) if index != path[0]], node.span)
    return None


def place_of(tree: Node, finding: Finding) -> Path | None:
    """Return the path of what a finding points at: the deepest key or value there."""
    return max(_at(tree, finding.span, ()), key=len, default=None) if finding.span else None


def _at(node: Node, span: Any, path: Path) -> Iterator[Path]:
    if node.span == span and path:
        yield path
    if isinstance(node, Mapping):
        for key, inner in node.entries.items():
            if node.keys[key] == span:
                yield (*path, key)
            yield from _at(inner, span, (*path, key))
    elif isinstance(node, Items):
        for index, inner in enumerate(node.nodes):
            yield from _at(inner, span, (*path, index))


def changes(tree: Mapping, finding: Finding) -> list[Change]:
    """Return what a finding tells one to do, each alternative on its own; nothing where that needs a thought."""
    place = place_of(tree, finding)
    if place is None:
        return []
    found = []
    if finding.suggestion is not None and not finding.code.startswith(("R001", "T02")):
        read = plain(read_text(Source("advice", finding.suggestion)))
        value = read if _takes(place, read) else finding.suggestion
        found.append(Change(place, value, f"did you mean {finding.suggestion}?"))
    stage, advice = _stage(tree, finding.help or "")
    place = place if place[0] == "stages" else (*stage, *place)
    for part in _PARTS.split(advice):
        found += list(_of(tree, place, part.strip()))
    return list({(change.path, repr(change.value)): change for change in found}.values())


def _stage(tree: Mapping, advice: str) -> tuple[Path, str]:
    """Return the path of the stage in which an advice says to do something, if any, and what that is."""
    said = re.match(r"say it in the stage ([\w-]+): (.*)", advice)
    stages: Any = plain(tree.entries["stages"]) if said else []
    place = [("stages", index) for index, stage in enumerate(stages) if said and stage["name"] == said[1]]
    return (place[0], said[2]) if said and place else ((), advice)


def _of(tree: Mapping, place: Path, part: str) -> Iterator[Change]:
    if part.startswith("drop it"):
        yield Change(place, DROP, part)
        return
    dropped = _DROPPED.match(part)
    if dropped:
        path = _named(tree, place, dropped[1])
        if path is not None and find(tree, path) is not None:
            yield Change(path, DROP, part)
        return
    given = (
        list(_GIVEN.finditer(part)) if re.match(r"(set|use|give|add|write|say) ", part) or _GIVEN.match(part) else []
    )
    for one in given:
        path = _named(tree, place, one[1])
        value = plain(read_text(Source("advice", one[2])))
        if path is not None and _takes(path, value):
            yield Change(path, value, part)
    if not given:
        for used in _USED.finditer(part):
            for word in re.split(r", or |, | or ", used[1]):
                value = plain(read_text(Source("advice", word)))
                if _takes(place, value):
                    yield Change(place, value, part)


def _named(tree: Mapping, place: Path, text: str) -> Path | None:
    """Return the path that a name in an advice means: a whole path, a neighbour, or the only leaf of that name."""
    path = split_path(text)
    stage = place[:2] if place[0] == "stages" else ()
    places = [*(place[:depth] for depth in range(len(place) - 1, -1, -1)), *([stage] if stage else [])]
    for above in places:
        if place and place[-1] == text and above == place[:-1]:
            return place
        if _kind((*above, *path)) is not None:
            return (*above, *path)
    alone = _by_name().get(text, [])
    return (*stage, *alone[0]) if len(alone) == 1 else None


@cache
def _by_name() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}

    def walk(model: type[BaseModel], path: Path) -> None:
        for name, field in model.model_fields.items():
            inner = section_of(flat(field.annotation))
            if inner is not None:
                walk(inner, (*path, name))
            found.setdefault(name, []).append((*path, name))

    walk(Recipe, ())
    return found


def _kind(path: Path) -> Any:
    """Return the type of the language at a path; None where it has nothing there."""
    model: type[BaseModel] | None = Recipe
    field = None
    for step in path:
        if isinstance(step, int):
            continue
        if model is None or step not in model.model_fields:
            return None
        field = model.model_fields[step]
        kinds = flat(field.annotation)
        model = section_of(kinds) or item_of(kinds)
    return field


def _takes(path: Path, value: Any) -> bool:
    field = _kind(path)
    if field is None or isinstance(path[-1], int):
        return False
    if any(
        kind is str
        for kind, limits in flat(field.annotation, tuple(field.metadata))
        if not any(hasattr(m, "pattern") for m in limits)
    ):
        return False  # a free text takes every word, also those that are no value
    try:
        TypeAdapter(field.rebuild_annotation()).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def spelt(change: Change) -> str:
    """Return a change as people write it."""
    what = "dropped" if change.value is DROP else f"= {change.value}"
    return f"{dotted(change.path)} {what}"
