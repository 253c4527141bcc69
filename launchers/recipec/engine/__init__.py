"""The run engine: carries out what `recipe compile` left, survives being killed, and tells the truth about it."""

from recipec.engine.runner import DONE, FAILED, INTERRUPTED, run
from recipec.engine.status import logs, status, status_text
from recipec.engine.ui import PlainUi, Ui, make_ui

__all__ = ["DONE", "FAILED", "INTERRUPTED", "PlainUi", "Ui", "logs", "make_ui", "run", "status", "status_text"]
