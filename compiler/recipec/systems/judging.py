"""What asking questions and judging answers have in common: their environment, and the programs that are copied as they are."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.kinds.answers import Weights
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.table import Row, made

PACKAGE, ENVIRONMENT = "inspect-ai", "inspect-ai-0.3.285"
LIBRARY, ASKING, JUDGING = "judging.py", "ask_questions.py", "judge_answers.py"
RETRIES = 8  # of a request that is refused for now: inspect-ai waits 3 s, and each time twice as long
PATIENCE = 1800  # seconds of one request


def weights(word: str) -> Row:
    """Return the row of a model as a program tells it from others."""
    return made(word, _weights, "subject")


def _weights(model: Weights) -> dict[str, Any]:
    return {"name": model.name, "path": model.path, "adapter": model.adapter}


def settings(file: str, rows: tuple[Row, ...], environment: str) -> Sheet:
    """Return the settings of a program."""
    return Sheet(file, rows, PACKAGE, pinned(environment, PACKAGE), "", "json", raw_keys=False)


def programs(*names: str) -> dict[str, str]:
    """Return programs, with what they share."""
    return {name: program(name) for name in (*names, LIBRARY)}
