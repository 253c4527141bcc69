"""Contracts: every key a tool's release accepts, extracted from the real package; and the check against them.

The data files are made by `scripts/contracts/`, never edited by hand. Checking needs nothing but the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recipec.suggest import nearest

DATA = Path(__file__).parent / "data"


class Problem(NamedTuple):
    """One departure from a contract, at a path into the document."""

    path: tuple[str | int, ...]
    on: Literal["key", "value"]
    message: str
    suggestion: str | None = None


class Contract:
    """What one release of a tool accepts, by document."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.tool: str = data["tool"]
        self.release: str = data["release"]
        self.documents: dict[str, Any] = data["documents"]

    def check(self, document: str, value: object) -> list[Problem]:
        """Return every unknown key, wrong type and wrong choice. Raises KeyError for an unknown document."""
        return sorted(_check(self.documents[document], value, ()), key=lambda p: [str(step) for step in p.path])

    def node(self, document: str, path: tuple[str | int, ...]) -> dict[str, Any] | None:
        """Return what the contract says of the key at `path`, or None when it has no such key."""
        at: dict[str, Any] | None = self.documents[document]
        for step in path:
            if at is None:
                return None
            at = at.get("items") if isinstance(step, int) else at.get("keys", {}).get(step, at.get("values"))
        return at


@cache
def load(tool: str, release: str) -> Contract:
    """Return a contract. Raises LookupError, naming the known releases, when there is none."""
    try:
        text = (DATA / f"{tool}-{release}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in DATA.glob(f"{tool}-*.json"))) or "none"
        raise LookupError(f"no contract for {tool} {release}; known: {known}") from None
    return Contract(json.loads(text))


def _type(value: object) -> str:
    names = {
        bool: "bool",
        int: "int",
        float: "float",
        str: "str",
        type(None): "null",
        dict: "map",
        list: "list",
        tuple: "list",
    }
    return names.get(type(value), "any")


def _fits(kind: str, types: list[str]) -> bool:
    return not types or "any" in types or kind in types or (kind == "int" and "float" in types)


def _check(node: dict[str, Any], value: object, path: tuple[str | int, ...]) -> Iterator[Problem]:
    kind, types = _type(value), node.get("type", [])
    types = [types] if isinstance(types, str) else types
    if not _fits(kind, types):
        yield Problem(path, "value", f"expected {' or '.join(types)}, got {kind}")
        return
    choices = node.get("choices")
    if choices is not None and kind == "str" and value not in choices:
        names = [str(choice) for choice in choices]
        shown = ", ".join(names) if len(names) <= 12 else f"one of {len(names)} names"
        yield Problem(path, "value", f'"{value}" is not accepted; expected {shown}', nearest(str(value), names))
    if isinstance(value, dict) and ("keys" in node or "values" in node):
        for key, item in value.items():
            inner = node.get("keys", {}).get(key, node.get("values"))
            if inner is None:
                yield Problem((*path, key), "key", f'unknown key "{key}"', nearest(str(key), node.get("keys", {})))
            else:
                yield from _check(inner, item, (*path, key))
    elif isinstance(value, list | tuple) and "items" in node:
        for index, item in enumerate(value):
            yield from _check(node["items"], item, (*path, index))
