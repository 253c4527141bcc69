"""Answers to single rows that lm-eval keeps (`log_samples`): values that can be paired, and answers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from recipec.json_files import read_lines

SHOWN = 4  # rows of each task that are shown side by side
LONGEST = 1200  # characters of a prompt or an answer that are shown


class Row(NamedTuple):
    """One row of a task as a model answered it. `same` tells it from another row of the same number."""

    same: str
    prompt: str
    target: str
    answer: str
    values: Mapping[str, float]


Rows = dict[str, Row]  # by the row's number and filter


def read_samples(folder: Path, task: str) -> dict[str, Rows]:
    """Return the newest kept answers to a task below a folder, by filter; empty where none are kept."""
    files = [path for path in folder.rglob(f"samples_{task}_*.jsonl") if _of_task(path, task)]
    found: dict[str, Rows] = {}
    if not files:
        return found
    for line in read_lines(max(files, key=lambda path: path.name)):
        number = line.get("doc_id")
        if isinstance(number, int):
            found.setdefault(str(line.get("filter") or "none"), {})[str(number)] = _row(line)
    return found


def _of_task(path: Path, task: str) -> bool:
    """Return whether a file is of this task, and not of one whose name begins with it: what follows is a time."""
    return path.stem.removeprefix(f"samples_{task}_")[:4].isdecimal()


def _row(line: Mapping[str, Any]) -> Row:
    names = [name for name in line.get("metrics") or () if isinstance(name, str)]
    values = {name: float(line[name]) for name in names if isinstance(line.get(name), int | float)}
    return Row(str(line.get("doc_hash") or line.get("doc_id")), _prompt(line), _target(line), _answer(line), values)


def _requests(line: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what was asked: each prompt with what was asked of it, a continuation to be judged or how to generate."""
    asked = (_items(one) for one in _items(line.get("arguments")))
    return [(str(both[0]), both[1] if len(both) > 1 else None) for both in asked if both]


def _items(value: Any) -> list[Any]:
    """Return the values of an object, or the items of a list; none of anything else."""
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return list(value) if isinstance(value, list) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _prompt(line: Mapping[str, Any]) -> str:
    asked = _requests(line)
    return asked[0][0] if asked else ""


def _target(line: Mapping[str, Any]) -> str:
    """Return what is right; where it is the number of a choice, that choice."""
    target, asked = str(line.get("target", "")), _requests(line)
    if target.isdecimal() and int(target) < len(asked) > 1 and all(isinstance(one, str) for _, one in asked):
        return str(asked[int(target)][1])
    return target


def _answer(line: Mapping[str, Any]) -> str:
    """Return what a model answered: the text that it wrote, or the choice that it found most likely."""
    given, asked = _items(line.get("filtered_resps")), _requests(line)
    if len(given) > 1 and len(given) == len(asked):
        likely = [_number((_items(one) or [one])[0]) for one in given]
        if all(one is not None for one in likely):
            best = max(range(len(likely)), key=lambda index: likely[index] or 0.0)
            return str(asked[best][1])
    first: Any = given
    while isinstance(first, list):
        items = _items(first)  # pyright: ignore[reportUnknownArgumentType]
        first = items[0] if items else ""
    return str(first)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def pairs(before: Rows, after: Rows, metric: str) -> tuple[list[float], list[float]] | None:
    """Return the values of two models for the same rows; None where they did not answer the same ones."""
    if not before or before.keys() != after.keys():
        return None
    both = [(before[number], after[number]) for number in before]
    if any(one.same != two.same or metric not in one.values or metric not in two.values for one, two in both):
        return None
    return [one.values[metric] for one, _ in both], [two.values[metric] for _, two in both]


def side_by_side(task: str, answers: Mapping[str, Rows]) -> dict[str, Any] | None:
    """Return a few rows with each model's answer, those first of which the models' values differ; None without any."""
    models = [name for name, rows in answers.items() if rows]
    if not models:
        return None
    first = answers[models[0]]
    common = [n for n in first if all(n in answers[m] and answers[m][n].same == first[n].same for m in models)]
    common.sort(key=lambda number: (_alike(number, models, answers), int(number)))
    rows = [
        {
            "row": int(number),
            "prompt": _short(first[number].prompt),
            "target": _short(first[number].target),
            "answers": {
                name: {"text": _short(answers[name][number].answer), "values": dict(answers[name][number].values)}
                for name in models
            },
        }
        for number in common[:SHOWN]
    ]
    differing = sum(_alike(number, models, answers) < 2 for number in common)
    return {"task": task, "models": models, "rows": rows, "of": len(common), "differing": differing} if rows else None


def _alike(number: str, models: Sequence[str], answers: Mapping[str, Rows]) -> int:
    """Return 0 for a row that is right for one model and wrong for another, 1 where only the words differ, else 2."""
    rows = [answers[name][number] for name in models]
    if any(row.values != rows[0].values for row in rows):
        return 0
    return 2 if all(row.answer == rows[0].answer for row in rows) else 1


def _short(text: str) -> str:
    """Return the beginning and the end of a text, of which the middle is left out where it is long."""
    left = len(text) - LONGEST
    return text if left <= 0 else f"{text[: LONGEST // 2]} [… {left} characters …] {text[-LONGEST // 2 :]}"
