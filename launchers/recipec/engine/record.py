"""What happened to a run: an append-only record, checkpoints, and whether a stage is done."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Record:
    """`record.jsonl` of a run; every line is on disk before work goes on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "record.jsonl"

    def add(self, event: str, **more: Any) -> None:
        """Append an event."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"event": event, "time": time.time(), **more}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def events(self) -> list[dict[str, Any]]:
        """Return every event; a line cut short by a kill is left out."""
        return list(json_lines(self.path))

    def last(self, stage: str) -> dict[str, Any] | None:
        """Return the newest event of a stage."""
        return next((event for event in reversed(self.events()) if event.get("stage") == stage), None)


def json_lines(path: Path) -> Iterable[dict[str, Any]]:
    """Yield the whole JSON lines of a file that may still be written to, or be absent."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if line.endswith("\n"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def fingerprint(build: Path, manifest: dict[str, Any], stage: dict[str, Any], known: dict[str, str]) -> str:
    """Return a hash of all that a stage's result depends on: its files, pins, data and the stages before."""
    key = hashlib.sha256()
    for name, entry in sorted(manifest["files"].items()):
        if name.startswith(stage["id"] + "/"):
            key.update(f"{name} {entry['sha256']}\n".encode())
    key.update(manifest["environments"][stage["environment"]]["sha256"].encode())
    for name in manifest["data"] if stage["kind"] != "evaluate" else []:
        key.update(hashlib.sha256(Path(name).read_bytes()).digest())
    for earlier in stage["inputs"]:
        key.update(known[earlier].encode())
    return key.hexdigest()


def complete_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint below `folder`; half-written ones are moved aside, never used.

    Whole: `trainer_state.json`, which is written last, parses and names the step of the folder.
    """
    best: tuple[int, Path] | None = None
    for path in folder.glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if not number.isdecimal():
            continue
        if _is_whole(path, int(number)):
            best = max(best or (0, path), (int(number), path))
        else:
            path.rename(free(path.with_name(path.name + ".incomplete")))
    return best[1] if best else None


def _is_whole(path: Path, step: int) -> bool:
    if (path / "checkpoint-is-incomplete.txt").exists():
        return False
    try:
        state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and state.get("global_step") == step


def free(path: Path) -> Path:
    """Return `path`, or the first of `path-2`, `path-3` … that does not exist."""
    number, candidate = 2, path
    while candidate.exists():
        candidate = path.with_name(f"{path.name}-{number}")
        number += 1
    return candidate
