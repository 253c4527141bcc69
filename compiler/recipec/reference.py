"""What is generated from the language: its JSON Schema, and an example to start from."""

from __future__ import annotations

import json

from recipec.language import Recipe

EXAMPLE = """\
recipe: 1
name: my-first-recipe
model:
  base: mistralai/Mistral-7B-v0.3
  max_length: 4096
  load_in: nf4
adapter: {rank: 32}
data:
  train: [{path: data/chat.jsonl, format: chat}]
  holdout: 2%
train: {epochs: 3, batch_size: 64, micro_batch_size: 4, learning_rate: 2e-4}
hardware: {gpu: a100-80gb}
evaluate: {tasks: [gsm8k]}
"""


def schema_text() -> str:
    """Return the JSON Schema of a recipe, as text."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
