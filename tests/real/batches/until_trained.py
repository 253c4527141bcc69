"""Test only: run a trainer's own program up to the point where it would train."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers


def run(program: str, arguments: list[str], in_place: Callable[[Any], None]) -> None:
    """Run a script or a module as the main one; `in_place` gets the trainer instead of its being trained."""

    def stop(trainer: Any, *_given: Any, **_named: Any) -> None:
        in_place(trainer)
        raise SystemExit(0)

    transformers.Trainer.train = stop
    sys.argv = [program, *arguments]
    if program.endswith(".py"):
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__")
