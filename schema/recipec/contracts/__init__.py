"""Contracts: every key a tool's release accepts, extracted from the real package; and the check against them.

The data files are made by `scripts/contracts/`, never edited by hand. Checking needs nothing but the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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
        check = _Check(self.documents, value)
        check.at(self.documents[document], value, ())
        return sorted(check.problems, key=lambda p: [str(step) for step in p.path])


@cache
def load(tool: str, release: str) -> Contract:
    """Return a contract. Raises LookupError, naming the known releases, when there is none."""
    try:
        text = (DATA / f"{tool}-{release}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in DATA.glob(f"{tool}-*.json"))) or "none"
        raise LookupError(f"no contract for {tool} {release}; known: {known}") from None
    return Contract(json.loads(text))


_TYPES = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null", dict: "map", list: "list", tuple: "list"}
_BOUNDS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("ge", "at least", lambda value, bound: value >= bound),
    ("gt", "above", lambda value, bound: value > bound),
    ("le", "at most", lambda value, bound: value <= bound),
    ("lt", "below", lambda value, bound: value < bound),
)


class _Check:
    """One check of one document; collects problems."""

    def __init__(self, documents: dict[str, Any], root: object) -> None:
        self.documents = documents
        self.root: dict[str, Any] = root if isinstance(root, dict) else {}
        self.problems: list[Problem] = []

    def meant(self, node: dict[str, Any], value: object) -> dict[str, Any]:
        """Follow `ref`, to the variant that other keys choose (`when`)."""
        if "ref" not in node:
            return node
        for case in node.get("when", ()):
            where = self.root if case["at"] == "root" else value
            if isinstance(where, dict) and where.get(case["key"]) in case["in"]:
                return self.documents[case["ref"]]  # type: ignore[no-any-return]  # JSON has no types
        return self.documents[node["ref"]]  # type: ignore[no-any-return]  # JSON has no types

    def at(self, node: dict[str, Any], value: object, path: tuple[str | int, ...]) -> None:
        """Judge one value."""
        node = self.meant(node, value)
        kind, types = _TYPES.get(type(value), "any"), node.get("type", [])
        if types and "any" not in types and kind not in types and not (kind == "int" and "float" in types):
            shown = " or ".join(name for name in types if name != "null")
            self.problems.append(Problem(path, "value", f"expected {shown}, got {kind}"))
            return
        self._choice(node, value, kind, path)
        if kind in ("int", "float"):
            for field, word, holds in _BOUNDS:
                if field in node and not holds(value, node[field]):
                    self.problems.append(Problem(path, "value", f"expected a number {word} {node[field]}, got {value}"))
        if isinstance(value, dict) and ("keys" in node or "values" in node):
            for key, item in value.items():
                self._key(node, str(key), item, (*path, key), value)
        elif isinstance(value, list | tuple) and "items" in node:
            for index, item in enumerate(value):
                self.at(node["items"], item, (*path, index))

    def _choice(self, node: dict[str, Any], value: object, kind: str, path: tuple[str | int, ...]) -> None:
        choices, patterns = node.get("choices"), node.get("patterns", ())
        if choices is None or kind in ("null", "map", "list") or value in choices:
            return
        if kind != "str" and kind in node.get("type", ()) and not any(_TYPES.get(type(choice)) == kind for choice in choices):
            return
        if isinstance(value, str) and any(re.fullmatch(pattern, value) for pattern in patterns):
            return
        names = [str(choice) for choice in choices]
        shown = ", ".join(names) if len(names) <= 12 else f"one of {len(names)} names"
        self.problems.append(Problem(path, "value", f'"{value}" is not accepted; expected {shown}', nearest(str(value), names)))

    def _key(self, node: dict[str, Any], key: str, item: object, path: tuple[str | int, ...], holder: dict[str, Any]) -> None:
        inner = node.get("keys", {}).get(key, node.get("values"))
        if inner is None:
            if not self._open(node, holder):
                self.problems.append(Problem(path, "key", f'unknown key "{key}"', nearest(key, node.get("keys", {}))))
            return
        if "removed" in inner:
            self.problems.append(Problem(path, "key", f'"{key}" was removed: {inner["removed"]}'))
            return
        needs = inner.get("needs")
        if needs is not None:
            present = holder.get(needs["key"]) or []
            if not any(name in present for name in needs["any"]):
                message = f'"{key}" is dropped without {needs["key"]}: [{needs["any"][0]}]'
                self.problems.append(Problem(path, "key", message))
        self.at(inner, item, path)

    @staticmethod
    def _open(node: dict[str, Any], holder: dict[str, Any]) -> bool:
        """Return whether a plugin that the contract does not know may have added keys."""
        opens = node.get("opens")
        return opens is not None and any(name not in opens["known"] for name in holder.get(opens["key"]) or [])
