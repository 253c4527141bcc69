"""An adapter that is trained further: PLAN.md tells of the adapter as it is, not as the recipe would have made it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from recipec.facts.layers import adapter_config
from recipec.facts.models import read_json
from recipec.pipeline import Compiled, compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

RECIPE: dict[str, Any] = {
    "recipe": 1,
    "name": "further",
    "trainer": "trl",
    "model": {"base": "mistralai/Mistral-7B-Instruct-v0.3", "max_length": 2048},
    "adapter": {"start_from": "adapters/first"},
    "data": {"train": [{"path": "data/chat.jsonl", "format": "chat"}]},
    "train": {"learning_rate": 1e-4},
    "hardware": {"gpu": "a100-80gb"},
}
SAVED = {"peft_type": "LORA", "r": 64, "lora_alpha": 16, "target_modules": ["v_proj", "q_proj"]}
BESIDE: dict[str, Any] = {"modules_to_save": ["lm_head"], "use_dora": False, "lora_dropout": 0.0}


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the configuration of an adapter that is at hand."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "adapters" / "first"
    folder.mkdir(parents=True)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**SAVED, **BESIDE}))
    return file


def compiled(**more: Any) -> Compiled:
    recipe = {word: value for word, value in {**RECIPE, **more}.items() if value is not None}
    return compile_tree(read_text(Source("further.yaml", json.dumps(recipe))))


def row(result: Compiled, word: str, title: str = "## Training") -> str:
    plan = result.files["PLAN.md"]
    section = plan[plan.index(f"{title}\n") :]
    return next(line for line in section.splitlines() if line.startswith(f"| {word} |"))


def test_the_plan_states_what_the_adapter_is(adapter: Path) -> None:
    result = compiled()
    assert not [one for one in result.findings if one.severity == "error"]
    trains = row(result, "trains")
    assert "rank 64, alpha 16, continuing `adapters/first` on `q_proj`, `v_proj`, and all of `lm_head`" in trains
    assert "rank 16" not in result.files["PLAN.md"]
    assert "a usual rank" not in result.files["PLAN.md"]
    assert "the LoRA adapter `adapters/first` of" in result.files["PLAN.md"]
    assert adapter.exists()


def test_its_size_is_that_of_the_saved_rank(adapter: Path) -> None:
    adapter.write_text(json.dumps(SAVED))
    # rank × (inputs + outputs) of q (4096 to 4096) and v (4096 to 1024), 32 layers, 64 of them
    assert f"{32 * 64 * (4096 + 4096 + 4096 + 1024):,} weights" in row(compiled(), "trains")
    assert "about 109 MB" in row(compiled(), "saves")


@pytest.mark.parametrize("text", ["{", "[]", '{"r": "64"}', '{"r": 64, "lora_alpha": [1]}', "{}"])
def test_what_it_is_may_not_be_known(adapter: Path, text: str) -> None:
    adapter.write_text(text)
    told = "the adapter `adapters/first` further, with its own rank, alpha and layers, which are not known here"
    assert told in row(compiled(), "trains")
    assert "the adapter; a checkpoint" in row(compiled(), "saves")


def test_a_stage_that_continues_it_again_has_it_too(adapter: Path) -> None:
    stages = [
        {"name": "one", "adapter": {"start_from": "adapters/first"}},
        {"name": "two", "parent_adapter": "continue"},
    ]
    both = [stages[0], {**stages[1], "adapter": {"rank": 64}}]
    result = compiled(adapter=None, stages=both)
    assert [one.code for one in result.findings if one.severity == "error"] == []
    assert "rank 64, alpha 16" in row(result, "trains", "## Training of two")
    adapter.unlink()
    missing = compiled(adapter=None, stages=both)
    assert "P117" in [one.code for one in missing.findings]  # what the recipe says twice must agree


def test_an_adapter_of_the_recipe_is_stated_as_before() -> None:
    stages = [
        {"name": "one", "adapter": {"rank": 8}},
        {"name": "two", "parent_adapter": "continue", "adapter": {"rank": 8}},
    ]
    result = compiled(adapter=None, stages=stages)
    assert "a LoRA adapter of rank 8, alpha 16" in row(result, "trains", "## Training of two")


def test_a_configuration_that_never_ends_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "adapter_config.json")
    assert adapter_config(str(tmp_path)) is None
    assert read_json(Path("/dev/zero")) is None
    assert adapter_config("nobody/nothing") is None
