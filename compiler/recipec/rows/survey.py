"""What is wrong with the rows of one source, each kind of mistake reported once: its first row, and how many more there are."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from recipec.rows import judging
from recipec.rows.judging import RowProblem, RowSource, RowUse
from recipec.rows.parquet import footer
from recipec.rows.reading import Unreadable, complete, marked, rows
from recipec.source import Plain

SETTLED = 2_000_000_000  # nanoseconds; a file that changed later may change again with the same time and size
# Kinds of mistakes that are warnings where few rows have them: the share of rows above which they are errors, for then
# there is nothing to learn. Of 1, every row must have it.
MOST, EVERY = 0.5, 1.0
RARELY = {"D026": 0.5, "D034": 0.1, "D035": 0.5}  # shares of rows above which these are told
TOO_MANY = {"D006": EVERY, "D007": MOST, "D009": MOST, "D023": MOST, "D024": MOST, "D026": EVERY}
PREAMBLE, WITH_TOOLS = 512, 1536  # tokens that templates put before the first turn, the longest known of each
ALIKE = 20  # rows of which it is no chance that all have one answer
MANY = 3  # rows of which "every" says more than "one"


class RowSurvey(NamedTuple):
    """What a source holds. `total` is its number of rows, None where not all were read; `row_hashes` counts equal rows.

    `labels` counts the rows that are labelled good and bad. No row has more than `longest` tokens, whatever the tokenizer and the
    template, where all were read; None where that is not known. `odd_turns`: in some conversation user and assistant do not
    alternate, or the assistant does not speak last (of the prompt of a pair, the user). `blanks`: some text begins or ends with
    space. `text_answers`: an answer of some pair is a text, not turns.
    """

    problems: list[RowProblem]
    total: int | None
    row_hashes: Counter[int]
    labels: Counter[bool]
    longest: int | None = None
    odd_turns: bool = True
    blanks: bool = True
    text_answers: bool = True


def survey_rows(source: RowSource) -> RowSurvey | None:
    """Return what is wrong with the rows of a source; None where its file cannot be looked at here.

    A file that has not changed since it was surveyed is not read again.
    """
    try:
        about = os.stat(source.path)  # noqa: PTH116  # as a person wrote it
    except OSError:
        return None  # a run looks again, where the file must be
    words = (source.path, source.format, tuple(source.columns.items()), tuple(source.roles.items()), source.use)
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
    use: RowUse,
    _version: tuple[int, ...],
) -> RowSurvey | None:
    source = RowSource(name, format, dict(columns), dict(roles), use)
    path = Path(name)
    surveyor = _Surveyor(source)
    try:
        if path.suffix == ".parquet":
            return _of_parquet(source, path)
        whole = complete(path)
        if marked(path) and not use.marked_arrays:
            advice = "save it as UTF-8 without a byte order mark, or as JSON lines"
            raise Unreadable(
                f"{path} is a JSON array behind a byte order mark, which the trainer does not read", advice
            )
        for where, row in rows(path):
            surveyor.judge(where, row)
    except OSError:
        return None  # a run looks again, where the file must be
    except Unreadable as error:
        surveyor.problems["D001"] = RowProblem("D001", "", str(error), error.advice)
        return RowSurvey(surveyor.report(whole=True), None, Counter(), Counter())
    if not (whole or surveyor.row_count):
        return None
    total = surveyor.row_count if whole else None
    report = surveyor.report(whole=whole)
    longest = surveyor.longest if whole else None
    odd = not whole or surveyor.judge_of.odd_turns or "D002" in surveyor.problems
    blanks = not whole or surveyor.blanks
    texts = not whole or surveyor.judge_of.text_answers or "D002" in surveyor.problems
    return RowSurvey(report, total, surveyor.row_hashes, surveyor.labels, longest, odd, blanks, texts)


def _of_parquet(source: RowSource, path: Path) -> RowSurvey:
    """Return what the footer of a Parquet file tells: its columns and its number of rows."""
    held = footer(path)
    problems = list(judging.columns(source, f"{path}", dict.fromkeys(held.columns)))
    if not held.rows:
        problems.append(_no_rows(source.path))
    return RowSurvey(problems, held.rows, Counter(), Counter())


def _no_rows(path: str) -> RowProblem:
    return RowProblem("D011", "", f"{path} holds no rows", "is it the right file?")


def _blank(value: Plain) -> bool:
    """Return whether a text begins or ends with space, at any depth of a row."""
    if isinstance(value, str):
        return value[:1].isspace() or value[-1:].isspace()
    if isinstance(value, dict):
        return any(_blank(one) for one in value.values())
    return isinstance(value, list) and any(_blank(one) for one in value)


class _Surveyor:
    """The rows of a source as they come by."""

    def __init__(self, source: RowSource) -> None:
        self.source = source
        self.judge_of = judging.Judge(source)
        self.problems: dict[str, RowProblem] = {}
        self.rows_with: Counter[str] = Counter()
        self.row_hashes: Counter[int] = Counter()
        self.labels: Counter[bool] = Counter()
        self.row_count = self.longest = 0
        self.blanks = False
        self.answers: set[str | None] = set()  # the first few different ones; None of a row without one

    def judge(self, where: str, row: Plain) -> None:
        """Check one row."""
        self.row_count += 1
        here: set[str] = set()
        for problem in self.judge_of.problems(f"{self.source.path}, {where}", row):
            self.problems.setdefault(problem.code, problem)
            here.add(problem.code)
        self.rows_with.update(here)
        label = judging.label(self.source, row)
        if label is not None:
            self.labels[label] += 1
        if len(self.answers) < MANY:
            self.answers.add(self.judge_of.answer(row))
        self.blanks = self.blanks or _blank(row)
        written = json.dumps(row, sort_keys=True, default=str)
        self.row_hashes[hash(written)] += 1
        # a token is at least one byte, and what JSON writes around a turn is longer than what a template does
        preamble = WITH_TOOLS if isinstance(row, dict) and "tools" in row else PREAMBLE
        self.longest = max(self.longest, len(written) + preamble)

    def report(self, *, whole: bool) -> list[RowProblem]:
        """Return each kind of problem once, with the number of rows that have it; not `whole`: some rows were not read."""
        found = [self._counted(problem, whole=whole) for problem in self.problems.values() if self._told(problem)]
        if "D001" in self.problems or "D002" in self.problems:
            return found
        path = self.source.path
        found += self.judge_of.at_end()
        if self.row_count >= ALIKE and len(self.answers) == 1 and None not in self.answers:
            answer = judging.excerpt(next(iter(self.answers)))
            message = f"every answer in {path} is {answer}"
            found.append(
                RowProblem(
                    "D036", "", message, "the model would say nothing else: is it the right file?", None, "warning"
                )
            )
        if not self.row_count:
            found.append(_no_rows(path))
        if self.source.format == "unpaired-preference" and len(self.labels) == 1 and self.row_count > 1:
            message = f"every label in {path} is {str(next(iter(self.labels))).lower()}"
            found.append(RowProblem("D010", "label", message, "kto needs rows with both labels", None, "warning"))
        return found

    def _told(self, problem: RowProblem) -> bool:
        return problem.code not in RARELY or self.rows_with[problem.code] > RARELY[problem.code] * self.row_count

    def _counted(self, problem: RowProblem, *, whole: bool) -> RowProblem:
        further = self.rows_with[problem.code] - 1
        message, severity = problem.message, problem.severity
        if further > 0 and further + 1 == self.row_count and self.row_count >= MANY:
            message += f"; every row{'' if whole else ' that was read'} is like it"
        elif further > 0:
            message += f"; and {further:,} more {'row' if further == 1 else 'rows'} like it"
            message += "" if whole else f" of {self.row_count:,} that were read"
        share = TOO_MANY.get(problem.code)
        if share is not None and (further + 1 > share * self.row_count or further + 1 == self.row_count):
            severity = "error" if whole or share != EVERY else severity
        return problem._replace(message=message, severity=severity)
