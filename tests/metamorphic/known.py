"""Faults that are known: `known.yaml` says which law is broken at which leaf of which bases, and why. It may only shrink.

`python tests/metamorphic/known.py` judges every base and takes out of the file what is no longer broken. It never adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from recipec.edit import flow
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

FILE = Path(__file__).parent / "known.yaml"
HEAD = """# Where a law does not hold, and why that is left: see laws.py for the kinds. Each entry must still be broken in every base that its
# patterns match (`!` takes out), wherever the leaf is judged. Mended: `python tests/metamorphic/known.py` takes it out.
"""


class Known(NamedTuple):
    """One group of faults. `bases` are patterns of names; of them, those that begin with `!` match what is left out."""

    kind: str
    why: str
    leaves: tuple[str, ...]
    bases: tuple[str, ...]

    def holds(self, base: str) -> bool:
        """Return whether the group speaks of a base."""
        return matches(self.bases, base)


def matches(patterns: Iterable[str], base: str) -> bool:
    """Return whether a base is among those that patterns mean."""
    inside = [pattern for pattern in patterns if not pattern.startswith("!")]
    outside = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return any(fnmatchcase(base, one) for one in inside) and not any(fnmatchcase(base, one) for one in outside)


@cache
def known() -> tuple[Known, ...]:
    """Return what the file says."""
    rows: Any = plain(read_text(Source(FILE.name, FILE.read_text(encoding="utf-8"))))
    return tuple(Known(row["kind"], row["why"], tuple(row["leaves"]), tuple(row["bases"])) for row in rows or [])


def expected(base: str) -> dict[tuple[str, str], str]:
    """Return the law and the leaf of every fault that is known of a base, with the reason."""
    return {(one.kind, leaf): one.why for one in known() if one.holds(base) for leaf in one.leaves}


def written(faults: dict[tuple[str, str, str], str], judged: dict[tuple[str, str], set[str]]) -> str:
    """Return the file for faults by law, leaf and base, each with its reason. `judged` are the bases that have a leaf.

    Advice is judged in all of them, whether they have the leaf or not.
    """
    by_leaf: dict[tuple[str, str, str], set[str]] = {}
    for (kind, leaf, base), why in faults.items():
        by_leaf.setdefault((kind, why, leaf), set()).add(base)
    everything = set().union(*judged.values())
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (kind, why, leaf), bases in sorted(by_leaf.items()):
        groups.setdefault(
            (kind, why, patterns(bases, everything if kind == "circle" else judged[kind, leaf])), []
        ).append(leaf)
    rows = [
        f"- kind: {kind}\n  why: {flow(why)}\n  leaves: {flow(leaves)}\n  bases: {flow(names)}\n"
        for (kind, why, names), leaves in groups.items()
    ]
    return HEAD + "".join(rows)


def patterns(bases: set[str], judged: set[str]) -> tuple[str, ...]:
    """Return few patterns that match these bases and no others of those that are judged."""
    inside = _cover(bases, judged)
    outside = ("*", *(f"!{one}" for one in _cover(judged - bases, judged)))
    return min(inside, outside, key=len)


def _cover(wanted: set[str], judged: set[str]) -> tuple[str, ...]:
    """Return patterns that together match all of `wanted` and nothing else that is judged: the widest first."""
    fitting = {}
    for pattern in {pattern for base in wanted for pattern in _candidates(base)}:
        met = frozenset(base for base in judged if fnmatchcase(base, pattern))
        if met <= wanted:
            fitting[pattern] = met
    found: list[str] = []
    left = set(wanted)
    while left:
        best = min(fitting, key=lambda pattern: (-len(fitting[pattern] & left), -pattern.count("*"), pattern))
        found.append(best)
        left -= fitting[best]
    return tuple(sorted(found))


def _candidates(base: str) -> set[str]:
    steps = base.split("-")
    found = {"*", base}
    if steps[0] in ("course", "scratch", "script"):
        found.add(f"{steps[0]}-*")
    if len(steps) == 5 and steps[-1].isdecimal():  # of the matrix: trainer, method, what is trained, device, processes
        for keep in product((True, False), repeat=len(steps)):
            pattern = "-".join(step if kept else "*" for step, kept in zip(steps, keep, strict=True))
            found.add(re.sub(r"(-\*)+$", "-*", pattern))
    return found


def main() -> None:
    """Judge everything, and take what is mended out of the file."""
    from bases import names
    from laws import judged_whole

    faults: dict[tuple[str, str, str], str] = {}
    where: dict[tuple[str, str], set[str]] = {}
    for base in names():
        found, judged = judged_whole(base)
        was = expected(base)
        for kind, leaf in [*judged, ("circle", "")]:
            where.setdefault((kind, leaf), set()).add(base)
        for fault in found:
            if (fault.kind, fault.leaf) in was:
                faults[fault.kind, fault.leaf, base] = was[fault.kind, fault.leaf]
    FILE.write_text(written(faults, where), encoding="utf-8")


if __name__ == "__main__":
    main()
