"""What a trainer logged by step, as curves: series of points that belong in one chart, from the events of a stage."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recipec.json_files import read_lines

EVALUATED = "eval_"  # begins the name of what was measured on held-out rows


class Chart(NamedTuple):
    """What one chart shows: the values of a trainer whose names match one of the patterns, training and validation."""

    title: str
    names: str


# In the order in which they are shown; names of Hugging Face's Trainer, TRL, Axolotl and LLaMA-Factory.
CHARTS = (
    Chart("Loss", r"loss"),
    Chart("Reward", r"reward|rewards/[^/]+/mean|rewards/(?:chosen|rejected|margins)|margin|mean_reward"),
    Chart("Reward accuracy", r"rewards/accuracies|accuracy"),
    Chart("KL divergence", r"kl|objective/kl"),
    Chart("Entropy", r"entropy"),
    Chart("Token accuracy", r"mean_token_accuracy"),
    Chart("Completion length", r"completions/mean_length|completion_length"),
    Chart("Completions cut off", r"completions/clipped_ratio"),
    Chart("Learning rate", r"learning_rate"),
    Chart("Gradient norm", r"grad_norm"),
)


class Series(NamedTuple):
    """Values by step. `held_out`: measured on held-out rows. `not_finite` are the steps of NaN and infinity."""

    name: str
    held_out: bool
    points: list[tuple[int, float]]
    not_finite: list[int]

    def as_json(self) -> dict[str, Any]:
        """Return the machine-readable form."""
        return {**self._asdict(), "points": [list(point) for point in self.points]}


def curves(events: Path) -> list[dict[str, Any]]:
    """Return the charts of a training, each with its series, from its events; none where it has none.

    What a resumed attempt did again counts once.
    """
    values = logged(events)
    found: list[dict[str, Any]] = []
    for chart in CHARTS:
        series = [one for name, at in values.items() if (one := _series(chart, name, at)) is not None]
        if series:
            series.sort(key=lambda one: one.held_out)
            found.append({"title": chart.title, "series": [one.as_json() for one in series]})
    return found


def _series(chart: Chart, name: str, at: dict[int, float]) -> Series | None:
    held_out = name.startswith(EVALUATED)
    if not re.fullmatch(chart.names, name.removeprefix(EVALUATED)):
        return None
    points = [(step, value) for step, value in sorted(at.items()) if math.isfinite(value)]
    broken = [step for step, value in sorted(at.items()) if not math.isfinite(value)]
    return Series(name.removeprefix(EVALUATED), held_out, points, broken)


def logged(events: Path) -> dict[str, dict[int, float]]:
    """Return each value that a trainer logged, by its name and step; steps that a resumed attempt repeated count once."""
    found: dict[str, dict[int, float]] = {}
    for row in read_lines(events):
        step = row.get("step")
        if not isinstance(step, int):
            continue
        if row.get("event") == "begin":
            found = {name: {at: value for at, value in values.items() if at <= step} for name, values in found.items()}
        for name, value in _values(row):
            found.setdefault(name, {})[step] = value
    return {name: values for name, values in found.items() if values}


def _values(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the values of an event by name; NaN and infinity stand in it as text."""
    prefix = {"log": "", "eval": EVALUATED}.get(str(row.get("event")))
    if prefix is None:
        return
    values: dict[str, Any] = row.get("values") if isinstance(row.get("values"), dict) else {}  # type: ignore[assignment]
    own: dict[str, Any] = {f"{prefix}loss": row.get("loss"), **({} if prefix else {"learning_rate": row.get("lr")})}
    for name, value in {**own, **values}.items():
        if prefix and not name.startswith(prefix):
            continue  # such as the epoch, of which a training tells too
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        yield name, number
