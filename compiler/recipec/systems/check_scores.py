"""What scores must be for a course to go on: a script of ours that is copied as it is, and a settings file for it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.gate import Condition, Gate, Scored
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.system import Need, System
from recipec.systems.table import Row, made, same
from recipec.systems.trainers import GENERAL

TOOL, SCRIPT, SETTINGS = "lm-eval", "check_scores.py", "gate.json"


def _models(models: tuple[Scored, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in models:
        found.setdefault(one.name, []).append({"path": one.path, "adapter": one.adapter, "scores": one.scores})
    return found


def _conditions(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    return [asdict(one) for one in conditions]


ROWS: tuple[Row, ...] = (
    same("output", "output"),
    same("confidence", "confidence"),
    made("models", _models, "models"),
    made("conditions", _conditions, "conditions"),
)


def _sheets(_s: Gate, environment: str) -> list[Sheet]:
    return [Sheet(SETTINGS, ROWS, TOOL, pinned(environment, TOOL), "", "json", raw_keys=False)]


def _job(_s: Gate) -> Job:
    return Job(("python", Beside(SCRIPT), Beside(SETTINGS)))


def _files(_s: Gate) -> dict[str, str]:
    return {SCRIPT: program(SCRIPT)}


def _need(_s: Gate) -> Need:
    return Need(packages=frozenset([TOOL]), otherwise=GENERAL)


SYSTEM = System(
    "check_scores",
    kinds=frozenset(["gate"]),
    sheets=_sheets,
    needs=_need,
    job=_job,
    files=_files,
    package=TOOL,
)
