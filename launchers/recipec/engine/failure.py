"""Why a tool failed, out of its log: its last meaningful lines, and the line of the recipe they speak of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from recipec.engine.build import Build, Stage
from recipec.engine.progress import clean_lines, is_bar

SHOWN = 14  # lines of an error at most
READ = 1 << 18  # bytes of a log's end that are looked at
_RANK = re.compile(r"^\[(?:rank|default)\d+\]:\s?")
_TRACE = "Traceback (most recent call last)"
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure|Warning|Iteration)\b(?::|$)")
_LAUNCHERS = ("CalledProcessError", "ChildFailedError", "SystemExit", "ProcessRaisedException", "ProcessExitedException")
_LOG_PREFIX = re.compile(r"^(?:\[?\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|(?:INFO|WARNING|ERROR|DEBUG)\b|[EWI]\d{4} )")
_SHORT = 4  # names and values shorter than this say too little to blame anything


class Blame(NamedTuple):
    """A place in the recipe that an error speaks of: where, what it set there, and the emitted line."""

    where: str
    path: str
    emitted: str


def error_lines(text: str) -> list[str]:
    """Return the lines of a log that say what went wrong: the last exception with where it came from, or the end.

    Tracebacks of launchers, which only say that their child failed, are passed over for the child's own.
    """
    lines = [line for line in (_RANK.sub("", line) for line in clean_lines(text)) if not is_bar(line)]
    best: list[str] = []
    for begin in (index for index, line in enumerate(lines) if _TRACE in line):
        found = _traceback(lines, begin)
        if found and not (best and found[0][1].rpartition(".")[2].startswith(_LAUNCHERS)):
            best = found[0][0]
    if best:
        return best
    for index in range(len(lines) - 1, -1, -1):
        if _RAISED.match(lines[index]) or re.match(r"(?:\S+: )?(?:error|fatal)\b", lines[index], re.IGNORECASE):
            return lines[index : index + SHOWN]
    return lines[-SHOWN:]


def _traceback(lines: list[str], begin: int) -> list[tuple[list[str], str]]:
    """Return the lines to show of the traceback that starts at `begin`, and its exception's name."""
    for index in range(begin + 1, len(lines)):
        line = lines[index]
        if _TRACE in line:
            return []
        if line.startswith((" ", "\t", "│", "╭", "╰", "+")):
            continue
        name = line.partition(":")[0].strip()
        if not re.fullmatch(r"[\w.]+", name):
            continue
        message = [line]
        for more in lines[index + 1 : index + SHOWN - 4]:
            if _TRACE in more or _LOG_PREFIX.match(more) or more.startswith(("During handling", "The above exception")):
                break
            message.append(more)
        frames = [row for row in lines[begin + 1 : index] if not set(row.strip()) <= set("^~")]
        return [(frames[-4:] + message, name)]
    return []


def blame(build: Build, stage: Stage, lines: list[str]) -> list[Blame]:
    """Return the places of the recipe that an error names: by an emitted key, a value, or a path of data.

    The error's message counts, its frames do not: source code is full of words that are also keys.
    """
    text = "\n".join(line for line in lines if not line.startswith((" ", "\t", "│")))
    text += "\n" + "\n".join(line for line in lines if "|" not in line and line.startswith("  ") and "^" not in line)
    message = "\n".join(line for line in lines if not line.lstrip().startswith(("File ", "│")))
    found: list[tuple[int, Blame]] = []
    values = build.plan.get("values", {})
    for file, key, row in _keys(build, stage):
        for path in row.get("reads", []):
            about = values.get(path, {})
            at, value = about.get("at"), about.get("value")
            if not at:
                continue
            weight = 0
            name = key.rpartition(".")[2]
            if isinstance(value, str) and len(value) >= _SHORT and _names(message, value):
                weight = 2000 + len(value)
            elif "_" in name and _names(text, name):
                weight = 1000 + len(name)
            if weight:
                emitted = f"{build.folder / file}:{row.get('line', 1)} {key}"
                found.append((weight, Blame(build.where(at), path, emitted)))
    for path, at in build.data():
        if at and _names(message, path):
            found.append((3000, Blame(build.where(at), "data", path)))
    found.sort(key=lambda pair: -pair[0])
    unique = {culprit.where: culprit for _weight, culprit in reversed(found)}
    ordered = [culprit for _weight, culprit in found if unique.get(culprit.where) is culprit]
    return ordered[:2]


def _keys(build: Build, stage: Stage) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
    for file, about in build.plan.get("files", {}).items():
        if file.startswith(f"{stage.id}/"):
            for key, row in (about.get("lines") or {}).items():
                yield file, key, row


def _names(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) is not None
