"""The list of mistakes that nobody had seen: whole, and judged today as the page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import unseen  # noqa: E402

LISTS = pytest.mark.parametrize("name", unseen.LISTS)


@LISTS
def test_every_recipe_of_the_list_has_its_first_run(name: str) -> None:
    place = unseen.LISTS[name]
    first = json.loads((place / "first_run.json").read_text(encoding="utf-8"))
    files = {
        f"{path.parent.name}/{path.name}" for part in ("good", "mistakes") for path in place.glob(f"{part}/*.yaml")
    }
    assert files == set(first)
    for recipe, row in first.items():
        assert ("lines" in row) is (recipe.startswith("mistakes") and "withdrawn" not in row)
        assert "withdrawn" in row or row["first"] in (*unseen.MISTAKES, *unseen.RIGHT)


@LISTS
@pytest.mark.slow
def test_the_page_says_how_they_are_judged_today(name: str) -> None:
    """After a change that is meant: `python benchmarks/unseen.py`."""
    today = unseen.judged(unseen.LISTS[name])
    assert "traceback" not in today.values()
    first = json.loads((unseen.LISTS[name] / "first_run.json").read_text(encoding="utf-8"))
    refused = [recipe for recipe, one in today.items() if one == "false error"]
    # one that was doubtful at first says a rate which its script is not told of (T002)
    assert [recipe for recipe in refused if first[recipe]["first"] != "doubtful"] == []
    begin, end = unseen.marks(name)
    page = unseen.PAGE.read_text(encoding="utf-8")
    assert page.partition(begin)[2].partition(end)[0] == unseen.table(name, today)
