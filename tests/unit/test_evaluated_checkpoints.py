"""Checkpoints that are evaluated: what the emitted script keeps, asks, chooses and tells, with a stand-in for lm-eval."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec import manifest
from recipec.engine.build import of_text
from recipec.engine.fingerprint import keys
from recipec.pipeline import compile_file

SCRIPTS = Path(__file__).parents[2] / "compiler" / "recipec" / "systems" / "scripts"
SCRIPT = SCRIPTS / "evaluate_checkpoints.py"
RECIPE = """
recipe: 1
name: often
trainer: trl
model: {base: my-lab/my-model, max_length: 64}
data: {train: [{path: data/rows.jsonl, format: chat}]}
train: {learning_rate: 1e-3, steps: 60, save: {every: 10, keep: 2}}
hardware: {gpu: none}
"""
# Writes results as lm-eval does; the score of a checkpoint is in its weights. It notes what it was asked.
LM_EVAL = """#!{python}
import json, sys, time
from pathlib import Path
import yaml
config = yaml.safe_load(Path(sys.argv[-1]).read_text())
model = config["model_args"].get("peft") or config["model_args"]["pretrained"]
weights = next(Path(model).glob("*.safetensors")).read_text()
with open("asked.txt", "a") as stream:
    stream.write(model + "\\n")
if weights == "bad":
    sys.exit(7)
place = Path(config["output_path"]) / "m"
place.mkdir(parents=True)
rows = {{"acc,none": float(weights), "acc_stderr,none": 0.1, "loss,none": 1 - float(weights), "alias": "t"}}
told = {{"results": {{"t": rows}}, "higher_is_better": {{"t": {{"acc": True, "loss": False}}}}}}
(place / "results_2026.json").write_text(json.dumps(told))
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Lay the emitted stage out in a folder of its own, with a stand-in for lm-eval, and return its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "lm-eval").write_text(LM_EVAL.format(python=sys.executable))
    (tmp_path / "bin" / "lm-eval").chmod(0o755)
    (tmp_path / "bin" / "python").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def made(words: str, more: str = "") -> Path:
        found = compile_file(
            "recipe.yaml", text=f"{RECIPE}{more}\nevaluate: {{tasks: [t, u], task_folder: tasks, {words}}}\n"
        )
        assert not [one for one in found.findings if one.severity == "error"], found.findings
        for name, text in found.files.items():
            (tmp_path / "build" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "build" / name).write_text(text)
        return tmp_path / "build" / "evaluate-checkpoints"

    return made


def checkpoint(step: int, weights: float | str, folder: str = "runs/often/train") -> Path:
    """Write a checkpoint as a trainer does, trainer_state.json last."""
    place = Path(folder) / f"checkpoint-{step}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "model.safetensors").write_text(str(weights))
    (place / "optimizer.pt").write_text("large")
    (place / "global_step1").mkdir(exist_ok=True)
    (place / "global_step1" / "rank0.pt").write_text("large")
    (place / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return place


def evaluate(stage: Path, code: int = 0) -> str:
    """Run the stage's program, and return what it says."""
    command = [sys.executable, stage / "evaluate_checkpoints.py", stage / "checkpoints.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def scores() -> dict[str, Any]:
    """Return what the stage wrote."""
    found: dict[str, Any] = json.loads(Path("runs/often/evaluate-checkpoints/scores.json").read_text())
    return found


def asked() -> list[str]:
    """Return the checkpoints that lm-eval was asked about, in order, and forget them."""
    file = Path("asked.txt")
    lines = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return [line.rpartition("/")[2] for line in lines]


def test_the_best_is_kept_and_the_rest_given_free(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint")
    for step, weights in ((10, 0.5), (20, 0.75), (30, 0.75), (40, 0.25)):
        checkpoint(step, weights)
    evaluate(folder)
    told = scores()
    assert [(row["step"], row["value"], row["best"]) for row in told["checkpoints"]] == [
        (10, 0.5, False),
        (20, 0.75, True),  # of two that are as good, the earlier
        (30, 0.75, False),
        (40, 0.25, False),
    ]
    assert (told["best"], told["missed"]) == (20, [])
    best, own = Path("runs/often/evaluate-checkpoints/best"), Path("runs/often/train/checkpoint-20")
    assert sorted(path.name for path in best.iterdir()) == ["model.safetensors", "trainer_state.json"]
    assert (best / "model.safetensors").samefile(own / "model.safetensors")
    assert asked() == [f"checkpoint-{step}" for step in (10, 20, 30, 40)]
    for row in told["checkpoints"]:
        assert Path(row["results"]).is_file()


def test_what_has_its_scores_is_not_asked_again(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint")
    checkpoint(10, 0.5)
    checkpoint(20, 0.25)
    evaluate(folder)
    checkpoint(30, 0.125)
    asked()
    evaluate(folder)
    assert asked() == ["checkpoint-30"]
    assert [row["step"] for row in scores()["checkpoints"]] == [10, 20, 30]
    time.sleep(0.01)
    checkpoint(20, 0.75)  # written again, by a training that went on from the one before
    evaluate(folder)
    assert asked() == ["checkpoint-20"]
    assert scores()["best"] == 20
    config = folder / "lm_eval.yaml"
    config.write_text(config.read_text() + "limit: 3\n")  # other questions: all that is there is asked again
    evaluate(folder)
    assert asked() == ["checkpoint-10", "checkpoint-20", "checkpoint-30"]


def test_only_some_steps(stage: Callable[..., Path]) -> None:
    folder = stage("when: {every: 20}")
    for step in (10, 20, 30, 40):
        checkpoint(step, 0.5)
    evaluate(folder)
    assert asked() == ["checkpoint-20", "checkpoint-40"]
    assert scores()["missed"] == []


def test_another_metric_of_which_less_is_better(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint, best: t/loss")
    for step, weights in ((10, 0.5), (20, 0.75), (30, 0.25)):
        checkpoint(step, weights)
    evaluate(folder)
    assert scores()["best"] == 20
    assert scores()["checkpoints"][1]["higher_is_better"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("when: every_checkpoint, best: t/bleu", "t has no metric bleu; it has acc,none, loss,none"),
        ("when: every_checkpoint, best: u", "there are no scores of u; there are t"),
    ],
)
def test_what_decides_must_be_there(stage: Callable[..., Path], words: str, said: str) -> None:
    folder = stage(words)
    checkpoint(10, 0.5)
    assert said in evaluate(folder, code=1)


def test_half_written_and_none(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint")
    (checkpoint(10, 0.5) / "trainer_state.json").write_text('{"glob')
    (checkpoint(20, 0.5) / "trainer_state.json").write_text('{"global_step": 10}')
    (checkpoint(30, 0.5) / "checkpoint-is-incomplete.txt").write_text("")
    (checkpoint(40, 0.5) / "trainer_state.json").unlink()
    assert "runs/often/train has no complete checkpoint" in evaluate(folder, code=1)
    assert asked() == []


def test_what_lm_eval_cannot_do_ends_the_stage(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint")
    checkpoint(10, 0.5)
    checkpoint(20, "bad")
    assert "lm-eval failed on checkpoint-20 (exit code 7)" in evaluate(folder, code=1)
    assert not Path("runs/often/evaluate-checkpoints/scores.json").exists()
    checkpoint(20, 0.75)
    asked()
    evaluate(folder)  # goes on behind what it has
    assert asked() == ["checkpoint-20"]


def test_what_was_deleted_too_early_is_told(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint")
    for step in (10, 40):
        checkpoint(step, 0.5)
    said = evaluate(folder)
    assert scores()["missed"] == [20, 30]
    assert "checkpoint-20 is not there any more, and has no scores" in said


def test_an_adapter_is_asked_over_its_base(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint", "adapter: {rank: 8}")
    checkpoint(10, 0.5)
    evaluate(folder)
    config = Path("runs/often/evaluate-checkpoints/checkpoint-10/lm_eval.yaml").read_text()
    assert "pretrained: my-lab/my-model\n" in config
    own = "runs/often/train/checkpoint-10"
    assert f"peft: {own}\n" in config
    assert f"tokenizer: {own}\n" in config


# A training as far as its script is concerned: it writes checkpoints, and deletes all but the last.
TRAINING = """
import json, os, shutil, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_evaluated_checkpoints import checkpoint
for step, weights in {steps!r}:
    new = checkpoint(step, weights)
    time.sleep({pace})
    if {deletes}:
        shutil.rmtree(new)
    enough = Path("runs/often/train/kept/enough.json")
    if enough.exists():
        Path("ended.txt").write_text(str(step))
        break
"""


def train(stage: Path, steps: list[tuple[int, float]], pace: float, *, deletes: bool) -> None:
    """Run the script of the training with a stand-in for the trainer, in an environment that is this one's Python."""
    script = (stage.parent / "train" / "run.sh").read_text()
    program = TRAINING.format(tests=str(Path(__file__).parent), steps=steps, pace=pace, deletes=deletes)
    (stage.parent / "train" / "train.py").write_text(program)
    for text in (script, (stage / "run.sh").read_text()):
        name = next(line for line in text.splitlines() if line.startswith("environment=")).partition("=")[2]
        place = Path("runs/environments") / name
        place.mkdir(parents=True, exist_ok=True)
        if not (place / "bin").exists():
            (place / "bin").symlink_to(Path("bin").absolute())
    subprocess.run(["bash", stage.parent / "train" / "run.sh"], check=True, timeout=300)


def test_what_the_trainer_deletes_is_kept_while_it_trains(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint")
    train(folder, [(10, 0.75), (20, 0.5), (30, 0.25)], 1.5, deletes=True)
    assert not list(Path("runs/often/train").glob("checkpoint-*"))
    assert asked() == []  # not beside it
    evaluate(folder)
    assert [row["step"] for row in scores()["checkpoints"]] == [10, 20, 30]
    assert Path("runs/often/evaluate-checkpoints/best/model.safetensors").read_text() == "0.75"
    assert [path.name for path in Path("runs/often/train/kept").glob("checkpoint-*")] == ["checkpoint-10"]
    asked()
    evaluate(folder)  # what was given free is known, and not asked for again
    assert asked() == []
    assert [row["step"] for row in scores()["checkpoints"]] == [10, 20, 30]
    shutil.rmtree("runs/often/train")  # another training: what was measured of the one before does not count
    checkpoint(10, 0.125)
    evaluate(folder)
    assert [row["step"] for row in scores()["checkpoints"]] == [10]


def test_dvc_finds_a_training_as_it_was_left(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint", "launch: {emit: [dvc]}")
    train(folder, [(10, 0.75), (20, 0.5)], 1.5, deletes=True)
    before = sorted(str(path) for path in Path("runs/often/train").rglob("*"))
    evaluate(folder)
    assert sorted(str(path) for path in Path("runs/often/train").rglob("*")) == before


def test_a_training_is_ended_when_nothing_gets_better(stage: Callable[..., Path]) -> None:
    folder = stage("when: every_checkpoint, early_stopping: 2")
    train(folder, [(step, 0.5 if step > 10 else 0.75) for step in range(10, 2000, 10)], 1.0, deletes=True)
    told = json.loads(Path("runs/often/train/kept/enough.json").read_text())
    assert told["best"] == 10
    assert told["not_better"][:2] == [20, 30]
    ended = int(Path("ended.txt").read_text())
    assert 30 <= ended < 1990
    evaluate(folder)
    assert scores()["best"] == 10
    first = folder / "checkpoints.json"
    first.write_text(first.read_text().replace('"early_stopping": 2', '"early_stopping": 500'))
    train(folder, [(ended + 10, 0.25)], 1.0, deletes=False)  # a recipe with more patience may go on
    assert not Path("runs/often/train/kept/enough.json").exists()


def test_nothing_runs_on_behind_a_training(stage: Callable[..., Path]) -> None:
    """The watcher ends with the training, and what it has started with it."""
    folder = stage("when: every_checkpoint, beside: true")
    slow = Path("bin/lm-eval")
    slow.write_text(slow.read_text().replace("place = Path", "time.sleep(600)\nplace = Path"))
    train(folder, [(10, 0.75)], 3.0, deletes=False)
    assert asked() == ["checkpoint-10"]
    deadline = time.monotonic() + 60
    while here := subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout:
        assert time.monotonic() < deadline, here
        time.sleep(0.1)


def test_where_it_stands_in_a_course() -> None:
    text = """
recipe: 1
name: c
trainer: trl
model: {base: my-lab/my-model}
data: {train: [{path: data/rows.jsonl, format: chat}]}
train: {learning_rate: 1e-3, steps: 60, save: {every: 10}}
hardware: {gpu: a100-80gb}
evaluate: {tasks: [gsm8k], models: [base, sft, sft@best]}
stages:
  - {name: sft, adapter: {rank: 8}}
  - {name: look, start_from: sft, evaluate: {tasks: [gsm8k], when: every_checkpoint}}
  - {name: more, start_from: sft@best, parent_adapter: continue, adapter: {rank: 8}}
  - {name: again, start_from: sft, parent_adapter: continue, adapter: {rank: 8}}
"""
    found = compile_file("recipe.yaml", text=text)
    assert not [one for one in found.findings if one.severity == "error"], found.findings
    plan = manifest.read(found.files[manifest.FILE].encode()).plan
    stages = {stage.name: stage for stage in plan.stages}
    best = "runs/c/look-checkpoints/best"
    assert stages["look-checkpoints"].after == ("sft",)
    assert stages["more"].after == ("look-checkpoints",)
    assert stages["more"].inputs[0].output.place == best
    assert stages["more"].body.model.path == "my-lab/my-model"
    assert stages["again"].inputs[0].output.place == "runs/c/sft"
    assert stages["evaluate-sft-best"].body.model.adapter == best
    assert stages["evaluate-sft-best"].after == ("look-checkpoints",)
    assert "evaluate_checkpoints.py" in found.files["sft/run.sh"]
    assert "evaluate_checkpoints.py" not in found.files["more/run.sh"]


def key(words: str) -> str:
    """Return the key of the training of a recipe that evaluates so."""
    text = f"{RECIPE}evaluate: {{tasks: [gsm8k, ifeval]{words}}}\n"
    files = compile_file("recipe.yaml", text=text).files
    build = of_text(Path("build"), files[manifest.FILE].encode(), Path("recipe.yaml"), files)
    return keys(build, Path("cache.json"), save=False)["train"].hash


def test_only_what_may_end_a_training_makes_it_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    track = "}\ntrack: {wandb: {project: cups}"
    assert key("") == key(", when: every_checkpoint") == key(", when: {every: 20}, best: ifeval, beside: true")
    assert key(track) == key(f", when: every_checkpoint{track}")
    ends = key(", when: every_checkpoint, early_stopping: 2")
    assert ends != key("")
    assert ends != key(", when: every_checkpoint, early_stopping: 3")
    assert ends != key(", when: every_checkpoint, early_stopping: 2, limit: 300")
