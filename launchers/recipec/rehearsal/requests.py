"""What a rehearsal asks of a server that is measured: the server as it is, by a few short requests."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.kinds.benchmark import Benchmark, Load
from recipec.source import Plain

REQUESTS, INPUT, OUTPUT, AT_ONCE, RATE = 4, 32, 16, 2, 4.0  # tokens; of each the most
FEW = "a few short requests show what a run would stumble over"


def shortened(body: Benchmark) -> Iterator[tuple[str, Plain, str]]:
    """Yield the paths of a stage's words, what stands in for what each says, and why; None: it says nothing there."""
    for word in ("grid", "points"):
        yield f"benchmark.{word}", None, "the server that stands in has no such settings"
    kinds = {one.workload: one for one in body.loads}
    workloads: list[Plain] = [_short(one) for one in kinds.values()]
    yield "benchmark.workloads", workloads, FEW
    yield "benchmark.requests", min(REQUESTS, *(one.requests for one in body.loads)), FEW
    yield "benchmark.warmup", 1, FEW


def _short(one: Load) -> Plain:
    prefix: dict[str, Plain] = {"shared_prefix": min(one.shared_prefix, INPUT)} if one.shared_prefix else {}
    load: dict[str, Plain] = (
        {"concurrency": [min(one.concurrency or 1, AT_ONCE)]} if one.rate is None else {"rate": [min(one.rate, RATE)]}
    )
    return {"name": one.workload, "input": min(one.input, INPUT), "output": min(one.output, OUTPUT), **prefix, **load}
