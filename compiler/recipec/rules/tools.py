"""Rules about raw overrides and what tools do of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, rule
from recipec.source import is_mapping
from recipec.suggest import nearest
from recipec.systems.registry import system

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


RULES = (deepspeed_optimizer, wrap_class, two_shardings)
