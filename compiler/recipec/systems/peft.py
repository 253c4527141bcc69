"""PEFT alone: adapters merged into their base, by a script of ours that is copied as it is, and a settings file for it."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.merge import Merge, Part
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.system import Need, System
from recipec.systems.table import OMIT, Row, made, same
from recipec.systems.trainers import GENERAL

TOOL, SCRIPT, SETTINGS = "transformers", "merge_adapter.py", "merge.json"


def _parts(parts: tuple[Part, ...]) -> Any:
    return [{"adapter": part.adapter, "weight": part.weight} for part in parts] or OMIT


ROWS: tuple[Row, ...] = (
    *(
        same(word, word)
        for word in ("base", "revision", "adapter", "tokenizer", "precision", "trust_remote_code", "output")
    ),
    made("adapters", _parts, "parts"),
    *(same(word, word) for word in ("how", "density", "majority")),
)


def _sheets(_s: Merge, environment: str) -> list[Sheet]:
    return [Sheet(SETTINGS, ROWS, TOOL, pinned(environment, TOOL), "", "json", raw_keys=False)]


def _job(_s: Merge) -> Job:
    return Job(("python", Beside(SCRIPT), Beside(SETTINGS)))


def _files(_s: Merge) -> dict[str, str]:
    return {SCRIPT: program(SCRIPT)}


def _need(_s: Merge) -> Need:
    return Need(packages=frozenset(["peft"]), otherwise=GENERAL)


def _uses(_s: Merge) -> tuple[str, ...]:
    return ("output",)


SYSTEM = System(
    "peft",
    kinds=frozenset(["merge"]),
    sheets=_sheets,
    needs=_need,
    job=_job,
    files=_files,
    uses=_uses,
    package=TOOL,
)
