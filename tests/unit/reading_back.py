"""Emitted files read back by the tables that they were made with, and held against the plan."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from recipec.plan import Stage
from recipec.source import Source, plain
from recipec.systems.document import Sheet
from recipec.systems.read_back import read_back
from recipec.systems.table import flattened
from recipec.yaml_reader import read_text


def read(files: Mapping[str, str], stage: Stage[Any], sheets: Iterable[Sheet]) -> dict[str, dict[str, Any]]:
    """Return what each YAML and JSON file of a stage says of the plan, by plan path; `files` are those of the run."""
    found = {}
    for sheet in sheets:
        if sheet.kind in ("yaml", "json"):
            text = files[f"{stage.name}/{sheet.file}"]
            document = json.loads(text) if sheet.kind == "json" else plain(read_text(Source(sheet.file, text)))
            assert isinstance(document, dict)
            found[sheet.file] = read_back(sheet.rows, document, sheet.release)
    return found


def contradictions(said: Mapping[str, Any], stage: Stage[Any]) -> dict[str, tuple[Any, Any]]:
    """Return where what was read back is not what the plan says: both values by plan path."""
    values = flattened(stage.body)
    return {path: (value, values[path]) for path, value in said.items() if path in values and values[path] != value}
