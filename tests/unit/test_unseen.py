"""The list of mistakes that nobody had seen: whole, and judged today as the page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import unseen  # noqa: E402


def test_every_recipe_of_the_list_has_its_first_run() -> None:
    first = json.loads((unseen.HERE / "first_run.json").read_text(encoding="utf-8"))
    files = {f"{path.parent.name}/{path.name}" for path in unseen.HERE.glob("*/*.yaml")}
    assert files == set(first)
    for name, row in first.items():
        assert ("lines" in row) is (name.startswith("mistakes") and "withdrawn" not in row)
        assert "withdrawn" in row or row["first"] in (*unseen.MISTAKES, *unseen.RIGHT)


@pytest.mark.slow
def test_the_page_says_how_they_are_judged_today() -> None:
    """After a change that is meant: `python benchmarks/unseen.py`."""
    today = unseen.judged()
    assert "traceback" not in today.values()
    begin, end = unseen.MARKS
    page = unseen.PAGE.read_text(encoding="utf-8")
    assert page.partition(begin)[2].partition(end)[0] == unseen.table(today)
