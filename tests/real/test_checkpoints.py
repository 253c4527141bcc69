"""Checkpoints that trainers delete are kept, evaluated and told to the trackers; a training ends where nothing gets better."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from meeting import alone
from test_trackers import MLFLOW, WANDB
from test_trains import TASK, run, workplace  # noqa: F401  # the fixture

from recipec.output import write
from recipec.pipeline import compile_file

RECIPE = """
recipe: 1
name: told
trainer: {trainer}
model: {{from_scratch: {{family: llama, hidden_size: 64, layers: 2, heads: 4, vocab_size: 400}}, max_length: 64}}
data: {{train: [{{path: data/instructions.jsonl, format: instruction}}]}}
train: {{learning_rate: 1e-3, steps: {steps}, micro_batch_size: 2, log_every: 10, save: {{every: 10, keep: 2}}}}
evaluate: {{tasks: [drinks], task_folder: tasks, models: [tuned@best], limit: 4, {evaluate}}}
hardware: {{gpu: none{more}}}
{rest}
allow: {{too-few-questions: a trial of the tools}}
"""
BY_STEP = """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
name, told = "checkpoints/drinks/acc", {}
client = mlflow.MlflowClient("file:mlruns")
for one in client.search_experiments():
    for found in client.search_runs([one.experiment_id]):
        points = client.get_metric_history(found.info.run_id, name)
        told["mlflow " + found.info.run_name] = [[point.step, point.value] for point in points]
for file in Path("runs/told/train").rglob("events.out.tfevents.*"):
    read = EventAccumulator(str(file)).Reload()
    if name in read.Tags()["scalars"]:
        told["tensorboard"] = [[one.step, round(one.value, 4)] for one in read.Scalars(name)]
trained, sent, points = set(), set(), []
for file in sorted(Path("wandb").glob("offline-run-*/*.wandb")):
    records = [Record.FromString(piece) for piece in pieces(file.read_bytes())]
    number = next(one.run.run_id for one in records if one.HasField("run"))
    for one in records:
        found = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in one.history.item}
        if "train/loss" in found:
            trained.add(number)
        if name in found:
            sent.add(number)
            points.append([found["checkpoints/step"], found[name]])
told["wandb"] = [len(trained), trained == sent, points]
print(json.dumps(told))
"""


def given(workplace: Path, **words: object) -> Path:  # noqa: F811
    """Write a task and a recipe."""
    (workplace / "tasks").mkdir()
    (workplace / "tasks" / "drinks.yaml").write_text(TASK, encoding="utf-8")
    recipe = workplace / "told.yaml"
    recipe.write_text(RECIPE.format(**{"trainer": "trl", "more": "", "rest": "", **words}), encoding="utf-8")
    return recipe


@pytest.mark.real
def test_what_the_trainer_deletes_is_evaluated_and_told(workplace: Path, tool_python: Callable[[str], Path]) -> None:  # noqa: F811
    rest = "track: {mlflow: {tracking_uri: mlruns}, wandb: {project: cups}, tensorboard: true}\nlaunch: {environment: {WANDB_MODE: offline}}"
    recipe = given(workplace, steps=45, evaluate="when: {every: 20}", rest=rest)
    runs = run(recipe, workplace, tool_python)
    told = json.loads((runs / "evaluate-checkpoints" / "scores.json").read_text(encoding="utf-8"))
    assert [row["step"] for row in told["checkpoints"]] == [20, 40]
    assert not (runs / "train" / "checkpoint-20").exists()  # of 10, 20, 30, 40 and 45 the trainer keeps two
    results = json.loads(next((runs / "evaluate-tuned-best").rglob("results_*.json")).read_text(encoding="utf-8"))
    by_step = {row["step"]: row["tasks"]["drinks"]["acc,none"] for row in told["checkpoints"]}
    assert results["results"]["drinks"]["acc,none"] == by_step[told["best"]]
    python = next((workplace / "environments").glob("trl-*")) / "bin" / "python"
    script = MLFLOW.partition("runs = ")[0] + WANDB.partition("offline = []")[0] + BY_STEP
    known = {"HOME": str(workplace), "MLFLOW_ALLOW_FILE_STORE": "true"}
    asked = subprocess.run(
        [python, "-c", script], cwd=workplace, env=known, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr[-4000:]
    found = json.loads(asked.stdout.splitlines()[-1])
    points = [[step, round(score, 4)] for step, score in by_step.items()]
    assert {name: one for name, one in found.items() if name.startswith("mlflow")} == {"mlflow told-train": points}
    assert found["tensorboard"] == points
    assert found["wandb"] == [1, True, points]  # under the number of the training's own run


@pytest.mark.real
def test_two_processes_end_behind_the_same_step(workplace: Path, tool_python: Callable[[str], Path]) -> None:  # noqa: F811
    """That nothing gets better is laid down beforehand: how that is found out is tested with a stand-in for lm-eval."""
    evaluate = "when: every_checkpoint, early_stopping: 1"
    recipe = given(workplace, steps=400, evaluate=evaluate, more=", per_node: 2")
    compiled = compile_file(str(recipe))
    assert compiled.findings == []
    write(workplace / "build" / "told", compiled.files)
    environments = workplace / "environments"
    environments.mkdir()
    for file in compiled.files:
        if file.startswith("environments/"):
            (environments / Path(file).stem).symlink_to(tool_python(Path(file).stem).parent.parent)
    # The watcher would take the file away again, for there are no scores: only the training's own part is asked here.
    script = workplace / "build" / "told" / "train" / "run.sh"
    lines = [line for line in script.read_text(encoding="utf-8").splitlines() if "--keep" not in line]
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    enough = workplace / "runs" / "told" / "train" / "kept" / "enough.json"
    enough.parent.mkdir(parents=True)
    enough.write_text("{}", encoding="utf-8")
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(workplace),
        "RECIPE_ENVIRONMENTS": str(environments),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    for stage in ("init", "train"):
        command = ["bash", f"build/told/{stage}/run.sh"]
        with alone():
            done = subprocess.run(
                command, cwd=workplace, env=variables, capture_output=True, text=True, check=False, timeout=600
            )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert (workplace / "runs" / "told" / "train" / "model.safetensors").is_file()
    assert not list((workplace / "runs" / "told" / "train").glob("checkpoint-*"))  # the first comes at step 10


@pytest.mark.real
def test_a_training_that_gets_no_better_is_ended(workplace: Path, tool_python: Callable[[str], Path]) -> None:  # noqa: F811
    """Both at once: TRL trains, and lm-eval measures what it has saved. Four questions are soon all answered, or none more is."""
    steps = 30_000  # some ten minutes, should nothing end it
    recipe = given(workplace, steps=steps, evaluate="when: {every: 1000}, early_stopping: 1")
    runs = run(recipe, workplace, tool_python)
    kept = runs / "train" / "kept"
    told = json.loads((runs / "evaluate-checkpoints" / "scores.json").read_text(encoding="utf-8"))
    scores = {row["step"]: row["tasks"]["drinks"]["acc,none"] for row in told["checkpoints"]}
    enough = json.loads((kept / "enough.json").read_text(encoding="utf-8"))
    [step] = enough["not_better"]
    assert scores[step] <= scores[enough["best"]]
    assert all(one in scores for one in range(1000, step + 1000, 1000))  # in their order, none left out
    assert scores[told["best"]] == max(scores.values())
    states = (runs / "train").glob("checkpoint-*/trainer_state.json")
    assert step < max(json.loads(one.read_text(encoding="utf-8"))["global_step"] for one in states) < steps
    assert (runs / "train" / "model.safetensors").is_file()
    assert next((runs / "evaluate-tuned-best").rglob("results_*.json"))
