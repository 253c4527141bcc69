"""The kinds of stages, each in a module of its own: what it decides, what it takes and leaves, how it is described."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from recipec.kinds.kind import Kind

# One line for each kind. Its module declares a `KIND`; its section of the language is in `language/stages.py`.
REGISTRY = {
    "init": "recipec.kinds.init",
    "train": "recipec.kinds.train",
    "merge": "recipec.kinds.merge",
    "stack": "recipec.kinds.stack",
    "quantize": "recipec.kinds.quantize",
    "serve": "recipec.kinds.serve",
    "benchmark": "recipec.kinds.benchmark",
    "generate": "recipec.kinds.generate",
    "script": "recipec.kinds.script",
    "evaluate": "recipec.kinds.evaluate",
    "answers": "recipec.kinds.answers",
    "judge": "recipec.kinds.judge",
    "checkpoints": "recipec.kinds.checkpoints",
    "gate": "recipec.kinds.gate",
}


@cache
def kind(name: str) -> Kind:
    """Return a kind by its name. Raises KeyError when there is none."""
    declared: Kind = import_module(REGISTRY[name]).KIND
    return declared
