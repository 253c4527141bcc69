"""The emitted tree of every recipe, byte for byte. `pytest tests/golden --update` accepts a change, for review."""

import shutil
from pathlib import Path

import pytest

from recipec.output import existing
from recipec.pipeline import compile_file

ROOT = Path(__file__).parent.parent.parent
TREES = Path(__file__).parent / "trees"
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
SHARED = "environments/"  # long lists of pins, the same in every tree: compared by their hash in plan.json


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_tree(recipe: Path, update: bool) -> None:
    compiled = compile_file(str(recipe))
    assert [finding for finding in compiled.findings if finding.code != "T003"] == []  # what a trainer does its own way
    files = {name: text for name, text in compiled.files.items() if not name.startswith(SHARED)}
    folder = TREES / compiled.name
    if update:
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    assert existing(folder) == files


def test_there_are_at_least_twelve() -> None:
    assert len(RECIPES) >= 12


def test_no_tree_is_left_over() -> None:
    assert {path.name for path in TREES.iterdir()} == {path.stem for path in RECIPES}
