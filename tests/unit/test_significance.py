"""Whether a difference of scores may be chance."""

from __future__ import annotations

import math

import pytest

from recipec.report.significance import Score, mcnemar, paired, unpaired


def test_rows_that_are_right_or_wrong_are_compared_by_mcnemar() -> None:
    before = [0.0] * 20 + [1.0] * 80
    after = [1.0] * 15 + [0.0] * 5 + [1.0] * 75 + [0.0] * 5
    change = paired(before, after)
    assert change.value == pytest.approx(0.10)
    # 15 rows became right, 5 wrong: the differences are 1, -1 and 0
    variance = (15 + 5 - 100 * 0.10**2) / 99
    assert change.stderr == pytest.approx(math.sqrt(variance / 100))
    assert change.p == pytest.approx(0.04138947)  # scipy.stats.binomtest(5, 20).pvalue
    assert (change.method, change.rows, change.significant) == ("paired, McNemar's exact test", 100, True)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (3, 3, 1.0), (6, 0, 0.03125), (0, 6, 0.03125), (9, 1, 0.021484375), (700, 600, 0.006023)],
)
def test_mcnemar(better: int, worse: int, p: float) -> None:
    """Values of scipy.stats.binomtest(worse, better + worse).pvalue."""
    assert mcnemar(better, worse) == pytest.approx(p, rel=2e-2)


def test_other_values_are_compared_by_their_mean_difference() -> None:
    before = [0.1 * (row % 7) for row in range(100)]
    after = [value + (0.05 if row % 2 else -0.01) for row, value in enumerate(before)]
    change = paired(before, after)
    alone = unpaired(Score(0.3, 0.02), Score(0.32, 0.02), 100)
    assert change.value == pytest.approx(0.02)
    assert change.method == "paired, normal"
    assert change.stderr is not None
    assert alone.stderr is not None
    assert change.stderr < 0.005 < alone.stderr  # rows that are hard for one are hard for the other
    assert (change.significant, alone.significant) == (True, False)


def test_few_rows_say_nothing_of_chance() -> None:
    assert paired([0.1, 0.2], [0.5, 0.9]).p is None
    assert paired([0.25], [0.5])[:3] == (0.25, None, None)
    assert unpaired(Score(0.1, 0.1), Score(0.9, 0.1), 10)[2:] == (None, "unpaired", None)
    assert unpaired(Score(0.1, None), Score(0.9, 0.1), 1000)[1:4] == (None, None, "unpaired")
    assert unpaired(Score(0.1, 0.0), Score(0.9, 0.0), 1000).significant is None
    assert paired([1.0] * 4, [0.0] * 4).p == 0.125  # which McNemar's test does say


def test_independent_errors_add_up() -> None:
    change = unpaired(Score(0.25, 0.03), Score(0.35, 0.04), 200)
    assert (change.stderr, change.value) == (pytest.approx(0.05), pytest.approx(0.10))
    assert change.p == pytest.approx(0.0455, abs=1e-4)  # two standard errors
    assert change.method == "unpaired, normal"
