"""What a training keeps in the memory of each GPU. Only what cannot be avoided is counted: what is more than a GPU really cannot fit."""

from __future__ import annotations

from recipec.facts.models import KnownModel, formats
from recipec.kinds.train.methods import COMPARED
from recipec.kinds.train.records import Train
from recipec.systems.registry import system

GIB = 1024**3
BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0, "nf4": 0.5, "fp4": 0.5}
# methods whose loss is over the vocabulary
WHOLE_LOGITS = ("pretrain", "sft", "dpo", "ipo", "orpo", "simpo", "kto", "cpo")
# Bytes of optimiser state per parameter where the parameters are bf16; of those in WIDE, fp32 parameters have twice as much.
STATES = {
    "adamw": 4.0, "adamw_8bit": 2.0, "adamw_8bit_torchao": 2.0, "adamw_4bit": 1.0, "adamw_schedule_free": 4.0,
    "ademamix": 6.0, "ademamix_8bit": 3.0, "lion": 2.0, "lion_8bit": 1.0,
}  # fmt: skip
WIDE = ("adamw", "adamw_schedule_free", "ademamix", "lion")


def least(known: KnownModel, s: Train) -> tuple[float, float, float]:
    """Return the bytes on each GPU of weights, gradients and optimiser states, at the very least. Shape: per GPU.

    DeepSpeed keeps fp32 copies of what is trained in 16 bit, with the states (16 bytes per parameter with Adam,
    arXiv:1910.02054, section 3); elsewhere weights and gradients are in the format that they are loaded in, or fp32 where the
    system makes such copies instead. Activations, logits and buffers come on top of all.
    """
    assert known.parameters is not None
    total, strategy = float(known.parameters), s.parallel.strategy
    # shards are spread over those that share a sequence too, and a layer that is shared is there once in each group
    world = s.batch.data_parallel * s.parallel.context_parallel * s.parallel.tensor_parallel
    total /= 1 if strategy in ("zero3", "fsdp2") else s.parallel.tensor_parallel
    copied = s.adapter is None and strategy in system(s.trainer).fp32_copies
    load_in = "fp32" if copied else s.model.load_in
    held = formats()[known.quantised].bits / 8 if known.quantised is not None else BYTES[load_in]
    quantised = max(0.0, total - known.embedding_parameters) if held < 2 else total
    weights = quantised * held + (total - quantised) * 2
    gradients = states = 0.0
    if s.adapter is None:
        gradients = total * held
        copies = strategy.startswith("zero") and s.numerics.precision != "fp32"
        wide = s.optimizer.name in WIDE and (copies or load_in == "fp32")
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


def reference(s: Train, weights: float) -> float:
    """Return the bytes on each GPU of a frozen copy of the whole model, which some methods compare with; else 0.

    Beside an adapter it is the base under it, unless the recipe names another. Where weights are sharded, it is; under ZeRO-1
    and -2 each GPU holds it whole.
    """
    pulled = s.objective is not None and s.objective.beta > 0
    apart = s.adapter is None or s.reference is not None
    return weights if apart and s.method in COMPARED and pulled else 0.0


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


def overfull(known: KnownModel, s: Train, share: float = 1.0) -> dict[str, float]:
    """Return what is more than a share of each GPU's memory, in bytes by what it is: what stays between steps; else nothing."""
    weights, gradients, states = least(known, s)
    parts = {"weights": weights, "gradients": gradients, "optimiser states": states}
    parts["the reference model"] = reference(s, weights)
    return parts if sum(parts.values()) > share * s.hardware.memory_gib * GIB else {}


def overfull_step(known: KnownModel, s: Train, share: float = 1.0) -> dict[str, float]:
    """Return what is more than a share of each GPU's memory in a step of rows of `max_length`, in bytes by what it is; else nothing.

    Gradients are there in the whole step only where several micro batches are added up.

    Where `max_length` is more than the model has, the length itself is wrong, and nothing is concluded.
    """
    if s.rollout is not None or (known.context is not None and s.model.max_length > known.context):
        return {}
    weights, gradients, states = least(known, s)
    activations, logits = kept(known, s)
    parts = {
        "weights": weights,
        "gradients": gradients if s.batch.accumulation > 1 else 0.0,
        "optimiser states": states,
    }
    parts |= {"the reference model": reference(s, weights), "activations": activations, "logits": logits}
    return parts if sum(parts.values()) > share * s.hardware.memory_gib * GIB else {}


def in_bf16(s: Train) -> Train | None:
    """Return a training with bf16 in place of fp32 weights, which keeps half as much; None where it would not, or cannot be."""
    strategy = s.parallel.strategy
    copies = strategy.startswith("zero") or strategy in system(s.trainer).fp32_copies
    if s.adapter is not None or s.script is not None or copies:
        return None
    if (s.model.load_in, s.numerics.precision) != ("fp32", "bf16"):  # weights in fp16 cannot be trained
        return None
    return s.replaced(model=s.model.replaced(load_in="bf16"))


def told(parts: dict[str, float], s: Train, share: float = 1.0) -> str:
    """Return in words that these parts are more than a share of each GPU's memory."""
    each = [f"{part / GIB:.0f} GiB of {name}" for name, part in parts.items() if part >= GIB / 2]
    rows = f" where a row has all {s.model.max_length:,} tokens" if "activations" in parts else ""
    of = f"{share:.0%} of " if share < 1 else ""
    return f"{' + '.join(each)} are more than {of}the {s.hardware.memory_gib} GiB of {s.hardware.gpu}{rows}"
