"""The comparison is fair, and the documents say what was found."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mistakes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("mistakes")
    sys.modules.pop("mistakes")


@pytest.fixture
def results(mistakes: Any) -> Any:
    return json.loads(mistakes.RESULTS.read_text(encoding="utf-8"))


def test_the_tables_are_what_was_found(mistakes: Any, results: Any) -> None:
    """Stale? `python benchmarks/mistakes.py`."""
    for path, text in mistakes.documents(results).items():
        assert path.read_text(encoding="utf-8") == text


def test_both_say_the_same_training(mistakes: Any) -> None:
    """What the recipe becomes agrees with the Axolotl configuration in every key that this one has."""
    files = compile_file("benchmarks/mistakes/recipe.yaml", []).files
    yaml = YAML(typ="safe")
    emitted = yaml.load(files["10-train/axolotl.yaml"])
    written = yaml.load(mistakes.planted("axolotl", None))
    emitted["datasets"] = [{key: row[key] for key in written["datasets"][0]} for row in emitted["datasets"]]
    assert {key: emitted.get(key) for key in written} == written


def test_the_recipe_is_judged_so_today(mistakes: Any, results: Any) -> None:
    """Found something else? Run benchmarks/mistakes.py with an Axolotl environment."""
    for group, cases in mistakes.cases().items():
        assert [row["what"] for row in results[group]] == [case["what"] for case in cases]
        for row, case in zip(results[group], cases, strict=True):
            found = mistakes.ask_recipe(mistakes.planted("recipe", case["recipe"])) if case["recipe"] else None
            assert found == row["recipe"], row["what"]
            assert (case["recipe"] is None) is ("because" in case)


@pytest.mark.conformance
def test_axolotl_judges_so_today(mistakes: Any, results: Any, tool_python: Any) -> None:
    for group, cases in mistakes.cases().items():
        texts = [mistakes.planted("axolotl", case["axolotl"]) for case in cases]
        answers = mistakes.ask_axolotl(tool_python(f"axolotl-{mistakes.RELEASE}"), texts)
        assert [mistakes.plain(answer["error"]) for answer in answers] == [row["axolotl"] for row in results[group]]
