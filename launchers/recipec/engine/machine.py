"""The machine that a run really runs on: recorded, and asked which stages are for it; values follow from what is declared."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import TypedDict

from recipec.facts.gpu_names import named
from recipec.plan import Plan

ASK = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
PATIENCE = 10.0  # seconds for the driver's answer, which can hang on a broken GPU


class Gpu(TypedDict):
    """A GPU as its driver names it."""

    name: str
    memory_gib: float
    driver: str


class Machine(TypedDict):
    """A machine; what could not be found out is None. `cores` are those that this process may use."""

    host: str
    system: str
    cpu: str | None
    cores: int
    memory_gib: float | None
    gpus: list[Gpu]


def machine() -> Machine:
    """Return this machine."""
    return {
        "host": os.uname().nodename,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": _memory(),
        "gpus": gpus(),
    }


def gpus(ask: tuple[str, ...] = ASK) -> list[Gpu]:
    """Return the GPUs that NVIDIA's driver names; none where it does not answer."""
    try:
        said = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found: list[Gpu] = []
    for line in said.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and parts[1].isdecimal():
            found.append({"name": parts[0], "memory_gib": round(int(parts[1]) / 1024, 1), "driver": parts[2]})
    return found


def elsewhere(plan: Plan, there: Collection[str], asked: Collection[str] = ()) -> dict[str, str]:
    """Return of each stage that runs on another machine why; `there` are the names of this machine's GPUs.

    A machine is known by its GPUs where a stage of the plan has those that another has not. Stages that were `asked` for by
    name run here in any case, and all do where no GPU is seen or none is of a kind that the plan has.
    """
    kinds = {found.gpu.name for found in map(named, there) if found.gpu is not None}
    declared = {plan.hardware.gpu, *(stage.resources.gpu for stage in plan.stages)} - {None}
    if len(declared) == 1 or kinds.isdisjoint(declared):
        return {}
    return {
        stage.name: f"it runs on {stage.resources.gpu}, and this machine has {', '.join(sorted(kinds))}"
        for stage in plan.stages
        if stage.resources.gpu is not None and stage.resources.gpu not in kinds and stage.name not in asked
    }


def _cpu(info: Path = Path("/proc/cpuinfo")) -> str | None:
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError):
        return None
