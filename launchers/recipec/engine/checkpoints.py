"""Which checkpoints of a training are complete. Training never resumes from an incomplete one."""

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
    """Return whether a checkpoint was written completely.

    The trainer writes trainer_state.json last, so it must parse and have N as its global_step. A folder with
    checkpoint-is-incomplete.txt, which transformers keeps there while it saves on SIGTERM, is incomplete too.
    """
    step = step_of(folder)
    if step is None or (folder / "checkpoint-is-incomplete.txt").exists():
        return False
    state = read_object(folder / "trainer_state.json")
    return state is not None and state.get("global_step") == step


def checkpoints(output: Path) -> list[Path]:
    """Return the folders in `output` that are named like checkpoints, ordered by step."""
    if not output.is_dir():
        return []
    return sorted((p for p in output.iterdir() if p.is_dir() and step_of(p) is not None), key=lambda p: step_of(p) or 0)


def last_complete(output: Path) -> Path | None:
    """Return the complete checkpoint with the highest step."""
    return next((folder for folder in reversed(checkpoints(output)) if is_complete(folder)), None)


def set_incomplete_aside(output: Path) -> list[Path]:
    """Rename incomplete checkpoints to `incomplete-checkpoint-N` and return the new paths; nothing is deleted.

    Trainers take every `checkpoint-*` with a number in it for one of theirs when they keep only the last few
    (`rotate_checkpoints` in transformers): one such as `checkpoint-4.incomplete` would push out a whole one.
    """
    moved: list[Path] = []
    for folder in checkpoints(output):
        if not is_complete(folder):
            aside = folder.with_name(f"incomplete-{folder.name}")
            moved.append(folder.rename(free_name(aside, "again") if aside.exists() else aside))
    return moved


def free_name(path: Path, suffix: str) -> Path:
    """Return `PATH.SUFFIX`, or `PATH.SUFFIX-2` and so on when that exists."""
    number = 1
    while True:
        found = path.with_name(f"{path.name}.{suffix}" + (f"-{number}" if number > 1 else ""))
        if not found.exists():
            return found
        number += 1
