"""Which checkpoints of a training are whole. A half-written one is never continued from."""

from __future__ import annotations

import re
from pathlib import Path

from recipec.json_files import read_object

_NAME = re.compile(r"checkpoint-(\d+)\Z")


def step_of(folder: Path) -> int | None:
    """Return N of `checkpoint-N`; None for any other name."""
    match = _NAME.match(folder.name)
    return int(match[1]) if match else None


def is_complete(folder: Path) -> bool:
    """Return whether a checkpoint was written to its end.

    The trainer writes trainer_state.json last, so: it parses, its global_step is N, and nobody marked the folder.
    """
    step = step_of(folder)
    if step is None or (folder / "checkpoint-is-incomplete.txt").exists():
        return False
    state = read_object(folder / "trainer_state.json")
    return state is not None and state.get("global_step") == step


def checkpoints(output: Path) -> list[Path]:
    """Return the folders named like checkpoints below `output`, by step."""
    if not output.is_dir():
        return []
    return sorted((p for p in output.iterdir() if p.is_dir() and step_of(p) is not None), key=lambda p: step_of(p) or 0)


def last_complete(output: Path) -> Path | None:
    """Return the whole checkpoint with the most steps."""
    return next((folder for folder in reversed(checkpoints(output)) if is_complete(folder)), None)


def set_incomplete_aside(output: Path) -> list[Path]:
    """Rename half-written checkpoints to `checkpoint-N.incomplete` and return the new names; nothing is deleted."""
    moved: list[Path] = []
    for folder in checkpoints(output):
        if not is_complete(folder):
            moved.append(folder.rename(free_name(folder, "incomplete")))
    return moved


def free_name(path: Path, word: str) -> Path:
    """Return `PATH.WORD`, or `PATH.WORD-2` … when that is taken."""
    number = 1
    while True:
        found = path.with_name(f"{path.name}.{word}" + (f"-{number}" if number > 1 else ""))
        if not found.exists():
            return found
        number += 1
