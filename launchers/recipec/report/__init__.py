"""The report of a run, or of several side by side: as one self-contained HTML page, as Markdown, and as data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipec.report.comparison import comparison_data
from recipec.report.data import report_data, score_rows
from recipec.report.scores import ScoreRow, read_scores, score_table
from recipec.report.significance import Change, Score

PAGE = "report.html"
NAMED = 3  # runs whose names the file of a comparison has


def report_html(run_dir: Path) -> str:
    """Return the report as an HTML page. Raises RecipeError when there is no run in the folder."""
    from recipec.report.page import page

    return page(report_data(run_dir))


def report_markdown(run_dir: Path) -> str:
    """Return the report as Markdown. Raises RecipeError when there is no run in the folder."""
    from recipec.report import markdown

    return markdown.report_markdown(report_data(run_dir))


def write_report(run_dir: Path, path: Path | None = None) -> Path:
    """Write the report, into the run's folder unless told otherwise, and return its path. Raises RecipeError."""
    return _written(path or run_dir / PAGE, report_html(run_dir))


def report_json(run_dir: Path) -> dict[str, Any]:
    """Return the report as JSON-ready data. Raises RecipeError when there is no run in the folder."""
    return report_data(run_dir)


def comparison_html(runs: Mapping[str, Path]) -> str:
    """Return runs side by side as an HTML page. Raises RecipeError when there is no run in one of the folders."""
    from recipec.report.page import comparison_page

    return comparison_page(comparison_data(runs))


def comparison_markdown(runs: Mapping[str, Path]) -> str:
    """Return runs side by side as Markdown. Raises RecipeError when there is no run in one of the folders."""
    from recipec.report import markdown

    return markdown.comparison_markdown(comparison_data(runs))


def write_comparison(runs: Mapping[str, Path], root: Path, path: Path | None = None) -> Path:
    """Write runs side by side, into the folder of all runs unless told otherwise, and return its path."""
    names = [re.sub(r"[^\w.=-]+", "-", name) for name in runs]
    shown = "-".join(names[:NAMED]) + (f"-and-{len(names) - NAMED}-more" if len(names) > NAMED else "")
    return _written(path or root / f"comparison-{shown}.html", comparison_html(runs))


def _written(path: Path, text: str) -> Path:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
    return path


__all__ = [
    "PAGE",
    "Change",
    "Score",
    "ScoreRow",
    "comparison_data",
    "comparison_html",
    "comparison_markdown",
    "read_scores",
    "report_data",
    "report_html",
    "report_json",
    "report_markdown",
    "score_rows",
    "score_table",
    "write_comparison",
    "write_report",
]
