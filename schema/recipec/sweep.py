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
from collections.abc import Mapping as Mapping_
from typing import NamedTuple

from recipec.bind import bind
from recipec.compose import laid_value
from recipec.course import without
from recipec.diagnostics import Finding, RecipeError
from recipec.language.sweep import MOST
from recipec.language.sweep import Search as Said
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


class Range(NamedTuple):
    """What the values of a path are taken from, as a recipe says it: one of RANGES → its two ends, or its choices."""

    path: str
    key: Span
    node: Node

    @property
    def word(self) -> str:
        """The kind of range."""
        return self._said[0]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value; of choices, their numbers in order, from 0."""
        word, one = self._said
        found = plain(one)
        assert isinstance(found, list)
        return (0, len(found) - 1) if word == "choice" else (float(str(found[0])), float(str(found[1])))

    @property
    def _said(self) -> tuple[str, Node]:
        assert isinstance(self.node, Mapping)
        return next((word, one) for word, one in self.node.entries.items() if plain(one) is not None)

    def drawn(self, at: float) -> Node:
        """Return the value at a place from 0 to 1."""
        low, high = self.ends
        if self.word in ("choice", "integer"):
            return self.value(int(low) + int(at * (int(high) - int(low) + 1)))
        return self.value(low * (high / low) ** at if self.word == "log_uniform" else low + at * (high - low))

    def value(self, number: float) -> Node:
        """Return the value that a number between the ends stands for."""
        word, one = self._said
        if word == "choice":
            assert isinstance(one, Items)
            return one.nodes[int(number)]
        if word == "integer":
            return Scalar(int(number), one.span, str(int(number)))
        low, high = self.ends
        found = min(max(float(f"{number:.{_DIGITS}g}"), low), high)
        return Scalar(found, one.span, repr(found))

    def holds(self, value: Plain) -> bool:
        """Return whether the range has a value."""
        try:
            self.number(value)
        except ValueError:
            return False
        return True

    def number(self, value: Plain) -> float:
        """Return the number that a value stands for. Raises ValueError where the range does not have it."""
        word, one = self._said
        if word == "choice":
            assert isinstance(one, Items)
            return [plain(node) for node in one.nodes].index(value)
        low, high = self.ends
        whole = word == "integer"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
            raise ValueError(value)
        return value


class Search(NamedTuple):
    """A search: at most so many trials, the first of them random; `key` is the same as long as only `trials` changes."""

    trials: int
    startup: int
    seed: int
    ranges: tuple[Range, ...]
    key: str

    def settings(self, values: Mapping_[str, Plain]) -> tuple[Setting, ...]:
        """Return the settings of a trial that is known by its values. Raises ValueError where the ranges do not have them."""
        return self.chosen([one.number(values.get(one.path)) for one in self.ranges])

    def chosen(self, numbers: Iterable[float]) -> tuple[Setting, ...]:
        """Return the settings of a trial, by a number for each range."""
        pairs = zip(self.ranges, numbers, strict=True)
        return tuple(Setting(one.path, one.key, one.value(number)) for one, number in pairs)


class Names:
    """Makes variants of settings, each with a name of its own."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._labels = _labels(paths)
        self._seen: set[bytes] = set()
        self._names: set[str] = set()

    def variant(self, settings: tuple[Setting, ...]) -> Variant | None:
        """Return a variant; None where there was an equal one."""
        same = json.dumps({one.path: plain(one.value) for one in settings}, sort_keys=True)
        digest = hashlib.sha256(same.encode("utf-8", "surrogateescape")).digest()
        if digest[:16] in self._seen:
            return None
        self._seen.add(digest[:16])
        name = "_".join(f"{self._labels[one.path]}={value_name(one.value)}" for one in settings)
        if len(name) > LONGEST or name.casefold() in self._names:
            name = f"{name[: LONGEST - 9]}~{digest.hex()[:8]}"
        self._names.add(name.casefold())
        return Variant(name, settings)


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

    @property
    def search(self) -> Search | None:
        """What values are searched in, if they are."""
        node = self.node.entries.get("search")
        if not isinstance(node, Mapping):
            return None
        said = Said.model_validate(plain(node))
        rest = {word: plain(one) for word, one in self.node.entries.items() if word != "search"}
        of = [plain(self.base), rest, said.model_dump(exclude={"trials"})]
        key = hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode("utf-8", "surrogateescape"))
        return Search(said.trials, said.startup, said.seed, self._ranges(node), key.hexdigest())

    def variants(self, chosen: Sequence[str] = (), trials: Iterable[Mapping_[str, Plain]] = ()) -> Iterator[Variant]:
        """Yield every variant once, or those whose name one of the `chosen` patterns matches. Raises RecipeError.

        Of a search, these are the variants that it begins with, and those that are known by their values as its later `trials`.
        """
        from fnmatch import fnmatchcase

        names = Names(self.paths)
        found = False
        for settings in itertools.chain(self._settings(), self._tried(trials)):
            variant = names.variant(settings)
            if variant is not None and (not chosen or any(fnmatchcase(variant.name, one) for one in chosen)):
                found = True
                yield variant
        if chosen and not found:
            from recipec.suggest import nearest

            message = f"no variant is called {' or '.join(chosen)}"
            close = nearest(chosen[0], [one.name for one in self.variants((), trials)])
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
            said = plain(sampled)
            assert isinstance(said, dict)
            yield from self._samples(int(str(said["samples"])), said.get("seed"), self._ranges(sampled))
        if (search := self.search) is not None:
            yield from self._samples(min(search.startup, search.trials), search.seed, search.ranges)

    def _tried(self, trials: Iterable[Mapping_[str, Plain]]) -> Iterator[tuple[Setting, ...]]:
        if (search := self.search) is not None:
            for values in trials:
                yield search.settings(values)

    def _ranges(self, node: Mapping) -> tuple[Range, ...]:
        over = node.entries["over"]
        assert isinstance(over, Mapping)
        return tuple(Range(path, self.keys[path], one) for path, one in over.entries.items())

    def _samples(self, count: int, seed: Plain, ranges: Iterable[Range]) -> Iterator[tuple[Setting, ...]]:
        import random  # most recipes draw nothing, and it is slow to import

        taken = [(one, random.Random(f"{seed or 0}:{one.path}")) for one in ranges]  # no secret
        for _ in range(count):
            yield tuple(Setting(one.path, one.key, one.drawn(r.random())) for one, r in taken)


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
    grid, points, *drawn = (node.entries.get(word) for word in ("grid", "list", "random", "search"))
    over = [one.entries.get("over") for one in drawn if isinstance(one, Mapping)]
    for one in (grid, *(points.nodes if isinstance(points, Items) else ()), *over):
        if isinstance(one, Mapping):
            yield one


def _spans(node: Node) -> set[Span]:
    found = {node.span}
    for inner in node.entries.values() if isinstance(node, Mapping) else node.nodes if isinstance(node, Items) else ():
        found |= _spans(inner)
    return found | (set(node.keys.values()) if isinstance(node, Mapping) else set())


def _wrong(tree: Mapping, node: Mapping) -> Iterator[Finding]:
    """Yield what is wrong with a sweep whose shape is right."""
    grid, points, sampled, searched = (node.entries.get(word) for word in ("grid", "list", "random", "search"))
    if all(one is None or plain(one) is None for one in (grid, points, sampled, searched)):
        yield Finding("S060", "the sweep has no variants", tree.keys[WORD], help="write grid, list, random or search")
    count = len(points.nodes) if isinstance(points, Items) else 0
    if isinstance(grid, Mapping):
        for path, one in grid.entries.items():
            if isinstance(one, Items) and not one.nodes:
                yield Finding("S060", f"{path} has no values", grid.keys[path], help="list one or more values")
        count += math.prod(len(one.nodes) for one in grid.entries.values() if isinstance(one, Items))
    for drawn, number in ((sampled, "samples"), (searched, "trials")):
        if isinstance(drawn, Mapping):
            count += int(str(plain(drawn.entries[number])))
            over = drawn.entries["over"]
            for path, one in over.entries.items() if isinstance(over, Mapping) else ():
                yield from _wrong_range(path, one, over)
    if isinstance(searched, Mapping):
        yield from _wrong_search(node, searched)
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


def _wrong_search(node: Mapping, searched: Mapping) -> Iterator[Finding]:
    """Yield what is wrong with a search beside its ranges."""
    best = node.entries.get("best")
    if best is None or plain(best) is None:
        advice = "write best: gsm8k, eval_loss or another measure"
        yield Finding("S060", "the search does not say what it is to make better", node.keys["search"], help=advice)
    for word in ("grid", "random"):
        if node.entries.get(word) is not None and plain(node.entries[word]) is not None:
            advice = "drop one of them; `list` holds variants that a search begins with"
            yield Finding("S060", f"{word} and search are both given", node.keys[word], help=advice)
    over, points = searched.entries["over"], node.entries.get("list")
    paths = set(over.entries) if isinstance(over, Mapping) else set[str]()
    for one in points.nodes if isinstance(points, Items) else ():
        if isinstance(one, Mapping) and (missing := sorted(paths ^ set(one.entries))):
            advice = "give a value to each path of the search, and to no other"
            yield Finding("S060", f"the search begins with a variant that differs from it in {', '.join(missing)}", one.span, help=advice)  # fmt: skip
            continue
        for path, value in one.entries.items() if isinstance(one, Mapping) else ():
            where = over.entries[path] if isinstance(over, Mapping) else value
            if not list(_wrong_range(path, where, over)) and not Range(path, value.span, where).holds(plain(value)):
                advice = "change the value or the range"
                yield Finding("S060", f"{path}: the search does not reach this value", value.span, help=advice)


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


__all__ = ["Range", "Search", "Setting", "Sweep", "Variant", "has_sweep", "number_name", "sweep_of", "value_name"]
