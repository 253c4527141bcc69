"""PEFT alone: two adapters made one, by a script of ours that is copied as it is, and a settings file for it."""

from __future__ import annotations

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.stack import Stack
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.system import Need, System
from recipec.systems.table import Row, same
from recipec.systems.trainers import GENERAL

TOOL, SCRIPT, SETTINGS = "transformers", "stack_adapters.py", "stack.json"
ROWS: tuple[Row, ...] = tuple(
    same(word, word) for word in ("base", "revision", "parent", "adapter", "tokenizer", "trust_remote_code", "output")
)


def _sheets(_s: Stack, environment: str) -> list[Sheet]:
    return [Sheet(SETTINGS, ROWS, TOOL, pinned(environment, TOOL), "", "json", raw_keys=False)]


def _job(_s: Stack) -> Job:
    return Job(("python", Beside(SCRIPT), Beside(SETTINGS)))


def _files(_s: Stack) -> dict[str, str]:
    return {SCRIPT: program(SCRIPT)}


def _need(_s: Stack) -> Need:
    return Need(packages=frozenset(["peft"]), otherwise=GENERAL)


def _uses(_s: Stack) -> tuple[str, ...]:
    return ("output",)


SYSTEM = System(
    "stack_adapters",
    kinds=frozenset(["stack"]),
    sheets=_sheets,
    needs=_need,
    job=_job,
    files=_files,
    uses=_uses,
    package=TOOL,
)
