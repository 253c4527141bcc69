"""What the judges share: jobs come in as JSON, the tool's own code decides, verdicts go out as JSON.

A judge runs under the python of an environment that holds the tool: `PYTHON tests/judges/TOOL.py < jobs.json`.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = dict[str, Any]
LENGTH = 2000  # characters of an error that are handed back

sys.path.remove(str(Path(__file__).parent))  # the judges' names would shadow the packages they import
os.environ.update(
    CUDA_VISIBLE_DEVICES="",
    AXOLOTL_DO_NOT_TRACK="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    DS_ACCELERATOR="cpu",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)
os.environ.setdefault("HF_HOME", "/nonexistent")  # a default configuration of this machine must not take part


@contextlib.contextmanager
def environment(**variables: object) -> Any:
    """Set environment variables, and put everything back afterwards."""
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in variables.items() if value is not None})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def modules_of(place: Path) -> Any:
    """Import what lies in a folder, as `run.sh` does by PYTHONPATH, and forget it afterwards: the next job has its own."""
    before = set(sys.modules)
    sys.path.append(str(place))
    try:
        yield
    finally:
        sys.path.remove(str(place))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(f"{place}/"):
                del sys.modules[name]


@contextlib.contextmanager
def folder(job: Job) -> Any:
    """Stand in the job's folder `cwd`, from which the files it names are found."""
    before = Path.cwd()
    os.chdir(job.get("cwd", before))
    try:
        yield
    finally:
        os.chdir(before)


def run(judge: Callable[[Job], list[str]]) -> None:
    """Judge every job on standard input; `judge` returns the unknown keys and raises where the tool refuses."""
    jobs: list[Job] = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(2, 1)  # the tools talk on standard output
    verdicts = []
    for job in jobs:
        error, unknown = None, []
        try:
            with folder(job):
                unknown = sorted(set(judge(job)))
        except (Exception, SystemExit) as refusal:  # whatever the tool raises is its verdict
            error = f"{type(refusal).__name__}: {refusal}"[:LENGTH]
        verdicts.append({"file": job["file"], "ok": error is None and not unknown, "error": error, "unknown": unknown})
    sys.stdout.flush()
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        json.dump(verdicts, stream)
