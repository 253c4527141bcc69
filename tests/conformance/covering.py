"""A covering set of pairs: recipes in which every two options of the language stand together that may do so.

Which two may is not written down: rows are filled with options whose pairs are still missing, and what our own compiler
refuses in a row is taken out of it again. So each row leaves one recipe that we accept, and one more for each option that
was taken out, which we refuse because of that option alone. Everything follows from the order of the options and a seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

from recipec.course import bind_course
from recipec.decide.decision import decide
from recipec.diagnostics import Finding, errors
from recipec.emission import place
from recipec.pipeline import Compiled, compile_tree
from recipec.plan import Resolved
from recipec.render.tree import files_of
from recipec.source import Mapping, Node, Path, Source, leaves
from recipec.yaml_reader import read_text

from .options import Option, options, recipe

Pair = frozenset[tuple[str, int]]
FILLED = 14  # options of a row beside the pair that it begins with


class Accepted(NamedTuple):
    """A recipe that we accept."""

    chosen: tuple[Option, ...]
    text: str
    compiled: Compiled


class Refused(NamedTuple):
    """A recipe that is refused for one option alone: without it, it is accepted."""

    accepted: Accepted
    option: Option
    text: str
    findings: tuple[Finding, ...]


class Covering(NamedTuple):
    """What became of all pairs: every one of `pairs` is in an accepted recipe or `apart`, where we refuse the two."""

    accepted: list[Accepted]
    refused: list[Refused]
    pairs: int
    apart: dict[Pair, str]


def text_of(trainer: str, chosen: list[Option]) -> str:
    """Return the recipe as text, one section on each line."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in recipe(trainer, chosen).items())


def tree_of(text: str) -> Mapping:
    """Return a recipe's tree."""
    tree = read_text(Source("pair.yaml", text))
    assert isinstance(tree, Mapping)
    return tree


def covering(trainer: str, *, rows: int = 500, seed: int = 1) -> Covering:
    """Return the covering set of a trainer: always the same for the same rules."""
    every = options(trainer)
    by_key = {(one.factor, one.index): one for one in every}
    chance = random.Random(f"{trainer}-{seed}")
    left = {frozenset(two) for two in combinations(by_key, 2) if two[0][0] != two[1][0]}
    count = len(left)
    queue = sorted(left, key=sorted)
    chance.shuffle(queue)
    found = Covering([], [], count, {})
    told: set[tuple[str, str, str]] = set()
    for pair in [pair for pair in queue if not fit(*(by_key[key] for key in pair))]:
        left.discard(pair)
        found.apart[pair] = "needs"
    for pair in queue:
        if pair not in left:
            continue
        row, out = _repaired(trainer, _filled(pair, by_key, left, found.apart, chance), chance)
        if not left.isdisjoint(_pairs(row.chosen)):
            found.accepted.append(row)
            left.difference_update(_pairs(row.chosen))
        for option, finding in out:
            what = (option.factor, finding.code, finding.message)
            if what not in told:
                told.add(what)
                found.refused.extend(_beside(trainer, row, option))
        if len(found.accepted) == rows:
            break
    return found


def fit(one: Option, other: Option) -> bool:
    """Return whether what one option needs may be beside what the other says."""
    for a, b in ((one, other), (other, one)):
        if any(path in b.says and b.says[path] != value for path, value in a.needs.items()):
            return False
    shared = one.needs.keys() & other.needs.keys() - {"hardware.per_node"}
    return all(one.needs[path] == other.needs[path] for path in shared)


def in_spite(text: str) -> tuple[Resolved, dict[str, str]] | None:
    """Return the plan and the files of a recipe in spite of all that is wrong with it; None where there is no saying it."""
    course, _ = bind_course(tree_of(text))
    if course is None:
        return None
    decision = decide(course)
    placed = place(course, decision, [])
    if any(one.emitted.job is None for one in placed):
        return None  # the system has declared that it cannot do it
    return decision.resolved, files_of(course, decision, placed, [], None)


def _pairs(chosen: tuple[Option, ...]) -> Iterator[Pair]:
    for one, other in combinations(chosen, 2):
        yield frozenset(((one.factor, one.index), (other.factor, other.index)))


def _filled(
    pair: Pair, by_key: dict[Any, Option], left: set[Pair], apart: dict[Pair, str], chance: random.Random
) -> list[Option]:
    """Return a row that begins with a pair and holds, of other factors, what most pairs are still missing with it."""
    chosen = sorted(pair)
    factors = list(dict.fromkeys(factor for factor, _ in by_key))
    chance.shuffle(factors)
    taken = {factor for factor, _ in chosen}
    for factor in factors:
        if factor in taken or len(chosen) > FILLED:
            continue
        fitting = [key for key in by_key if key[0] == factor]
        fitting = [key for key in fitting if not any(frozenset((key, one)) in apart for one in chosen)]
        missing = {key: sum(frozenset((key, one)) in left for one in chosen) for key in fitting}
        best = max(missing.values(), default=0)
        if best:
            chosen.append(chance.choice([key for key in fitting if missing[key] == best]))
    return [by_key[key] for key in chosen]


def _repaired(trainer: str, row: list[Option], chance: random.Random) -> tuple[Accepted, list[tuple[Option, Finding]]]:
    """Return the row without what is refused of it, and what was taken out for which finding."""
    out: list[tuple[Option, Finding]] = []
    while True:
        tree = tree_of(text := text_of(trainer, row))
        compiled = compile_tree(tree)
        wrong = errors(compiled.findings)
        if not wrong:
            return Accepted(tuple(row), text, compiled), out
        for finding in wrong:
            blamed = [one for one in row if _is_blamed(one, tree, finding)]
            if not blamed and finding is wrong[0]:
                blamed = row
            if blamed:
                dropped = chance.choice(blamed)
                row = [one for one in row if one is not dropped]
                out.append((dropped, finding))


def _beside(trainer: str, row: Accepted, option: Option) -> Iterator[Refused]:
    """Yield the accepted row with the option that was taken out, if that alone is refused."""
    text = text_of(trainer, [*row.chosen, option])
    wrong = errors(compile_tree(tree_of(text)).findings)
    if wrong:
        yield Refused(row, option, text, tuple(wrong))


def _is_blamed(option: Option, tree: Node, finding: Finding) -> bool:
    """Return whether a finding points at what the option says, or at something below it."""
    places = [".".join(str(step) for step in path) for path in _places(tree, finding)]
    return any(place == says or place.startswith(f"{says}.") for place in places for says in option.says) or (
        "rows" in option.says and any(place.startswith("data.train") for place in places)
    )


def _places(tree: Node, finding: Finding) -> Iterator[Path]:
    """Yield the paths of what stands where a finding points."""
    for path, node in leaves(tree):
        here: Any = tree
        if node.span == finding.span:
            yield path
        for depth, step in enumerate(path):
            if isinstance(here, Mapping):
                if here.keys[str(step)] == finding.span:
                    yield path[: depth + 1]
                here = here.entries[str(step)]
            else:
                here = here.nodes[int(step)]
