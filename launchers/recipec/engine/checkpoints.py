"""Which checkpoints of a training are complete. Training never resumes from an incomplete one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from zipfile import is_zipfile

from recipec.json_files import read_object

_ZIPPED = (".pt", ".pth", ".bin")
_HEADER = 100_000_000  # bytes: what safetensors allows
_NAME = re.compile(r"checkpoint-(\d+)\Z")


def step_of(folder: Path) -> int | None:
    """Return N of `checkpoint-N`; None for any other name."""
    match = _NAME.match(folder.name)
    return int(match[1]) if match else None


def is_complete(folder: Path) -> bool:
    """Return whether a checkpoint was written completely.

    The trainer writes trainer_state.json last, so it must parse and have N as its global_step. A folder with
    checkpoint-is-incomplete.txt, which transformers keeps there while it saves on SIGTERM, is incomplete too. Where the
    machine itself failed, that file may have reached the disk before the others: none of these may be cut short.
    """
    step = step_of(folder)
    if step is None or (folder / "checkpoint-is-incomplete.txt").exists():
        return False
    state = read_object(folder / "trainer_state.json")
    if state is None or state.get("global_step") != step:
        return False
    return all(
        _whole(file) for file in folder.rglob("*") if file.suffix in (".safetensors", *_ZIPPED) and file.is_file()
    )


def _whole(file: Path) -> bool:
    """Return whether a file of weights or states is as long as it says; only a few bytes of it are read."""
    try:
        if file.suffix in _ZIPPED:  # torch writes archives, whose table stands at the end; its old form is not judged
            with file.open("rb") as stream:
                head = stream.read(4)
            return bool(head.strip(b"\0")) and (head != b"PK\3\4" or is_zipfile(file))
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length <= min(size - 8, _HEADER):
                return False
            held = json.loads(stream.read(length))
        ends = [one["data_offsets"][1] for name, one in held.items() if name != "__metadata__"]
        return bool(size == 8 + length + max(ends, default=0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False


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
