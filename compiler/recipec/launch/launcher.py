"""What a launcher declares of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from recipec.job import Job
from recipec.plan import Plan, Record, Stage


class Started(Record, frozen=True):
    """A stage with the job that does it."""

    stage: Stage[Any]
    job: Job


def spread(all: Iterable[Started]) -> bool:
    """Return whether a stage is started on each of several nodes."""
    return any(one.job.on_each_node for one in all)


class Launcher(Record, frozen=True):
    """A launcher, as its module declares it in `LAUNCHER`.

    `before` are the lines of a stage's script before its job: what must hold first, and the job's own steps. `head` and
    `tail` are lines at the start and the end of the script of the whole, `how` the lines of `PLAN.md` that say how a person
    starts it.
    """

    name: str
    before: Callable[[Plan, Started], list[str]]
    head: Callable[[Plan, tuple[Started, ...]], list[str]]
    tail: Callable[[tuple[Started, ...]], list[str]]
    how: Callable[[tuple[Started, ...]], list[str]]
