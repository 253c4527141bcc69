"""The comparison is fair, and the documents say what was found."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]
BASES = ROOT / "benchmarks" / "mistakes" / "bases"


@pytest.fixture
def mistakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("mistakes")
    for name in ("mistakes", "mistakes_cases", "mistakes_tables", "cold_start"):
        sys.modules.pop(name, None)


@pytest.fixture
def results(mistakes: Any) -> Any:
    return json.loads(mistakes.RESULTS.read_text(encoding="utf-8"))


def test_the_tables_are_what_was_found(mistakes: Any, results: Any) -> None:
    """Stale? `python benchmarks/mistakes.py`."""
    for path, text in mistakes.documents(results).items():
        assert path.read_text(encoding="utf-8") == text


def test_every_mistake_is_there_once_and_was_asked_about(mistakes: Any, results: Any) -> None:
    cases = mistakes.cases()
    assert len(cases) >= 80
    assert [what for what, count in Counter(case.what for case in cases).items() if count > 1] == []
    assert [row["what"] for row in results["mistakes"]] == [case.what for case in cases]
    assert sum("recipe" in case.right for case in cases) >= 80
    for case, row in zip(cases, results["mistakes"], strict=True):
        assert ("recipe" in case.wrong) is not bool(case.because), case.what
        for language in mistakes.FILES:
            assert ("wrong" in row[language]) is (language in case.wrong), (case.what, language)
            assert ("right" in row[language]) is (language in case.right), (case.what, language)


@pytest.mark.parametrize("base", ["sft", "full", "dpo", "grpo"])
def test_all_languages_of_a_base_say_the_same_training(base: str) -> None:
    """What the recipe becomes agrees with each configuration in every key that both have."""
    yaml = YAML(typ="safe")
    compared = 0
    for trainer in ("axolotl", "trl", "llamafactory"):
        files = compile_file(f"benchmarks/mistakes/bases/{base}/recipe.yaml", [f"trainer={trainer}"]).files
        for name in (f"{trainer}.yaml", *(("ds_config.json", "accelerate.yaml") if trainer == "axolotl" else ())):
            path = BASES / base / name
            if f"train/{name}" not in files or not path.exists():
                continue
            emitted, written = (yaml.load(text) for text in (files[f"train/{name}"], path.read_text("utf-8")))
            shared = set(emitted) & set(written) - {"datasets", "test_datasets", "dataset_dir", "deepspeed_config"}
            shared -= {"run_name"}  # a course is called after its stage too
            if "trl" in shared:  # a block of Axolotl's, in which the file leaves to Axolotl what we write out
                emitted["trl"] = {key: value for key, value in emitted["trl"].items() if key in written["trl"]}
            assert {key: emitted[key] for key in shared} == {key: written[key] for key in shared}, name
            assert len(shared) > 5
            compared += 1
    assert compared >= 2


def test_the_recipe_is_judged_so_today(mistakes: Any, results: Any) -> None:
    """Found something else? Run benchmarks/mistakes.py."""
    found = mistakes.judge("recipe", None, mistakes.cases())
    assert {row["what"]: row["recipe"] for row in results["mistakes"]} == found


def test_what_counts_as_located_and_suggested(mistakes: Any) -> None:
    change = mistakes.planted("sft", "axolotl", ["warmup_ratio: 0.03", "warmup_ratoi: 0.03"])
    line = change.after.split("warmup_ratoi")[0].count("\n") + 1
    for answer, located, suggested in (
        ("unknown key warmup_ratoi", True, False),
        ("unknown key warmup_ratoi, did you mean warmup_ratio?", True, True),
        (f"axolotl.yaml:{line}: unknown key", True, False),
        (f"axolotl.yaml:{line - 1}: unknown key", False, False),
        ("something is wrong", False, False),
    ):
        assert mistakes.located(change, answer) is located, answer
        assert mistakes.suggested(change, answer) is suggested, answer
    with pytest.raises(ValueError, match="is 0 times"):
        mistakes.planted("sft", "axolotl", ["nothing of it", "x"])


@pytest.mark.conformance
@pytest.mark.parametrize("tool", ["axolotl", "trl", "llamafactory", "deepspeed", "accelerate"])
def test_the_tools_judge_so_today(tool: str, mistakes: Any, results: Any, tool_python: Callable[[str], Path]) -> None:
    found = mistakes.judge(tool, tool_python(mistakes.ENVIRONMENTS[tool]), mistakes.cases())

    def verdicts(rows: dict[str, Any]) -> Any:
        return {what: {side: bool(verdict["error"]) for side, verdict in sides.items()} for what, sides in rows.items()}

    assert verdicts({row["what"]: row[tool] for row in results["mistakes"]}) == verdicts(found)
