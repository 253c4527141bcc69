"""The run engine: runs what `recipe compile` emitted, resumes after a kill, and records what really happened."""

from recipec.engine.display import Among, Display, PlainDisplay, display_for
from recipec.engine.runner import (
    DONE,
    FAILED,
    INTERRUPTED,
    PREEMPTED,
    REFUSED,
    Asked,
    Limits,
    foresee,
    run,
    run_several,
)
from recipec.engine.selection import Choice
from recipec.engine.sharing import Siblings
from recipec.engine.status import logs, status, status_text

__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "PREEMPTED",
    "REFUSED",
    "Among",
    "Asked",
    "Choice",
    "Display",
    "Limits",
    "PlainDisplay",
    "Siblings",
    "display_for",
    "foresee",
    "logs",
    "run",
    "run_several",
    "status",
    "status_text",
]
