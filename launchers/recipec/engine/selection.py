"""Which stages a run takes, from expressions such as `sft+` and `kind:evaluate`; nothing here knows a run or a file.

The operators are those of dbt: `a+` and what is behind it, `+a` and what it needs, `2+a` and `a+1` so many steps far, `@a`
what is behind it with all that this needs; a space joins, a comma keeps what both sides have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.suggest import nearest

_TERM = re.compile(r"(?P<at>@)?(?P<up>\d*\+)?(?P<what>[^+@,\s]+)(?P<down>\+\d*)?")
_KIND = "kind"
_SOURCE = "command line"


class Graph(NamedTuple):
    """The stages of a plan: the kind of each, and the stages that each waits for, by name and in order."""

    kinds: Mapping[str, str]
    parents: Mapping[str, tuple[str, ...]]

    def children(self) -> dict[str, tuple[str, ...]]:
        """Return the stages that wait for each."""
        return {name: tuple(one for one, after in self.parents.items() if name in after) for name in self.parents}


class Choice(NamedTuple):
    """What a person chose. `only`: names of stages, and nothing else; `start`: a stage that runs anew, with all behind it."""

    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    start: str | None = None
    only: tuple[str, ...] = ()
    force: bool = False


class Chosen(NamedTuple):
    """The stages that a run takes, and those of them that run anew even where they are complete."""

    selected: frozenset[str]
    forced: frozenset[str]


def choose(graph: Graph, choice: Choice) -> Chosen:
    """Return the stages that a choice means. Raises RecipeError, with all that is wrong with it."""
    if choice.only and (choice.select or choice.exclude or choice.start):
        raise RecipeError([_wrong("U003", "--only goes with none of --select, --exclude and --from")])
    wrong: list[Finding] = []
    named = [*choice.only, *([choice.start] if choice.start is not None else [])]
    wrong += [_unknown(name, graph.kinds, "stage") for name in named if name not in graph.kinds]
    anew = frozenset[str]()
    if choice.start is not None and choice.start in graph.kinds:
        anew = frozenset({choice.start}) | _reach(graph.children(), {choice.start})
    selected = frozenset(choice.only) | anew
    if choice.select or not (choice.only or choice.start):
        selected |= _matching(graph, choice.select or ("*",), wrong)
    left_out = _matching(graph, choice.exclude, wrong)
    if wrong:
        raise RecipeError(wrong)
    selected -= left_out
    if not selected:
        advice = f"the stages are {', '.join(graph.kinds)}"
        raise RecipeError([_wrong("E024", "no stage is selected", advice)])
    return Chosen(selected, selected if choice.force else anew & selected)


def matching(graph: Graph, expressions: Iterable[str]) -> frozenset[str]:
    """Return the stages that any of the expressions selects. Raises RecipeError, with all that is wrong with them."""
    wrong: list[Finding] = []
    found = _matching(graph, expressions, wrong)
    if wrong:
        raise RecipeError(wrong)
    return found


def _matching(graph: Graph, expressions: Iterable[str], wrong: list[Finding]) -> frozenset[str]:
    found = frozenset[str]()
    for part in [part for text in expressions for part in text.split()]:
        kept = frozenset(graph.kinds)
        for term in part.split(","):
            kept &= _term(graph, term, part, wrong)
        found |= kept
    return found


def _term(graph: Graph, term: str, whole: str, wrong: list[Finding]) -> frozenset[str]:
    match = _TERM.fullmatch(term)
    if match is None or (match["at"] and (match["up"] or match["down"])):
        advice = (
            "write name, name+, +name, 1+name, name+1, @name or kind:name; a space joins, a comma keeps what both have"
        )
        wrong.append(_wrong("E022", f'"{whole}" selects nothing: "{term}" is no expression', advice))
        return frozenset()
    found = _named(graph, match["what"], wrong)
    if match["at"]:
        behind = found | _reach(graph.children(), found)
        return behind | _reach(graph.parents, behind)
    reached = found
    if match["up"]:
        reached |= _reach(graph.parents, found, _steps(match["up"]))
    if match["down"]:
        reached |= _reach(graph.children(), found, _steps(match["down"]))
    return reached


def _steps(word: str) -> int | None:
    digits = word.strip("+")
    return int(digits) if digits else None


def _named(graph: Graph, what: str, wrong: list[Finding]) -> frozenset[str]:
    """Return the stages of a name or a pattern, or those of a kind."""
    method, colon, pattern = what.partition(":")
    if colon and method != _KIND:
        finding = _wrong("E022", f'stages cannot be selected by "{method}:"', "select them by name, or by kind:NAME")
        wrong.append(finding._replace(suggestion=nearest(method, [_KIND])))
        return frozenset()
    by = graph.kinds if colon else {name: name for name in graph.kinds}
    found = frozenset(name for name, value in by.items() if fnmatchcase(value, pattern if colon else what))
    if not found:
        wrong.append(_unknown(pattern if colon else what, by.values(), _KIND if colon else "stage"))
    return found


def _reach(edges: Mapping[str, tuple[str, ...]], begin: Iterable[str], steps: int | None = None) -> frozenset[str]:
    """Return what is reached from some stages over edges, in at most so many steps."""
    found = frozenset[str]()
    at = frozenset(begin)
    while at and steps != 0:
        at = frozenset(other for name in at for other in edges[name]) - found
        found |= at
        steps = steps - 1 if steps is not None else None
    return found


def _unknown(name: str, names: Iterable[str], what: str) -> Finding:
    every = list(dict.fromkeys(names))
    message = f'there is no {what} "{name}"; there {"is" if len(every) == 1 else "are"} {", ".join(every)}'
    return _wrong("E023", message)._replace(suggestion=nearest(name, every))


def _wrong(code: str, message: str, advice: str | None = None) -> Finding:
    return Finding(code, message, help=advice, file=_SOURCE)


__all__ = ["Choice", "Chosen", "Graph", "choose", "matching"]
