"""A composed recipe, printed: what it is made of, or the flat recipe with a remark at each value from another place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from recipec.compose import Composed
from recipec.edit import flow, same
from recipec.language import Recipe
from recipec.render.yaml_writer import scalar
from recipec.source import Items, Mapping, Node, Scalar, Span, leaves, plain, visible


def flat(composed: Composed) -> str:
    """Return the flat recipe as YAML, which compiles to the same files.

    A value of another place than the file itself has a remark: its file and line, or the option it came from.
    """
    tree = _in_order(composed.tree)
    home = composed.layers[-1]

    def remark(span: Span) -> str:
        source = span.source
        note = composed.notes.get(span, "")
        if source.label.startswith("--"):
            return f"{source.label} {visible(source.text)}"
        profile = _profile_at(composed, span)
        place = "" if source is home and not profile else f"{source.label}:{span.line}" + profile
        return f"{place}; {note}" if place and note else place or note

    lines = list(_lines(tree, 0, remark))
    text = "\n".join(lines) + "\n"
    assert same(text, plain(tree)), "the flat recipe differs from the recipe"
    return text


def _in_order(tree: Mapping) -> Mapping:
    """Return a recipe with its sections in the order of the language, unknown ones last."""
    known = [word for word in Recipe.model_fields if word in tree.entries]
    entries = {word: tree.entries[word] for word in dict.fromkeys([*known, *tree.entries])}
    return Mapping(entries, tree.keys, tree.span)


def _written(node: Node) -> str:
    """Return a value on one line; a number stays as the person wrote it."""
    if isinstance(node, Scalar) and node.text and not isinstance(node.value, str):
        return node.text
    if isinstance(node, Items):
        return "[" + ", ".join(map(_written, node.nodes)) + "]"
    return flow(plain(node))


def _profile_at(composed: Composed, span: Span) -> str:
    for name, mapping in composed.chosen:
        at = mapping.span
        if span.source is at.source and (at.line, at.column) <= (span.line, span.column) <= _last(mapping):
            return f" in the profile {name}"
    return ""


def _last(node: Node) -> tuple[int, int]:
    return max((inner.span.line, inner.span.column) for _, inner in leaves(node))


def _lines(node: Node, indent: int, remark: Callable[[Span], str]) -> Iterator[str]:
    """Yield the lines of a collection that is not empty."""
    pad = " " * indent
    members: list[tuple[str, Node]]
    if isinstance(node, Mapping):
        members = [(f"{scalar(key)}:", inner) for key, inner in node.entries.items()]
    else:
        members = [("-", inner) for inner in node.nodes] if isinstance(node, Items) else []
    for lead, inner in members:
        if isinstance(inner, Mapping) and inner.entries:
            below = _lines(inner, indent + 2, remark)
            if lead == "-":
                yield f"{pad}- {next(below)[indent + 2 :]}"
            else:
                yield f"{pad}{lead}"
            yield from below
        elif isinstance(inner, Items) and any(not isinstance(member, Scalar) for member in inner.nodes):
            yield f"{pad}{lead}"
            yield from _lines(inner, indent + 2, remark)
        else:
            said = dict.fromkeys(remark(n.span) for n in (getattr(inner, "nodes", None) or [inner]))
            told = ", ".join(text for text in said if text)
            yield f"{pad}{lead} {_written(inner)}" + (f"  # {told}" if told else "")


def made_of(composed: Composed) -> dict[str, Any]:
    """Return the files, profiles and variables of a recipe, as JSON data."""
    known = [*dict.fromkeys([*composed.profiles, *composed.others])]
    return {
        "files": [source.name for source in composed.layers],
        "profiles": {name: name in composed.profiles for name in known},
        "variables": {
            name: {"value": node.value, "at": node.span.where()} for name, node in composed.variables.items()
        },
    }


def made_of_text(composed: Composed) -> str:
    """Return the same for people."""
    about = made_of(composed)
    lines = ["files, each overriding those before it:", *(f"  {visible(name)}" for name in about["files"])]
    if about["profiles"]:
        lines += ["profiles:", *(f"  {name}{' (chosen)' * chosen}" for name, chosen in about["profiles"].items())]
    if about["variables"]:
        rows = about["variables"].items()
        lines += ["variables:", *(f"  {name} = {flow(row['value'])}  {visible(row['at'])}" for name, row in rows)]
    return "\n".join(lines) + "\n"
