"""Data to YAML text that YAML 1.1 and 1.2 readers understand alike, with comments and a map of lines.

The writer keeps the line map, so that nothing downstream has to parse the text to know what stands where.
"""

from __future__ import annotations

import re
from functools import lru_cache

from recipec.source import Readable, visible
from recipec.traced import written

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*\Z")
_COLLECTIONS = (dict, list, tuple)
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "~"])


def scalar(value: object) -> str:
    """Return a scalar as YAML. Raises TypeError for what has no YAML form."""
    if isinstance(value, str):
        if _PLAIN.match(value) and value.lower() not in _WORDS:
            return value
        return quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    raise TypeError(type(value).__name__)


def number(value: float) -> str:
    """Return a float so that YAML 1.1 too reads a number: always a point, always a signed exponent."""
    if (mark := written(value, number)) is not None:
        return mark
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    if "e" in text:
        mantissa, exponent = text.split("e")
        if "." not in mantissa:
            mantissa += ".0"
        return f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"
    return text


def quoted(text: str) -> str:
    """Return text in double quotes, everything unprintable escaped."""
    parts: list[str] = []
    for char in text:
        if char in '"\\':
            parts.append("\\" + char)
        elif char == "\n":
            parts.append("\\n")
        elif char == "\t":
            parts.append("\\t")
        elif char.isprintable():
            parts.append(char)
        else:
            code = ord(char)
            parts.append(f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
    return '"' + "".join(parts) + '"'


class YamlWriter:
    """Collects lines; `lines` maps each dotted key to its line number, from 1."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.lines: dict[str, int] = {}

    def comment(self, text: str) -> None:
        """Write comment lines; an empty one is an empty line."""
        for line in text.split("\n"):
            self.text.append(f"# {visible(line)}".rstrip() if line else "")

    def entry(self, key: str, value: Readable, remark: str = "") -> None:
        """Write a top-level key; `remark` stands behind it as a comment."""
        self._put(key, value, 0, key, f"  # {visible(remark)}" if remark else "")

    def result(self) -> str:
        """Return the text."""
        return "\n".join(self.text) + "\n"

    def _put(self, key: str, value: Readable, indent: int, path: str, remark: str, lead: str = "") -> None:
        start = f"{lead or ' ' * indent}{_key(key)}:"
        self.lines[path] = len(self.text) + 1
        if not isinstance(value, _COLLECTIONS):
            self.text.append(f"{start} {scalar(value)}{remark}")
        elif not value:
            self.text.append(f"{start} {_empty(value)}{remark}")
        elif isinstance(value, dict):
            self.text.append(f"{start}{remark}")
            for inner, item in value.items():
                self._put(str(inner), item, indent + 2, f"{path}.{inner}", "")
        elif any(isinstance(item, _COLLECTIONS) for item in value):
            self.text.append(f"{start}{remark}")
            for index, item in enumerate(value):
                self._item(item, indent + 2, f"{path}.{index}")
        else:
            self.text.append(f"{start} [{', '.join(map(scalar, value))}]{remark}")

    def _item(self, value: Readable, indent: int, path: str) -> None:
        self.lines[path] = len(self.text) + 1
        lead = " " * indent + "- "
        if not isinstance(value, _COLLECTIONS):
            self.text.append(f"{lead}{scalar(value)}")
        elif not value:
            self.text.append(f"{lead}{_empty(value)}")
        elif isinstance(value, dict):
            for key, item in value.items():
                self._put(str(key), item, indent + 2, f"{path}.{key}", "", lead)
                lead = ""
        else:
            self.text.append(" " * indent + "-")
            for index, item in enumerate(value):
                self._item(item, indent + 2, f"{path}.{index}")


_key = lru_cache(maxsize=1024)(scalar)  # the keys of tools are few


def _empty(value: object) -> str:
    return "{}" if isinstance(value, dict) else "[]"
