"""What `recipe report` writes and prints, of one run or of several side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recipec import report
from recipec.diagnostics import Finding, RecipeError
from recipec.engine.record import RunFolder
from recipec.report.sweeps import runs_of
from recipec.sweep_command import comparison_text


def report_json(options: argparse.Namespace) -> dict[str, Any]:
    """Return as data what is asked for. Raises RecipeError."""
    runs = _runs(options)
    return report.comparison_data(runs) if len(runs) > 1 else report.report_json(next(iter(runs.values())))


def report_text(options: argparse.Namespace) -> str:
    """Write the page, or what is asked for instead, and return what to print. Raises RecipeError."""
    runs, out = _runs(options), Path(options.out) if options.out else None
    several, folder = len(runs) > 1, next(iter(runs.values()))
    if options.markdown:
        text = report.comparison_markdown(runs) if several else report.report_markdown(folder)
        if out is None:
            return text
        out.write_text(text, encoding="utf-8")
        return f"report: {out}"
    if several:
        sweeps = [one for name in options.names if runs_of(one := Path(options.runs) / name)]
        alone = sweeps[0] / report.PAGE if len(sweeps) == len(options.names) == 1 else None
        page = report.write_comparison(runs, Path(options.runs), out or alone)
        return "\n".join([*(comparison_text(one, None) for one in sweeps), f"report: {page}"])
    page, rows = report.write_report(folder, out), report.score_rows(folder)
    return (report.score_table(rows) + "\n" if rows else "") + f"report: {page}"


def _runs(options: argparse.Namespace) -> dict[str, Path]:
    """Return the folders of the runs that are named; of a sweep, those of its variants that have begun. Raises RecipeError."""
    found: dict[str, Path] = {}
    if len(set(options.names)) < len(options.names):
        message = "two different runs are needed for a comparison"
        raise RecipeError([Finding("U003", message, file="command line")])
    for name in options.names:
        folder = Path(options.runs) / name
        variants = [one for one in runs_of(folder) if RunFolder(one).plan.is_file()]
        found |= {f"{name}/{one.name}": one for one in variants} or {name: folder}
    return found
