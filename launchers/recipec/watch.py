"""`recipe status --watch`: the state of a run, shown anew until it ends; in a terminal in place, else as lines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import IO

from recipec.engine.progress import Throttle
from recipec.engine.status import Readers, RunStatus, status_text
from recipec.run_command import Told, status_of
from recipec.terminal import json_text, shown

EVERY = 1.0  # seconds between two looks
LINES_EVERY = 10.0  # seconds between two lines that only say how far a stage is


def watch(told: Told, stream: IO[str], *, as_json: bool = False, every: float = EVERY) -> None:
    """Show the state of a run until it ends."""
    if as_json:
        _documents(told, stream, every)
    elif stream.isatty():
        _in_place(told, stream, every)
    else:
        _lines(told, stream, every)


def _looks(told: Told, every: float) -> Iterator[RunStatus]:
    """Yield the state of a run, now and again, and last the one in which it does not run any more."""
    readers: Readers = {}
    while True:
        found = status_of(told, readers)
        yield found
        if found["state"] != "running":
            return
        time.sleep(every)


def _documents(told: Told, stream: IO[str], every: float) -> None:
    before = ""
    for found in _looks(told, every):
        text = json_text(json.dumps(found))
        if text != before:
            stream.write(text + "\n")
            stream.flush()
        before = text


def _lines(told: Told, stream: IO[str], every: float) -> None:
    """Write the whole state first, then a line for each stage that changes, and now and then one that moves on."""
    before: dict[str, str] = {}
    states: dict[str, str] = {}
    throttle = Throttle(LINES_EVERY)
    for found in _looks(told, every):
        head, *rows = status_text(found).splitlines()
        lines = {row["stage"]: line for row, line in zip(found["stages"], rows, strict=False)}
        if not before:
            throttle.due()
            stream.write(shown(status_text(found)) + "\n")
        else:
            due = throttle.due()
            changed = {row["stage"] for row in found["stages"] if states[row["stage"]] != row["state"]}
            moved = [name for name, line in lines.items() if line != before[name] and (due or name in changed)]
            stream.writelines(shown(lines[name]) + "\n" for name in moved)
            lines = {name: lines[name] for name in moved}
            if found["state"] != "running":
                stream.write(shown(head) + "\n")
        stream.flush()
        before = {**before, **lines}
        states = {row["stage"]: row["state"] for row in found["stages"]}


def _in_place(told: Told, stream: IO[str], every: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=stream, highlight=False), auto_refresh=False) as live:
        for found in _looks(told, every):
            live.update(Text(shown(status_text(found)), overflow="fold"), refresh=True)
