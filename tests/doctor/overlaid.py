"""The rules' bad and good files, made of `rules.yaml`."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from recipec.source import Source, plain
from recipec.yaml_reader import read_text

RULES = Path(__file__).with_name("rules.yaml")


class Overlaid(NamedTuple):
    """One rule's file in two states, and whether the tool itself stops at the bad one (None: it is not asked).

    `of` is the tool's release where it is not the newest.
    """

    tool: str
    code: str
    document: str
    bad: dict[str, Any]
    good: dict[str, Any]
    refused: bool | None
    of: str | None


def overlaid() -> list[Overlaid]:
    """Return every entry of the table."""
    tools: Any = plain(read_text(Source("rules.yaml", RULES.read_text(encoding="utf-8"))))
    return [
        Overlaid(
            tool,
            code,
            row.get("document", "sft"),
            *(_laid(said["base"], row[state]) for state in ("bad", "good")),
            row["refused"],
            row.get("of"),
        )
        for tool, said in tools.items()
        for code, row in said["rules"].items()
    ]


def laid(tool: str, over: dict[str, Any]) -> dict[str, Any]:
    """Return a tool's base with something laid over it."""
    tools: Any = plain(read_text(Source("rules.yaml", RULES.read_text(encoding="utf-8"))))
    return _laid(tools[tool]["base"], over)


def _laid(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**base, **over}.items() if value is not None}


def write(folder: Path, tool: str, document: str, values: dict[str, Any]) -> Path:
    """Write a file as JSON, which every YAML reader reads too; its name says which command of TRL it is for."""
    name = {"deepspeed": "ds_config.json", "trl": f"{document}.yaml"}.get(tool, f"{tool}.yaml")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path
