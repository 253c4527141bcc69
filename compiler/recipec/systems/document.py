"""A file of a tool as a table fills it: its keys with their values, and the plan paths behind each."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from recipec.job import Word
from recipec.plan import Record
from recipec.systems.table import Entry, Row


class Alike(Record, frozen=True):
    """Keys of a tool that say one thing in several ways, of which it takes one: a raw one beside the plan's would be two sources.

    A key in a mapping has a dot. `words` are what the recipe has for it.
    """

    keys: frozenset[str]
    words: str


def alike(words: str, *keys: str) -> Alike:
    """Return keys that say one thing, for which the recipe has these words."""
    return Alike(frozenset(keys), words)


class Sheet(Record, frozen=True):
    """One file to fill from a table. `contract` names the part of the tool's contract that checks it; in a `python`
    file, whose text is `template`, each group of keys (`GROUP.key`) is checked by the part of the group's name. In an
    `arguments` file, a script, `command` takes them. Without `raw_keys`, `overrides` of its tool do not go into it. `alike` are its
    keys that say the same."""

    file: str
    rows: tuple[Row, ...]
    tool: str
    release: str
    contract: str
    kind: Literal["yaml", "json", "python", "arguments"] = "yaml"
    template: str = ""
    command: tuple[Word, ...] = ()
    raw_keys: bool = True
    alike: tuple[Alike, ...] = ()


class Document(msgspec.Struct):
    """One emitted file of a tool. `contract` names the tool, its release and the part of the contract that checks it."""

    file: str
    kind: str
    tool: str
    release: str
    contract: str
    entries: dict[str, Entry]
    template: str = ""
    command: tuple[Word, ...] = ()
    raw_keys: bool = True
    alike: tuple[Alike, ...] = ()
    raw: dict[str, Any] = {}  # overrides that were merged over the entries

    def key(self, word: str) -> str:
        """Return the key that a word of `overrides` means; in a Python file a plain word belongs to its main group."""
        return f"{self.contract}.{word}" if self.kind == "python" and "." not in word else word

    def word(self, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """Return the path below `overrides` at which someone wrote a key of the document: the reverse of `key`."""
        if self.kind != "python":
            return path
        own = path[:1] == (self.contract,) and path[1] in self.raw
        return path[1:] if own else (f"{path[0]}.{path[1]}", *path[2:])

    def values(self) -> dict[str, Any]:
        """Return the document as the tool will read it; that of a Python file by group."""
        if self.kind != "python":
            return {key: entry.value for key, entry in self.entries.items()}
        groups: dict[str, Any] = {}
        for key, entry in self.entries.items():
            group, _, name = key.partition(".")
            groups.setdefault(group, {})[name] = entry.value
        return groups
