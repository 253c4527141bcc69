"""Stages that take a part of the declared machine."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.decide.machine import elsewhere, hardware
from recipec.language import Recipe
from recipec.plural import counted
from recipec.rules.rule import Context, Fault, contradiction


@contradiction("P261", "more-than-the-machine", "part", words=("hardware",))
def beyond_the_machine(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage that takes more GPUs than a node has, some of several nodes, or several nodes of another machine.

    Why is this bad:
    A stage runs on the machine that the recipe declares. It would wait for processes that nobody starts, or end with "invalid
    device ordinal". Of several nodes it takes all, or node 0 alone: every node runs the same script. On GPUs of another kind it
    runs on a machine of its own, which is one node.

    Example:
        hardware: {gpu: a100-80gb, per_node: 4}
        stages:
          - {name: sft, hardware: {per_node: 8}}

    Use instead:
        hardware: {gpu: a100-80gb, per_node: 8}
        stages:
          - {name: sft}
    """
    machine, own = see.plan.hardware, hardware(see.said).value
    if elsewhere(machine, own):
        if own.nodes > 1:
            message = (
                f"this stage takes {counted(own.nodes, 'node')} of {own.gpu}, and the machine is one of {machine.gpu}"
            )
            yield Fault("hardware.nodes", message, "set nodes: 1 in its hardware, or write a recipe of its own for it")
        return
    if own.device == "gpu" and own.per_node > machine.per_node:
        message = f"this stage takes {counted(own.per_node, 'GPU')} of a node that has {machine.per_node}"
        yield Fault(
            "hardware.per_node", message, f"use at most {machine.per_node}, or declare more in hardware.per_node"
        )
    if own.nodes not in (1, machine.nodes):
        message = f"this stage takes {own.nodes} of {counted(machine.nodes, 'node')}"
        yield Fault("hardware.nodes", message, "use 1, which is node 0, or drop it for all of them")


@contradiction("P262", "processes-of-a-cpu", "part", words=("hardware",))
def untold_processes(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage that leaves the machine's GPUs for its CPU, or for another machine, without a number of processes.

    Why is this bad:
    `per_node` counts GPUs for the other stages. As many processes on the CPU would share its cores; another machine need not have
    as many GPUs. The batch would be divided by a number that nobody has said.

    Example:
        hardware: {gpu: a100-80gb, per_node: 8}
        stages:
          - {name: sft, hardware: {gpu: none}}

    Use instead:
        hardware: {gpu: a100-80gb, per_node: 8}
        stages:
          - {name: sft, hardware: {gpu: none, per_node: 1}}
    """
    own = see.said.part.own
    said = own.entries.get("hardware") if own is not None else None
    keys = getattr(said, "entries", {})
    machine, mine = see.plan.hardware, hardware(see.said)
    if machine.device == "gpu" and "gpu" in keys and "per_node" not in keys and machine.per_node > 1:
        if mine.value.device == "cpu":
            message = "it is not said how many processes this stage has on the CPU"
            yield Fault("hardware.gpu", message, "say it: {gpu: none, per_node: 1}")
        elif elsewhere(machine, mine.value):
            message = f"it is not said how many {mine.value.gpu} this stage has"
            yield Fault("hardware.gpu", message, f"say it: {{gpu: {mine.value.gpu}, per_node: 1}}")


RULES = (beyond_the_machine, untold_processes)
