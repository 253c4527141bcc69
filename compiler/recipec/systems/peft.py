"""PEFT alone: adapters merged into their base, by a script of ours that is copied as it is, and a settings file for it."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.merge import Part
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


def script_system(name: str, kind: str, rows: tuple[Row, ...], script: str, settings: str) -> System:
    """Return the system that does a kind of stage by one of our scripts, which needs PEFT, with a settings file of some rows."""
    return System(
        name,
        kinds=frozenset([kind]),
        sheets=lambda _s, environment: [
            Sheet(settings, rows, TOOL, pinned(environment, TOOL), "", "json", raw_keys=False)
        ],
        needs=lambda _s: Need(packages=frozenset(["peft"]), otherwise=GENERAL),
        job=lambda _s: Job(("python", Beside(script), Beside(settings))),
        files=lambda _s: {script: program(script)},
        uses=lambda _s: ("output",),
        package=TOOL,
    )


SYSTEM = script_system("peft", "merge", ROWS, SCRIPT, SETTINGS)
