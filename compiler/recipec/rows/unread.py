"""What a row holds that the trainer does not read: fields that change what is learnt, and texts that may.

Evident metadata (ids, sources, scores, dates) is passed over, and so is what only repeats a text that is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from recipec.plural import listed
from recipec.source import Plain

CALLS = ("tool_calls", "function_call")
LOST = (
    "tools",
    "functions",
    "images",
    "image",
    "videos",
    "video",
    "audios",
    "audio",
)  # a row with them means another thing
DOUBTFUL = ("system", "system_prompt", "history", "context", "documents", "weight", "loss_mask", "mask")
DOUBTFUL_OF_TURNS = ("name", "reasoning_content", "reasoning", "thinking")
MASKS = (
    "weight",
    "train",
    "training",
    "trainable",
    "loss",
    "loss_weight",
)  # of a turn: 0 and false say not to train on it
EVIDENT = re.compile(
    r"(?:^|_)(?:id|ids|idx|index|uuid|hash|key|source|src|origin|dataset|subset|split|score|scores|rating|ratings|rank|margin|quality"
    r"|lang|language|model|models|engine|generator|date|time|timestamp|created|updated|url|uri|link|links|file|path|license|author"
    r"|annotator|category|categories|topic|topics|tag|tags|type|kind|task|domain|level|difficulty|length|tokens|num|count|meta"
    r"|metadata|info|comment|comments|note|notes|title|version|status|reward|rewards|feedback|critique|citation|reference|references"
    r"|at|by|of|from)(?:$|_)",
    re.IGNORECASE,
)
LONG = 40  # characters of a text that may mean something
READ_IT = "use a trainer that reads it, or take it out of the data"
PUT_IT = "put what it says into what is read, if it matters"


def told(
    columns: Mapping[str, str], reads: frozenset[str], without_tools: str, row: Mapping[str, Plain], *, thorough: bool
) -> Iterator[tuple[Literal["error", "warning"], str, str]]:
    """Yield what of a row is lost, and what to do. `without_tools` names a template that writes no tools.

    Where it is `thorough`, every column that nothing reads is looked at.
    """
    standard = set(columns.values())
    turns = list(_turns(columns, row))
    lost = [name for name in LOST if row.get(name) and name not in reads and name not in standard]
    of_turns = [name for name in (*CALLS, *LOST) if any(turn.get(name) for turn in turns)]
    lost += [f"{name} of a turn" for name in of_turns if f".{name}" not in reads and name not in lost]
    if any(_has_media(turn.get(columns.get("content", "content"))) for turn in turns):
        lost.append("a part of a turn that is not text")
    masked = next((name for name in MASKS for turn in turns if turn.get(name) in (0, False) and name in turn), None)
    if masked is not None and f".{masked}" not in reads:
        lost.append(f"{masked} of a turn, which says not to train on it,")
    if lost:
        yield "error", f"the trainer does not read {listed(lost)}", READ_IT
    elif without_tools and (row.get("tools") or any(turn.get("tool_calls") for turn in turns)):
        what = "tools" if row.get("tools") else "tool calls"
        advice = "use a chat template that writes them, or take them out of the data"
        yield "error", f"the template {without_tools} writes no {what}", advice
    doubtful = [name for name in DOUBTFUL if row.get(name) not in (None, "", [], 1) and name not in reads | standard]
    of_turns = [name for name in DOUBTFUL_OF_TURNS if any(turn.get(name) for turn in turns)]
    doubtful += [f"{name} of a turn" for name in of_turns if f".{name}" not in reads]
    if thorough:
        doubtful += _texts(columns, row, standard | reads | set(LOST) | set(DOUBTFUL))
    if doubtful:
        yield "warning", f"the trainer does not read {listed(doubtful)}", PUT_IT


def _turns(columns: Mapping[str, str], row: Mapping[str, Plain]) -> Iterator[dict[str, Plain]]:
    for name in ("messages", "prompt", "chosen", "rejected", "completion"):
        value = row.get(columns.get(name, ""))
        for turn in value if isinstance(value, list) else [value]:
            if isinstance(turn, dict):
                yield turn


def _has_media(said: Plain) -> bool:
    """Return whether parts of a turn are no text."""
    return isinstance(said, list) and any(not isinstance(part, str) and not _is_text(part) for part in said)


def _is_text(part: Plain) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _texts(columns: Mapping[str, str], row: Mapping[str, Plain], passed: set[str]) -> Iterator[str]:
    """Yield the columns of longer texts that nothing reads, and that neither repeat what is read nor hold it."""
    others: dict[str, str] = {
        str(name): text
        for name, text in row.items()
        if name not in passed
        and isinstance(text, str)
        and len(text) >= LONG
        and " " in text
        and not EVIDENT.search(str(name))
    }
    if not others:
        return
    read = list(_read(columns, row))
    for name, text in others.items():
        if not any(text in one or one in text for one in read if one):
            yield name


def _read(columns: Mapping[str, str], row: Mapping[str, Plain]) -> Iterator[str]:
    content = columns.get("content", "content")
    values = [row.get(column) for column in columns.values()] + [turn.get(content) for turn in _turns(columns, row)]
    yield from (value for value in values if isinstance(value, str))
