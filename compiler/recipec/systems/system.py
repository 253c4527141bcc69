"""What a system declares of itself: what it can do, its files, its checks, and what runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from recipec.plan import TrainStage
from recipec.systems.check import Check, Refusal
from recipec.systems.document import Sheet


def _nothing(_stage: TrainStage) -> dict[str, str]:
    return {}


def _none(_stage: TrainStage) -> list[Refusal]:
    return []


def _no_checks(_stage: TrainStage) -> tuple[Check, ...]:
    return ()


def uses_nothing(_stage: TrainStage) -> tuple[str, ...]:
    """Stands for a system that does not list what its commands, variables and files use."""
    return ()


class Trainer(NamedTuple):
    """A system that trains, as its module declares it in `TRAINER`.

    `methods`, `adapters` and `strategies` are what it can do. `sheets` are its files, `commands` the lines of its
    `run.sh`, `variables` their environment, `files` go beside them as they are. `checks` are what it cannot do or does
    another way, `uses` the plan paths that commands, variables and files act on for a stage. `one_process` says why it
    starts only one process on a CPU, `lm_eval` whether its environment evaluates and merges too, and `holds` what that
    has of what is added to others.
    """

    name: str
    methods: frozenset[str]
    adapters: frozenset[str]
    strategies: frozenset[str]
    sheets: Callable[[TrainStage], list[Sheet]]
    commands: Callable[[TrainStage], list[str]]
    variables: Callable[[TrainStage], dict[str, str]] = _nothing
    files: Callable[[TrainStage], dict[str, str]] = _nothing
    differences: Callable[[TrainStage], list[Refusal]] = _none
    checks: Callable[[TrainStage], tuple[Check, ...]] = _no_checks
    uses: Callable[[TrainStage], tuple[str, ...]] = uses_nothing
    one_process: str = ""
    lm_eval: bool = False
    holds: frozenset[str] = frozenset()
