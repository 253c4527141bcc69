"""Ends a training of Hugging Face's Trainer behind the step at which there is a file $RECIPE_ENOUGH.

Python imports this when it starts, in every process of the training, because this folder is on PYTHONPATH and the file is
called sitecustomize.py. All processes end behind the same step: the first looks for the file, and tells the others by the
store through which they found one another. The training then saves its model as it does at its end.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # pathlib would slow each start of Python
TRAINER = "transformers.trainer"
KEPT = 64  # words that stay in the store: no process is so many steps behind another


def chain() -> None:
    """Run the sitecustomize that this one hides, if there is one."""
    from importlib.machinery import PathFinder

    places = [place for place in sys.path if os.path.abspath(place or ".") != HERE]  # noqa: PTH100
    spec = PathFinder.find_spec("sitecustomize", places)
    if spec is not None and spec.loader is not None:
        hidden = type(sys)("sitecustomize")
        hidden.__file__ = spec.origin
        spec.loader.exec_module(hidden)


class Finder:
    """Waits on sys.meta_path for the import of transformers.trainer; ignores every other import."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):  # noqa: ARG003  # the signature of a finder
        """Return the trainer's own spec, with a loader that adds the callback."""
        if name != TRAINER:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(cls)
        spec = find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module.DEFAULT_CALLBACKS.append(callback())

        spec.loader.exec_module = exec_module
        return spec


def callback():
    """Return the class of the callback; made late, because its base class is in transformers."""
    base = sys.modules["transformers.trainer_callback"].TrainerCallback

    class EndEarly(base):
        """Ends the training where it is told to."""

        steps = 0

        def on_step_end(self, args, state, control, **kwargs):  # noqa: ARG002  # the signature of a callback
            """Look whether there is the file, or ask the process that did."""
            self.steps += 1
            if self.told(args.world_size, args.process_index):
                control.should_training_stop = True

        def told(self, world, rank):
            """Return whether to end behind this step; the same in all processes."""
            if world == 1:
                return there()
            store = sys.modules["torch.distributed"].distributed_c10d._get_default_store()
            if rank == 0:
                found = there()
                store.set(f"recipe/enough/{self.steps}", "yes" if found else "no")
                if self.steps > KEPT:
                    store.delete_key(f"recipe/enough/{self.steps - KEPT}")
                return found
            return store.get(f"recipe/enough/{self.steps}") == b"yes"  # which waits for it

    return EndEarly


def there() -> bool:
    """Return whether there is the file."""
    return os.path.exists(os.environ["RECIPE_ENOUGH"])  # noqa: PTH110


try:
    chain()
except Exception as error:  # as Python does itself: reported, not fatal
    sys.stderr.write(f"Error in sitecustomize: {type(error).__name__}: {error}\n")
if os.environ.get("RECIPE_ENOUGH"):
    sys.meta_path.insert(0, Finder)
