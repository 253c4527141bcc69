"""The HTML pages of reports. No other module of the report imports jinja2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from recipec.engine.progress import clock, gib
from recipec.engine.status import usage_text
from recipec.report.benchmarked import TIMES
from recipec.report.curve import Line, svg
from recipec.report.scatter import Dot, scatter
from recipec.report.scores import number
from recipec.report.words import (
    JUDGED,
    MANY,
    MEASURED,
    MEASURED_NUMBERS,
    QUANTISED,
    chosen,
    count,
    declared_hardware,
    how_compared,
    judged_cells,
    judged_notes,
    machine_text,
    measured_cells,
    measured_note,
    measured_on,
    moment,
    p_text,
    plain,
    quantised_cells,
    score_json_text,
    settings_text,
    short,
)

MEMORY = (("reserved", "reserved on the GPU"), ("allocated", "allocated on the GPU"), ("resident", "of the machine"))
WIDTH, HEIGHT = 440, 220  # of a chart, in CSS pixels where two stand side by side
COLOURS = 8


def page(data: Mapping[str, Any]) -> str:
    """Return the page for the contents `data`, as `report_data` returns them. All text in it is escaped."""
    longest = max((stage["total_seconds"] for stage in data["stages"]), default=0.0)
    usages: list[Mapping[str, Any]] = [stage["usage"] for stage in data["stages"] if stage["usage"]]
    return _render(
        "report.html.j2",
        data,
        charts=[(stage, [_chart(one) for one in of]) for stage, of in _by_stage(data["curves"])],
        by_step=[(one, [_chart(chart) for chart in one["charts"]]) for one in data["checkpoints"]],
        decided=list(_by_stage(data["decisions"])),
        declared=declared_hardware(data),
        longest=longest or 1.0,
        memory_names=MEMORY,
        token_counts=sorted({usage["tokens"]["counts"] for usage in usages if usage["tokens"]}),
        methods=how_compared(data["scores"]),
        comparisons=sum(len(row["changes"]) for row in data["scores"]),
        quantised_columns=QUANTISED,
        judged_columns=JUDGED,
        measured_columns=MEASURED,
        measured_numbers=MEASURED_NUMBERS,
        speeds=[(one, _colours(one), list(_scattered(one))) for one in data["benchmarks"]],
    )


def comparison_page(data: Mapping[str, Any]) -> str:
    """Return the page for a comparison of runs, as `comparison_data` returns it. All text in it is escaped."""
    return _render(
        "comparison.html.j2",
        data,
        stages=_stages(data["runs"]),
        many=MANY,
        charts=[(stage, [_overlaid(one, data["names"]) for one in of]) for stage, of in _by_stage(data["curves"])],
        methods=how_compared(data["scores"]),
        comparisons=sum(len(row["changes"]) for row in data["scores"]),
    )


def _render(template: str, data: Mapping[str, Any], **more: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clock=clock, gib=gib, number=number, score=score_json_text, p=p_text, machine=machine_text, moment=moment
    )
    environment.filters.update(count=count, plain=plain, short=short, usage=usage_text)
    of_lists: dict[str, Any] = {"quantised": quantised_cells, "measured": measured_on}
    of_lists |= {"judged": judged_cells, "believed": judged_notes}
    of_lists |= {"chosen": chosen, "measurement": measured_cells, "note": measured_note, "settings": settings_text}
    environment.filters.update(of_lists)
    return environment.get_template(template).render(data, **more)


def _stages(runs: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the stages that there are, each with what it was in every run, None where a run has none of that name."""
    found = [{stage["stage"]: stage for stage in run["stages"]} for run in runs]
    names = dict.fromkeys(name for stages in found for name in stages)
    return [{"stage": name, "cells": [stages.get(name) for stages in found]} for name in names]


def _by_stage(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    return [(stage, list(of)) for stage, of in groupby(rows, key=lambda row: row["stage"])]


def _chart(chart: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chart of one run as the template shows it: training and validation of one value have one colour."""
    names = list(dict.fromkeys(series["name"] for series in chart["series"]))
    several = len(names) > 1 or chart.get("scores", False)  # of which no training knows
    lines: list[tuple[str, str, Mapping[str, Any]]] = []
    for series in chart["series"]:
        kind = "validation" if series["held_out"] else "training"
        name = f"{series['name']}, {kind}" if several and series["held_out"] else series["name"] if several else kind
        lines.append((name, _css(names.index(series["name"]), series["held_out"], alone=not several), series))
    return _drawn(chart, lines)


def _overlaid(chart: Mapping[str, Any], runs: list[str]) -> dict[str, Any]:
    """Return a chart of several runs: each run has a colour, validation is dashed."""
    several = len({series["name"] for series in chart["series"]}) > 1
    lines: list[tuple[str, str, Mapping[str, Any]]] = []
    for series in chart["series"]:
        parts = [series["run"], *([series["name"]] if several else []), *(["validation"] if series["held_out"] else [])]
        lines.append((", ".join(parts), _css(runs.index(series["run"]), series["held_out"], alone=False), series))
    return _drawn(chart, lines)


def _scattered(one: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a chart of each workload and each time that a server was measured by."""
    colours = _colours(one)
    for workload, fronts in one["fronts"].items():
        rows = [row for row in one["rows"] if row["workload"] == workload and not row["problem"]]
        for word, what in TIMES.items():
            there = [row for row in rows if row[word] is not None]
            dots = [
                Dot(row[word], row["output_tokens_per_second"], colours[row["point"]], _dot(row, word)) for row in there
            ]
            places = {(row["point"], row["load"]): (row[word], row["output_tokens_per_second"]) for row in there}
            front = [places[point, load] for point, load in fronts[word]]
            title = f"{workload}: tokens in a second over {what}"
            picture = Markup(
                scatter(title, dots, front, one["limits"][word], width=WIDTH, height=HEIGHT)
            )  # which escapes
            yield {"title": title, "svg": picture}


def _colours(one: Mapping[str, Any]) -> dict[str, str]:
    """Return the class of each of a server's settings; beyond as many as there are, colours come again."""
    return {point["point"]: f"c{index % COLOURS}" for index, point in enumerate(one["settings"])}


def _dot(row: Mapping[str, Any], word: str) -> str:
    return f"{row['point']}, {row['load']}: {row['output_tokens_per_second']:,.0f} tokens/s, {row[word]:,.1f} ms"


def _css(colour: int, held_out: bool, *, alone: bool) -> str:
    number = 1 if alone and held_out else colour % COLOURS
    return f"c{number} held" if held_out else f"c{number}"


def _drawn(chart: Mapping[str, Any], lines: list[tuple[str, str, Mapping[str, Any]]]) -> dict[str, Any]:
    drawn = [Line(name, series["points"], css, series["held_out"]) for name, css, series in lines]
    legend = [
        {
            "name": name,
            "css": css,
            "last": series["points"][-1][1] if series["points"] else None,
            "not_finite": series["not_finite"][:5],
        }
        for name, css, series in lines
    ]
    title = str(chart["title"])
    picture = Markup(svg(title, drawn, width=WIDTH, height=HEIGHT))  # numbers, and names that it escapes
    return {"title": title, "stage": chart["stage"], "legend": legend, "svg": picture}
