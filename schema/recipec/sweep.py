"""The variants of a recipe with `sweep:`, one tree for each. Nothing here knows what becomes of them.

A variant has a name made of its values, such as `lr=1e-4_rank=16`: the same whatever other variants there are, and safe
as the name of a folder (no commas: several tools take those in a path for the end of it).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from recipec.bind import bind
from recipec.compose import laid_value
from recipec.course import without
from recipec.diagnostics import Finding, RecipeError
from recipec.language.sweep import MOST
from recipec.source import Items, Mapping, Node, Plain, Scalar, Span, plain, split_path

WORD = "sweep"
LONGEST = 120  # characters of a name
_SHORT = {"learning_rate": "lr"}  # what everybody calls them
_NEVER = ("recipe", "name", "extends", "profiles", "variables", WORD)
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_DIGITS = 3  # that a random number keeps


class Setting(NamedTuple):
    """A value at a dotted path. `key` is where the sweep first names the path, `value` stands where it is written."""

    path: str
    key: Span
    value: Node


class Variant(NamedTuple):
    """One variant: its name, and what it lays over the recipe."""

    name: str
    settings: tuple[Setting, ...]

    @property
    def values(self) -> dict[str, Plain]:
        """Return its values by their paths."""
        return {one.path: plain(one.value) for one in self.settings}

    def tree(self, base: Mapping, *, exact: bool = False) -> Mapping:
        """Return the recipe with its values, which stand where the sweep names their paths.

        With `exact`, they stand where they are written, so that a finding can point at one of them. Raises RecipeError.
        """
        at: Node = base
        for path, key, value in self.settings:
            node = Scalar(value.value, key, value.text) if isinstance(value, Scalar) and not exact else value
            at = laid_value(at, path, node, key, value.span)
        assert isinstance(at, Mapping)
        return at


class Sweep(NamedTuple):
    """A recipe's sweep: the recipe without it, where it stands, and the nodes of what it says."""

    base: Mapping
    span: Span
    node: Mapping
    paths: tuple[str, ...]
    keys: dict[str, Span]

    @property
    def best(self) -> str | None:
        """What marks the best variant, as the recipe says it."""
        node = self.node.entries.get("best")
        return str(node.value) if isinstance(node, Scalar) and node.value is not None else None

    def variants(self, chosen: Sequence[str] = ()) -> Iterator[Variant]:
        """Yield every variant once, or those whose name one of the `chosen` patterns matches. Raises RecipeError."""
        from fnmatch import fnmatchcase

        labels = _labels(self.paths)
        seen: set[bytes] = set()
        names: set[str] = set()
        found = False
        for settings in self._settings():
            same = json.dumps({one.path: plain(one.value) for one in settings}, sort_keys=True)
            digest = hashlib.sha256(same.encode("utf-8", "surrogateescape")).digest()
            if digest[:16] in seen:
                continue
            seen.add(digest[:16])
            name = "_".join(f"{labels[one.path]}={value_name(one.value)}" for one in settings)
            if len(name) > LONGEST or name.casefold() in names:
                name = f"{name[: LONGEST - 9]}~{digest.hex()[:8]}"
            names.add(name.casefold())
            if not chosen or any(fnmatchcase(name, pattern) for pattern in chosen):
                found = True
                yield Variant(name, settings)
        if chosen and not found:
            from recipec.suggest import nearest

            message = f"no variant is called {' or '.join(chosen)}"
            close = nearest(chosen[0], [one.name for one in self.variants()])
            advice = "`recipe compile` lists the variants; * stands for anything"
            raise RecipeError([Finding("S063", message, self.span, close, advice)])

    def _settings(self) -> Iterator[tuple[Setting, ...]]:
        grid, points, sampled = (self.node.entries.get(word) for word in ("grid", "list", "random"))
        if isinstance(grid, Mapping):
            axes = [
                [Setting(path, self.keys[path], value) for value in node.nodes]
                for path, node in grid.entries.items()
                if isinstance(node, Items)
            ]
            yield from itertools.product(*axes)
        for point in points.nodes if isinstance(points, Items) else ():
            if isinstance(point, Mapping):
                yield tuple(Setting(path, self.keys[path], value) for path, value in point.entries.items())
        if isinstance(sampled, Mapping):
            yield from self._samples(plain(sampled), sampled)

    def _samples(self, said: Plain, node: Mapping) -> Iterator[tuple[Setting, ...]]:
        import random  # most recipes draw nothing, and it is slow to import

        assert isinstance(said, dict)
        over = node.entries["over"]
        assert isinstance(over, Mapping)
        taken = [
            (path, one, random.Random(f"{said.get('seed') or 0}:{path}"))  # no secret
            for path, one in over.entries.items()
            if isinstance(one, Mapping)
        ]
        for _ in range(int(str(said["samples"]))):
            yield tuple(Setting(path, self.keys[path], _drawn(one, r.random())) for path, one, r in taken)


def has_sweep(tree: Mapping) -> bool:
    """Return whether a composed recipe has a sweep, be it a wrong one."""
    node = tree.entries.get(WORD)
    return node is not None and not (isinstance(node, Scalar) and node.value is None)


def sweep_of(tree: Mapping) -> Sweep | None:
    """Return the sweep of a composed recipe; None where it has none. Raises RecipeError with what is wrong with it."""
    node = tree.entries.get(WORD)
    if node is None or not has_sweep(tree):
        return None
    within = _spans(node) | {tree.keys[WORD]}
    findings = [one for one in bind(tree).findings if one.span in within]
    if not findings and isinstance(node, Mapping):
        findings = list(_wrong(tree, node))
    if findings or not isinstance(node, Mapping):
        raise RecipeError(findings)
    keys: dict[str, Span] = {}
    for mapping in _named(node):
        for path in mapping.entries:
            keys.setdefault(path, mapping.keys[path])
    return Sweep(without(tree, {WORD}), tree.keys[WORD], node, tuple(keys), keys)


def _named(node: Mapping) -> Iterator[Mapping]:
    """Yield the mappings of a sweep whose keys are paths."""
    grid, points, sampled = (node.entries.get(word) for word in ("grid", "list", "random"))
    over = sampled.entries.get("over") if isinstance(sampled, Mapping) else None
    for one in (grid, *(points.nodes if isinstance(points, Items) else ()), over):
        if isinstance(one, Mapping):
            yield one


def _spans(node: Node) -> set[Span]:
    found = {node.span}
    for inner in node.entries.values() if isinstance(node, Mapping) else node.nodes if isinstance(node, Items) else ():
        found |= _spans(inner)
    return found | (set(node.keys.values()) if isinstance(node, Mapping) else set())


def _wrong(tree: Mapping, node: Mapping) -> Iterator[Finding]:
    """Yield what is wrong with a sweep whose shape is right."""
    grid, points, sampled = (node.entries.get(word) for word in ("grid", "list", "random"))
    if not (grid or points or sampled):
        yield Finding("S060", "the sweep has no variants", tree.keys[WORD], help="write grid, list or random")
    count = len(points.nodes) if isinstance(points, Items) else 0
    if isinstance(grid, Mapping):
        for path, one in grid.entries.items():
            if isinstance(one, Items) and not one.nodes:
                yield Finding("S060", f"{path} has no values", grid.keys[path], help="list one or more values")
        count += math.prod(len(one.nodes) for one in grid.entries.values() if isinstance(one, Items))
    if isinstance(sampled, Mapping):
        count += int(str(plain(sampled.entries["samples"])))
        over = sampled.entries["over"]
        for path, one in over.entries.items() if isinstance(over, Mapping) else ():
            yield from _wrong_range(path, one, over)
    if count > MOST:
        message = f"the sweep has {count:,} variants, and {MOST:,} are the most"
        yield Finding("S061", message, tree.keys[WORD], help="take fewer values, or random samples of them")
    told: set[Span] = set()
    for mapping in _named(node):
        for path in mapping.entries:
            if (finding := _wrong_path(path, mapping.keys[path])) is not None and finding.span not in told:
                told.add(mapping.keys[path])
                yield finding
        if not mapping.entries:
            yield Finding("S060", "a variant without values", mapping.span, help="write a path and a value, or drop it")


def _wrong_path(path: str, key: Span) -> Finding | None:
    try:
        first = split_path(path)[0]
    except (ValueError, IndexError):
        return Finding("S062", f"{path} is no path of a value", key, help="write train.learning_rate")
    if first in _NEVER:
        return Finding("S062", f"{first} cannot be swept", key, help="sweep values of the recipe, such as train.epochs")
    return None


def _wrong_range(path: str, node: Node, over: Node) -> Iterator[Finding]:
    assert isinstance(over, Mapping)
    said = (
        {word: one for word, one in node.entries.items() if plain(one) is not None} if isinstance(node, Mapping) else {}
    )
    if len(said) != 1:
        advice = "write one of log_uniform, uniform, integer and choice"
        yield Finding("S060", f"{path} is taken from {len(said) or 'no'} ranges", over.keys[path], help=advice)
        return
    ((word, one),) = said.items()
    ends = plain(one)
    if word == "choice" or not isinstance(ends, list):
        return
    if len(ends) != 2 or any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in ends):
        yield Finding("S060", f"{path}: {word} takes two numbers", one.span, help=f"{word}: [least, greatest]")
        return
    low, high = (float(str(end)) for end in ends)
    whole = all(isinstance(end, int) for end in ends)
    for wrong, message, advice in (
        (not (math.isfinite(low) and math.isfinite(high) and low < high), "the least must be below the greatest", f"{word}: [least, greatest]"),
        (word == "log_uniform" and low <= 0, "every order of magnitude down to 0 is infinitely many", "begin above 0"),
        (word == "integer" and not whole, "the ends of integer are whole numbers", "use uniform for others"),
    ):  # fmt: skip
        if wrong:
            yield Finding("S060", f"{path}: {message}", one.span, help=advice)
            return


def _drawn(node: Mapping, at: float) -> Node:
    """Return the value of a range at a place from 0 to 1."""
    word, one = next((word, one) for word, one in node.entries.items() if plain(one) is not None)
    if word == "choice":
        assert isinstance(one, Items)
        return one.nodes[int(at * len(one.nodes))]
    ends = plain(one)
    assert isinstance(ends, list)
    low, high = (float(str(end)) for end in ends)
    if word == "integer":
        whole = int(low) + int(at * (int(high) - int(low) + 1))
        return Scalar(whole, one.span, str(whole))
    found = low * (high / low) ** at if word == "log_uniform" else low + at * (high - low)
    found = min(max(float(f"{found:.{_DIGITS}g}"), low), high)
    return Scalar(found, one.span, repr(found))


def _labels(paths: Iterable[str]) -> dict[str, str]:
    """Return a short name for each path: its last step, with as many before it as tell it from the others."""
    steps = {path: [_word(step) for step in split_path(path)] for path in paths}
    found: dict[str, str] = {}
    for path, words in steps.items():
        others = [other for one, other in steps.items() if one != path]
        ends = (length for length in range(1, len(words)) if all(one[-length:] != words[-length:] for one in others))
        found[path] = ".".join(words[-next(ends, len(words)) :])
    return found


def _word(step: str | int) -> str:
    text = _SHORT.get(str(step), str(step))
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text)


def value_name(node: Node) -> str:
    """Return a value as it stands in a name: a number without needless digits, a text without what no folder can have."""
    value = plain(node)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, float):
        return number_name(value)
    if isinstance(value, (int, str)):
        text = str(value).replace("/", "--").strip()
        safe = _UNSAFE.sub("-", text).strip(".")
        return safe if safe == text and safe else f"{safe[:40]}~{_short_hash(value)}"
    if isinstance(node, Items) and node.nodes and all(isinstance(one, Scalar) for one in node.nodes):
        return "+".join(value_name(one) for one in node.nodes)
    return _short_hash(value)


def number_name(value: float) -> str:
    """Return a number as people write it: 1e-5 for 1e-05, 0.5, 2 for 2.0."""
    text = f"{value:.15g}"
    if value and "e" not in text and abs(value) < 1e-2:
        text = f"{value:.14e}"
    mantissa, e, exponent = text.partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def _short_hash(value: Plain) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()[:6]


__all__ = ["Setting", "Sweep", "Variant", "has_sweep", "number_name", "sweep_of", "value_name"]
