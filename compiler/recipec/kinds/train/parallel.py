"""Sharding, and the algebra of the batch."""

from __future__ import annotations

from recipec.decide.said import Decided, Said, section
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import Batch, Method, Parallel
from recipec.language.train import Train
from recipec.plan import Hardware
from recipec.plural import counted
from recipec.systems.registry import system

SPLITS = ("parallel.context_parallel", "parallel.tensor_parallel")
MACHINE = ("hardware.per_node", "hardware.nodes", "rollout.engines", "rollout.tensor_parallel", *SPLITS)
SIZES = ("train.batch_size", "train.micro_batch_size", "train.gradient_accumulation")


def parallel(say: Said, machine: Hardware) -> Decided[Parallel]:
    """Choose the sharding."""
    given = say.recipe.parallel
    usual = "single" if machine.world == 1 else "ddp"
    words = "one process" if machine.world == 1 else "the default for several GPUs"
    return section(
        Parallel,
        strategy=say.take(
            "parallel.strategy", given.strategy, usual, f"{words}: {usual}", "hardware.per_node", "hardware.nodes"
        ),
        context_parallel=say.word("parallel.context_parallel", given.context_parallel),
        tensor_parallel=say.word("parallel.tensor_parallel", given.tensor_parallel),
        optimizer_offload=say.word("parallel.offload.optimizer", given.offload.optimizer),
        parameter_offload=say.word("parallel.offload.parameters", given.offload.parameters),
        nvme_path=say.word("parallel.offload.nvme_path", given.offload.nvme_path),
        reshard_after_forward=say.take("parallel.reshard_after_forward", given.reshard_after_forward, True),
        bucket_size=say.take("parallel.bucket_size", given.bucket_size, 500_000_000),
    )


def wants(strategy: str, machine: Hardware) -> str:
    """Return what must be declared of the machine for a strategy to run on it; an empty text where it does."""
    if strategy == "single":
        return "per_node: 1, nodes: 1" if machine.world > 1 else ""
    if strategy != "ddp" and machine.device == "cpu":
        return "a gpu"
    return "more than one process" if strategy in ("ddp", "fsdp2") and machine.world == 1 else ""


def learners(say: Said, machine: Hardware, method: Method) -> tuple[int, str]:
    """Return how many processes hold the trained model, and why: those whose GPUs generate do not.

    Some systems that have engines apart give critic and reward model GPUs of their own too, as many as the policy's.
    """
    rollout, world = say.recipe.rollout, machine.world
    if not METHODS[method].online or rollout.engine != "vllm" or rollout.engines is None:
        return world, "every process holds its own sequences"
    rest = world - rollout.engines * rollout.tensor_parallel
    why = f"{world} GPUs − {world - rest} that generate"
    if rest < 1:  # an error (P105): go on as if nothing generated
        return world, why
    critic = method == "ppo" and say.recipe.train is not None and say.recipe.train.loss != "reinforce++"
    scored = any(reward.type == "model" for reward in say.recipe.rewards)
    if (critic or scored) and system(say.recipe.trainer).engines_apart:
        return max(1, rest // 2), f"half of {why}: the critic or reward model has the other half"
    return rest, why


def batch(say: Said, train: Train, machine: Hardware) -> Decided[Batch]:
    """total = micro × accumulation × data-parallel world; whatever is missing follows from the rest."""
    world, alone = learners(say, machine, train.method)
    split = say.recipe.parallel.context_parallel * say.recipe.parallel.tensor_parallel
    if split > 1 and world % split == 0:  # else an error (P234): go on as if nothing were split
        world, alone = world // split, f"{counted(world, 'process')} ÷ {split} that share each sequence"
    total, micro, steps = train.batch_size, train.micro_batch_size, train.gradient_accumulation
    if total is not None and micro is None and steps is not None:
        size = max(1, total // (steps * world))
        why = f"{total} sequences per step ÷ ({steps} accumulation × {counted(world, 'process')})"
        each = say.rule(size, why, "train.batch_size", "train.gradient_accumulation", *MACHINE)
    else:
        each = say.take("train.micro_batch_size", micro, 1, "least memory")
    if total is not None and steps is None:
        count = max(1, total // (each.value * world))
        why = f"{total} sequences per step ÷ ({each.value} micro batch × {counted(world, 'process')})"
        times = say.rule(count, why, "train.batch_size", "train.micro_batch_size", *MACHINE)
    else:
        times = say.take("train.gradient_accumulation", steps, 1)
    if None not in (total, micro, steps):  # each is held against the two others, so all of them act on each
        each, times = (
            one.replaced(origins={"": one.origins[""].replaced(reads=say.places(SIZES))}) for one in (each, times)
        )
    product = each.value * times.value * world
    return section(
        Batch,
        micro=each,
        accumulation=times,
        data_parallel=say.rule(world, alone, *MACHINE),
        total=say.rule(
            product,
            f"{each.value} micro batch × {times.value} accumulation × {counted(world, 'process')}",
            *SIZES,
            *MACHINE,
        ),
    )
