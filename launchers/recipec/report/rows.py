"""Rows of data: those that a training was given and those that it left out, and those that a stage made.

Only what is recorded is told. What a tool dropped is a difference of two counts, where both are known and nothing but
leaving out can lie between them: not packing, repeating, or cutting text into pieces.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from recipec.engine.fingerprint import Key
from recipec.engine.record import RunFolder
from recipec.json_files import read_lines, read_object
from recipec.plan import Stage

COUNT = "count.json"  # of a stage that makes rows: what became of its prompts and answers
COUNTED = 64 << 20  # bytes of a file whose rows are counted


def trained_rows(folder: RunFolder, stage: Stage[Any]) -> dict[str, Any]:
    """Return the rows of a training: of its sources, of what its trainer was given, and how many it left out, if known."""
    data = stage.body.data
    key = Key.read(folder.key(stage.name))
    held = key.files if key is not None else {}
    sources = [
        {
            "source": source.path or source.hub,
            "format": source.format,
            "use": use,
            "weight": source.weight,
            "rows": rows_in(source.path, held.get(source.path)) if source.path else None,
        }
        for use, group in (("training", data.train), ("validation", data.validation))
        for source in group
    ]
    events = read_lines(folder.events(stage.name))
    given = _last(events, "begin")
    held_out = _last(events, "eval")
    return {
        "stage": stage.name,
        "sources": sources,
        "holdout": data.holdout,
        "packing": data.packing,
        "given": given,
        "held_out": held_out,
        "left_out": None if stage.body.method == "pretrain" else _left_out(data, sources, given, held_out),
    }


def _last(events: list[dict[str, Any]], event: str) -> int | None:
    return next((row["rows"] for row in reversed(events) if row.get("event") == event and "rows" in row), None)


def _left_out(data: Any, sources: list[dict[str, Any]], given: int | None, held_out: int | None) -> int | None:
    """Return how many rows are in the sources and were not given to the trainer; None where that is not known."""
    several = any(source["weight"] != 1 for source in sources) or data.packing or data.streaming
    unknown = given is None or any(source["rows"] is None for source in sources)
    measured = bool(data.holdout) or bool(data.validation)
    if several or unknown or (measured and held_out is None):
        return None
    left = sum(source["rows"] for source in sources) - (given or 0) - (held_out or 0 if measured else 0)
    return left if left >= 0 else None


def rows_in(path: str, held: str | None) -> int | None:
    """Return the rows of a file of JSON lines, if it is still the one with the hash `held`; else None."""
    file = Path(path)
    if held is None or file.suffix != ".jsonl" or not file.is_file() or file.stat().st_size > COUNTED:
        return None
    text = file.read_bytes()
    if hashlib.sha256(text).hexdigest() != held:
        return None
    return sum(1 for line in text.split(b"\n") if line.strip())


def made_rows(stage: Stage[Any]) -> dict[str, Any] | None:
    """Return what became of the prompts and answers of a stage that makes rows; None where it left no count."""
    count = read_object(Path(stage.output) / COUNT)
    if count is None:
        return None
    counts = {str(name): number for name, number in count.items() if isinstance(number, int)}
    return {"stage": stage.name, "counts": counts}
