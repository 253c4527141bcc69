"""Rules about GPU memory. They count only what cannot be avoided, so that what they refuse really cannot fit."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts.models import KnownModel, formats
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, rule
from recipec.systems.registry import system

GIB = 1024**3
BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0, "nf4": 0.5, "fp4": 0.5}
# Bytes of optimiser state per parameter where the parameters are bf16, the least that a trainer keeps; fp32 doubles it.
COMPARED = ("dpo", "ipo", "kto", "grpo", "rloo", "ppo")  # methods with a reference model
WHOLE_LOGITS = (
    "pretrain",
    "sft",
    "dpo",
    "ipo",
    "orpo",
    "simpo",
    "kto",
    "cpo",
)  # methods whose loss is over the vocabulary
STATES = {
    "adamw": 4.0,
    "adamw_8bit": 2.0,
    "adamw_8bit_torchao": 2.0,
    "adamw_4bit": 1.0,
    "adamw_schedule_free": 4.0,
    "ademamix": 6.0,
    "lion": 2.0,
}


def least(known: KnownModel, s: Train) -> tuple[float, float, float]:
    """Return the bytes on each GPU of weights, gradients and optimiser states, at the very least. Shape: per GPU.

    Mixed precision keeps more (fp32 copies: 16 bytes per parameter, arXiv:1910.02054, section 3); activations, logits and
    buffers come on top of all.
    """
    assert known.parameters is not None
    total, strategy = float(known.parameters), s.parallel.strategy
    # shards are spread over those that share a sequence too, and a layer that is shared is there once in each group
    world = s.batch.data_parallel * s.parallel.context_parallel * s.parallel.tensor_parallel
    total /= 1 if strategy in ("zero3", "fsdp2") else s.parallel.tensor_parallel
    held = formats()[known.quantised].bits / 8 if known.quantised is not None else BYTES[s.model.load_in]
    quantised = max(0.0, total - known.embedding_parameters) if held < 2 else total
    weights = quantised * held + (total - quantised) * 2
    gradients = states = 0.0
    if s.adapter is None:
        gradients = total * held
        states = total * STATES.get(s.optimizer.name, 0.0) * (2 if s.model.load_in == "fp32" else 1)
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


def reference(s: Train, weights: float) -> float:
    """Return the bytes on each GPU of a frozen copy of the whole model, which some methods compare with; else 0.

    Beside an adapter it is the base under it. Where weights are sharded, it is; under ZeRO-1 and -2 each GPU holds it whole.
    """
    pulled = s.objective is not None and s.objective.beta > 0
    return weights if s.adapter is None and s.method in COMPARED and pulled else 0.0


def kept(known: KnownModel, s: Train) -> tuple[float, float]:
    """Return the bytes of activations and of logits on each GPU in one step of full rows, at the very least.

    With checkpointing, a layer keeps its input. Without, it keeps what its matrices and attention need for their
    gradients: inputs, queries, keys, values and the attention's output; gate, up and their product. All in the 2 bytes of
    bf16 (fp32: 4). The loss is taken of fp32 logits: 4 bytes per token and word of the vocabulary.
    """
    rows = system(s.trainer).keeps
    tokens = s.batch.micro * s.model.max_length / s.parallel.context_parallel
    width, each = 4.0 if s.numerics.precision == "fp32" else 2.0, 0.0
    sizes = (known.layers, known.hidden_size, known.heads, known.kv_heads, known.head_size, known.ffn_size)
    if None not in sizes:
        layers, hidden, heads, kv_heads, head, ffn = (size or 0 for size in sizes)
        inside = (2 * heads + 2 * kv_heads) * head + 3 * ffn
        inside += 2 * hidden if s.adapter is None else 0  # frozen matrices need no inputs
        each = layers * (hidden if s.numerics.gradient_checkpointing else inside / s.parallel.tensor_parallel)
    logits = 4.0 * tokens * (known.vocab or 0) / s.parallel.tensor_parallel
    fused = s.numerics.liger_kernel
    return (
        tokens * each * width if "activations" in rows else 0.0,
        logits if "logits" in rows and s.method in WHOLE_LOGITS and not fused else 0.0,
    )


@rule("L015", "more-than-the-memory", "error", sources="Axolotl#1813, #219, LLaMA-Factory#5771")
def too_large(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a training whose weights, gradients, optimiser states and reference model alone are larger than the memory of a GPU.

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
    weights, gradients, states = least(known, s)
    parts = {"weights": weights, "gradients": gradients, "optimiser states": states}
    parts["the reference model"] = reference(s, weights)
    if sum(parts.values()) > s.hardware.memory_gib * GIB:
        yield Fault("hardware.gpu", _more(parts, s), _smaller(s))


def _more(parts: dict[str, float], s: Train) -> str:
    told = [f"{part / GIB:.0f} GiB of {name}" for name, part in parts.items() if part >= GIB / 2]
    return f"{' + '.join(told)} are more than the {s.hardware.memory_gib} GiB of {s.hardware.gpu}"


def _full_rows(see: Context, s: Train) -> Iterator[Fault]:
    """Yield what is more than a GPU holds in a step of rows of `max_length`, beside what is kept between steps."""
    known = see.model(s.model.path)
    if known is None or known.parameters is None or s.hardware.device == "cpu" or s.rollout is not None:
        return
    if known.context is not None and s.model.max_length > known.context:  # the length itself is wrong: L032
        return
    weights, gradients, states = least(known, s)
    parts = {"weights": weights, "optimiser states": states, "the reference model": reference(s, weights)}
    if sum(parts.values()) + gradients > s.hardware.memory_gib * GIB:
        return  # told without them
    activations, logits = kept(known, s)
    parts |= {"activations": activations, "logits": logits}
    if sum(parts.values()) <= s.hardware.memory_gib * GIB:
        return
    ways = ["train.micro_batch_size: 1"] * (s.batch.micro > 1)
    ways += ["train.gradient_checkpointing: true"] * (not s.numerics.gradient_checkpointing)
    ways += ["train.liger_kernel: true"] * (logits > activations)
    message = f"{_more(parts, s)} where a row has all {s.model.max_length:,} tokens"
    paths = "model.max_length batch.micro hardware.gpu"
    if not s.numerics.gradient_checkpointing and activations > logits:
        paths = f"numerics.gradient_checkpointing {paths}"
    yield Fault(paths, message, f"use {', '.join([*ways, 'a smaller max_length'])}, or more or larger GPUs")


@rule("L145", "packed-rows-beyond-the-memory", "error", sources="Axolotl#1813, LLaMA-Factory#5771")
def packs_too_large(see: Context, s: Train) -> Iterator[Fault]:
    """Finds packed rows whose activations and logits do not fit beside the weights.

    Why is this bad:
    Packed rows have all `max_length` tokens, from the first step on. What is counted is the least that is kept of them: the inputs of the layers, or of their matrices
    without gradient checkpointing, and fp32 logits over the whole vocabulary.

    Example:
        model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 131072}
        data: {train: [{path: data/chat.jsonl, format: chat}], packing: true}
        adapter: {rank: 16}
        hardware: {gpu: a100-40gb}

    Use instead:
        model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 16384}
    """
    if s.data.packing:
        yield from _full_rows(see, s)


@rule("L146", "long-rows-beyond-the-memory", "warning", sources="Axolotl#1813, LLaMA-Factory#5771")
def rows_too_large(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a `max_length` and a micro batch whose activations and logits do not fit beside the weights.

    Why is this bad:
    The training goes on until a batch has a row of that length, and then ends for want of memory: often in the middle of the night. What is counted is
    the least that is kept.

    Example:
        model: {base: Qwen/Qwen2.5-1.5B-Instruct, max_length: 32768}
        train: {learning_rate: 1e-5, micro_batch_size: 8}

    Use instead:
        train: {learning_rate: 1e-5, micro_batch_size: 1, liger_kernel: true}
    """
    if not s.data.packing:
        yield from _full_rows(see, s)


def _smaller(s: Train) -> str:
    """Return what would make it smaller, the least change of the method first."""
    ways: list[str] = []
    if s.hardware.world > 1 and s.parallel.strategy not in ("zero3", "fsdp2"):
        ways.append("parallel.strategy: fsdp2")
    if s.adapter is None:
        ways.append("an adapter (adapter: {rank: 16})")
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


RULES = (too_large, packs_too_large, rows_too_large, needless_offload, host_too_small)
