"""What stages that run at once have each to themselves: GPUs of the declared machine, and the port where processes meet."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

from recipec.job import MASTER_PORT, Job
from recipec.plan import Plan, Stage
from recipec.systems.registry import REGISTRY, system

VISIBLE = "CUDA_VISIBLE_DEVICES"


class Share(NamedTuple):
    """What one stage has to itself while it runs. `gpus` is None where nothing is said of GPUs, `port` where it needs none.

    `fixed` are the variables of ports that its tool takes wherever it runs.
    """

    gpus: tuple[str, ...] | None = None
    port: int | None = None
    fixed: frozenset[str] = frozenset()

    def variables(self) -> dict[str, str]:
        """Return what tells the stage's script of it."""
        found = {} if self.gpus is None else {VISIBLE: ",".join(self.gpus)}
        return found | ({} if self.port is None else {MASTER_PORT.variable: str(self.port)})

    def as_json(self) -> dict[str, object]:
        """Return what the record says of it."""
        found: dict[str, object] = {} if self.gpus is None else {"gpus": list(self.gpus)}
        return found | ({} if self.port is None else {"port": self.port})

    def text(self) -> str:
        """Return the GPUs in words; nothing where there are none."""
        return f"GPU{'s' if len(self.gpus) > 1 else ''} {', '.join(self.gpus)}" if self.gpus else ""


NOTHING = Share()


class Allotment:
    """Gives each of the stages that run at once its share of a machine. `there` are the GPUs that a driver names.

    Where one stage runs after the other (`jobs` is 1), each sees all that the user lets it see. Else a stage sees its own
    GPUs alone, none where it runs on the CPU; one that wants more than there are waits until it can have them all.
    """

    def __init__(self, jobs: int, there: int, variables: Mapping[str, str] = os.environ) -> None:
        self._several, self._there, self._said = jobs > 1, there, variables.get(VISIBLE)
        self._asked = variables.get(MASTER_PORT.variable) if jobs == 1 else None
        self._declared, self._one_by_one = 0, False
        self._shares: dict[str, Share] = {}

    def add(self, plan: Plan) -> None:
        """Let it give shares to the stages of a plan, on the machine that this declares. On several nodes, each runs alone."""
        self._one_by_one |= any(one.resources.nodes > 1 for one in plan.stages)
        wanted = [one.resources.per_node for one in plan.stages if one.resources.device == "gpu"]
        if wanted:
            self._declared = max(self._declared, plan.hardware.per_node, *wanted)

    @property
    def _all(self) -> tuple[str, ...]:
        said = self._said
        names = [str(number) for number in range(self._there or self._declared)] if said is None else said.split(",")
        return tuple(name.strip() for name in names if name.strip())[: self._declared]

    def take(self, stage: Stage[object]) -> Share | None:
        """Return the share of a stage that is started now; None while others have what it needs."""
        if self._one_by_one and self._shares:
            return None
        job = system(stage.system).job(stage.body) if self._several and stage.system in REGISTRY else None
        fixed = _fixed(stage, job)
        if any(fixed & share.fixed for share in self._shares.values()):
            return None
        gpus: tuple[str, ...] | None = None
        if self._several and self._declared and not self._one_by_one:
            all = self._all
            taken = {name for share in self._shares.values() for name in share.gpus or ()}
            free = tuple(name for name in all if name not in taken)
            each = stage.resources.per_node if stage.resources.device == "gpu" else 0
            whole = each > len(all) or (job is not None and job.first_gpus and each > 0)
            needed = len(all) if whole else each
            if len(free) < needed:
                return None
            gpus = free[:needed]
        share = Share(gpus, self._port(stage), fixed)
        self._shares[stage.output] = share
        return share

    def give_back(self, stage: Stage[object]) -> None:
        """Take back the share of a stage that has ended."""
        self._shares.pop(stage.output, None)

    def _port(self, stage: Stage[object]) -> int | None:
        """Return a free port for the processes of a stage on one node; on several, a person says where they meet."""
        if self._asked or stage.resources.nodes > 1 or stage.resources.per_node == 1:
            return None
        taken = {share.port for share in self._shares.values()}
        while (port := _free_port()) in taken:
            pass
        return port


# Of two trainings of several processes at once, one was seen to stand still behind its end; why is not known.
SPEECH = frozenset(["processes that speak to one another"])


def _fixed(stage: Stage[object], job: Job | None) -> frozenset[str]:
    """Return what a stage on one node shares with no other: ports, by their variables, and speech between processes."""
    if job is None or stage.resources.nodes > 1:
        return frozenset()
    speaks = stage.resources.per_node > 1 and stage.resources.device == "cpu"
    ports = frozenset[str](port.variable for port in job.ports)
    return ports | SPEECH if speaks else ports


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        port: int = found.getsockname()[1]
        return port


__all__ = ["NOTHING", "Allotment", "Share"]
