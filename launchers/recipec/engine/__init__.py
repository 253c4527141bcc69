"""The run engine: runs what `recipe compile` emitted, resumes after a kill, and records what really happened."""

from recipec.engine.display import Display, PlainDisplay, display_for
from recipec.engine.runner import DONE, FAILED, INTERRUPTED, PREEMPTED, REFUSED, foresee, run
from recipec.engine.selection import Choice
from recipec.engine.sharing import Siblings
from recipec.engine.status import logs, status, status_text

__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "PREEMPTED",
    "REFUSED",
    "Choice",
    "Display",
    "PlainDisplay",
    "Siblings",
    "display_for",
    "foresee",
    "logs",
    "run",
    "status",
    "status_text",
]
