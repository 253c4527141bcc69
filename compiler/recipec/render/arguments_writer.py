"""Options of a command line as a bash script that gives each a line of its own; the writer keeps the line map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipec.job import Word
from recipec.launch.words import line, option, quote
from recipec.launch.words import remark as comment
from recipec.render.python_writer import Argument
from recipec.source import is_list


class Expanded(str):
    """Text that bash expands where it stands, such as `$here/rewards.py`; its author answers for what is in it."""

    __slots__ = ()


def word(value: Any) -> str:
    """Return a plain value as one word of bash."""
    if isinstance(value, Expanded):
        return f'"{value}"'
    return quote(repr(value) if isinstance(value, float) else str(value))


def script(head: str, command: tuple[Word, ...], arguments: Mapping[str, Argument]) -> tuple[str, dict[str, int]]:
    """Return a script that runs `command` with the arguments, and the line of each.

    True is a flag without a value, False a flag that is not given, a list several words.
    """
    lines = ["#!/usr/bin/env bash", f"# {head}", "set -euo pipefail"]
    if any(isinstance(argument.value, Expanded) for argument in arguments.values()):
        lines.append('here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)')
    lines.append("arguments=(")
    where: dict[str, int] = {}
    for name, argument in arguments.items():
        value, remark = argument.value, argument.remark
        if value is False:
            continue
        words = [] if value is True else [word(v) for v in (value if is_list(value) else [value])]
        said = " ".join([f"--{name}", *words])
        if isinstance(value, str) and not isinstance(value, Expanded):
            said = line(option(f"--{name}", value))
        lines.append(f"  {said}" + comment(remark))
        where[name] = len(lines)
    lines += [")", f'exec {line(command)} "${{arguments[@]}}"']
    return "\n".join(lines) + "\n", where
