"""What is generated from the language explains every word, and its examples are right."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec.pipeline import compile_file
from recipec.reference import EXAMPLE, recipe_schema, reference_text

SCHEMA = recipe_schema()
SECTIONS: dict[str, dict[str, Any]] = {"Recipe": SCHEMA, **SCHEMA["$defs"]}
BLOCKS = re.findall(r"```yaml\n(.*?)```", reference_text(), re.DOTALL)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_word_is_explained(section: str) -> None:
    node = SECTIONS[section]
    assert node["description"]
    assert node["additionalProperties"] is False
    assert section == "Recipe" or node["examples"]
    for key, field in node["properties"].items():
        assert field["description"], key
        assert "title" not in field
        assert "default" not in field or field["default"] is not None


def test_every_section_has_an_example_on_the_page() -> None:
    assert len(BLOCKS) == len(SECTIONS)
    assert BLOCKS[0] == EXAMPLE


# What an example needs around it to be a whole recipe that compiles.
BASE = {
    "recipe": 1,
    "name": "x",
    "model": {"base": "org/model"},
    "hardware": {"gpu": "a100-80gb", "per_node": 4},
    "data": {"train": [{"path": "a.jsonl", "format": "chat"}]},
    "train": {"learning_rate": 1e-4},
}
ONLINE: dict[str, Any] = {
    "trainer": "trl",
    "data": {"train": [{"path": "a.jsonl", "format": "prompt"}]},
    "train": {"learning_rate": 1e-6, "method": "grpo", "batch_size": 32},
    "rewards": [{"type": "length", "max_words": 9}],
}
MORE: dict[str, dict[str, Any]] = {
    "load_in": {"adapter": {"rank": 16}},
    "from_scratch": {"hardware": {"gpu": "none"}, "model": {}},
    "nvme": {"parallel": {"strategy": "zero3"}},
    "rollout:": ONLINE | {"trainer": "trl"},
    "rewards:": ONLINE | {"trainer": "trl"},
    "script:": {"trainer": "script", "data": None, "model": None},
    "trackio:": {"trainer": "trl"},
    "code:": {"evaluate": {"tasks": ["humaneval_instruct"], "allow_code_execution": True}},
    "search:": {"sweep": {"best": "loss"}},
    "when:": {
        "train": {"learning_rate": 1e-4, "save": {"every": 200}},
        "evaluate": {"tasks": ["gsm8k"]},
    },
}


@pytest.mark.parametrize("block", BLOCKS[1:], ids=lambda text: "-".join(re.findall(r"^ *(\w+):$", text, re.MULTILINE)))
def test_the_example_compiles(block: str, tmp_path: Path) -> None:
    recipe: dict[str, Any] = dict(BASE)
    for word, needed in MORE.items():
        if word in block and not (word == "script:" and "stages:" in block):
            recipe |= needed
    for word, value in YAML(typ="safe").load(block).items():
        recipe[word] = value if isinstance(value, list) else {**recipe.get(word, {}), **value}
    if "stages:" in block and any(
        f"{word}:" in block for word in ("merge", "generate", "quantize", "serve", "benchmark")
    ):
        # it takes what stages before it leave
        before = [
            {"name": "maths", "adapter": {"rank": 8}},
            {"name": "korean", "start_from": "base", "adapter": {"rank": 8}},
        ]
        recipe["stages"] = [*before, *recipe["stages"]]
    if "script:" in block and "stages:" in block:
        asked = {"prompts": [{"path": "data/questions.jsonl", "format": "prompt"}]}
        pairs = {
            "name": "pairs",
            "generate": {**asked, "makes": "preference"},
            "rewards": [{"type": "length", "max_words": 9}],
        }
        recipe["stages"] = [{"name": "sft"}, pairs, *recipe["stages"]]
    for stage in recipe.get("stages", ()):  # what the sections around an example must say
        if "quantize" in stage:
            stage["quantize"].setdefault("scheme", "w4a16")
        if "benchmark" in stage:
            stage["benchmark"].setdefault("workloads", [{"name": "chat", "input": 256, "output": 64}])
        if "gpu" in stage.get("hardware", {}):
            stage["hardware"].setdefault("per_node", 1)
    for judged in recipe.get("evaluate", {}).get("judge", ()):
        judged.setdefault("questions", "questions.jsonl")
        judged.setdefault("allow", ["https://api.openai.com/v1"])
        for by in judged["by"]:
            by.setdefault("url", "https://api.openai.com/v1")
    recipe = {word: value for word, value in recipe.items() if value is not None}
    file = tmp_path / "x.yaml"
    file.write_text(json.dumps(recipe), encoding="utf-8")
    assert [finding.message for finding in compile_file(str(file), []).findings] == []


def test_links_of_the_page_lead_somewhere() -> None:
    text = reference_text()
    titles = {
        title.lower().replace(" ", "-").replace(".", "") for title in re.findall(r"^## (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= titles


def test_the_schema_completes_enumerations_and_gpus() -> None:
    assert "a100-80gb" in SECTIONS["Hardware"]["properties"]["gpu"]["anyOf"][0]["enum"]
    assert "qlora" not in json.dumps(SECTIONS["Adapter"]["properties"]["type"]["enum"])
    assert SECTIONS["Train"]["properties"]["optimizer"]["enum"][0] == "adamw"
