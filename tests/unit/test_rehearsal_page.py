"""The table of docs/rehearsal.md is what was recorded, and what the compiler says cannot be rehearsed; each shipped recipe is in it."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = runpy.run_path(str(ROOT / "scripts" / "rehearsal_table.py"))


def test_the_table_is_current() -> None:
    text = (ROOT / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    assert TABLE["page"](text) == text


def test_every_shipped_recipe_was_rehearsed_and_none_failed() -> None:
    recorded = json.loads((ROOT / "benchmarks" / "rehearsals.json").read_text(encoding="utf-8"))
    shipped = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert shipped == set(recorded)
    failed = {name for name, row in recorded.items() if row["exit_code"] not in (0, None)}
    assert failed == set()
    assert all(state == "done" for row in recorded.values() for state in row["ended"].values())
