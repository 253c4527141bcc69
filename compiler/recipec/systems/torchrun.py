"""torchrun, which comes with torch: the words that start a program as processes on each node."""

from __future__ import annotations

from recipec.job import ADDRESS, PORT, RANK, Word
from recipec.kinds.train.records import Train


def start(s: Train) -> tuple[Word, ...]:
    """Return the words before the program."""
    processes = ("--nproc_per_node", str(s.hardware.per_node))
    if s.hardware.nodes == 1:
        return ("torchrun", "--standalone", *processes)
    meeting = ("--node_rank", RANK, "--master_addr", ADDRESS, "--master_port", PORT)
    return ("torchrun", "--nnodes", str(s.hardware.nodes), *processes, *meeting)
