"""Judge lm-eval run configurations: its own loading and checks, its model registry, and its task manager's names.

A job: {"file": ..., "cwd": folder from which `include_path` is found}.
"""

from functools import cache
from importlib import import_module
from typing import Any
from unittest.mock import patch

from judging import Job, run


@cache
def manager(cls: Any, include_path: str | None) -> Any:
    """Return a task manager; each takes seconds to index the tasks, so it is made once for a folder of own tasks."""
    return cls(include_path=include_path)


def judge(job: Job) -> list[str]:
    """Return nothing: lm-eval refuses unknown keys itself. Raises whatever it raises."""
    tasks = import_module("lm_eval.tasks")
    real = tasks.TaskManager
    config = import_module("lm_eval.config.evaluate_config").EvaluatorConfig.from_config(job["file"])
    registry = import_module("lm_eval.api.registry")
    mapping = getattr(import_module("lm_eval.models"), "MODEL_MAPPING", {})
    if config.model not in mapping and config.model not in registry.MODEL_REGISTRY:
        raise ValueError(f"unknown model {config.model}")
    if not isinstance(config.model_args, dict):
        raise TypeError("model_args is no mapping")
    if not config.tasks:
        raise ValueError("no tasks")
    with patch.object(tasks, "TaskManager", lambda include_path=None, **_: manager(real, include_path)):
        config.process_tasks()
    return []


if __name__ == "__main__":
    run(judge)
