"""The callback that trainers load by themselves, tried with a stand-in for transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from recipec.engine.stage import HOOK

CALLBACK = "class TrainerCallback:\n    def on_init_end(self, *a, **k): pass\n"
TRAINER = "import transformers.trainer_callback\nDEFAULT_CALLBACKS = []\n"
PROGRAM = """
from types import SimpleNamespace as S
from transformers import trainer
callback = trainer.DEFAULT_CALLBACKS[0]()
for rank0 in (False, True):
    args = S(num_train_epochs=1), S(global_step=1, max_steps=2, is_world_process_zero=rank0), None
    weights = S(numel=lambda: 6, requires_grad=True), S(numel=lambda: 0, ds_numel=4, requires_grad=False)
    callback.on_train_begin(*args, model=S(parameters=lambda: weights))
    callback.on_step_end(*args)
    callback.on_log(*args, logs={"loss": "0.5", "learning_rate": 1e-3, "text": "x", "grad_norm": float("nan")})
    callback.on_evaluate(*args, metrics={"eval_loss": 0.25})
    callback.on_save(*args)
    callback.on_train_end(*args)
"""


def _python(folder: Path, program: str, *paths: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join([*map(str, (HOOK, *paths)), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": search} | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_rank_0_writes_what_the_trainer_does(tmp_path: Path) -> None:
    package = tmp_path / "transformers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trainer_callback.py").write_text(CALLBACK)
    (package / "trainer.py").write_text(TRAINER)
    done = _python(tmp_path, PROGRAM, tmp_path, RECIPE_EVENTS=str(tmp_path / "events"))
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [row["event"] for row in rows] == ["begin", "step", "log", "eval", "save", "end"]
    assert (rows[2]["loss"], rows[2]["lr"], rows[2]["values"]["grad_norm"]) == (0.5, 0.001, "nan")
    assert rows[3]["loss"] == 0.25
    assert (rows[0]["parameters"], rows[0]["trainable"]) == (10, 6)


def test_a_trainer_that_continues_from_its_end_takes_no_further_step(tmp_path: Path) -> None:
    package = tmp_path / "transformers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trainer_callback.py").write_text(CALLBACK)
    trainer = "class Trainer:\n    def _run_epoch(self, step): self.state.global_step += step\n"
    (package / "trainer.py").write_text(TRAINER + trainer)
    program = """
from types import SimpleNamespace as S
from transformers.trainer import Trainer
for at in (8, 9):
    one = Trainer()
    one.state, one.control = S(global_step=at, max_steps=9), S(should_training_stop=False)
    one._run_epoch(step=1)
    print(one.state.global_step, one.control.should_training_stop)
"""
    done = _python(tmp_path, program, tmp_path, RECIPE_EVENTS=str(tmp_path / "events"))
    assert (done.stdout.split(), done.stderr) == (["9", "False", "9", "True"], "")


def test_a_hidden_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['SEEN'] = __name__")
    done = _python(tmp_path, "import os; print(os.environ['SEEN'])", tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("sitecustomize", "")


def test_nothing_it_does_breaks_python(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise RuntimeError('broken')")
    package = tmp_path / "transformers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trainer.py").write_text("value = 1\n")
    program = "import transformers.trainer; print(transformers.trainer.value)"
    done = _python(tmp_path, program, tmp_path, RECIPE_EVENTS="/nowhere/events")
    assert done.stdout.strip() == "1"
    assert "Error in sitecustomize: RuntimeError: broken" in done.stderr
    assert "no live progress" in done.stderr
