"""List the names that lm-eval knows: tasks, groups and tags, a line each; `code` behind those that run what the model wrote."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import common


def index() -> dict[str, tuple[list[str], bool]]:
    """Return each name with the names that it stands for, and whether it says itself that it runs code."""
    tasks = import_module("lm_eval.tasks")
    found: dict[str, tuple[list[str], bool]] = {}
    for name, entry in tasks.TaskManager().task_index.items():
        if isinstance(entry, dict):  # until 0.4.11
            path, below = entry["yaml_path"], entry.get("task")
            config = {} if path == -1 else import_module("lm_eval.utils").load_yaml_config(path, mode="simple")
            below = below if isinstance(below, list) else config.get("task") if entry["type"] == "group" else []
        else:
            config = entry.cfg or {}
            below = sorted(entry.tags) if entry.kind.name == "TAG" else config.get("task") if "group" in config else []
        found[name] = (list(names(below)), config.get("unsafe_code") is True)
    return found


def names(below: Any) -> Iterator[str]:
    """Yield the names in what a group lists: texts, and mappings that hold a name or a list of their own."""
    if isinstance(below, str):
        yield below
    for one in below if isinstance(below, list) else []:
        yield from names(one.get("task") if isinstance(one, dict) else one)


def runs_code(name: str, known: dict[str, tuple[list[str], bool]], above: frozenset[str] = frozenset()) -> bool:
    """Return whether a name, or one that it stands for, runs code that the model wrote."""
    below, itself = known.get(name, ([], False))
    return itself or any(runs_code(one, known, above | {name}) for one in below if one not in above)


def main() -> None:
    """Write the list to the path given on the command line, or print it."""
    with contextlib.redirect_stdout(sys.stderr):  # the tools talk on standard output
        known = index()
    text = "".join(f"{name}\tcode\n" if runs_code(name, known) else f"{name}\n" for name in sorted(known))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


assert common.installed("lm_eval")  # the extractors' folder is off the path from here on

if __name__ == "__main__":
    main()
