"""The checkpoints of a training, by lm-evaluation-harness: a script of ours that is copied as it is, and settings for it."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job, Numbered, Watcher
from recipec.kinds.checkpoints import NAME, Checkpoints
from recipec.systems import lm_eval
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.system import System
from recipec.systems.table import OMIT, Row, made, same
from recipec.systems.trainers import FILE_STORE, is_folder

SENDER, RUN = "send_scores.py", "wandb-run"
SCRIPT, SETTINGS, HOOK = "evaluate_checkpoints.py", "checkpoints.json", "sitecustomize.py"
ENOUGH = "RECIPE_ENOUGH"  # the variable with the file that tells a training to end


def _command(backend: str, copies: int, programs: tuple[str, ...] | None) -> list[str]:
    """Return the words that evaluate, without the configuration behind them; `{here}` is the folder of the files."""
    own = ("python", Beside(lm_eval.RUNNER), Beside(lm_eval.CODE), Beside(lm_eval.FILE))
    return lm_eval.placed(own if programs else lm_eval.command(backend, copies))


TRACKERS = ("wandb_project", "mlflow_uri", "trackio_project", "tensorboard")
TRACKED = ("run_name", *TRACKERS, "wandb_entity", "mlflow_experiment", "trackio_space")


def _track(*said: Any) -> Any:
    """Return where the training reports; nothing where it does so nowhere."""
    told = {name: value for name, value in zip(TRACKED, said, strict=True) if value}
    return told if told.keys() & set(TRACKERS) else OMIT


ROWS: tuple[Row, ...] = (
    same("training", "training"),
    same("kept", "kept"),
    same("output", "output"),
    same("saved", "saved"),
    made("every", lambda every: every, "every"),
    same("task", "task"),
    made("metric", lambda metric: metric, "metric"),
    same("beside", "beside"),
    same("frees", "frees"),
    made("early_stopping", lambda count: count, "early_stopping"),
    made("config", lambda _backend: lm_eval.FILE, "backend"),
    made("track", _track, *(f"track.{name}" for name in TRACKED)),
    made("beside_config", lambda programs: lm_eval.CODE if programs else OMIT, "code.tasks"),
    made("command", _command, "backend", "copies", "code.tasks"),
)


def _sheets(s: Checkpoints, environment: str) -> list[Sheet]:
    release = pinned(environment, lm_eval.PACKAGE)
    own = Sheet(SETTINGS, ROWS, lm_eval.PACKAGE, release, "", "json", raw_keys=False)
    return [*lm_eval.written(lm_eval.ROWS, s, environment), own]


def _job(s: Checkpoints) -> Job:
    found, folder = lm_eval.job(s), s.track.mlflow_uri is not None and is_folder(s.track.mlflow_uri)
    stops = s.early_stopping is not None
    return found.replaced(
        program=("python", Beside(SCRIPT), Beside(SETTINGS)),
        start=(),
        variables={**found.variables, **(FILE_STORE if folder else {})},
        watcher=Watcher(
            ("python", Beside(SCRIPT), Beside(SETTINGS), "--keep"),
            f"Keeps checkpoints for {{name}} before the trainer deletes them{', and starts it for each' if s.beside else ''}.",
            steps=_numbered(s),
            variables={
                **({ENOUGH: f"{s.kept}/enough.json"} if stops else {}),
                **({"WANDB_RESUME": "allow"} if s.track.wandb_project is not None else {}),
            },
            imports=stops,
            shapes=stops,
        ),
    )


def _numbered(s: Checkpoints) -> tuple[Numbered, ...]:
    if s.track.wandb_project is None:
        return ()
    why = "So that scores of checkpoints go to the training's own run, which a training that is resumed goes on with."
    return (Numbered("WANDB_RUN_ID", f"{s.kept}/{RUN}", why),)


def _files(s: Checkpoints) -> dict[str, str]:
    found = {SCRIPT: program(SCRIPT), **lm_eval.files(s)}
    found |= {SENDER: program(SENDER)} if any(getattr(s.track, name) for name in TRACKERS) else {}
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
    watches=True,
    asks_machine=True,
)
