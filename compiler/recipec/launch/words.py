"""Words of a job as words of bash."""

from __future__ import annotations

from shlex import quote

from recipec.job import MASTER_PORT, Beside, Part, Rendezvous, Word
from recipec.references import references

# What a person sets on each node. Nothing else spells these names.
NODE, FIRST = "NODE_RANK", "MASTER_ADDR"
RANK = f"${{{NODE}:?rank of this node, from 0}}"
ADDRESS = f"${{{FIRST}:?address of node 0}}"
RENDEZVOUS = {"rank": RANK, "address": ADDRESS, "port": f"${{{MASTER_PORT.variable}:-{MASTER_PORT.number}}}"}
CHECKPOINT = "RECIPE_RESUME_FROM"
_SPECIAL = frozenset('"$`\\!\n')


def word(value: Word) -> str:
    """Return one word as bash reads it."""
    parts = value if isinstance(value, tuple) else (value,)
    if len(parts) > 1 and not any(isinstance(part, str) and _SPECIAL & set(part) for part in parts):
        return '"' + "".join(part if isinstance(part, str) else _expanded(part) for part in parts) + '"'
    return "".join(quote(part) if isinstance(part, str) else f'"{_expanded(part)}"' for part in parts)


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
