"""What is wrong with the rows of one source, each kind of mistake reported once: its first row, and how many more there are."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from recipec.rows.reading import Unreadable, complete, rows
from recipec.source import Plain
from recipec.suggest import nearest

OPTIONAL = ("role", "content", "input", "system")
SETTLED = 2_000_000_000  # nanoseconds; a file that changed later may change again with the same time and size
ROLES = ("system", "user", "assistant", "tool")
# How other formats look: the columns that give them away, and what a recipe says of them.
SHAPES = (
    (("chosen",), "format: preference"),
    (("messages",), "format: chat"),
    (("conversations",), "format: chat, columns: {messages: conversations, role: from, content: value}, "
     "roles: {user: [human], assistant: [gpt]}"),
    (("prompt", "completion", "label"), "format: unpaired-preference"),
    (("instruction", "output"), "format: instruction"),
    (("prompt", "completion"), "format: completion"),
    (("text",), "format: text"),
)  # fmt: skip


class RowProblem(NamedTuple):
    """What is wrong: the standard column to blame ("" for the file), what, what to do, and the nearest right name."""

    code: str
    column: str
    message: str
    advice: str
    suggestion: str | None = None
    severity: Literal["error", "warning"] = "error"


class RowSurvey(NamedTuple):
    """What a source holds. `total` is its number of rows, None where not all were read; `row_hashes` counts equal rows."""

    problems: list[RowProblem]
    total: int | None
    row_hashes: Counter[int]


class RowSource(NamedTuple):
    """What a recipe says of a source: its file, format, and the names of its columns and roles in the data.

    `one_message` says that the trainer takes one message as an answer beside messages, and nothing else.
    """

    path: str
    format: str
    columns: Mapping[str, str]
    roles: Mapping[str, tuple[str, ...]]
    one_message: bool = False


def survey_rows(source: RowSource) -> RowSurvey | None:
    """Return what is wrong with the rows of a source; None where its file cannot be looked at here.

    A file that has not changed since it was surveyed is not read again.
    """
    try:
        about = os.stat(source.path)  # noqa: PTH116  # as a person wrote it
    except OSError:
        return None  # a run looks again, where the file must be
    words = (source.path, source.format, tuple(source.columns.items()), tuple(source.roles.items()), source.one_message)
    version = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
    if time.time_ns() - about.st_mtime_ns < SETTLED:
        return _surveyed.__wrapped__(*words, version)
    return _surveyed(*words, version)


@lru_cache(maxsize=16)
def _surveyed(
    name: str,
    format: str,
    columns: tuple[tuple[str, str], ...],
    roles: tuple[tuple[str, tuple[str, ...]], ...],
    one_message: bool,
    _version: tuple[int, ...],
) -> RowSurvey | None:
    source = RowSource(name, format, dict(columns), dict(roles), one_message)
    path = Path(name)
    surveyor = _Surveyor(source)
    try:
        whole = complete(path)
        for where, row in rows(path):
            surveyor.judge(where, row)
    except OSError:
        return None  # a run looks again, where the file must be
    except Unreadable as error:
        surveyor.problems["D001"] = RowProblem("D001", "", str(error), "correct the file, or save it as UTF-8")
        return RowSurvey(surveyor.report(), None, Counter())
    if path.suffix not in (".jsonl", ".json", ".csv") or not (whole or surveyor.row_count):
        return None
    return RowSurvey(surveyor.report(), surveyor.row_count if whole else None, surveyor.row_hashes)


class _Surveyor:
    """The rows of a source as they come by."""

    def __init__(self, source: RowSource) -> None:
        self.source = source
        self.problems: dict[str, RowProblem] = {}
        self.repeats: Counter[str] = Counter()
        self.row_hashes: Counter[int] = Counter()
        self.labels: set[bool] = set()
        self.row_count = 0
        self.known_roles = {spelt for names in source.roles.values() for spelt in names} | set(ROLES)
        self.role_of = {spelt: role for role, names in source.roles.items() for spelt in names}

    def judge(self, where: str, row: Plain) -> None:
        """Check one row."""
        self.row_count += 1
        for problem in _row_problems(self, f"{self.source.path}, {where}", row):
            if problem.code in self.problems:
                self.repeats[problem.code] += 1
            else:
                self.problems[problem.code] = problem
        self.row_hashes[hash(json.dumps(row, sort_keys=True, default=str))] += 1

    def report(self) -> list[RowProblem]:
        """Return each kind of problem once, with the number of further rows that have it."""
        found: list[RowProblem] = []
        for code, problem in self.problems.items():
            further = self.repeats[code]
            message = problem.message
            if further:
                message += f"; and {further:,} more {'row' if further == 1 else 'rows'} like it"
            severity = problem.severity
            if code in ("D007", "D009") and 2 * (further + 1) > self.row_count:
                severity = "error"  # most rows: there is nothing to learn
            found.append(problem._replace(message=message, severity=severity))
        if "D001" in self.problems or "D002" in self.problems:
            return found
        path = self.source.path
        if not self.row_count:
            found.append(RowProblem("D011", "", f"{path} holds no rows", "is it the right file?"))
        if self.source.format == "unpaired-preference" and len(self.labels) == 1 and self.row_count > 1:
            message = f"every label in {path} is {str(next(iter(self.labels))).lower()}"
            found.append(RowProblem("D010", "label", message, "kto needs rows with both labels", None, "warning"))
        return found


def _row_problems(surveyor: _Surveyor, where: str, row: Plain) -> Iterator[RowProblem]:
    source = surveyor.source
    if not isinstance(row, dict):
        yield RowProblem(
            "D002", "", f"{where} is {_excerpt(row)}, not a mapping of columns", "write one JSON object for each row"
        )
        return
    table = source.path.endswith(".csv")
    columns = source.columns
    for name, column in columns.items():
        if name in OPTIONAL:
            continue
        if column not in row:
            yield _missing_column(where, name, column, row)
            return
        value = row[column]
        expected = None if table and name == "label" else _expected(name, value, columns)
        if expected is not None:
            yield RowProblem("D004", name, f"{where}: {column} is {_excerpt(value)}", f"expected {expected}")
            continue
        if name == "label" and not table:
            surveyor.labels.add(bool(value))
        if isinstance(value, str) and not value.strip() and name not in ("prompt", "answer"):
            yield RowProblem("D006", name, f"{where}: {column} is empty", "drop the row", None, "warning")
        yield from _message_problems(surveyor, where, name, value)
    yield from _pair_problems(where, row, source)


def _pair_problems(where: str, row: dict[str, Plain], source: RowSource) -> Iterator[RowProblem]:
    columns = source.columns
    if "chosen" not in columns:
        return
    other = next((name for name in ("chosen", "rejected") if not isinstance(row[columns[name]], dict)), None)
    if other and "messages" in columns and source.one_message:
        message = f"{where}: {columns[other]} is {_excerpt(row[columns[other]])}; the trainer drops such a row"
        advice = f"write one message: {{{columns['role']}: assistant, {columns['content']}: …}}"
        yield RowProblem("D016", other, message, advice)
    if row[columns["chosen"]] == row[columns["rejected"]]:
        message = f"{where}: the chosen and the rejected answer are the same"
        yield RowProblem("D009", "chosen", message, "remove the row: it teaches nothing", None, "warning")


def _missing_column(where: str, name: str, column: str, row: dict[str, Plain]) -> RowProblem:
    there = [str(key) for key in row]
    shape = next((said for names, said in SHAPES if set(names) <= set(there)), None)
    close = nearest(column, there)
    advice = f"it has {', '.join(there)}; map one of them: columns: {{{name}: …}}"
    if shape is not None and close is None:
        advice = f"it has {', '.join(there)}; such rows are {shape}"
    return RowProblem("D003", name, f"{where} has no column {column}", advice, close)


def _expected(name: str, value: Plain, columns: Mapping[str, str]) -> str | None:
    """Return what a column should hold where it holds something else."""
    if name == "messages":
        return None if isinstance(value, list) and value else "a list of messages"
    if name == "label":
        return None if value in (True, False) else "true or false"
    if name in ("chosen", "rejected") and "messages" in columns:
        return None if isinstance(value, str | dict) or (isinstance(value, list) and value) else "text, or messages"
    if name == "prompt" and not set(columns) & {"chosen", "completion"}:
        return None if isinstance(value, str) or (isinstance(value, list) and value) else "text, or messages"
    if name == "answer":
        return None if isinstance(value, str | int | float) else "text or a number"
    return None if isinstance(value, str) else "text"


def _message_problems(surveyor: _Surveyor, where: str, name: str, value: Plain) -> Iterator[RowProblem]:
    """Check the messages of a column: their keys, their roles, what they say and in which order."""
    messages = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
    if not messages:
        return
    columns = surveyor.source.columns
    role, content = columns.get("role", "role"), columns.get("content", "content")
    order: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            expected = f"expected a mapping with {role} and {content}"
            yield RowProblem("D004", name, f"{where}: a message is {_excerpt(message)}", expected)
            return
        calls = message.get("tool_calls") or message.get("function_call")
        for word, column in (("role", role), ("content", content)):
            if column not in message and not (word == "content" and calls):
                advice = f"it has {', '.join(map(str, message))}; map it: columns: {{{word}: …}}"
                blamed = word if word in columns else name
                yield RowProblem("D003", blamed, f"{where}: a message has no {column}", advice)
                return
        who = message[role]
        if not isinstance(who, str) or who not in surveyor.known_roles:
            close = nearest(str(who), ROLES)
            advice = "map it to a role: roles: {user: [human], assistant: [gpt]}"
            yield RowProblem("D005", name, f"{where}: {_excerpt(who)} is not a known role", advice, close)
            return
        said = message.get(content)
        if isinstance(said, str) and not said.strip() and not calls and surveyor.role_of.get(who, who) != "system":
            advice = "drop the turn, or the row"
            yield RowProblem("D006", name, f"{where}: the {who} turn is empty", advice, None, "warning")
        order.append(surveyor.role_of.get(who, who))
    if name == "messages" and surveyor.source.format == "chat":
        yield from _order_problems(where, name, order)


def _order_problems(where: str, name: str, order: list[str]) -> Iterator[RowProblem]:
    if "assistant" not in order:
        message = f"{where}: no assistant turn"
        yield RowProblem("D007", name, message, "it teaches nothing: remove the row", None, "warning")
        return
    if "system" in order[1:]:
        message = f"{where}: a system turn after the first turn"
        yield RowProblem(
            "D008", name, message, "most templates take one system turn, at the beginning", None, "warning"
        )
    pairs = [(one, two) for one, two in pairwise(order) if one == two and one in ("user", "assistant")]
    if pairs:
        message = f"{where}: two {pairs[0][0]} turns in a row"
        yield RowProblem(
            "D008", name, message, "join them: some templates refuse them, others drop the row", None, "warning"
        )


def _excerpt(value: Plain) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:39] + "…"
