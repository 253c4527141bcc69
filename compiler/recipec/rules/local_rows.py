"""What the rows of local files say against the recipe: found by `recipec.rows`, told at the places of the recipe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING

from recipec.decide.decision import Decision
from recipec.decide.said import Said, indexed
from recipec.diagnostics import Finding, Severity
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import DataSource, Train
from recipec.plural import counted
from recipec.source import Span
from recipec.systems.registry import system

if TYPE_CHECKING:
    from recipec.rows.survey import RowSurvey

REPEATED = 0.2  # share of repeated rows above which it is told: some repeat rows on purpose, to weigh them
GROUPS = ("train", "validation")


def findings(decision: Decision, wrong: Set[Span]) -> Iterator[Finding]:
    """Yield what is wrong with the rows of every training; sources with words at `wrong` places are not looked at."""
    for stage in decision.resolved.plan.of_kind("train"):
        said: Said = decision.said[stage.name]
        if not said.unsure(("data", "train.method")):
            yield from _of_training(said, stage.body, wrong)


def _of_training(said: Said, s: Train, wrong: Set[Span]) -> Iterator[Finding]:
    seen: dict[str, list[tuple[str, RowSurvey]]] = {group: [] for group in GROUPS}
    for group in GROUPS:
        for index, source in enumerate(getattr(s.data, group)):
            here = indexed(f"data.{group}", index)
            if source.path is None or not source.path.isprintable() or _at(said, here, wrong):
                continue
            if not os.path.isfile(source.path):  # noqa: PTH113  # pathlib takes longer to load
                continue  # `local_files` looks for it
            survey = _survey(source, one_message=system(s.trainer).one_message)
            if survey is None:
                continue
            seen[group].append((here, survey))
            for found in survey.problems:
                mapped = f"{here}.columns.{found.column}"
                where = mapped if found.column and said.wrote(mapped) else f"{here}.path"
                yield _told(said, found.code, where, found.message, found.advice, found.suggestion, found.severity)
    yield from _together(said, s, seen)


def _at(said: Said, here: str, wrong: Set[Span]) -> bool:
    """Return whether something stands at a path or below it that is at one of the `wrong` places."""
    below = (here + ".", here + "[")
    return any(said.span(path) in wrong for path in said.nodes if path == here or path.startswith(below))


def _told(
    said: Said,
    code: str,
    path: str,
    message: str,
    advice: str,
    suggestion: str | None = None,
    severity: Severity = "warning",
) -> Finding:
    return Finding(code, message, said.span(path), suggestion, advice, severity)


def _survey(source: DataSource, *, one_message: bool) -> RowSurvey | None:
    from recipec.rows.survey import RowSource, survey_rows  # json and csv are off the way of what cannot be looked at

    return survey_rows(RowSource(str(source.path), source.format, source.columns, source.roles, one_message))


def _together(said: Said, s: Train, seen: dict[str, list[tuple[str, RowSurvey]]]) -> Iterator[Finding]:
    """Yield what is wrong with all sources together: too few rows for a step, rows both trained and validated on."""
    train = {row for _, survey in seen["train"] for row in survey.row_hashes}
    for here, survey in seen["validation"]:
        both = sum(count for row, count in survey.row_hashes.items() if row in train)
        if both:
            message = f"{both:,} of {sum(survey.row_hashes.values()):,} validation rows are also training rows"
            advice = "remove them from one of the two: their loss says nothing about new data"
            yield _told(said, "D013", f"{here}.path", message, advice)
    held = s.data.holdout
    for here, survey in seen["train"]:
        known, repeated = sum(survey.row_hashes.values()), sum(survey.row_hashes.values()) - len(survey.row_hashes)
        if held and known >= 10 and repeated > REPEATED * known:
            message = f"{repeated:,} of {known:,} rows are repeated: most held-out rows are also training rows"
            advice = "drop them and weigh sources by weight, or give data.validation"
            yield _told(said, "D012", f"{here}.path", message, advice)
    counts = [survey.total for _, survey in seen["train"]]
    sources = s.data.train
    if not sources or len(counts) < len(sources) or any(count is None for count in counts):
        return
    total = sum((count or 0) * source.weight for count, source in zip(counts, sources, strict=True))
    left = total - (held if isinstance(held, int) else int(total * held))
    if total and left < 1:
        message = f"holdout {held} leaves nothing of {total:,} rows to train on"
        yield _told(said, "P052", "data.holdout", message, "hold out fewer rows", None, "error")
    elif total and left < s.batch.total and not METHODS[s.method].online:
        rows = counted(left, "row")
        message = f"{rows} for batches of {s.batch.total:,}: an epoch is one step with an incomplete batch"
        yield _told(said, "D014", "train.batch_size", message, "lower batch_size, or is it the right file?")
