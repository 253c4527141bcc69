"""Sends the scores of checkpoints to the trackers of their training, under the training's own run, by step.

    python send_scores.py checkpoints.json

What was sent once is not sent again. Where a tracker does not take them, that is said and nothing else fails: the scores
are in scores.json as well.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

PREFIX = "checkpoints"  # before the names of the metrics


def names_of(row: dict) -> dict[str, float]:
    """Return the scores of a checkpoint by their names: checkpoints/TASK/METRIC, and the filter where there is one."""
    found = {}
    for task, values in row["tasks"].items():
        for key, value in values.items():
            metric, _, kind = key.partition(",")
            if isinstance(value, int | float):
                found["/".join([PREFIX, task, metric, *([kind] if kind != "none" else [])])] = float(value)
    return found


def to_wandb(told: dict, scores: dict[int, dict[str, float]]) -> None:
    """Send to Weights & Biases. Its own steps only grow, so that these have an axis of their own."""
    import wandb

    number = (Path(told["kept"]) / "wandb-run").read_text(encoding="utf-8").strip()
    run = wandb.init(project=told["wandb_project"], entity=told.get("wandb_entity"), id=number, resume="allow")
    run.define_metric(f"{PREFIX}/step")
    run.define_metric(f"{PREFIX}/*", step_metric=f"{PREFIX}/step")
    for step, values in scores.items():
        run.log({f"{PREFIX}/step": step, **values})
    run.finish()


def to_mlflow(told: dict, scores: dict[int, dict[str, float]]) -> None:
    """Send to the newest run of MLflow that has the training's name."""
    from mlflow import MlflowClient

    client = MlflowClient(told["mlflow_uri"])
    named = told.get("mlflow_experiment")
    experiment = client.get_experiment_by_name(named) if named else client.get_experiment("0")
    asked = f"attributes.run_name = '{told['run_name']}'"
    runs = client.search_runs([experiment.experiment_id], asked, order_by=["attributes.start_time DESC"], max_results=1)
    for step, values in scores.items():
        for name, value in values.items():
            client.log_metric(runs[0].info.run_id, name, value, step=step)


def to_trackio(told: dict, scores: dict[int, dict[str, float]]) -> None:
    """Send to Trackio."""
    import trackio

    trackio.init(
        project=told["trackio_project"], name=told["run_name"], space_id=told.get("trackio_space"), resume="allow"
    )
    for step, values in scores.items():
        trackio.log(values, step=step)
    trackio.finish()


def to_tensorboard(told: dict, scores: dict[int, dict[str, float]]) -> None:
    """Write beside the newest event file of the training."""
    from torch.utils.tensorboard import SummaryWriter

    files = sorted(Path(told["training"]).rglob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    with SummaryWriter(str(files[-1].parent)) as board:
        for step, values in scores.items():
            for name, value in values.items():
                board.add_scalar(name, value, step)


TRACKERS = {
    "wandb_project": to_wandb,
    "mlflow_uri": to_mlflow,
    "trackio_project": to_trackio,
    "tensorboard": to_tensorboard,
}


def main(path: str) -> int:
    """Send what was not sent yet to each tracker; return the exit code."""
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    told = {**settings["track"], "training": settings["training"], "kept": settings["kept"]}
    rows = json.loads((Path(settings["output"]) / "scores.json").read_text(encoding="utf-8"))["checkpoints"]
    for name, send in TRACKERS.items():
        if not told.get(name):
            continue
        note = Path(settings["output"]) / f"sent-{name}.json"
        sent = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
        new = {row["step"]: names_of(row) for row in rows if sent.get(str(row["step"])) != names_of(row)}
        if not new:
            continue
        try:
            send(told, new)
        except Exception as error:  # whatever a tracker's client raises: the scores are measured, and kept
            print(
                f"send_scores.py: the scores were not sent ({name}): {type(error).__name__}: {error}", file=sys.stderr
            )
            continue
        fresh = note.with_name(f".{note.name}.{os.getpid()}")
        fresh.write_text(json.dumps({**sent, **{str(step): values for step, values in new.items()}}), encoding="utf-8")
        fresh.replace(note)
        print(f"send_scores.py: {len(new)} checkpoints sent ({name})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
