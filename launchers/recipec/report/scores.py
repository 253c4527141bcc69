"""Scores from lm-eval's result files: for each task and metric, every model beside the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recipec.json_files import read_object
from recipec.plan import ScoresOutput


class Score(NamedTuple):
    """One value with its standard error, None when lm-eval gives none."""

    value: float
    stderr: float | None


class ScoreRow(NamedTuple):
    """One metric of one task, for each model. `better`: whether higher is better, None when lm-eval does not say."""

    task: str
    metric: str
    scores: dict[str, Score]
    better: bool | None
    samples: int | None

    @property
    def delta(self) -> Score | None:
        """The score of the last model minus that of the first, with independent errors; None when only one has a score."""
        names = list(self.scores)
        if len(names) < 2:
            return None
        first, last = self.scores[names[0]], self.scores[names[-1]]
        known = first.stderr is not None and last.stderr is not None
        error = math.hypot(first.stderr or 0.0, last.stderr or 0.0) if known else None
        return Score(last.value - first.value, error)

    @property
    def improved(self) -> bool | None:
        """Whether the last model is better than the first; None when they are equal or it is not known."""
        if self.delta is None or not self.delta.value or self.better is None:
            return None
        return (self.delta.value > 0) == self.better


def read_scores(outputs: Iterable[ScoresOutput]) -> list[ScoreRow]:
    """Return the scores of evaluations in one table, from the newest results of each."""
    found: dict[tuple[str, str], ScoreRow] = {}
    for output in outputs:
        results = newest_results(Path(output.place))
        for task, values in results.get("results", {}).items():
            for name, value in values.items():
                metric, comma, kind = name.partition(",")
                if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                    continue
                error = values.get(f"{metric}_stderr,{kind}")
                stderr = float(error) if isinstance(error, int | float) else None
                label = metric if kind == "none" else f"{metric} ({kind})"
                row = found.get((task, label), ScoreRow(task, label, {}, None, None))
                found[task, label] = row._replace(
                    scores={**row.scores, output.model: Score(float(value), stderr)},
                    better=results.get("higher_is_better", {}).get(task, {}).get(metric, row.better),
                    samples=results.get("n-samples", {}).get(task, {}).get("effective", row.samples),
                )
    return list(found.values())


def newest_results(folder: Path) -> dict[str, Any]:
    """Return lm-eval's newest readable results below a folder; empty when there are none. File names contain the time."""
    files = sorted(folder.rglob("results_*.json"), key=lambda path: path.name, reverse=True)
    for file in files:
        found = read_object(file)
        if found is not None:
            return found
    return {}


def number(value: float) -> str:
    """Return a score with four decimals, or two from 10 on."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def score_text(score: Score | None, *, sign: bool = False) -> str:
    """Return a score as `0.8125 ± 0.0121`; a dash for None."""
    if score is None:
        return "–"
    text = ("+" if sign and score.value > 0 else "") + number(score.value)
    return f"{text} ± {number(score.stderr)}" if score.stderr is not None else text


def score_table(rows: Sequence[ScoreRow]) -> str:
    """Return the scores as a plain-text table; empty when there are none."""
    if not rows:
        return ""
    models = list(dict.fromkeys(name for row in rows for name in row.scores))
    table = [["task", "metric", *models, *(["change"] if len(models) > 1 else [])]]
    for row in rows:
        cells = [row.task, row.metric, *(score_text(row.scores.get(name)) for name in models)]
        table.append(cells + ([score_text(row.delta, sign=True)] if len(models) > 1 else []))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines: list[str] = []
    for index, line in enumerate(table):
        cells = [
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if index == 0:
            lines.append("  ".join("─" * width for width in widths))
    return "\n".join(lines)
