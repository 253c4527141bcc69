"""The HTML page of a report. No other module of the report imports jinja2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from recipec.engine.progress import clock
from recipec.report.curve import svg
from recipec.report.scores import Score, number, score_text

TEMPLATE = "report.html.j2"


def page(data: Mapping[str, Any]) -> str:
    """Return the page for the contents `data`, as `report_data` returns them. All text in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clock=clock, score=_score, number=number)
    curve = Markup(svg(data["loss"]["train"], data["loss"]["evaluation"]))  # contains only numbers
    seconds = sum(stage["total_seconds"] for stage in data["stages"])
    longest = max((stage["total_seconds"] for stage in data["stages"]), default=0.0)
    return environment.get_template(TEMPLATE).render(
        data, curve=curve, seconds=seconds, longest=longest or 1.0, bars=[_bars(row) for row in data["scores"]]
    )


def _score(score: Mapping[str, Any] | None, sign: bool = False) -> str:
    return score_text(Score(score["value"], score["stderr"]) if score else None, sign=sign)


def _bars(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the length of each model's bar in percent; empty unless all scores are between 0 and 1."""
    values = {name: score["value"] for name, score in row["scores"].items()}
    if any(not 0 <= value <= 1 for value in values.values()):
        return {}
    return {name: round(100 * value, 1) for name, value in values.items()}
