"""Which line, rule or fact set a value: answered from `plan.json` alone."""

from __future__ import annotations

from typing import Any

from recipec.diagnostics import Finding, RecipeError
from recipec.suggest import nearest


def explain(manifest: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Return, for a recipe path, a plan path or an emitted `FILE:KEY`, each value with its reason.

    Raises RecipeError when nothing is known by that name.
    """
    values: dict[str, Any] = manifest["values"]
    if ":" in path:
        file, _, key = path.partition(":")
        lines = manifest["files"].get(file, {}).get("lines")
        if lines is None:
            raise _unknown(file, manifest["files"], "emitted file")
        if key not in lines:
            raise _unknown(key, lines, f"key of {file}")
        reads = [known for read in lines[key]["reads"] for known in values if _within(known, read)]
        return [_row(read, values[read]) for read in reads] or [
            {"path": path, "value": None, "because": "always so for this tool"}
        ]
    matches = [
        p
        for p, row in values.items()
        if p == path or p.endswith("." + path) or any(_within(path, read) for read in row["reads"])
    ]
    if not matches:
        known = {read for row in values.values() for read in row["reads"]} | set(values)
        raise _unknown(path, known, "value of this plan")
    return [_row(match, values[match]) for match in matches]


def _within(path: str, whole: str) -> bool:
    return path == whole or path.startswith((whole + ".", whole + "["))


def _unknown(word: str, names: Any, what: str) -> RecipeError:
    return RecipeError([Finding("X001", f'"{word}" is not a {what}', suggestion=nearest(word, names))])


def _row(path: str, row: dict[str, Any]) -> dict[str, Any]:
    because = f"{row['from']}: {row['at'] or row['why']}"
    if row["at"] and row["why"]:
        because += f" ({row['why']})"
    if row["reads"] and not row["at"]:
        because += f" (read {', '.join(row['reads'])})"
    return {"path": path, "value": row["value"], "because": because}
