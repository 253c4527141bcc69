"""Scores of the checkpoints of a training by step, as a stage that evaluates them has written them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipec.json_files import read_object
from recipec.plan import Stage

FILE = "scores.json"
ERROR = "_stderr"


def of_checkpoints(stage: Stage[Any]) -> dict[str, Any] | None:
    """Return the scores of a stage by step, JSON-ready, with a chart for each task; None where there are none.

    `rows` have the step, whether it is the best, and for each task its metrics with their standard errors.
    """
    found = read_object(Path(stage.output) / FILE)
    if found is None or not found.get("checkpoints"):
        return None
    rows: list[dict[str, Any]] = [
        {
            "step": row["step"],
            "best": row["best"],
            "tasks": {task: _metrics(values) for task, values in row["tasks"].items() if _metrics(values)},
        }
        for row in found["checkpoints"]
    ]
    best = next(row for row in found["checkpoints"] if row["best"])
    columns = [(task, metric) for task, metrics in rows[-1]["tasks"].items() for metric in metrics]
    return {
        "stage": stage.name,
        "of": stage.after[0],
        "best": {
            "step": best["step"],
            "task": stage.body.task,
            "metric": _label(best["metric"]),
            "value": best["value"],
        },
        "missed": found.get("missed") or [],
        "columns": [f"{task} {metric}" for task, metric in columns],
        "rows": [
            {**row, "scores": [row["tasks"].get(task, {}).get(metric) for task, metric in columns]} for row in rows
        ],
        "charts": [{"stage": stage.name, **_chart(task, rows)} for task in rows[-1]["tasks"]],
    }


def _metrics(values: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return the metrics of a task, by label, each with its value and standard error."""
    found: dict[str, dict[str, float | None]] = {}
    for key, value in values.items():
        metric, comma, kind = key.partition(",")
        if comma and not metric.endswith(ERROR) and isinstance(value, int | float):
            error = values.get(f"{metric}{ERROR},{kind}")
            found[_label(key)] = {"value": value, "stderr": error if isinstance(error, int | float) else None}
    return found


def _label(key: str) -> str:
    metric, _, kind = key.partition(",")
    return metric if kind in ("", "none") else f"{metric} ({kind})"


def _chart(task: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    series = [
        {
            "name": metric,
            "held_out": False,
            "points": [
                [row["step"], row["tasks"][task][metric]["value"]]
                for row in rows
                if metric in row["tasks"].get(task, {})
            ],
            "not_finite": [],
        }
        for metric in rows[-1]["tasks"][task]
    ]
    return {"title": task, "series": series, "scores": True}
