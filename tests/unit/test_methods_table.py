"""The table of methods is what the trainers declare and the suite shows; a promise without a recipe has no cell."""

import runpy
from pathlib import Path

import pytest

from recipec.systems.registry import system

ROOT = Path(__file__).parents[2]
TABLE = runpy.run_path(str(ROOT / "scripts" / "methods_table.py"))


def test_the_page_is_current() -> None:
    assert TABLE["page"]() == (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def test_a_promise_without_a_recipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    axolotl = system("axolotl")
    boastful = axolotl.replaced(can={**axolotl.can, "method": frozenset(["ppo"])})
    monkeypatch.setitem(TABLE["page"].__globals__, "system", lambda _name: boastful)
    with pytest.raises(ValueError, match="declares ppo"):
        TABLE["page"]()
