"""Rules about raw overrides and what tools do of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipec.kinds.train.records import Train
from recipec.language import Recipe
from recipec.rules.rule import Context, Fault, rule
from recipec.source import dotted, is_mapping
from recipec.suggest import nearest
from recipec.systems.registry import doing, system

CONTEXT, TENSOR = "parallel.context_parallel", "parallel.tensor_parallel"
# What tools call these sizes, in whatever file and at whatever depth.
OF_CONTEXT = ("context_parallel_size", "sequence_parallel_degree", "sequence_parallel_size", "cp_size", "sp_size", "ring_attn_size", "ulysses_size", "ulysses_sequence_parallel_size", "ulysses_degree")  # fmt: skip
OF_TENSOR = ("tensor_parallel_size", "tp_size", "autotp_size", "tensor_parallel_degree")
OF_SHARDS, OF_COPIES = "dp_shard_size", "dp_replicate_size"
OF_OTHERS = ("expert_parallel_size", "ep_size", "pipeline_parallel_size", "pp_size")
ENGINES = ("vllm", "rollout", "generation")  # sizes below these are those of engines
WRAP = ("transformer_layer_cls_to_wrap", "fsdp_transformer_layer_cls_to_wrap")


@rule("L012", "optimiser-in-deepspeed", "error", sources="Axolotl PR#909, LLaMA-Factory#1515, DeepSpeed#5726")
def deepspeed_optimizer(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an optimiser or a schedule in DeepSpeed's own configuration.

    Why is this bad:
    The trainer has one too. Which of the two wins depends on the trainer, and the other's learning rate, warmup and decay
    are ignored without a message.

    Example:
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: zero2}
        overrides: {deepspeed: {scheduler: {type: WarmupLR, params: {warmup_num_steps: 100}}}}

    Use instead:
        train: {learning_rate: 1e-5, scheduler: constant_with_warmup, warmup: 100}
        overrides: {}
    """
    raw = see.overrides.get("deepspeed", {})
    for word in ("optimizer", "scheduler"):
        if word in raw and s.parallel.strategy.startswith("zero") and not system(s.trainer).own_program:
            message = f"DeepSpeed's own {word} would compete with the one of the recipe"
            yield Fault(f"overrides.deepspeed.{word}", message, "use train.optimizer, train.scheduler, train.warmup")


@rule("L014", "wrap-class-of-another-family", "error", sources="LLaMA-Factory#8279, verl#4950")
def wrap_class(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a class to wrap for FSDP that the model's family does not have.

    Why is this bad:
    FSDP ends with "could not find the transformer layer class", once every node has loaded the model; or it wraps the
    whole model as one unit, and runs out of memory.

    Example:
        model: {base: Qwen/Qwen2-7B-Instruct}
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: fsdp2}
        overrides: {axolotl: {fsdp_config: {transformer_layer_cls_to_wrap: LlamaDecoderLayer}}}

    Use instead:
        overrides: {axolotl: {fsdp_config: {transformer_layer_cls_to_wrap: Qwen2DecoderLayer}}}
    """
    known = see.model(s.model.path)
    if known is None or known.layer is None:
        return
    for path, value in _all(see.overrides, "overrides"):
        if path.rsplit(".", 1)[-1] in WRAP and value != known.layer:
            message = f"{known.id} has no layer class {value}"
            yield Fault(
                path, message, f"use {known.layer}, or drop it: it is found without", nearest(str(value), [known.layer])
            )


def _all(value: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for word, inner in value.items():
        if is_mapping(inner):
            yield from _all(inner, f"{path}.{word}")
        else:
            yield f"{path}.{word}", inner


@rule("L009", "fsdp-beside-another-sharding", "error", sources="Axolotl#2744, #2701")
def two_shardings(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a raw FSDP or DeepSpeed key of a trainer that contradicts the recipe's strategy.

    Why is this bad:
    Two systems would shard the same parameters: the trainer ends with an error, or uses one of them without a message.

    Example:
        hardware: {gpu: a100-80gb, per_node: 4}
        parallel: {strategy: zero3}
        overrides: {axolotl: {fsdp_config: {offload_params: true}}}

    Use instead:
        overrides: {}
    """
    strategy, raw = s.parallel.strategy, see.overrides.get(s.trainer, {})
    keys = ("fsdp_config", "fsdp", "fsdp_version") if strategy.startswith("zero") else ()
    word = next((key for key in (("deepspeed",) if strategy == "fsdp2" else keys) if raw.get(key)), None)
    if word is not None:
        message = f"{word} would shard beside parallel.strategy: {strategy}"
        yield Fault(f"overrides.{s.trainer}.{word}", message, "choose one by parallel.strategy, and drop the key")


@rule(
    "L143", "raw-sizes-of-groups", "error", "recipe", sources="Axolotl: effective_world_size; transformers: get_cp_size"
)
def raw_sizes(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds raw keys of a tool that make groups of processes share sequences or layers.

    Why is this bad:
    Processes of a group hold the same sequences. The batch, the accumulation and the steps were decided for processes that each hold their own, so the batch would be
    smaller than the recipe says, by the size of a group.

    Example:
        model: {base: my-lab/my-model, attention: flash_attention_2}
        train: {learning_rate: 1e-5, batch_size: 8}
        hardware: {gpu: h100-80gb, per_node: 8}
        parallel: {strategy: fsdp2}
        overrides: {axolotl: {context_parallel_size: 4}}

    Use instead:
        parallel: {strategy: fsdp2, context_parallel: 4}
        overrides: {}
    """
    plans: list[Train] = [stage.body for stage in see.plan.of_kind("train")]
    for tool, raw in see.overrides.items():
        if tool in doing("evaluate"):  # what an evaluation is given divides no batch
            continue
        for path, key, value, beside in _of_training(raw, ("overrides", tool)):
            if not isinstance(value, int | None):  # its contract tells
                continue
            name = key.removeprefix("parallelism_config_")
            here = dotted(path)
            for names, word in ((OF_CONTEXT, CONTEXT), (OF_TENSOR, TENSOR)):
                if name in names and any(_differs(value, getattr(s.parallel, word.partition(".")[2])) for s in plans):
                    message = f"{key} makes processes share {'sequences' if word == CONTEXT else 'layers'}, which the batch is not divided for"
                    yield Fault(here, message, f"set {word}: {value} instead" if value not in (None, 1) else "drop it")
            if name in OF_OTHERS and value not in (None, 1):
                message = f"{key} makes processes share the model, which the batch is not divided for"
                yield Fault(here, message, "drop it: a recipe has no word for it")
            if name == OF_SHARDS and any(_uneven(value, beside, s.batch.data_parallel) for s in plans):
                copies = (
                    "dp_replicate_size beside it" if key == name else "parallelism_config_dp_replicate_size beside it"
                )
                message = f"{key}: {value} leaves open what the other data-parallel processes do"
                yield Fault(
                    here, message, f"give {copies}, so that both make {plans[0].batch.data_parallel}, or drop it"
                )


def _of_training(raw: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any, dict[str, Any]]]:
    """Yield the path, the last name, the value and the mapping around it of every raw key that is none of an engine."""
    for word, value in raw.items():
        names = str(word).split(".")
        if any(name.partition("_")[0] in ENGINES for name in names):
            continue
        if is_mapping(value):
            yield from _of_training(value, (*path, str(word)))
        else:
            yield (*path, str(word)), names[-1], value, raw


def _differs(value: Any, size: int) -> bool:
    return (1 if value is None else value) != size


def _uneven(shards: Any, beside: dict[str, Any], data_parallel: int) -> bool:
    copies = next((value for word, value in beside.items() if str(word).endswith(OF_COPIES)), 1)
    return isinstance(shards, int) and isinstance(copies, int) and shards * copies != data_parallel


RULES = (deepspeed_optimizer, wrap_class, two_shardings, raw_sizes)
