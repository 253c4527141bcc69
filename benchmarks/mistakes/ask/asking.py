"""What the questions to all tools share; runs under the Python of a tool's environment.

`PYTHON ask/TOOL.py JOBS.json` prints, for each job, what the tool's own validation raised (null where nothing was) and
the warnings that were logged. How a tool is asked on GPUs that are only declared is the same as in tests/judges, whose
code is used; but what the judges check beyond the tool's own code counts for nothing here.
"""

import argparse
import importlib.util
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

Job = dict[str, Any]
JUDGES = Path(__file__).parents[3] / "tests" / "judges"
LOGGERS = ("", "axolotl", "transformers", "accelerate", "llamafactory", "DeepSpeed", "trl")  # some hand nothing on

sys.path.remove(str(Path(__file__).parent))  # these files are named like the packages they import
sys.path.insert(0, str(JUDGES))
import judging  # noqa: E402  # takes its folder off the path again


def judge(tool: str) -> Any:
    """Return the judge of a tool as a module."""
    spec = importlib.util.spec_from_file_location(f"judge_{tool}", JUDGES / f"{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Kept(logging.Handler):
    """Keeps the text of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.texts.append(record.getMessage())


def refused(_parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """Hand back what argparse would print before it exits."""
    raise ValueError(message)


def run(validate: Callable[[Job], object]) -> None:
    """Answer every job of the file that is named on the command line."""
    jobs: list[Job] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    out = os.dup(1)
    os.dup2(2, 1)  # what the tools print is not the answer
    argparse.ArgumentParser.error = refused  # type: ignore[assignment, method-assign]
    logging.captureWarnings(True)
    answers: list[dict[str, Any]] = []
    for job in [jobs[0], *jobs]:  # the first question is asked twice: imports set up logging anew
        warnings.simplefilter("always")
        kept, error = Kept(), None
        for name in LOGGERS:
            logging.getLogger(name).addHandler(kept)
        try:
            with judging.folder(job):
                validate(job)
        except (Exception, SystemExit) as refusal:  # whatever it raises is its answer
            error = f"{type(refusal).__name__}: {refusal}"
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(kept)
        answers.append({"error": error, "warnings": sorted(set(kept.texts))})
    sys.stdout.flush()
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        json.dump(answers[1:], stream)
