"""How much a score changed from one model to another, and whether that may be chance.

Where both models answered the same rows and their answers are kept, the difference is taken row by row: the standard
error of the mean difference (E. Miller, "Adding Error Bars to Evals", arXiv:2411.00640, sections 4.1 and 4.2), and of
rows that are right or wrong McNemar's exact test. Otherwise errors are taken as independent, which is wider.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
from typing import Literal, NamedTuple

LEVEL = 0.05  # below it, a difference is called significant
ENOUGH = 30  # rows below which the normal distribution says nothing of a mean

Method = Literal["paired, McNemar's exact test", "paired, normal", "unpaired, normal", "unpaired"]


class Score(NamedTuple):
    """One value with its standard error, None when lm-eval gives none."""

    value: float
    stderr: float | None


class Change(NamedTuple):
    """The score of a model minus that of another. `p` is two-sided, None where it cannot be said; `rows` were paired."""

    value: float
    stderr: float | None
    p: float | None
    method: Method
    rows: int | None = None

    @property
    def significant(self) -> bool | None:
        """Whether the change is unlikely to be chance; None where that is not known."""
        return None if self.p is None else self.p < LEVEL


def paired(before: Sequence[float], after: Sequence[float]) -> Change:
    """Return the change between two models' values of the same rows, in the same order."""
    differences = [new - old for old, new in zip(before, after, strict=True)]
    count, mean = len(differences), fmean(differences)
    error = stdev(differences) / math.sqrt(count) if count > 1 else None
    if all(value in (0.0, 1.0) for value in (*before, *after)):
        better, worse = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
        return Change(mean, error, mcnemar(better, worse), "paired, McNemar's exact test", count)
    return Change(mean, error, _normal(mean, error, count), "paired, normal", count)


def unpaired(before: Score, after: Score, rows: int | None) -> Change:
    """Return the change between two scores as if each were of rows of its own."""
    value = after.value - before.value
    if before.stderr is None or after.stderr is None:
        return Change(value, None, None, "unpaired")
    error = math.hypot(before.stderr, after.stderr)
    p = _normal(value, error, rows) if rows is not None else None
    return Change(value, error, p, "unpaired" if p is None else "unpaired, normal")


def mcnemar(better: int, worse: int) -> float:
    """Return the two-sided p of McNemar's exact test: rows that changed went either way as a coin falls."""
    count, fewer = better + worse, min(better, worse)
    if count > 1000:  # where the binomial distribution is normal, with the correction for whole numbers
        return 2 * NormalDist().cdf(min(0.0, (fewer + 0.5 - count / 2) / (math.sqrt(count) / 2)))
    tail = sum(math.comb(count, one) for one in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**count))


def _normal(value: float, error: float | None, rows: int | None) -> float | None:
    if not error or rows is None or rows < ENOUGH:
        return None
    return 2 * NormalDist().cdf(-abs(value) / error)
