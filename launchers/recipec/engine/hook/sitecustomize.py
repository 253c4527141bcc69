"""Put on PYTHONPATH of a stage: makes every Transformers trainer write its progress as JSON lines.

Waits for `transformers.trainer` to be imported and appends a callback to its defaults; changes nothing else. Lines
go to the file named by RECIPE_EVENTS, from rank 0 only.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys
import time

EVENTS = os.environ.get("RECIPE_EVENTS")
TRAINER = "transformers.trainer"


def write(event, state, **more):
    """Append one event."""
    line = {"event": event, "time": time.time(), "step": state.global_step, "total": state.max_steps, **more}
    with open(EVENTS, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def install(module):
    """Append the callback to the trainer's defaults."""
    from transformers.trainer_callback import TrainerCallback

    class Events(TrainerCallback):
        def on_train_begin(self, args, state, control, **_):
            if state.is_world_process_zero:
                write("begin", state)

        def on_step_end(self, args, state, control, **_):
            if state.is_world_process_zero:
                write("step", state)

        def on_log(self, args, state, control, logs=None, **_):
            if state.is_world_process_zero:
                numbers = {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float))}
                write("log", state, values=numbers)

        def on_save(self, args, state, control, **_):
            if state.is_world_process_zero:
                write("save", state)

        def on_train_end(self, args, state, control, **_):
            if state.is_world_process_zero:
                write("end", state)

    module.DEFAULT_CALLBACKS.append(Events)


class Finder(importlib.abc.MetaPathFinder):
    """Runs `install` right after the trainer's module has been executed."""

    def find_spec(self, name, path=None, target=None):
        if name != TRAINER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            install(module)

        spec.loader.exec_module = exec_module
        return spec


if EVENTS and int(os.environ.get("RANK", "0")) == 0:
    sys.meta_path.insert(0, Finder())
