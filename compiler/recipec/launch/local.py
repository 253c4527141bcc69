"""`local`: one machine, where every stage is started in its turn."""

from __future__ import annotations

from recipec.launch import steps
from recipec.launch.launcher import Launcher, Started
from recipec.plan import Plan


def _before(_plan: Plan, one: Started) -> list[str]:
    return steps.lines(one.job.steps)


def _head(_plan: Plan, _all: tuple[Started, ...]) -> list[str]:
    return []


def _tail(_all: tuple[Started, ...]) -> list[str]:
    return []


def how(_all: tuple[Started, ...]) -> list[str]:
    """Return how a person starts it."""
    return [
        "To run everything, run this folder's `run.sh` with bash, from the folder that the recipe's paths are relative to."
    ]


LAUNCHER = Launcher("local", _before, _head, _tail, how)
