"""The systems, each in a module of its own that declares a `SYSTEM`: one line for each."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from recipec.systems.system import System

# Name → module. What trains comes first, in the order in which messages list it.
REGISTRY = {
    "axolotl": "recipec.systems.axolotl",
    "trl": "recipec.systems.trl",
    "llamafactory": "recipec.systems.llamafactory",
    "unsloth": "recipec.systems.unsloth",
    "openrlhf": "recipec.systems.openrlhf",
    "script": "recipec.systems.script",
    "lm_eval_served": "recipec.systems.lm_eval_served",
    "lm_eval": "recipec.systems.lm_eval",
    "ask_questions": "recipec.systems.ask_questions",
    "judge_answers": "recipec.systems.judge_answers",
    "evaluate_checkpoints": "recipec.systems.evaluate_checkpoints",
    "generate_rows": "recipec.systems.generate_rows",
    "own_script": "recipec.systems.own_script",
    "vllm_serve": "recipec.systems.vllm_serve",
    "transformers_serve": "recipec.systems.transformers_serve",
    "vllm_bench": "recipec.systems.vllm_bench",
    "guidellm": "recipec.systems.guidellm",
    "check_scores": "recipec.systems.check_scores",
    "peft": "recipec.systems.peft",
    "gptqmodel": "recipec.systems.gptqmodel",
    "llmcompressor": "recipec.systems.llmcompressor",
    "stack_adapters": "recipec.systems.stack_adapters",
    "transformers": "recipec.systems.transformers",
}


@cache
def system(name: str) -> System:
    """Return a system by its name. Raises KeyError when there is none."""
    declared: System = import_module(REGISTRY[name]).SYSTEM
    return declared


def doing(kind: str) -> tuple[str, ...]:
    """Return the names of the systems that do a kind of stage."""
    return tuple(name for name in REGISTRY if kind in system(name).kinds)


def default_system(kind: str) -> str:
    """Return the name of the system that does a kind of stage for which a recipe names none.

    Trainers, of which a recipe names one itself, are asked last: their tables take long to load.
    """
    return next(name for name in reversed(REGISTRY) if kind in system(name).kinds)
