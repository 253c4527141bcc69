"""The callback that trainers load by themselves, tried with a stand-in for transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from recipec.engine.attempt import HOOK

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


def _events(folder: Path, program: str, **variables: str) -> list[dict[str, object]]:
    """Run a program against a trainer that is made up; return what was written."""
    package = folder / "transformers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trainer_callback.py").write_text(CALLBACK)
    (package / "trainer.py").write_text(TRAINER)
    head = "import time\nfrom types import SimpleNamespace as S\nfrom transformers import trainer\n"
    head += "one = trainer.DEFAULT_CALLBACKS[0]()\nme = {'is_world_process_zero': True, 'max_steps': 9}\n"
    done = _python(folder, head + program, folder, **({"RECIPE_EVENTS": str(folder / "events")} | variables))
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in (folder / "events").read_text().splitlines()]


def test_steps_are_told_now_and_then_and_the_last_always(tmp_path: Path) -> None:
    program = """
now = 100.0
time.monotonic = lambda: now
for step, now in ((1, 100.0), (2, 100.1), (3, 100.19), (4, 100.21), (5, 100.3), (6, 100.41), (9, 100.42)):
    one.on_step_end(None, S(global_step=step, **me), None)
"""
    rows = _events(tmp_path, program)
    assert [(row["event"], row["step"], row["total"]) for row in rows] == [("step", n, 9) for n in (1, 4, 6, 9)]


def test_numbers_are_told_as_json_can_say_them(tmp_path: Path) -> None:
    program = """
state = S(global_step=3, **me)
one.on_log(None, state, None, logs={"loss": 1e301, "big": -1e299, "none": None, "words": "x", "list": [1]})
one.on_log(None, state, None, logs={"loss": float("nan"), "learning_rate": "1e-3"})
one.on_log(None, state, None, logs={"train_runtime": 7, "train_loss": 2.5})
one.on_log(None, state, None, logs={"epoch": 1.0})
one.on_log(None, state, None, logs=None)
one.on_evaluate(None, state, None, metrics={"eval_loss": 2, "eval_runtime": 1})
one.on_evaluate(None, state, None, metrics=None)
"""
    rows = [{key: value for key, value in row.items() if key not in ("time", "step", "total", "memory", "positions")} for row in _events(tmp_path, program)]  # fmt: skip
    assert rows == [
        {"event": "log", "loss": "1e+301", "lr": None, "values": {"loss": "1e+301", "big": -1e299}},
        {"event": "log", "loss": "nan", "lr": 0.001, "values": {"loss": "nan", "learning_rate": 0.001}},
        {"event": "summary", "values": {"train_runtime": 7.0, "train_loss": 2.5}},
        {"event": "eval", "loss": 2.0, "values": {"eval_loss": 2.0, "eval_runtime": 1.0}},
        {"event": "eval", "loss": None, "values": {}},
    ]


def test_the_beginning_tells_epochs_and_sizes_where_there_are_any(tmp_path: Path) -> None:
    program = """
args, state = S(num_train_epochs=3), S(global_step=0, **me)
one.on_train_begin(args, state, None, model=None)
one.on_train_begin(args, state, None, model=S(parameters=lambda: [S(numel=lambda: 5, requires_grad=False)]))
one.on_train_begin(args, state, None, model=S(parameters=lambda: []))
one.on_train_begin(args, state, None, model=S(parameters=lambda: [object()]))
"""
    rows = _events(tmp_path, program)
    assert [(row["event"], row["epochs"], row.get("parameters"), row.get("trainable")) for row in rows] == [
        ("begin", 3.0, None, None),
        ("begin", 3.0, 5, 0),
        ("begin", 3.0, 0, 0),
        ("begin", 3.0, None, None),
    ]


def test_each_event_has_its_time_and_is_added_to_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "events").write_text('{"event": "of an earlier attempt"}\n')
    rows = _events(tmp_path, "time.time = lambda: 12.34567\none.on_save(None, S(global_step=1, **me), None)")
    assert rows[1:] == [{"event": "save", "time": 12.346, "step": 1, "total": 9}]


def test_without_a_place_for_events_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").touch()
    (tmp_path / "transformers" / "trainer.py").write_text("DEFAULT_CALLBACKS = []\n")
    program = "import transformers.trainer; print(transformers.trainer.DEFAULT_CALLBACKS)"
    done = _python(tmp_path, program, tmp_path, RECIPE_EVENTS="")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_cannot_be_written_stops_no_training(tmp_path: Path) -> None:
    program = """
import os
one.on_save(None, S(global_step=object(), **me), None)
path, os.environ["RECIPE_EVENTS"] = os.environ["RECIPE_EVENTS"], "/nowhere/events"
one.on_save(None, S(global_step=2, **me), None)
os.environ["RECIPE_EVENTS"] = path
one.on_save(None, S(global_step=3, **me), None)
"""
    assert [row["step"] for row in _events(tmp_path, program)] == [3]


def test_a_trainer_that_is_not_there_is_as_without_us(tmp_path: Path) -> None:
    program = "import sys\ntry: import transformers.trainer\nexcept ModuleNotFoundError as error: print(error.name)\nimport json"
    done = _python(tmp_path, program, RECIPE_EVENTS=str(tmp_path / "events"))
    assert (done.stdout, done.stderr) == ("transformers\n", "")


def test_a_training_without_a_number_of_steps_goes_on(tmp_path: Path) -> None:
    package = tmp_path / "transformers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trainer_callback.py").write_text(CALLBACK)
    trainer = "class Trainer:\n    def _run_epoch(self, *words, step): return words, step\n"
    (package / "trainer.py").write_text(TRAINER + trainer)
    program = """
from types import SimpleNamespace as S
from transformers.trainer import Trainer
one = Trainer()
for most in (0, -1, 5):
    one.state, one.control = S(global_step=3, max_steps=most), S(should_training_stop=False)
    print(one._run_epoch("a", step=most), one.control.should_training_stop)
"""
    done = _python(tmp_path, program, tmp_path, RECIPE_EVENTS=str(tmp_path / "events"))
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["(('a',), 0) False", "(('a',), -1) False", "(('a',), 5) False"]


def test_a_training_that_shall_stop_saves_and_ends_behind_its_step(tmp_path: Path) -> None:
    program = """
import os
args = S(num_train_epochs=1)
one.on_train_begin(args, S(global_step=0, **me), None)
control = S(should_save=False, should_training_stop=False)
one.on_step_end(args, S(global_step=1, **me), control)
one.on_save(args, S(global_step=1, **me), control)
assert not control.should_save
open(os.environ["RECIPE_STOP"], "w").close()
one.on_step_end(args, S(global_step=2, **me), control)
assert control.should_save and control.should_training_stop
try:
    one.on_save(args, S(global_step=2, **me), control)
except SystemExit as ended:
    print("never shown", ended.code) if ended.code else None
else:
    raise AssertionError("it went on")
"""
    rows = _events(tmp_path, program, RECIPE_STOP=str(tmp_path / "stop"))
    assert [(row["event"], row["step"]) for row in rows][-2:] == [("save", 2), ("stop", 2)]
    assert [row["event"] for row in rows].count("stop") == 1


def test_a_training_at_its_last_step_goes_on_to_its_end(tmp_path: Path) -> None:
    program = """
control = S(should_save=False, should_training_stop=False)
one.on_step_end(None, S(global_step=9, **me), control)
one.on_save(None, S(global_step=9, **me), control)
one.on_train_end(None, S(global_step=9, **me), control)
assert not control.should_save
"""
    (tmp_path / "stop").touch()
    rows = _events(tmp_path, program, RECIPE_STOP=str(tmp_path / "stop"))
    assert [row["event"] for row in rows] == ["step", "save", "end"]


def test_a_signal_asks_and_a_second_ends(tmp_path: Path) -> None:
    program = """
import os, signal
args, control = S(num_train_epochs=1), S(should_save=False, should_training_stop=False)
one.on_train_begin(args, S(global_step=0, **me), None)
os.kill(os.getpid(), signal.SIGUSR1)
one.on_step_end(args, S(global_step=1, **me), control)
assert control.should_save
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(1)
assert os.waitpid(child, 0)[1] == signal.SIGTERM
one.on_train_end(args, S(global_step=1, **me), control)
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a tool with a handler of its own keeps it
one.on_train_begin(args, S(global_step=0, **me), None)
assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
"""
    _events(tmp_path, program)


# Ranks as threads that meet once in each step, with a store as torch's is.
RANKS = """
import random, sys, threading, time, sitecustomize
from types import SimpleNamespace as S

class Store:
    def __init__(self): self.held, self.new = {}, threading.Condition()
    def add(self, key, more):
        with self.new:
            self.held[key] = self.held.get(key, 0) + more
            return self.held[key]
    def set(self, key, value):
        with self.new:
            self.held[key] = value.encode()
            self.new.notify_all()
    def wait(self, keys, most):
        with self.new:
            assert self.new.wait_for(lambda: keys[0] in self.held, 20), "it never came"
    def get(self, key): return self.held[key]
    def delete_key(self, key): self.held.pop(key)

store, ranks, with_hook = Store(), int(sys.argv[1]), int(sys.argv[2])
gradients = threading.Barrier(ranks)  # what holds them together in each step
sitecustomize.Stop._wanted = lambda self: wanted.is_set()
wanted, ended = threading.Event(), {}

def train(rank):
    stop = sitecustomize.Stop()
    stop.store, stop.rank, stop.world = store, rank, ranks
    store.add("recipec/here", 1)
    for step in range(1, 200):
        if ranks == with_hook:
            gradients.wait()
        time.sleep(random.uniform(0, 0.002))
        if step == 50 and rank == ranks - 1: wanted.set()
        if stop.decided():
            break
    ended[rank] = step

threads = [threading.Thread(target=train, args=(rank,)) for rank in range(with_hook)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sorted(set(ended.values())), len(store.held))
"""


def test_all_processes_stop_behind_the_same_step(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RANKS, "5", "5"],
        env=os.environ | {"PYTHONPATH": str(HOOK)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps, held = done.stdout.rsplit(maxsplit=1)
    found = json.loads(steps)
    assert len(found) == 1
    assert 50 <= found[0] <= 51
    assert int(held) <= 66


def test_it_does_not_stop_where_another_process_would_not_know(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RANKS, "2", "1"],
        env=os.environ | {"PYTHONPATH": str(HOOK)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("[199]"), done.stderr


COUNTING = """
from types import SimpleNamespace as S
import inspect
import sys
from transformers import trainer
from transformers.trainer import Trainer

class Tensor:
    def __init__(self, count): self.count = count
    def numel(self): return self.count

class Cuda:
    def is_available(self): return True
    def is_initialized(self): return True
    def max_memory_allocated(self): return 700
    def max_memory_reserved(self): return 900

if "gpu" in sys.argv:
    sys.modules["torch"] = S(cuda=Cuda())
one = Trainer()
batch = {"chosen_input_ids": Tensor(30), "rejected_input_ids": Tensor(12), "labels": Tensor(99)}
print([one.training_step(None, inputs, num_items_in_batch=1) for inputs in (batch, {"input_ids": Tensor(8)}, [{"prompt": "a"}], {"input_ids": [1]})])
print("inputs" in inspect.signature(Trainer.training_step).parameters, "an original" in inspect.getsource(Trainer.training_step))
told = trainer.DEFAULT_CALLBACKS[0]()
state = S(global_step=1, max_steps=2, is_world_process_zero=True)
told.on_train_begin(S(num_train_epochs=1), state, None, train_dataloader=S(dataset=[1, 2, 3]))
told.on_train_begin(S(num_train_epochs=1), state, None, train_dataloader=S(dataset=iter([])))
told.on_log(None, state, None, logs={"loss": 1})
told.on_evaluate(None, state, None, metrics={"eval_loss": 2}, eval_dataloader=S(dataset=[1]))
told.on_train_end(None, state, None)
"""


def test_positions_memory_and_rows_are_told(tmp_path: Path) -> None:
    package = tmp_path / "transformers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trainer_callback.py").write_text(CALLBACK)
    trainer = """class Trainer:
    def training_step(self, model, inputs, num_items_in_batch=None):
        return "an original"
"""
    (package / "trainer.py").write_text(TRAINER + trainer)
    done = _python(tmp_path, COUNTING, tmp_path, RECIPE_EVENTS=str(tmp_path / "events"))
    assert (done.stdout.splitlines(), done.stderr) == ([str(["an original"] * 4), "True True"], "")
    rows = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [row.get("rows") for row in rows] == [3, None, None, 1, None]
    assert [row.get("positions") for row in rows] == [None, None, 50, None, 50]
    assert rows[2]["memory"].keys() == {"resident"}
    assert 5 << 20 < rows[2]["memory"]["resident"] < 1 << 30
    done = _python(tmp_path, f"import sys; sys.argv.append('gpu')\n{COUNTING}", tmp_path, RECIPE_EVENTS=str(tmp_path / "gpu"))  # fmt: skip
    assert done.stderr == ""
    memory = json.loads((tmp_path / "gpu").read_text().splitlines()[2])["memory"]
    assert (memory["allocated"], memory["reserved"]) == (700, 900)
