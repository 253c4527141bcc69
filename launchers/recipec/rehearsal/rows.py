"""The rows of a rehearsal: a few of the user's own, or some that are made here where those are elsewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from recipec.kinds.train.records import DataSource
from recipec.rows.reading import Unreadable, rows

AMONG, SHORT = 1000, 400  # first rows of which some are taken, and bytes of a short one
SUBJECTS = ("tea", "bread", "candles", "milk", "pencils", "apples", "paper", "soap", "honey", "rice", "salt", "flour")


class Taken(NamedTuple):
    """Rows of one source. `text` is what their file holds; None where only a tool can read and write it.

    `made`: why rows were made here; empty where they are the user's. `longest` is in bytes, of the text of one row.
    """

    file: str
    text: str | None
    made: str
    number: int
    longest: int


def taken(source: DataSource, name: str, count: int, *, listed: bool = True) -> Taken:
    """Return some rows of a source, as the file `name` would hold them; where some are made, answers are `listed` turns."""
    path = Path(source.path) if source.path is not None else None
    if path is None:
        return _made(source, f"{name}.jsonl", count, f"{source.hub} is on the hub", listed)
    if not path.is_file():
        return _made(source, f"{name}{path.suffix}", count, f"{source.path} is not here", listed)
    file = f"{name}{path.suffix}"
    if path.suffix == ".parquet":
        return Taken(file, None, "", count, 700)
    try:
        found = [row.value for row in islice(rows(path), AMONG)]
    except (Unreadable, OSError):  # the tool says what is wrong with it, as in the real run
        return Taken(file, path.read_text(encoding="utf-8", errors="surrogateescape")[: 1 << 20], "", count, 700)
    sizes = [len(json.dumps(row, ensure_ascii=False).encode()) for row in found]
    chosen = _spread(sizes, count)
    kept: list[Any] = [found[index] for index in chosen]
    longest = max((sizes[index] for index in chosen), default=0)
    return Taken(file, _written(kept, path.suffix), "", len(kept), longest)


def _spread(sizes: list[int], count: int) -> list[int]:
    """Return which rows are taken: some that are spread over the short ones, or the shortest where few are short."""
    short = [index for index, size in enumerate(sizes) if size <= SHORT]
    if len(short) < count:
        return sorted(sorted(range(len(sizes)), key=sizes.__getitem__)[:count])
    return [short[number * len(short) // count] for number in range(count)]


def _made(source: DataSource, file: str, count: int, why: str, listed: bool) -> Taken:
    found = [_row(source, index, listed) for index in range(count)]
    longest = max(len(json.dumps(row).encode()) for row in found)
    suffix = Path(file).suffix
    text = _written(found, ".jsonl" if suffix == ".parquet" else suffix)
    return Taken(file, text, why, count, longest)


def _written(found: list[Any], suffix: str) -> str:
    if suffix == ".csv":
        from io import StringIO

        stream = StringIO()
        names = list(dict.fromkeys(name for row in found for name in row))
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(found)
        return stream.getvalue()
    if suffix == ".json":
        return json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def _row(source: DataSource, index: int, listed: bool) -> dict[str, Any]:
    """Return a made row of a source's format, with its own names of columns and roles."""
    columns: Mapping[str, str] = source.columns
    subject, aisle = SUBJECTS[index % len(SUBJECTS)], index % 9 + 1
    question, answer, worse = (
        f"Where is the {subject} no. {index}?",
        f"The {subject} is in aisle {aisle}.",
        "Somewhere.",
    )

    def turn(role: str, text: str) -> dict[str, str]:
        names = source.roles.get(role) or (role,)
        return {columns.get("role", "role"): names[0], columns.get("content", "content"): text}

    def named(values: Mapping[str, Any]) -> dict[str, Any]:
        return {columns.get(name, name): value for name, value in values.items()}

    match source.format:
        case "chat":
            return named({"messages": [turn("user", question), turn("assistant", answer)]})
        case "instruction":
            return named({"instruction": question, "input": "", "output": answer})
        case "completion":
            return named({"prompt": question, "completion": answer})
        case "preference":
            return named(
                {
                    "messages": [turn("user", question)],
                    "chosen": [turn("assistant", answer)] if listed else turn("assistant", answer),
                    "rejected": [turn("assistant", worse)] if listed else turn("assistant", worse),
                }
            )
        case "unpaired-preference":
            good = index % 2 == 0
            return named({"prompt": question, "completion": answer if good else worse, "label": good})
        case "prompt":
            prompt: Any = [turn("user", question)] if source.turns else question
            return named({"prompt": prompt, "answer": str(aisle)})
        case _:
            return named({"text": f"{question} {answer} " * 6})
