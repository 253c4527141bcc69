"""The report of a run: as one self-contained HTML page, as data, and its scores as a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recipec.report.data import report_data, score_rows
from recipec.report.scores import Score, ScoreRow, read_scores, score_table

PAGE = "report.html"


def report_html(run_dir: Path) -> str:
    """Return the report as an HTML page. Raises RecipeError when there is no run in the folder."""
    from recipec.report.page import page

    return page(report_data(run_dir))


def write_report(run_dir: Path) -> Path:
    """Write the report into the run's folder, in one step, and return its path. Raises RecipeError."""
    path = run_dir / PAGE
    text = report_html(run_dir)
    fresh = run_dir / f".{PAGE}.{os.getpid()}"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
    return path


def report_json(run_dir: Path) -> dict[str, Any]:
    """Return the report as JSON-ready data. Raises RecipeError when there is no run in the folder."""
    return report_data(run_dir)


__all__ = [
    "PAGE",
    "Score",
    "ScoreRow",
    "read_scores",
    "report_data",
    "report_html",
    "report_json",
    "score_rows",
    "score_table",
    "write_report",
]
