"""Keyword arguments into a Python script's template; the writer keeps the line map, as the YAML writer does.

A template is the script's own text with lines `{{GROUP}}` alone, each of which becomes the keyword arguments of the
group, one on a line, indented as the mark is.
"""

import re
from collections.abc import Mapping
from typing import Any

from recipec.plan import Record
from recipec.source import Readable, visible

_MARK = re.compile(r"^( *)\{\{(\w+)\}\}$")


class Expression(str):
    """Python text that stands in a script as it is, such as the name of a variable of the template."""

    __slots__ = ()


class Argument(Record, frozen=True):
    """A keyword argument: its value, and a comment that says where it came from."""

    value: Any
    remark: str = ""


def literal(value: Readable) -> str:
    """Return a plain value, or an Expression in it, as Python text."""
    if isinstance(value, Expression):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, str):
        text = repr(value)
        return '"' + text[1:-1] + '"' if text[0] == "'" and '"' not in text else text
    return repr(value)


def said(text: str) -> str:
    """Return text that stands in a docstring, and neither ends nor continues it."""
    return visible(text).replace("\\", "/").replace('"', "'")


def fill_template(template: str, arguments: Mapping[str, Argument]) -> tuple[str, dict[str, int]]:
    """Return the script, and the line of each `GROUP.key`. Raises ValueError when a group has no mark in the template."""
    groups: dict[str, dict[str, Argument]] = {}
    for key, argument in arguments.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = argument
    lines: list[str] = []
    where: dict[str, int] = {}
    for line in template.rstrip("\n").split("\n"):
        mark = _MARK.match(line)
        if mark is None:
            lines.append(line)
            continue
        for name, argument in groups.pop(mark[2], {}).items():
            remark = f"  # {visible(argument.remark)}" if argument.remark else ""
            lines.append(f"{mark[1]}{name}={literal(argument.value)},{remark}")
            where[f"{mark[2]}.{name}"] = len(lines)
    if groups:
        raise ValueError(f"the template has no place for {', '.join(groups)}")
    return "\n".join(lines) + "\n", where
