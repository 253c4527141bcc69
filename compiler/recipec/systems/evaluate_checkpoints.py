"""The checkpoints of a training, by lm-evaluation-harness: a script of ours that is copied as it is, and settings for it."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job, Watcher
from recipec.kinds.checkpoints import NAME, Checkpoints
from recipec.systems import lm_eval
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.system import System
from recipec.systems.table import Row, made, same

SCRIPT, SETTINGS, HOOK = "evaluate_checkpoints.py", "checkpoints.json", "sitecustomize.py"
ENOUGH = "RECIPE_ENOUGH"  # the variable with the file that tells a training to end


def _command(backend: str, copies: int) -> list[str]:
    """Return the words that evaluate, without the configuration behind them; `{here}` is the folder of the files."""
    words = lm_eval.command(backend, copies)
    return ["{here}/" + one.file if isinstance(one, Beside) else str(one) for one in words[:-1]]


ROWS: tuple[Row, ...] = (
    same("training", "training"),
    same("kept", "kept"),
    same("output", "output"),
    same("saved", "saved"),
    made("every", lambda every: every, "every"),
    same("task", "task"),
    made("metric", lambda metric: metric, "metric"),
    same("beside", "beside"),
    made("early_stopping", lambda count: count, "early_stopping"),
    made("config", lambda _backend: lm_eval.FILE, "backend"),
    made("command", _command, "backend", "copies"),
)


def _sheets(s: Checkpoints, environment: str) -> list[Sheet]:
    release = pinned(environment, lm_eval.PACKAGE)
    own = Sheet(SETTINGS, ROWS, lm_eval.PACKAGE, release, "", "json", raw_keys=False)
    return [*lm_eval.sheets(s, environment), own]


def _job(s: Checkpoints) -> Job:
    found = lm_eval.job(s)
    stops = s.early_stopping is not None
    return found.replaced(
        program=("python", Beside(SCRIPT), Beside(SETTINGS)),
        start=(),
        watcher=Watcher(
            ("python", Beside(SCRIPT), Beside(SETTINGS), "--keep"),
            f"Keeps checkpoints for {{name}} before the trainer deletes them{', and starts it for each' if s.beside else ''}.",
            variables={ENOUGH: f"{s.kept}/enough.json"} if stops else {},
            imports=stops,
        ),
    )


def _files(s: Checkpoints) -> dict[str, str]:
    found = {SCRIPT: program(SCRIPT)}
    return found | ({HOOK: program("stop_early.py")} if s.early_stopping is not None else {})


SYSTEM = System(
    "evaluate_checkpoints",
    kinds=frozenset([NAME]),
    sheets=_sheets,
    needs=lm_eval.needs,
    job=_job,
    files=_files,
    uses=lm_eval.uses,
    package=lm_eval.PACKAGE,
    on_cpu=lm_eval.ON_CPU,
)
