"""Words of a job as words of bash."""

from __future__ import annotations

import re
import shlex

from recipec.job import MASTER_PORT, Beside, Part, Rendezvous, Word
from recipec.references import references
from recipec.source import visible

# What a person sets on each node. Nothing else spells these names.
NODE, FIRST = "NODE_RANK", "MASTER_ADDR"
RANK = f"${{{NODE}:?rank of this node, from 0}}"
ADDRESS = f"${{{FIRST}:?address of node 0}}"
RENDEZVOUS = {"rank": RANK, "address": ADDRESS, "port": f"${{{MASTER_PORT.variable}:-{MASTER_PORT.number}}}"}
CHECKPOINT = "RECIPE_RESUME_FROM"
_NUMBER = re.compile(r"-[0-9.]+(?:[eE][-+]?[0-9]+)?")
_SPECIAL = frozenset('"$`\\!')


def quote(text: str) -> str:
    """Return text as one word of bash, on one line, in which every character can be seen."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_spelled(c) for c in text) + "'"


def _spelled(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return character if character.isprintable() else "".join(f"\\x{byte:02x}" for byte in character.encode())


def remark(text: str) -> str:
    """Return a comment behind a word or an empty text; it stays on its line whatever it holds."""
    return f"  # {visible(text)}" if text else ""


def word(value: Word) -> str:
    """Return one word as bash reads it."""
    parts = value if isinstance(value, tuple) else (value,)
    if len(parts) > 1 and not any(isinstance(part, str) and _special(part) for part in parts):
        return '"' + "".join(part if isinstance(part, str) else _expanded(part) for part in parts) + '"'
    return "".join(quote(part) if isinstance(part, str) else f'"{_expanded(part)}"' for part in parts)


def _special(text: str) -> bool:
    return bool(_SPECIAL & set(text)) or not text.isprintable()


def option(name: str, value: Word) -> tuple[Word, ...]:
    """Return the words of an option with a value; one that looks like an option itself is joined to the name."""
    parts = value if isinstance(value, tuple) else (value,)
    first = parts[0] if parts and isinstance(parts[0], str) else ""
    if first.startswith("-") and not _NUMBER.fullmatch(first):
        return ((f"{name}=", *parts),)
    return (name, value)


def line(words: tuple[Word, ...]) -> str:
    """Return words in a row."""
    return " ".join(word(one) for one in words)


def _expanded(part: Part) -> str:
    if isinstance(part, Beside):
        return f"$here/{part.file}"
    return RENDEZVOUS[part.of] if isinstance(part, Rendezvous) else part


def checkpoint(option: str) -> str:
    """Return the word that is there only where a run goes on from a checkpoint."""
    return f'${{{CHECKPOINT}:+"{option}${CHECKPOINT}"}}'


def value(text: str) -> str:
    """Return a value quoted for the shell, which puts the environment of the run in the place of each `${env:NAME}`."""
    parts: list[str] = []
    begin = 0
    for reference in references(text):
        if reference.kind == "env":
            parts += [quote(text[begin : reference.start])] if reference.start > begin else []
            parts.append(needed(reference.name))
            begin = reference.end
    return "".join([*parts, *([quote(text[begin:])] if begin < len(text) or not parts else [])])


def needed(name: str) -> str:
    """Return a variable that must be set where the run starts."""
    return f'"${{{name}:?set it in the environment of the run}}"'
