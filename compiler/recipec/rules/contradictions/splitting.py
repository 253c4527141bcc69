"""Contradictions about processes that share a sequence or a layer, and about engines that share a model."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts.models import fitting, unfit
from recipec.kinds.train.parallel import learners
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, contradiction
from recipec.systems.registry import system

CONTEXT, TENSOR = "parallel.context_parallel", "parallel.tensor_parallel"
SPLIT = (CONTEXT, TENSOR, "parallel.strategy", "hardware.per_node", "hardware.nodes", "hardware.gpu")


@contradiction("P234", "processes-that-cannot-be-shared", words=SPLIT)
def shares(see: Context, s: Train) -> Iterator[Fault]:
    """Finds context or tensor parallelism that does not divide the processes.

    Why is this bad:
    Each group of processes works on the same sequences. Where the groups do not come out even, the tools stop when they start, on every GPU that was paid for.

    Example:
        hardware: {gpu: h100-80gb, per_node: 8}
        model: {base: my-lab/my-model, attention: flash_attention_2}
        parallel: {strategy: fsdp2, context_parallel: 3}

    Use instead:
        parallel: {strategy: fsdp2, context_parallel: 4}
    """
    context, tensor = s.parallel.context_parallel, s.parallel.tensor_parallel
    split = context * tensor
    if split == 1:
        return
    here = CONTEXT if context > 1 else TENSOR
    world, _ = learners(see.said, s.hardware, s.method)
    if s.hardware.device == "cpu":
        yield Fault(here, "sequences and layers are shared between GPUs", "drop it, or declare a gpu")
    elif world % split:
        sizes = f"{context} × {tensor}" if min(context, tensor) > 1 else f"{split}"
        able = [size for size in range(2, world + 1) if world % size == 0]
        advice = f"{world} can be divided by {', '.join(map(str, able))}" if able else "drop it, or declare more GPUs"
        yield Fault(here, f"{world} processes cannot be divided into groups of {sizes}", advice)
    elif tensor > 1 and s.hardware.per_node % tensor:
        message = f"{tensor} GPUs that share every layer do not fill nodes of {s.hardware.per_node}"
        yield Fault(TENSOR, message, f"use a divisor of {s.hardware.per_node}")
    elif tensor > 1 and context == 1 and s.parallel.strategy == "fsdp2" and world == tensor:
        message = "tensor_parallel takes all processes, and FSDP2 has none left to shard over"
        yield Fault(TENSOR, message, "use a smaller one")


@contradiction("P235", "heads-that-cannot-be-shared", words=(TENSOR, "rollout", "model.base", "hardware.per_node"))
def heads(see: Context, s: Train) -> Iterator[Fault]:
    """Finds tensor parallelism, of the training or of its engines, that does not divide the model's attention heads.

    Why is this bad:
    Each GPU takes whole heads. vLLM and Transformers refuse what leaves some over, once the GPUs are taken.

    Example:
        trainer: openrlhf
        model: {base: Qwen/Qwen2.5-7B-Instruct, attention: flash_attention_2}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 96, micro_batch_size: 4}
        rollout: {engine: vllm, engines: 1, tensor_parallel: 8}
        rewards: [{type: exact}]
        hardware: {gpu: h100-80gb, per_node: 16}
        parallel: {strategy: zero3}

    Use instead:
        rollout: {engine: vllm, engines: 1, tensor_parallel: 4}
    """
    known = see.model(s.model.path)
    why = unfit(known, s.parallel.tensor_parallel, copies=False)
    if why:
        able = fitting(known, s.parallel.tensor_parallel, copies=False)
        yield Fault(TENSOR, why, f"use {able}" if able > 1 else "drop tensor_parallel")
    if s.rollout is not None and s.rollout.engine == "vllm":
        why = unfit(known, s.rollout.tensor_parallel, copies=True)
        if why:
            able = fitting(known, s.rollout.tensor_parallel, copies=True)
            yield Fault("rollout.tensor_parallel", why, f"use {able}, with more engines")


@contradiction("P236", "tied-embeddings-in-pieces", words=(TENSOR, "model.base"))
def tied(see: Context, s: Train) -> Iterator[Fault]:
    """Finds tensor parallelism of a model whose output layer is its input embedding.

    Why is this bad:
    The output layer is split over the GPUs, the embedding is not: they could no longer be one. Axolotl refuses such models; others untie them.

    Example:
        model: {base: Qwen/Qwen2.5-3B-Instruct}
        hardware: {gpu: h100-80gb, per_node: 8}
        parallel: {strategy: fsdp2, tensor_parallel: 2}

    Use instead:
        parallel: {strategy: fsdp2}
    """
    known = see.model(s.model.path)
    if s.parallel.tensor_parallel == 1 or system(s.trainer).own_program:
        return
    if known is not None and known.tied_embeddings:
        message = f"{known.id} ties its output layer to its embedding, and tensor parallelism splits only one of them"
        yield Fault(TENSOR, message, "drop tensor_parallel: fsdp2 and zero3 shard it too")


RULES = (shares, heads, tied)
