"""Rules about GPU memory. They count only what cannot be avoided, so that what they refuse really cannot fit."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts.models import KnownModel
from recipec.kinds.evaluate import held
from recipec.kinds.train.memory import GIB, in_bf16, least, overfull, overfull_step, told
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, rule

LARGE_SHARE = 0.9  # of a GPU's memory, beside which nothing else fits that trains


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
    parts = overfull(known, s)
    if parts:
        yield Fault(_to_blame(known, s), told(parts, s), _smaller(known, s))


def _to_blame(known: KnownModel, s: Train) -> str:
    """Return the plan paths that a reviewer points at: the strategy, or the format of the weights, where another one fits."""
    sharded = s.replaced(parallel=s.parallel.replaced(strategy="fsdp2"))
    packed = s.replaced(model=s.model.replaced(load_in="nf4"))
    if s.parallel.strategy not in ("single", "zero3", "fsdp2") and not overfull(known, sharded):
        return "parallel.strategy hardware.gpu"
    if s.adapter is not None and s.model.load_in not in ("nf4", "fp4") and not overfull(known, packed):
        return "model.load_in hardware.gpu"
    return "hardware.gpu"


def _full_rows(see: Context, s: Train) -> Iterator[Fault]:
    """Yield what is more than a GPU holds in a step of rows of `max_length`, beside what is kept between steps."""
    known = see.model(s.model.path)
    if known is None or known.parameters is None or s.hardware.device == "cpu" or overfull(known, s):
        return  # what is too much without them is told without them
    parts = overfull_step(known, s)
    if not parts:
        return
    activations, logits = parts["activations"], parts["logits"]
    ways = ["train.micro_batch_size: 1"] * (s.batch.micro > 1)
    ways += ["train.gradient_checkpointing: true"] * (not s.numerics.gradient_checkpointing)
    # its loss over pieces of the logits is that of texts: few trainers have one for pairs
    ways += ["train.liger_kernel: true"] * (logits > activations and s.method in ("sft", "pretrain"))
    single = s.replaced(batch=s.batch.replaced(micro=1))
    paths = "model.max_length batch.micro hardware.gpu"
    if s.batch.micro > 1 and not overfull_step(known, single):
        paths = f"batch.micro {paths}"  # what alone makes it too much
    if not s.numerics.gradient_checkpointing and activations > logits:
        paths = f"numerics.gradient_checkpointing {paths}"
    yield Fault(paths, told(parts, s), f"use {', '.join([*ways, 'a smaller max_length'])}, or more or larger GPUs")


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


def _smaller(known: KnownModel, s: Train) -> str:
    """Return what would make it smaller, the least change of the method first."""
    ways: list[str] = []
    if s.hardware.world > 1 and s.parallel.strategy not in ("zero3", "fsdp2"):
        ways.append("parallel.strategy: fsdp2")
    if s.adapter is None:
        ways.append("an adapter (adapter: {rank: 16})")
    halved = in_bf16(s)
    if halved is not None and not overfull(known, halved):
        ways.append("model.load_in: bf16 (half of it, and small updates are lost: L137)")
    packed = known.quantised is not None and not known.quantised.startswith("bnb")  # L337
    if s.model.load_in not in ("nf4", "fp4") and not packed:
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


@rule(
    "L341",
    "engine-without-room",
    "error",
    sources="vLLM: Free memory on device is less than desired GPU memory utilization",
)
def engine_room(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a share of GPU memory in which a vLLM engine cannot hold the model, or beside which the training cannot.

    Why is this bad:
    An engine takes its share when it starts, and ends with an error if the weights alone are larger, or if the training holds more than the rest
    of the GPU.

    Example:
        trainer: openrlhf
        model: {base: Qwen/Qwen2.5-14B-Instruct, max_length: 4096, attention: flash_attention_2}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 5e-7, save: {every: 10}, batch_size: 128}
        rollout: {engine: vllm, gpu_memory_share: 0.1, max_new_tokens: 1024}
        rewards: [{type: exact}]
        hardware: {gpu: h100-80gb, per_node: 8}
        parallel: {strategy: zero3}

    Use instead:
        rollout: {engine: vllm, gpu_memory_share: 0.5, max_new_tokens: 1024}
    """
    known, r = see.model(s.model.path), s.rollout
    if known is None or known.parameters is None or r is None or r.engine != "vllm" or s.hardware.device == "cpu":
        return
    memory = s.hardware.memory_gib * GIB
    weights = held(known, s.numerics.precision) / r.tensor_parallel
    if weights > r.gpu_memory_share * memory:
        of = f"over {r.tensor_parallel} GPUs " if r.tensor_parallel > 1 else ""
        message = f"an engine holds {weights / GIB:.0f} GiB of weights {of}on each GPU, and its share of {s.hardware.gpu} is {r.gpu_memory_share * s.hardware.memory_gib:.0f} GiB"
        fits = [
            n for n in (2, 4, 8) if n > r.tensor_parallel and weights * r.tensor_parallel / n < LARGE_SHARE * memory
        ]
        more = weights < LARGE_SHARE * memory
        paths = (
            "rollout.gpu_memory_share rollout.tensor_parallel"
            if more
            else "rollout.tensor_parallel rollout.gpu_memory_share"
        )
        ways = ["a larger rollout.gpu_memory_share"] * more + [f"rollout.tensor_parallel: {n}" for n in fits[:1]]
        yield Fault(f"{paths} rollout.engine model.path", message, f"use {', or '.join([*ways, 'larger GPUs'])}")
    elif r.engines is None:
        kept, rest = least(known, s)[0], (1 - r.gpu_memory_share) * memory  # its optimiser states may sleep
        if kept > rest or r.gpu_memory_share > LARGE_SHARE:
            message = f"an engine that shares GPUs with the training leaves it {rest / GIB:.0f} of {s.hardware.memory_gib} GiB"
            message += f", and weights take {kept / GIB:.0f} GiB" if kept > rest else ""
            yield Fault(
                "rollout.gpu_memory_share rollout.engine",
                message,
                "use 0.3 to 0.6, or give the engines GPUs of their own by rollout.engines",
            )


RULES = (engine_room, too_large, packs_too_large, rows_too_large, needless_offload, host_too_small)
