"""Writing previews as a snapshot of tokens, and comparing previews with a snapshot."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from recipec.kinds.train.records import Train
from recipec.preview.rows import Row, StagePreview
from recipec.preview.text import marked
from recipec.snapshot import FORMAT, decides


def snapshot_text(stages: Sequence[StagePreview], trainings: Sequence[Train], rows: int) -> str:
    """Return the text of a snapshot. It contains no path of this machine, so that it can be committed."""
    held = {
        stage["stage"]: {
            "decides": decides(training, rows),
            "versions": stage["versions"],
            "template_sha256": stage["template_sha256"],
            "sources": [
                {"name": source["name"], "rows": [_snapshot_row(row) for row in source["rows"][:rows]]}
                for source in stage["sources"]
            ],
        }
        for stage, training in zip(stages, trainings, strict=True)
    }
    return _lines({"format": FORMAT, "rows": rows, "stages": held}) + "\n"


def _lines(value: object, indent: str = "") -> str:
    """Return JSON in which each list of numbers is on one line, so that a changed row is a few lines of a diff."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        rows = [
            f"{inner}{json.dumps(key)}: {_lines(item, inner)}" for key, item in cast("dict[str, object]", value).items()
        ]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and isinstance(next(iter(items := cast("list[object]", value)), None), dict):
        return "[\n" + ",\n".join(inner + _lines(item, inner) for item in items) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _snapshot_row(row: Row) -> dict[str, Any]:
    if "ids" not in row:
        return {"texts": row["texts"]}
    return {"ids": row["ids"], "mask": "".join(map(str, row["mask"])), "text": marked(row["pieces"], colour=False)}


def differences(held: Mapping[str, Any], stages: Sequence[StagePreview]) -> list[tuple[str, int, str]]:
    """Return (stage, index of its source, readable diff) for each source whose rows differ from the snapshot."""
    found: list[tuple[str, int, str]] = []
    for stage in stages:
        then = held["stages"].get(stage["stage"])
        known = {source["name"]: source["rows"] for source in then["sources"]} if then else {}
        for number, source in enumerate(stage["sources"]):
            parts = [
                _difference(f"{source['name']}, row {row}", old, _snapshot_row(new))
                for row, (old, new) in enumerate(zip(known.get(source["name"], []), source["rows"], strict=False), 1)
            ]
            if any(parts):
                found.append((stage["stage"], number, "\n".join(part for part in parts if part)))
    return found


def _difference(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old == new:
        return ""
    before, after = _text(old), _text(new)
    if before != after:
        diff = difflib.unified_diff(before, after, f"{name} (snapshot)", f"{name} (now)", lineterm="")
        return "\n".join(diff)
    if "ids" not in old or "ids" not in new:
        return f"{name}: only one of snapshot and preview has tokens"
    at = next((i for i, (a, b) in enumerate(zip(old["ids"], new["ids"], strict=False)) if a != b), len(old["ids"]))
    then, now = old["ids"][at : at + 5], new["ids"][at : at + 5]
    return f"{name}: the same text, but different tokens from token {at + 1} on: {then} in the snapshot, {now} now"


def _text(row: Mapping[str, Any]) -> list[str]:
    if "text" in row:
        return str(row["text"]).splitlines()
    return [f"{name}: {line}" for name, text in row["texts"].items() for line in str(text).splitlines()]
