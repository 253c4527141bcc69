"""What a training logs arrives at the tracker that the recipe names, in the environment that the recipe gets."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trains import run, workplace  # noqa: F401  # the fixture

RECIPE = """
recipe: 1
name: told
trainer: {trainer}
model: {{from_scratch: {{family: llama, hidden_size: 64, layers: 2, heads: 4, vocab_size: 400}}, max_length: 64}}
data: {{train: [{{path: data/instructions.jsonl, format: instruction}}]}}
train: {{learning_rate: 1e-3, steps: 2, micro_batch_size: 2, log_every: 1}}
hardware: {{gpu: none}}
track: {{{track}}}
launch: {{environment: {{WANDB_MODE: offline}}}}
"""
MLFLOW = """
import json
import mlflow
runs = mlflow.MlflowClient("file:mlruns")
found = [run for one in runs.search_experiments() for run in runs.search_runs([one.experiment_id])]
told = [
    [runs.get_experiment(run.info.experiment_id).name, run.info.run_name, run.info.status,
     [[point.step, point.value > 0] for point in runs.get_metric_history(run.info.run_id, "loss")],
     run.data.tags["recipe"], run.data.tags["stage"]]
    for run in found
]
"""
PRINTED = "print(json.dumps(told))"
WANDB = """
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record
def pieces(data):  # a log of LevelDB behind a head of 7 bytes: its records may be cut at blocks of 32 KiB
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = int.from_bytes(data[at + 4:at + 6], "little"), data[at + 6]
        whole += data[at + 7:at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield whole
            whole = b""
offline = []
for file in Path("wandb").glob("offline-run-*/*.wandb"):
    records = [Record.FromString(piece) for piece in pieces(file.read_bytes())]
    begun = next(one.run for one in records if one.HasField("run"))
    keys = {item.key or "/".join(item.nested_key) for one in records for item in one.history.item}
    offline.append([begun.project, begun.run_group, begun.display_name, "train/loss" in keys])
"""
BOARD = """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
board = {}
for file in Path("runs/told").rglob("events.out.tfevents.*"):
    read = EventAccumulator(str(file)).Reload()
    board[str(file.relative_to("runs/told").parts[0])] = [[one.step, one.value > 0] for one in read.Scalars("train/loss")]
print(json.dumps([told, offline, board]))
"""


@pytest.fixture
def tell(workplace: Path, tool_python: Callable[[str], Path]) -> Callable[..., Any]:  # noqa: F811
    """Train with a tracker, and return what a script finds where the numbers went, in the same environment."""

    def told(trainer: str, track: str, script: str, release: str = "") -> Any:
        recipe = workplace / "told.yaml"
        named = f"versions: {{{trainer}: {release}}}\n" if release else ""
        recipe.write_text(RECIPE.format(trainer=trainer, track=track) + named, encoding="utf-8")
        run(recipe, workplace, tool_python)
        known = {"HOME": str(workplace), "MLFLOW_ALLOW_FILE_STORE": "true"}
        plan = json.loads((workplace / "build" / "told" / "plan.json").read_text(encoding="utf-8"))
        python = workplace / "environments" / plan["plan"]["stages"][-1]["environment"] / "bin" / "python"
        asked = subprocess.run(
            [python, "-c", script], cwd=workplace, env=known, capture_output=True, text=True, check=False
        )
        assert asked.returncode == 0, asked.stderr[-4000:]
        return json.loads(asked.stdout.splitlines()[-1])

    return told


@pytest.mark.real
def test_mlflow_gets_the_losses(tell: Callable[..., Any]) -> None:
    """Axolotl's pins hold no MLflow: it is added. It needs leave to write into a folder."""
    found = tell("axolotl", "mlflow: {tracking_uri: mlruns, experiment: teas}", MLFLOW + PRINTED)
    assert found == [["teas", "told-train", "FINISHED", [[1, True], [2, True]], "told", "train"]]


@pytest.mark.real
def test_three_trackers_are_told_the_same_under_one_name(tell: Callable[..., Any]) -> None:
    """MLflow in a folder, Weights & Biases offline, TensorBoard beside the checkpoints."""
    track = "mlflow: {tracking_uri: mlruns, experiment: teas}, wandb: {project: cups}, tensorboard: true"
    mlflow, offline, board = tell("trl", track, MLFLOW + WANDB + BOARD)
    losses = [[1, True], [2, True]]
    assert mlflow == [["teas", "told-train", "FINISHED", losses, "told", "train"]]
    assert offline == [["cups", "told", "told-train", True]]
    assert board == {"train": losses}


TRACKIO = """
import json
from pathlib import Path
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps([
    [project, run, [row["train/loss"] > 0 for row in SQLiteStorage.get_logs(project, run) if "train/loss" in row]]
    for project in SQLiteStorage.get_projects() for run in SQLiteStorage.get_runs(project)
]))
"""


@pytest.mark.real
@pytest.mark.parametrize(
    ("trainer", "release"), [("axolotl", "0.21.0"), ("axolotl", "0.17.0"), ("trl", "1.16.0"), ("unsloth", "2026.10.9")]
)
def test_trackio_gets_the_losses(trainer: str, release: str, tell: Callable[..., Any]) -> None:
    found = tell(trainer, "trackio: {project: teas}", TRACKIO, release=release)
    assert found == [["teas", "told-train", [True, True]]]
