"""The variants of a sweep side by side: what varies, the last losses of the last training, and the scores of the last model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.record import RunFolder
from recipec.engine.status import read_run, status
from recipec.report.curves import EVALUATED, logged
from recipec.report.data import score_rows
from recipec.report.scores import score_text
from recipec.report.significance import Score
from recipec.suggest import nearest
from recipec.sweeps import LIST, Listed, Row, read_list, table, value_text

LOSSES = ("loss", f"{EVALUATED}loss")  # of training, and of validation


class Column(TypedDict):
    """A measure: `task/metric` or `loss`, and whether higher is better, None where that is not known."""

    name: str
    higher_is_better: bool | None


class VariantRow(TypedDict):
    """A variant: its folder below the runs, its state, and what was measured of it, by the name of the measure."""

    variant: str
    folder: str
    values: dict[str, Any]
    state: str
    measures: dict[str, dict[str, float | None]]
    best: bool


class Comparison(TypedDict):
    """A sweep's variants; `by` is the measure that marks the best, None where none is stated or nobody has it yet."""

    name: str
    paths: list[str]
    columns: list[Column]
    by: str | None
    variants: list[VariantRow]
    refused: list[dict[str, Any]]


def runs_of(folder: Path) -> list[Path]:
    """Return the folders of the runs of a sweep, in order; none where it is no sweep's folder."""
    listed = read_list(folder)
    return [folder / row.variant for row in listed.accepted] if listed is not None else []


def comparison(folder: Path, best: str | None = None) -> Comparison:
    """Return the variants of a sweep side by side; `best` is what marks the best, else what the recipe says does.

    Raises RecipeError where there is no sweep, or no variant has that measure while others have been measured.
    """
    listed = read_list(folder)
    if listed is None:
        message = f"there is no sweep in {folder}"
        advice = f"a run of a recipe with `sweep:` leaves {LIST} there"
        raise RecipeError([Finding("E026", message, help=advice, file=str(folder))])
    columns: dict[str, Column] = {}
    rows = [_row(folder, row, columns) for row in listed.accepted]
    by = _measure(best or listed.best, columns, asked=best is not None, folder=folder)
    _mark(rows, by, columns)
    refused = [{"variant": row.variant, "rule": row.rule, "reason": row.reason} for row in listed.refused]
    return {
        "name": listed.name,
        "paths": list(listed.paths),
        "columns": list(columns.values()),
        "by": by,
        "variants": rows,
        "refused": refused,
    }


def _row(folder: Path, row: Row, columns: dict[str, Column]) -> VariantRow:
    run = folder / row.variant
    found: VariantRow = {
        "variant": row.variant,
        "folder": str(run),
        "values": row.values,
        "state": "waiting",
        "measures": {},
        "best": False,
    }
    if not RunFolder(run).plan.is_file():
        return found
    found["state"] = status(run)["state"]
    for column, score in _measures(run):
        columns.setdefault(column["name"], column)
        found["measures"][column["name"]] = score._asdict()
    return found


def _measures(run: Path) -> Iterator[tuple[Column, Score]]:
    """Yield what was measured of a run: the last losses of its last training, and the scores of its last model."""
    about, _, manifest = read_run(run)
    trainings = list(manifest.plan.of_kind("train"))
    values = logged(about.events(trainings[-1].name)) if trainings else {}
    for name in LOSSES:
        if by_step := values.get(name):
            yield {"name": name, "higher_is_better": False}, Score(by_step[max(by_step)], None)
    for row in score_rows(run):
        model = list(row.scores)[-1]
        if model != "base" or len(row.scores) == 1:
            yield {"name": f"{row.task}/{row.metric}", "higher_is_better": row.better}, row.scores[model]


def _measure(said: str | None, columns: dict[str, Column], *, asked: bool, folder: Path) -> str | None:
    """Return the measure that a word means: one by its name, or the first of a task."""
    if said is None:
        return None
    found = next((name for name in columns if said in (name, name.partition("/")[0])), None)
    if found is None and columns and asked:
        message = f'no variant has a measure "{said}"; there are {", ".join(columns)}'
        raise RecipeError([Finding("E027", message, suggestion=nearest(said, list(columns)), file=str(folder))])
    return found


def _mark(rows: Sequence[VariantRow], by: str | None, columns: dict[str, Column]) -> None:
    measured = [row for row in rows if by in row["measures"]] if by is not None else []
    if not measured or by is None:
        return
    values = [
        value for row in measured if (value := row["measures"][by]["value"]) is not None and value == value
    ]  # NaN is none
    if not values:
        return
    least = columns[by]["higher_is_better"] is False
    top = min(values) if least else max(values)
    for row in measured:
        row["best"] = row["measures"][by]["value"] == top


def text(found: Comparison) -> str:
    """Return a comparison as text; the best variant has a star."""
    names = [column["name"] for column in found["columns"]]
    rows = [
        [
            ("* " if row["best"] else "  ") + row["variant"],
            *(value_text(row["values"][path]) if path in row["values"] else "–" for path in found["paths"]),
            *(_cell(row["measures"].get(name)) for name in names),
            row["state"],
        ]
        for row in sorted(found["variants"], key=lambda row: not row["best"])
    ]
    lines = [table(["  variant", *found["paths"], *names, "state"], rows)]
    lines += [f"left out: {row['variant']}: {row['rule']}: {row['reason']}" for row in found["refused"][:10]]
    if found["by"] is not None:
        lines.append(f"* best {found['by']}")
    return "\n".join(lines)


def _cell(found: dict[str, float | None] | None) -> str:
    return score_text(Score(found["value"] or 0.0, found["stderr"]) if found is not None else None)


__all__ = ["Comparison", "Listed", "comparison", "runs_of", "text"]
