"""Rules about GPU memory. They count only what cannot be avoided, so that what they refuse really cannot fit."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts.models import KnownModel, formats
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, rule

GIB = 1024**3
BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0, "nf4": 0.5, "fp4": 0.5}
# Bytes of optimiser state per parameter where the parameters are bf16; of those in WIDE, fp32 parameters have twice as much.
STATES = {
    "adamw": 4.0, "adamw_8bit": 2.0, "adamw_8bit_torchao": 2.0, "adamw_4bit": 1.0, "adamw_schedule_free": 4.0,
    "ademamix": 6.0, "ademamix_8bit": 3.0, "lion": 2.0, "lion_8bit": 1.0,
}  # fmt: skip
WIDE = ("adamw", "adamw_schedule_free", "ademamix", "lion")


def least(known: KnownModel, s: Train) -> tuple[float, float, float]:
    """Return the bytes on each GPU of weights, gradients and optimiser states, at the very least. Shape: per GPU.

    DeepSpeed keeps fp32 copies of what is trained in 16 bit, with the states (16 bytes per parameter with Adam,
    arXiv:1910.02054, section 3); elsewhere weights and gradients are in the format that they are loaded in. Activations,
    logits and buffers come on top of all.
    """
    assert known.parameters is not None
    total, world, strategy = known.parameters, s.batch.data_parallel, s.parallel.strategy
    held = formats()[known.quantised].bits / 8 if known.quantised is not None else BYTES[s.model.load_in]
    quantised = total - known.embedding_parameters if held < 2 else total
    weights = quantised * held + (total - quantised) * 2
    gradients = states = 0.0
    if s.adapter is None:
        gradients = total * held
        copies = strategy.startswith("zero") and s.numerics.precision != "fp32"
        wide = s.optimizer.name in WIDE and (copies or s.model.load_in == "fp32")
        states = total * STATES.get(s.optimizer.name, 0.0) * (2 if wide else 1)
        if copies:  # the working copy is of the computation's format
            weights = gradients = total * BYTES[s.numerics.precision]
            states += total * BYTES["fp32"]
    if strategy in ("zero3", "fsdp2"):
        weights /= world
    if strategy in ("zero2", "zero3", "fsdp2"):
        gradients /= world
    if strategy != "ddp":
        states /= world
    if s.parallel.optimizer_offload != "none":
        gradients = states = 0.0
    if s.parallel.parameter_offload != "none":
        weights = 0.0
    return weights, gradients, states


@rule("L015", "more-than-the-memory", "error", sources="Axolotl#1813, #219, LLaMA-Factory#5771")
def too_large(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a training whose weights, gradients and optimiser states alone are larger than the memory of a GPU.

    Why is this bad:
    It ends with an out-of-memory error, often only at the first optimiser step. What is counted is the least that any
    trainer keeps, without activations: what passes may still not fit.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
        hardware: {gpu: rtx-4090}

    Use instead:
        adapter: {rank: 16}
    """
    known = see.model(s.model.path)
    if known is None or known.parameters is None or s.hardware.device == "cpu" or s.script is not None:
        return
    weights, gradients, states = (part / GIB for part in least(known, s))
    if weights + gradients + states <= s.hardware.memory_gib:
        return
    parts = [
        f"{part:.0f} GiB of {name}"
        for part, name in ((weights, "weights"), (gradients, "gradients"), (states, "optimiser states"))
        if part
    ]
    message = f"{' + '.join(parts)} are more than the {s.hardware.memory_gib} GiB of {s.hardware.gpu}"
    yield Fault("hardware.gpu", message, _smaller(s))


def _smaller(s: Train) -> str:
    """Return what would make it smaller, the least change of the method first."""
    ways: list[str] = []
    if s.hardware.world > 1 and s.parallel.strategy not in ("zero3", "fsdp2"):
        ways.append("parallel.strategy: fsdp2")
    if s.adapter is None:
        ways.append("an adapter (adapter: {rank: 16})")
    if s.adapter is None and s.model.load_in == "fp32" and s.numerics.precision == "bf16":
        ways.append("model.load_in: bf16 (half of it, and small updates are lost: L137)")
    if s.model.load_in not in ("nf4", "fp4"):
        ways.append("model.load_in: nf4 with an adapter" if s.adapter is None else "model.load_in: nf4")
    if s.parallel.strategy in ("zero2", "zero3", "fsdp2") and s.parallel.optimizer_offload == "none":
        ways.append("parallel.offload")
    return f"use {', '.join(ways)}, or more or larger GPUs" if ways else "use more or larger GPUs"


@rule("L016", "offload-without-need", "warning", sources="DeepSpeed#3606, #2996")
def needless_offload(see: Context, s: Train) -> Iterator[Fault]:
    """Finds offload to the CPU although all states together would take less than 40% of the GPUs' memory.

    Why is this bad:
    Each step waits for the copies between host and GPU, and the optimiser runs on the CPU: several times slower, for
    memory that was not needed. This counts 16 bytes per trained parameter, as mixed precision keeps.

    Example:
        model: {base: Qwen/Qwen2.5-0.5B-Instruct}
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: zero3, offload: {optimizer: cpu}}

    Use instead:
        parallel: {strategy: zero3}
    """
    known = see.model(s.model.path)
    if known is None or known.parameters is None or s.parallel.optimizer_offload == "none" or s.adapter is not None:
        return
    if s.rollout is not None:  # engines, critic and reward model want memory too
        return
    shards = s.batch.data_parallel if s.parallel.strategy in ("zero3", "fsdp2") else 1
    each = 16 * known.parameters / shards / GIB
    share = each / s.hardware.memory_gib if s.hardware.memory_gib else 1
    if share < 0.4:
        message = f"all states take about {each:.0f} of {s.hardware.memory_gib} GiB on each GPU without offload"
        yield Fault("parallel.optimizer_offload", message, "drop parallel.offload")


@rule("L048", "offload-beyond-host-memory", "error", sources="DeepSpeed#2996, LLaMA-Factory#7282")
def host_too_small(see: Context, s: Train) -> Iterator[Fault]:
    """Finds offload to the CPU that needs more host memory than a node is declared to have.

    Why is this bad:
    The kernel kills a process without a message, often minutes after the start. Adam's states and gradients take about 18
    bytes per parameter in host memory, and half of that again while they are set up.

    Example:
        model: {base: meta-llama/Meta-Llama-3-70B-Instruct}
        hardware: {gpu: a100-80gb, per_node: 8, host_memory_gib: 512}
        parallel: {strategy: zero3, offload: {optimizer: cpu}}

    Use instead:
        hardware: {gpu: a100-80gb, per_node: 8, host_memory_gib: 2048}
    """
    known, host = see.model(s.model.path), s.hardware.host_memory_gib
    if known is None or known.parameters is None or host is None or s.adapter is not None:
        return
    if s.parallel.optimizer_offload != "cpu":
        return
    need = 18 * 1.5 * known.parameters / s.hardware.nodes / GIB
    if need > host:
        message = f"offload needs about {need:,.0f} GiB of host memory on each node, which has {host:,}"
        yield Fault("hardware.host_memory_gib", message, "use more nodes, offload to nvme, or an adapter")


RULES = (too_large, needless_offload, host_too_small)
