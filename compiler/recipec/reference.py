"""What is generated from the language: its JSON Schema, its reference page, and an example to start from."""

from __future__ import annotations

import json
import sys
from typing import Any

from recipec.editor import for_editors
from recipec.facts import gpus
from recipec.kinds.train.methods import METHODS
from recipec.language import Recipe
from recipec.language.data import COLUMNS
from recipec.source import Plain
from recipec.systems.registry import doing, system

EXAMPLE = """\
recipe: 1
name: my-first-recipe
model:
  base: mistralai/Mistral-7B-Instruct-v0.3
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


ROWS = """\
`role` and `content` are keys of each message in `messages`. `system` is read only if `columns` names it; a preference row
has `prompt` if `columns` names it, and `messages` otherwise. `columns` maps each standard name to the one in your data."""

INTRODUCTION = f"""\
# The recipe language, version 1

Generated from the language by `make generated`. A recipe is one YAML file; this is a complete one:

```yaml
{EXAMPLE}```

For each section there is a table of its keys with the values they take, the default and the meaning, and an example. Any other
key is an error. Recipes are YAML 1.2: `no` is text, `1e-4` is a number. Lengths are in tokens, batches in sequences, intervals
in optimiser steps. Paths are relative to the folder in which you run. To override a value once, without changing the recipe:
`recipe compile FILE --set train.epochs=1`. [composition.md](composition.md) explains how files, profiles and variables form
one recipe."""


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe, for editors: without the titles and nulls that they would offer as values."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "recipec recipe, version 1"
    for section in (schema, *schema["$defs"].values()):
        for field in section["properties"].values():
            field.pop("title", None)
            if "description" not in field and (target := _target(field, schema)):
                field["description"] = target["description"]  # pydantic leaves out one that the section repeats
            if field.get("default") is None or isinstance(field["default"], dict):
                field.pop("default", None)
    gpu = schema["$defs"]["Hardware"]["properties"]["gpu"]
    gpu["anyOf"] = [
        {"enum": list(gpus())},
        {"type": "integer"},
        *gpu["anyOf"],
    ]  # for an editor to complete; other names are known too
    return schema


def _holds_list(field: dict[str, Any]) -> bool:
    return any(one.get("type") == "array" for one in (field, *field.get("anyOf", ())))


def schema_text() -> str:
    """Return the JSON Schema of a recipe, as text.

    What a section needs may stand in the stages of a course, and anything in a file that the recipe extends. `key+` of a
    list appends to it.
    """
    schema = recipe_schema()
    for section in (schema, *schema["$defs"].values()):
        lists = {name: field for name, field in section["properties"].items() if _holds_list(field)}
        section["properties"].update({f"{name}+": field for name, field in lists.items()})
    needs = {}
    for word in ("hardware", "script"):
        needs[word] = _needs((_target(schema["properties"][word], schema) or {}).pop("required"))
    (_target(schema["properties"]["data"], schema) or {}).pop("required")
    in_stages = {"data": _needs(["train"]), "train": _needs(["learning_rate"])}
    extends = {"required": ["extends"]}
    own = [
        {"required": ["stages"]},
        {"required": ["sweep"]},  # which may give them
        {
            "required": ["trainer"],
            "properties": {"trainer": {"enum": [one for one in doing("train") if system(one).own_program]}},
        },
    ]
    schema["allOf"] = [
        {"if": extends, "else": {"required": schema.pop("required"), "properties": needs}},
        {"if": {"anyOf": [extends, *own]}, "else": {"properties": in_stages}},
    ]
    for_editors(schema)
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _needs(keys: list[str]) -> dict[str, Any]:
    """Return the schema of a section that needs keys. The type is for completion: without one editors insert no mapping."""
    return {"type": ["object", "null"], "required": keys}


def reference_text() -> str:
    """Return the reference page, in Markdown."""
    lines = [INTRODUCTION]
    schema = recipe_schema()
    _section(lines, schema, "recipe", schema, {})
    lines += ["", "## Formats of rows", "", "The values of `data.train.format`, and the columns of a row in each.", ""]
    lines += ["| format | columns | for `train.method` |", "|---|---|---|"]
    for name, columns in COLUMNS.items():
        methods = ", ".join(f"`{method}`" for method, m in METHODS.items() if name in m.formats)
        lines.append(f"| `{name}` | {', '.join(f'`{column}`' for column in columns)} | {methods or 'none yet'} |")
    lines += ["", ROWS, ""]
    lines += [
        "## GPUs",
        "",
        "The values of `hardware.gpu`, with usable memory; `none` is the CPU. Names such as `H100`, `4090` and\n`NVIDIA A100-SXM4-80GB` are understood, and `h100-80gb:8` says `per_node: 8`. Another GPU is described:\n`gpu: {name: rtx-5000-ada, memory: 32GB, compute_capability: 8.9}`.",
        "",
    ]
    lines += ["| gpu | GiB | bf16 |", "|---|---|---|"]
    lines += [
        f"| `{gpu.name}` | {gpu.memory_gib} | {'yes' if gpu.bf16 else 'no'} |" for gpu in gpus().values() if gpu.sm
    ]
    return "\n".join(lines) + "\n"


def _section(lines: list[str], node: dict[str, Any], name: str, schema: dict[str, Any], seen: dict[str, str]) -> None:
    lines += ["", f"## {name}", "", node.get("description", ""), ""]
    for example in node.get("examples", []):
        ordered = {key: example[key] for key in node["properties"] if key in example}  # the schema sorts them
        lines += ["```yaml", *_yaml(name, ordered), "```", ""]
    lines += ["| key | takes | default | meaning |", "|---|---|---|---|"]
    inner: list[tuple[str, dict[str, Any]]] = []
    for key, field in node["properties"].items():
        target = _target(field, schema)
        path = key if name == "recipe" else f"{name}.{key}"
        if target is not None and seen.setdefault(target["title"], path) == path:
            inner.append((path, target))
        meaning, default = _meaning(field)
        if key in node.get("required", []):
            default = "**required**"
        kind = "[one of these](#gpus)" if path == "hardware.gpu" else _type(field, schema)
        if target is not None:
            place = seen[target["title"]]
            link = f"[{place}](#{place.replace('.', '')})"
            kind = f"list of {link}" if _is_list(field) else link
        lines.append(f"| `{key}` | {kind} | {default} | {meaning} |".replace("||", "\\|\\|"))
    for path, target in inner:
        _section(lines, target, path, schema, seen)


def _is_list(field: dict[str, Any]) -> bool:
    return any(part.get("type") == "array" for part in (field, *field.get("anyOf", [])))


# What an item of a list begins with, around an example of a section in it.
ITEMS = {"stages": "name: combined", "judge": "benchmark: mt_bench", "by": "model: gpt-4.1-2025-04-14"}


def _yaml(name: str, example: dict[str, Any]) -> list[str]:
    """Return the lines of an example where it stands in a recipe: under the names of the sections around it."""
    lines: list[str] = []
    depth = 0
    *around, last = name.split(".")
    for word in around:
        lines.append("  " * depth + f"{word}:")
        depth += 1
        if word in ITEMS:
            lines.append("  " * depth + f"- {ITEMS[word]}")
            depth += 1
    listed = last in ("rewards", "workloads", "points", *ITEMS) or (last == "train" and bool(around))
    lines.append("  " * depth + f"{last}:")
    indent = "  " * (depth + 1)
    for index, (key, value) in enumerate(example.items()):
        start = ("- " if index == 0 else "  ") if listed else ""
        lines.append(f"{indent}{start}{key}: {_flow(value)}")
    return lines


def _flow(value: Plain) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


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


def _meaning(field: dict[str, Any]) -> tuple[str, str]:
    """Return what a field means, and what it is when left out: its default, or what the description says of it."""
    meaning, _, said = field.get("description", "").partition(" Default: ")
    if said:
        return meaning, said.removesuffix(".")
    value = field.get("default")
    return meaning, "–" if value is None else f"`{_flow(value)}`"


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
        f"{sign} {field[name]:,.10g}"
        for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if name in field and field[name] < 10**12  # beyond is no bound that a user meets
    ]
    if "pattern" in field and "%" in field["pattern"]:
        kind = "percentage"
    return " ".join([kind, ", ".join(bounds)]).strip()


if __name__ == "__main__":
    sys.stdout.write(reference_text())
