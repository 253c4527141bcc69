"""Scores from lm-eval's result files: for each task and metric, every model beside the first, and what changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from recipec.json_files import read_object
from recipec.plan import ScoresOutput
from recipec.report.samples import Rows, pairs, read_samples
from recipec.report.significance import Change, Score, paired, unpaired


class ScoreRow(NamedTuple):
    """One metric of one task, for each model. `better`: whether higher is better, None when lm-eval does not say.

    `changes` are those of each model after the first, against the first.
    """

    task: str
    metric: str
    scores: dict[str, Score]
    better: bool | None
    samples: int | None
    changes: dict[str, Change] = {}

    @property
    def delta(self) -> Change | None:
        """The change of the last model against the first; None when only one has a score."""
        return self.changes.get(list(self.scores)[-1]) if self.scores else None

    def improved(self, model: str) -> bool | None:
        """Whether a model is better than the first; None when they are equal or it is not known."""
        change = self.changes.get(model)
        if change is None or not change.value or self.better is None:
            return None
        return (change.value > 0) == self.better

    def as_json(self) -> dict[str, Any]:
        """Return the machine-readable form."""
        return {
            "task": self.task,
            "metric": self.metric,
            "scores": {name: score._asdict() for name, score in self.scores.items()},
            "changes": {
                name: {**change._asdict(), "significant": change.significant, "improved": self.improved(name)}
                for name, change in self.changes.items()
            },
            "higher_is_better": self.better,
            "samples": self.samples,
        }


class Evaluated(NamedTuple):
    """One model's results: the folder that they lie in, and the name that its column has."""

    model: str
    folder: Path


def evaluated(outputs: Iterable[ScoresOutput]) -> list[Evaluated]:
    """Return what evaluations leave, the base model first."""
    found = [Evaluated(output.model, Path(output.place)) for output in outputs]
    return sorted(found, key=lambda one: one.model != "base")


def read_scores(models: Iterable[Evaluated]) -> list[ScoreRow]:
    """Return the scores of models in one table, from the newest results of each."""
    models = list(models)
    found: dict[tuple[str, str], ScoreRow] = {}
    parts: dict[tuple[str, str], tuple[str, str]] = {}
    for model, folder in models:
        results = newest_results(folder)
        for task, values in results.get("results", {}).items():
            for name, value in values.items():
                metric, comma, kind = name.partition(",")
                if not comma or metric.endswith("_stderr") or not _is_number(value):
                    continue
                error = values.get(f"{metric}_stderr,{kind}")
                stderr = float(error) if _is_number(error) else None
                label = metric if kind == "none" else f"{metric} ({kind})"
                parts[task, label] = metric, kind
                row = found.get((task, label), ScoreRow(task, label, {}, None, None))
                found[task, label] = row._replace(
                    scores={**row.scores, model: Score(float(value), stderr)},
                    better=results.get("higher_is_better", {}).get(task, {}).get(metric, row.better),
                    samples=results.get("n-samples", {}).get(task, {}).get("effective", row.samples),
                )
    kept = KeptAnswers(models)
    return [_compared(row, *parts[key], kept) for key, row in found.items()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class KeptAnswers:
    """The answers that models gave, as far as they are kept; those to a task are read when they are asked for, once."""

    def __init__(self, models: Iterable[Evaluated]) -> None:
        self._folders: dict[str, list[Path]] = {}
        for one in models:
            self._folders.setdefault(one.model, []).append(one.folder)
        self._read = cache(read_samples)

    def of(self, model: str, task: str) -> dict[str, Rows]:
        """Return a model's answers to a task by filter; empty where none are kept."""
        for folder in self._folders[model]:
            if rows := self._read(folder, task):
                return rows
        return {}


def _compared(row: ScoreRow, metric: str, kind: str, kept: KeptAnswers) -> ScoreRow:
    """Return a row with the change of each model against the first one."""
    names = list(row.scores)
    changes: dict[str, Change] = {}
    for name in names[1:]:
        one, other = row.scores[names[0]], row.scores[name]
        both = pairs(kept.of(names[0], row.task).get(kind, {}), kept.of(name, row.task).get(kind, {}), metric)
        if both is not None and _is_mean(one, both[0]) and _is_mean(other, both[1]):
            changes[name] = paired(*both)
        else:
            changes[name] = unpaired(one, other, row.samples)
    return row._replace(changes=changes)


def _is_mean(score: Score, values: Sequence[float]) -> bool:
    """Return whether a score is the mean of these values, as no perplexity is."""
    return bool(values) and math.isclose(fmean(values), score.value, rel_tol=1e-6, abs_tol=1e-9)


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


def score_text(score: Score | Change | None, *, sign: bool = False) -> str:
    """Return a score as `0.8125 ± 0.0121`; a dash for None."""
    if score is None:
        return "–"
    text = ("+" if sign and score.value > 0 else "") + number(score.value)
    return f"{text} ± {number(score.stderr)}" if score.stderr is not None else text


def p_text(p: float | None) -> str:
    """Return how likely a change is by chance, as `p = 0.012`; empty where it is not known."""
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def score_table(rows: Sequence[ScoreRow]) -> str:
    """Return the scores as a plain-text table; empty when there are none."""
    if not rows:
        return ""
    models = list(dict.fromkeys(name for row in rows for name in row.scores))
    several = len(models) > 1
    table = [["task", "metric", *models, *(["change", "chance"] if several else [])]]
    for row in rows:
        cells = [row.task, row.metric, *(score_text(row.scores.get(name)) for name in models)]
        change = row.delta
        table.append(cells + ([score_text(change, sign=True), p_text(change.p if change else None)] if several else []))
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


def methods(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return how the changes of rows, in their machine-readable form, were compared, each once."""
    return sorted({change["method"] for row in rows for change in row["changes"].values()})
