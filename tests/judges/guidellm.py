"""Read scenarios of `guidellm run --config FILE` by GuideLLM's own models, and say what it made of them.

A job: {"file": ..., "kept": where the answer goes}. The verdict refuses what its own code refuses.
"""

import json
from importlib import import_module
from pathlib import Path

from judging import Job, run


def judge(job: Job) -> list[str]:
    """Return nothing: unknown keys are refused. Raises whatever it raises."""
    scenario = import_module("guidellm.schemas.benchmark.entrypoints").BenchmarkScenario
    [found] = scenario.create(scenario=Path(job["file"])).get_benchmarks()
    Path(job["kept"]).write_text(json.dumps(found.model_dump(mode="json")))
    return []


if __name__ == "__main__":
    run(judge)
