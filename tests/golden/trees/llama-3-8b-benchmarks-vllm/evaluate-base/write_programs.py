"""Starts lm-eval so that a model writes programs, and none of them is run.

    python write_programs.py code.json run --config lm_eval.yaml

Of the tasks that the settings name, lm-eval's prompts and what it makes of an answer stay as they are. How many answers are
drawn, and how, is set; its metric, which would run them in the process that holds the model, is put out of work.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

METRIC = "code_eval"
BYPASS = {"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}  # lm-eval's own, of its predict_only


SAMPLING = ("do_sample", "temperature", "top_p")


class Idle:
    """Stands for the metric that runs programs: lm-eval's tasks try it when they are loaded."""

    def compute(self, *_args: Any, **_words: Any) -> tuple[dict, dict]:
        """Run nothing."""
        return {"pass@1": 0.0}, {}


def rewritten(config: dict, settings: dict) -> dict:
    """Return the configuration of a task as it is asked here."""
    drawn: dict[str, Any] = {}
    if settings["temperature"]:
        drawn = {"do_sample": True, "temperature": settings["temperature"], "top_p": settings["top_p"]}
    else:
        drawn = {"do_sample": False}
    if settings.get("max_new_tokens") is not None:
        drawn["max_gen_toks"] = settings["max_new_tokens"]
    kept = {key: value for key, value in (config.get("generation_kwargs") or {}).items() if key not in SAMPLING}
    every = [{"name": "none", "filter": [{"function": "take_first_k", "k": settings["samples"]}]}]
    return {
        **config,
        "repeats": settings["samples"],
        "generation_kwargs": {**kept, **drawn},
        "filter_list": config.get("filter_list") or every,
        "metric_list": [BYPASS],
        "process_results": None,
        "unsafe_code": False,
    }


def prepare(settings: dict) -> None:
    """Let lm-eval make the tasks of the settings as they are asked here, and never run a program."""
    import evaluate
    from lm_eval.api.task import ConfigurableTask

    load, make = evaluate.load, ConfigurableTask.__init__

    def loaded(path: str, *args: Any, **words: Any) -> Any:
        return Idle() if path == METRIC and settings["sandbox"] else load(path, *args, **words)

    def made(self: Any, *args: Any, config: dict | None = None, **words: Any) -> None:
        if config is not None and config.get("task") in settings["tasks"]:
            config = rewritten(config, settings)
        make(self, *args, config=config, **words)

    evaluate.load, ConfigurableTask.__init__ = loaded, made
    if settings.get("seed") is not None:
        number_requests(settings["seed"], settings.get("request") or {})


def number_requests(seed: int, more: dict[str, str]) -> None:
    """Give each request to a server a seed of its own, and more words.

    lm-eval sends one and the same seed, and all programs would be alike.
    """
    from lm_eval.models import openai_completions

    numbers = itertools.count(seed)
    for kind in (openai_completions.LocalCompletionsAPI, openai_completions.LocalChatCompletion):
        kind._create_payload = numbered(kind._create_payload, numbers, more)


def numbered(make: Callable[..., dict], numbers: Iterator[int], more: dict[str, str]) -> Callable[..., dict]:
    """Return what makes requests, each with the next number as its seed, and more words."""

    def made(*args: Any, **words: Any) -> dict:
        request = make(*args, **words)
        return {**request, "seed": next(numbers), **more} if "seed" in request else request

    return made


if __name__ == "__main__":
    prepare(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    from lm_eval.__main__ import cli_evaluate

    sys.argv = ["lm-eval", *sys.argv[2:]]
    cli_evaluate()
