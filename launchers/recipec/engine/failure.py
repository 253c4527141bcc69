"""Why a tool failed: the error at the end of its log, and the lines of the recipe that the error names."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any, NamedTuple

from recipec.engine.build import Build
from recipec.engine.progress import clean_lines, is_progress_bar
from recipec.manifest import Manifest
from recipec.plan import Stage

MAX_LINES = 14  # of an error
LOG_TAIL = 1 << 18  # bytes at the end of a log that are searched
_STOOD = re.compile(r"^Current thread 0x[0-9a-f]+ .*\(most recent call first\):")
# Of processes that only wait for others: they stand still because those do.
_WAITS = re.compile(r"/(?:subprocess|resource_tracker|forkserver)\.py\"|/torch/distributed/elastic/|/torch/_inductor/")
_RANK = re.compile(r"^\[(?:rank|default)\d+\]:\s?")
_TRACE = "Traceback (most recent call last)"
_RAISED = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure|Warning|Iteration)\b(?::|$)"
)
_ERROR = re.compile(r"(?:\S+: )?(?:error|fatal)\b|^(?:\S+ ){0,2}\[?ERROR\b", re.IGNORECASE)
_BOX = ("│", "╭", "╰", "+")
_LAUNCHERS = (
    "CalledProcessError",
    "ChildFailedError",
    "SystemExit",
    "ProcessRaisedException",
    "ProcessExitedException",
)
_LOG_PREFIX = re.compile(r"^(?:\[?\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|(?:INFO|WARNING|ERROR|DEBUG)\b|[EWI]\d{4} )")
# Warnings, banners and dumped settings, which a tool prints even when nothing is wrong.
_NOISE = re.compile(
    r"\bWARNING\b|^W\d{4} |^Failed to load \S+|\bWarning: |^[\s@#=+/.%*_|-]+$|^\s+(?:\"\w+\": |[\]}],?$)|^[{}]$"
)
_MIN_WORD = 4  # shorter values appear in too many messages to mean anything


class Blame(NamedTuple):
    """A place in the recipe that an error names: `where` it is, the plan `path` it sets, and the `emitted` line."""

    where: str
    path: str
    emitted: str


class ErrorText(NamedTuple):
    """The end of a tool's log: where in its code it failed (`frames`), and what was wrong (`message`)."""

    frames: tuple[str, ...]
    message: tuple[str, ...]
    is_error: bool = True  # False when no error was found: `message` is then just the last lines

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines to show."""
        return self.frames + self.message


def error_text(text: str) -> ErrorText:
    """Return the error in a log: the last exception with its innermost frames, else the last error line, else the end.

    A launcher's traceback, which only says that a child process failed, is skipped in favour of the child's own.
    """
    lines = [line for line in (_RANK.sub("", line) for line in clean_lines(text)) if not is_progress_bar(line)]
    best: ErrorText | None = None
    for begin in (index for index, line in enumerate(lines) if _TRACE in line):
        found = _traceback(lines, begin)
        if found and (best is None or not _of_launcher(found)):
            best = found
    if best is not None:
        return best
    for index in range(len(lines) - 1, -1, -1):
        if _RAISED.match(lines[index]) or _ERROR.match(lines[index]):
            return ErrorText((), tuple(lines[index : index + MAX_LINES]))
    return ErrorText((), tuple([line for line in lines if not _NOISE.search(line)][-MAX_LINES:]), is_error=False)


def stack_text(text: str) -> ErrorText | None:
    """Return where a tool stood when it was asked: the innermost frames of what Python's faulthandler wrote last."""
    lines = clean_lines(text)
    told: list[list[str]] = []
    for begin in (index for index, line in enumerate(lines) if _STOOD.match(line)):
        frames = takewhile(lambda line: line.startswith("  File "), lines[begin + 1 :])
        told.append([line.strip() for line in frames])
    own = [frames for frames in told if frames and not any(_WAITS.search(line) for line in frames[:4])] or told
    return ErrorText((), ("it stood at (innermost first):", *own[-1][: MAX_LINES - 1])) if own else None


def _of_launcher(found: ErrorText) -> bool:
    return found.message[0].partition(":")[0].rpartition(".")[2] in _LAUNCHERS


def _traceback(lines: list[str], begin: int) -> ErrorText | None:
    """Return the error in the traceback that starts at `begin`; None when another one starts before it ends."""
    for index in range(begin + 1, len(lines)):
        line = lines[index]
        if _TRACE in line:
            return None
        if line.startswith((" ", "\t", *_BOX)) or not re.fullmatch(r"[\w.]+", line.partition(":")[0].strip()):
            continue
        message = [line]
        for more in lines[index + 1 : index + MAX_LINES - 4]:
            if _TRACE in more or _LOG_PREFIX.match(more) or more.startswith(("During handling", "The above exception")):
                break
            message.append(more)
        frames = [row for row in lines[begin + 1 : index] if not row.startswith(_BOX) and set(row.strip()) - set("^~")]
        return ErrorText(tuple(frames[-4:]), tuple(message))
    return None


def blame(build: Build, stage: Stage[Any], error: ErrorText) -> list[Blame]:
    """Return up to two places in the recipe that an error names, by a value, an emitted key, or the path of a data file.

    Only the message is searched, not the frames: source code is full of words that are also keys.
    """
    if not error.is_error:
        return []
    message = "\n".join(error.message)
    found: list[tuple[int, Blame]] = []
    for file in build.files_of(stage):
        for key, line in build.manifest.files[file].lines.items():
            for path in line.reads:
                at, value = _said(build.manifest, path)
                name, weight = key.rpartition(".")[2], 0
                if isinstance(value, str) and len(value) >= _MIN_WORD and _names(message, value):
                    weight = 2000 + len(value)
                elif "_" in name and _names(message, name):
                    weight = 1000 + len(name)
                if at and weight:
                    emitted = f"{build.folder / file}:{line.line} {key}"
                    found.append((weight, Blame(build.where(at), path, emitted)))
    for read in stage.reads:
        if read.at and _names(message, read.path):
            found.append((3000, Blame(build.where(read.at), "data", read.path)))
    found.sort(key=lambda pair: -pair[0])
    first = {culprit.where: culprit for _weight, culprit in reversed(found)}
    return sorted(first.values(), key=[culprit for _weight, culprit in found].index)[:2]


def _said(manifest: Manifest, path: str) -> tuple[str | None, Any]:
    """Return where the recipe sets what stands at a path, and the value; None where it does not say it."""
    if (because := manifest.because.get(path)) is not None:
        return because.at, manifest.value(path)
    written = manifest.written.get(path)
    return (written.at, written.value) if written is not None else (None, None)


def _names(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) is not None
