"""Models from scratch, and what is merged, as the settings of our own scripts say it."""

import json

import pytest
from reading_back import contradictions, read

from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.systems import transformers
from recipec.systems.registry import system
from recipec.yaml_reader import read_text

TEXT = """recipe: 1
name: x
trainer: llamafactory
seed: 7
model: {from_scratch: {family: qwen2, hidden_size: 32, layers: 2, heads: 4, kv_heads: 2, vocab_size: 400}, max_length: 128}
adapter: {merge: true}
data: {train: [{path: a.jsonl, format: chat, columns: {messages: talk}}, {hub: a/b, format: chat}]}
train: {learning_rate: 1e-3}
hardware: {gpu: none}
"""


def test_settings_of_the_scripts() -> None:
    found = compile_tree(read_text(Source("x.yaml", TEXT)))
    settings = json.loads(found.files["init/init.json"])
    columns = {"messages": "talk", "role": "role", "content": "content"}
    assert settings["tokenizer"] == {
        "train_on": [{"path": "a.jsonl", "format": "chat", "columns": columns}],
        "vocab_size": 400,
        "special_tokens": transformers.SPECIAL,
    }
    assert found.resolved is not None
    said = {}
    for stage in found.resolved.plan.stages:
        if stage.kind in ("init", "merge"):
            own = system(stage.system).sheets(stage.body, stage.environment)
            for name, values in read(found.files, stage, own).items():
                assert contradictions(values, stage) == {}
                said[name] = values
    assert (said["config.json"]["model.kv_heads"], said["init.json"]["seed"]) == (2, 7)
    assert said["init.json"]["model.vocab_size"] == 400
    assert said["merge.json"]["adapter"] == "runs/x/train"


@pytest.mark.parametrize("trainer", ["axolotl", "trl", "llamafactory", "unsloth"])
def test_to_say_that_nothing_is_merged_is_no_mistake(trainer: str) -> None:
    text = TEXT.replace("merge: true", "merge: false").replace("trainer: llamafactory", f"trainer: {trainer}")
    found = compile_tree(read_text(Source("x.yaml", text.replace("none", "l4"))))
    assert [finding for finding in found.findings if finding.code == "T002"] == []
    assert "merge/run.sh" not in found.files
