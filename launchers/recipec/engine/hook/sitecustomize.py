"""Makes any Hugging Face trainer write what it does to the file $RECIPE_EVENTS, as JSON lines.

Python imports this at its start, in every process of a stage, because its folder is on PYTHONPATH. It needs nothing but
the standard library, works in the tool's Python, and must never be the reason that something fails.
"""

import importlib.machinery
import importlib.util
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # pathlib would slow each start of Python
TRAINER = "transformers.trainer"
STEP_INTERVAL = 0.2  # seconds between step events at least


def chain():
    """Run the sitecustomize that we hide, if there is one."""
    places = [place for place in sys.path if os.path.abspath(place or ".") != HERE]  # noqa: PTH100
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


class Finder:
    """Waits on sys.meta_path for transformers.trainer; every other import passes by."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Return the trainer's own spec, with a loader that adds the callback."""
        if name != TRAINER:
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                try:
                    module.DEFAULT_CALLBACKS.append(callback())
                except Exception as error:  # a trainer without our events still trains
                    sys.stderr.write(f"recipec: no live progress: {error}\n")

            spec.loader.exec_module = exec_module
        return spec


def callback():
    """Return the class of the callback; made late, since its base comes with transformers."""
    base = sys.modules["transformers.trainer_callback"].TrainerCallback
    last = [0.0]

    def write(state, event, **more):
        if not state.is_world_process_zero:
            return
        row = {"event": event, "time": round(time.time(), 3), "step": state.global_step, "total": state.max_steps}
        try:
            with open(os.environ["RECIPE_EVENTS"], "a", encoding="utf-8") as stream:  # noqa: PTH123
                stream.write(json.dumps({**row, **more}) + "\n")
        except (OSError, TypeError, ValueError):
            return

    def numbers(values):
        kept = {}
        for key, value in (values or {}).items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                continue
            kept[key] = number if abs(number) < 1e300 else str(number)
        return kept

    def on_train_begin(self, args, state, control, **kwargs):
        write(state, "begin", epochs=float(args.num_train_epochs))

    def on_step_end(self, args, state, control, **kwargs):
        if time.monotonic() - last[0] >= STEP_INTERVAL or state.global_step >= state.max_steps:
            last[0] = time.monotonic()
            write(state, "step")

    def on_log(self, args, state, control, logs=None, **kwargs):
        values = numbers(logs)
        if "loss" in values:
            more = {"loss": values["loss"], "lr": values.get("learning_rate"), "epoch": values.get("epoch")}
            write(state, "log", **more, values=values)
        elif "train_runtime" in values:
            write(state, "summary", values=values)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        values = numbers(metrics)
        write(state, "eval", loss=values.get("eval_loss"), values=values)

    def on_save(self, args, state, control, **kwargs):
        write(state, "save")

    def on_train_end(self, args, state, control, **kwargs):
        write(state, "end")

    methods = [on_train_begin, on_step_end, on_log, on_evaluate, on_save, on_train_end]
    return type("RecipeEvents", (base,), {method.__name__: method for method in methods})


try:
    chain()
except Exception as error:  # as Python itself does: said, not fatal
    sys.stderr.write(f"Error in sitecustomize: {type(error).__name__}: {error}\n")
if os.environ.get("RECIPE_EVENTS"):
    sys.meta_path.insert(0, Finder)
