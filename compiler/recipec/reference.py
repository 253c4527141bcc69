"""What is generated from the language: its JSON Schema, its reference page, and an example to start from."""

from __future__ import annotations

import json
import sys
from typing import Any

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


def reference_text() -> str:
    """Return the reference page, in Markdown."""
    schema = Recipe.model_json_schema()
    lines = [
        "# The recipe language, version 1",
        "",
        "Made from the language itself by `make generated`. YAML 1.2: `no` is text, `1e-4` is a number.",
    ]
    _section(lines, schema, "recipe", schema, [])
    return "\n".join(lines) + "\n"


def _section(lines: list[str], node: dict[str, Any], name: str, schema: dict[str, Any], seen: list[str]) -> None:
    lines += [
        "",
        f"## {name}",
        "",
        node.get("description", ""),
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    inner: list[tuple[str, dict[str, Any]]] = []
    for key, field in node["properties"].items():
        target = _target(field, schema)
        if target is not None:
            inner.append((key if name == "recipe" else f"{name}.{key}", target))
        default = "required" if key in node.get("required", []) else _default(field)
        kind = "section" if target is not None and field.get("type") != "array" else _type(field, schema)
        lines.append(f"| `{key}` | {kind} | {default} | {field.get('description', '')} |".replace("||", "\\|\\|"))
    for key, target in inner:
        if target["title"] not in seen:
            seen.append(target["title"])
            _section(lines, target, key, schema, seen)


def _target(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the section that a field holds, alone, as a list, or optionally."""
    for part in (
        field,
        field.get("items", {}),
        *field.get("anyOf", []),
        *(p.get("items", {}) for p in field.get("anyOf", [])),
    ):
        if "$ref" in part:
            found: dict[str, Any] = schema["$defs"][part["$ref"].rsplit("/", 1)[-1]]
            return found
    return None


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value is None or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(part, schema) for part in field["anyOf"] if part.get("type") != "null"))
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return "section"
    if field.get("type") == "array":
        return f"list of {_type(field['items'], schema)}"
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
        "object": "mapping",
    }
    kind = words.get(field.get("type", ""), "anything")
    bounds = [
        f"{sign} {field[name]}"
        for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if name in field
    ]
    if "pattern" in field and "%" in field["pattern"]:
        kind = "percentage"
    return " ".join([kind, ", ".join(bounds)]).strip()


if __name__ == "__main__":
    sys.stdout.write(reference_text())
