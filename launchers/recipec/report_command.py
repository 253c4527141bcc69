"""What `recipe report` writes and prints, of one run or of several side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recipec import report


def report_json(options: argparse.Namespace) -> dict[str, Any]:
    """Return as data what is asked for. Raises RecipeError."""
    runs = _runs(options)
    return report.comparison_data(runs) if len(options.names) > 1 else report.report_json(runs[options.names[0]])


def report_text(options: argparse.Namespace) -> str:
    """Write the page, or what is asked for instead, and return what to print. Raises RecipeError."""
    runs, out = _runs(options), Path(options.out) if options.out else None
    several, folder = len(options.names) > 1, runs[options.names[0]]
    if options.markdown:
        text = report.comparison_markdown(runs) if several else report.report_markdown(folder)
        if out is None:
            return text
        out.write_text(text, encoding="utf-8")
        return f"report: {out}"
    if several:
        return f"report: {report.write_comparison(runs, Path(options.runs), out)}"
    page, rows = report.write_report(folder, out), report.score_rows(folder)
    return (report.score_table(rows) + "\n" if rows else "") + f"report: {page}"


def _runs(options: argparse.Namespace) -> dict[str, Path]:
    return {name: Path(options.runs) / name for name in options.names}
