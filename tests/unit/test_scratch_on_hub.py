"""A tokenizer from scratch learns from rows on a hub, where the recipe names no local ones."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.systems.scripts import init_model
from recipec.yaml_reader import read_text

RECIPE = """recipe: 1
name: scratch
model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}, max_length: 128}
data: {train: [SOURCES]}
train: {method: pretrain, learning_rate: 1e-3}
hardware: {gpu: a100-80gb}
"""
HUB = "{hub: my-lab/texts, split: most, subset: en, revision: abc, format: text}"
LOCAL = "{path: data/text.jsonl, format: text}"


def trained_on(sources: str) -> list[dict[str, Any]]:
    result = compile_tree(read_text(Source("scratch.yaml", RECIPE.replace("SOURCES", sources))))
    assert [one.code for one in result.findings if one.severity == "error"] == []
    found: list[dict[str, Any]] = json.loads(result.files["init/init.json"])["tokenizer"]["train_on"]
    return found


def test_its_rows_are_named_as_they_are_on_the_hub() -> None:
    (source,) = trained_on(HUB)
    assert {word: source[word] for word in ("hub", "subset", "split", "revision")} == {
        "hub": "my-lab/texts", "subset": "en", "split": "most", "revision": "abc"
    }  # fmt: skip
    assert "path" not in source


def test_local_rows_are_enough_where_there_are_some() -> None:
    assert [source["path"] for source in trained_on(f"{HUB}, {LOCAL}")] == ["data/text.jsonl"]


def test_the_script_reads_the_first_rows_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    class Rows:
        def take(self, count: int) -> Iterator[dict[str, str]]:
            asked.append(count)
            return iter([{"text": "one"}, {"text": "two"}])

    def load_dataset(*place: Any, **words: Any) -> Rows:
        asked.append((place, words))
        return Rows()

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    (source,) = trained_on(HUB)
    assert list(init_model.rows_of(source)) == [{"text": "one"}, {"text": "two"}]
    place, words = asked[0]
    assert place == ("my-lab/texts", "en")
    assert words == {"split": "most", "revision": "abc", "streaming": True}
    assert asked[1] == init_model.ENOUGH
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "here"}\n')
    assert list(init_model.rows_of({"path": str(file)})) == [{"text": "here"}]
