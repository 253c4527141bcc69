"""Makes any Hugging Face trainer write its progress to the file $RECIPE_EVENTS, as JSON lines, and save when it shall stop.

It shall stop when there is a file $RECIPE_STOP, or when it gets SIGTERM or SIGUSR1. On SIGUSR2, any Python tells where it is.
Python imports this when it starts, in every process of a stage, because this folder is on PYTHONPATH. It runs in the
tool's Python, uses only the standard library (and little of it at the start), and must never make anything fail.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))  # pathlib would slow each start of Python
TRAINER = "transformers.trainer"
STEP_INTERVAL = 0.2  # seconds between step events at least


def chain() -> None:
    """Run the sitecustomize that this one hides, if there is one."""
    from importlib.machinery import PathFinder

    places = [place for place in sys.path if os.path.abspath(place or ".") != HERE]
    spec = PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        hidden = type(sys)("sitecustomize")
        hidden.__file__ = spec.origin
        spec.loader.exec_module(hidden)


class Finder:
    """Waits on sys.meta_path for the import of transformers.trainer; ignores every other import."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:  # the signature of a finder
        """Return the trainer's own spec, with a loader that adds the callback."""
        if name != TRAINER:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(cls)
        spec = find_spec(name)
        loader: Any = spec.loader if spec is not None else None
        if loader is not None:
            load = loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                try:
                    stop_at_the_end(getattr(module, "Trainer", None))
                    count_positions(getattr(module, "Trainer", None))
                    module.DEFAULT_CALLBACKS.append(callback())
                except Exception as error:  # training works without events
                    sys.stderr.write(f"recipec: no live progress: {error}\n")

            loader.exec_module = exec_module
        return spec


def stop_at_the_end(trainer: Any) -> None:
    """Keep a trainer that resumes at its last step from taking one more, as transformers 5 does within an epoch.

    That happens when it was killed after its last checkpoint, before its weights were saved or merged.
    """
    run_epoch: Any = getattr(trainer, "_run_epoch", None)
    if run_epoch is None:
        return

    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if 0 < self.state.max_steps <= self.state.global_step:
            self.control.should_training_stop = True
            return None
        return run_epoch(self, *args, **kwargs)

    trainer._run_epoch = guarded


def tell_where_on_signal() -> None:
    """On SIGUSR2, write where all threads are, and go on."""
    import _signal
    import faulthandler

    try:
        faulthandler.register(_signal.SIGUSR2, all_threads=True)
    except (AttributeError, OSError, RuntimeError, ValueError):  # no such signal, or no stderr: it is only not told
        return


class Stop:
    """Whether a training shall save and stop, so that all its processes do so after the same step.

    Process 0 decides behind each step and tells the others by the store through which they found one another. They wait for
    its word on that step, and it waits for nobody, so nothing can lock up.
    """

    KEPT = 64  # words that are kept in the store: no process is so many steps behind another

    def __init__(self) -> None:
        self.signals = 0
        self.steps = 0
        self.due = False
        self.store: Any = None
        self.rank, self.world = 0, 1

    def begin(self) -> None:
        """Start to listen, before the first step."""
        import signal

        dist = sys.modules.get("torch.distributed")
        try:
            if dist is not None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
                self.store = dist.distributed_c10d._get_default_store()
                self.rank, self.world = dist.get_rank(), dist.get_world_size()
                self.store.add("recipec/here", 1)
            for number in (signal.SIGTERM, signal.SIGUSR1):
                if signal.getsignal(number) == signal.SIG_DFL:
                    signal.signal(number, self.heard)
        except Exception as error:  # training works without it
            sys.stderr.write(f"recipec: no checkpoint when it is stopped: {error}\n")
            self.store, self.rank, self.world = None, 1, 2

    def end(self) -> None:
        """Stop to listen, behind the last step."""
        import signal

        for number in (signal.SIGTERM, signal.SIGUSR1):
            if signal.getsignal(number) == self.heard:
                signal.signal(number, signal.SIG_DFL)

    def heard(self, number: int, frame: Any) -> None:
        """Note the first signal; the second ends the process."""
        import signal

        self.signals += 1
        if self.signals > 1:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def decided(self) -> bool:
        """Return whether to save and stop behind this step; to be called behind each, by all processes."""
        if self.world == 1:
            return self._wanted()
        if self.store is None:
            return False
        from datetime import timedelta

        self.steps += 1
        try:
            if self.rank == 0:
                wanted = self._wanted() and self.store.add("recipec/here", 0) >= self.world
                self.store.set(f"recipec/{self.steps}", "stop" if wanted else "go on")
                if self.steps > self.KEPT:
                    self.store.delete_key(f"recipec/{self.steps - self.KEPT}")
                return wanted
            self.store.wait([f"recipec/{self.steps}"], timedelta(hours=1))
            return bool(self.store.get(f"recipec/{self.steps}") == b"stop")
        except Exception as error:  # training works without it
            sys.stderr.write(f"recipec: no checkpoint when it is stopped: {error}\n")
            self.store = None
            return False

    def _wanted(self) -> bool:
        return self.signals > 0 or os.path.exists(os.environ.get("RECIPE_STOP") or os.devnull + "/none")

    def leave(self) -> None:
        """End this process, when all have saved."""
        if self.world > 1:
            sys.modules["torch.distributed"].barrier()
        raise SystemExit(0)


POSITIONS = [0]  # of all sequences that this process has trained on, padding included


def count_positions(trainer: Any) -> None:
    """Make a trainer add up the positions of the batches that it trains on: their shapes are known without waiting for a GPU."""
    from contextlib import suppress
    from functools import wraps

    step: Any = getattr(trainer, "training_step", None)
    if step is None:
        return

    @wraps(step)  # for who reads the source or the words of it, as Unsloth does
    def counted(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        with suppress(AttributeError, TypeError, KeyError):  # such as prompts that are yet to be answered
            POSITIONS[0] += sum(int(inputs[key].numel()) for key in inputs if str(key).endswith("input_ids"))
        return step(self, model, inputs, *args, **kwargs)

    trainer.training_step = counted


def peaks() -> dict[str, int]:
    """Return the most memory that this process has used, in bytes: on its GPU where there is one, and of the machine."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    found = {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_available() and cuda.is_initialized():
        found["allocated"] = int(cuda.max_memory_allocated())
        found["reserved"] = int(cuda.max_memory_reserved())
    return found


def rows_of(loader: Any) -> dict[str, int]:
    """Return how many rows a loader has; nothing where that is not known, as of rows that are streamed."""
    try:
        return {"rows": len(loader.dataset)}
    except (AttributeError, TypeError, NotImplementedError):
        return {}


def callback() -> type:
    """Return the class of the callback; created late, because its base class is in transformers."""
    import json
    import time

    base = sys.modules["transformers.trainer_callback"].TrainerCallback
    last = [0.0]
    stop = Stop()

    def write(state: Any, event: str, **more: Any) -> None:
        if not state.is_world_process_zero:
            return
        row = {"event": event, "time": round(time.time(), 3), "step": state.global_step, "total": state.max_steps}
        try:
            with open(os.environ["RECIPE_EVENTS"], "a", encoding="utf-8") as stream:
                stream.write(json.dumps({**row, **more}) + "\n")
        except (OSError, TypeError, ValueError):
            return

    def numbers(values: Any) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in (values or {}).items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                continue
            kept[key] = number if abs(number) < 1e300 else str(number)  # JSON has neither NaN nor infinity
        return kept

    def sizes(model: Any) -> dict[str, int]:
        counts = {"parameters": 0, "trainable": 0}
        try:
            for weight in model.parameters():
                count = int(getattr(weight, "ds_numel", 0) or weight.numel())  # with ZeRO-3, numel() is 0
                counts["parameters"] += count
                counts["trainable"] += count if weight.requires_grad else 0
        except (AttributeError, TypeError, RuntimeError):  # not an ordinary model: its size is left out
            return {}
        return counts

    def used() -> dict[str, Any]:
        try:
            return {"positions": POSITIONS[0], "memory": peaks()}
        except Exception:  # a driver that does not answer is no reason to end a training
            return {}

    def on_train_begin(self: Any, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        write(
            state,
            "begin",
            epochs=float(args.num_train_epochs),
            **sizes(model),
            **rows_of(kwargs.get("train_dataloader")),
        )
        stop.begin()

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        due = time.monotonic() - last[0] >= STEP_INTERVAL or state.global_step >= state.max_steps
        if state.is_world_process_zero and due:
            last[0] = time.monotonic()
            write(state, "step")
        if stop.decided() and not 0 < state.max_steps <= state.global_step:
            stop.due = control.should_save = control.should_training_stop = True

    def on_log(self: Any, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        values = numbers(logs)
        if "loss" in values:
            write(state, "log", loss=values["loss"], lr=values.get("learning_rate"), values=values, **used())
        elif "train_runtime" in values:
            write(state, "summary", values=values)

    def on_evaluate(self: Any, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        values = numbers(metrics)
        write(state, "eval", loss=values.get("eval_loss"), values=values, **rows_of(kwargs.get("eval_dataloader")))

    def on_save(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        write(state, "save")
        if stop.due:  # what comes behind a training, such as a merge, is for one that is at its end
            write(state, "stop")
            stop.leave()

    def on_train_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        stop.end()
        write(state, "end", **used())

    methods = (on_train_begin, on_step_end, on_log, on_evaluate, on_save, on_train_end)
    return type("RecipeEvents", (base,), {method.__name__: method for method in methods})


try:
    chain()
except Exception as error:  # as Python does itself: reported, not fatal
    sys.stderr.write(f"Error in sitecustomize: {type(error).__name__}: {error}\n")
if os.environ.get("RECIPE_EVENTS"):
    tell_where_on_signal()
    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]  # a class with find_spec is all that Python asks for
