"""Sharding, and the algebra of the batch."""

from __future__ import annotations

from recipec.decide.said import Decided, Said, plain, section
from recipec.facts.models import KnownModel
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import Batch, Method, Parallel
from recipec.language.train import Train
from recipec.plan import Hardware
from recipec.plural import counted
from recipec.systems.registry import system

SPLITS = ("parallel.context_parallel", "parallel.tensor_parallel")
MACHINE = ("hardware.per_node", "hardware.nodes", "rollout.engines", "rollout.tensor_parallel", *SPLITS)
SIZES = ("train.batch_size", "train.micro_batch_size", "train.gradient_accumulation")


# Reduce buckets of ZeRO in elements, the largest first. With overlap_comm, 4.5 pairs of a reduce and an all-gather bucket of
# 2 bytes are there (https://huggingface.co/docs/transformers/deepspeed): those of 5e8, DeepSpeed's default, take 9 GB.
BUCKETS = (500_000_000, 200_000_000, 100_000_000, 50_000_000)
BUCKET_BYTES = 18
# Elements of a buffer for weights on NVMe: DeepSpeed's default, and the largest matrix of models of up to 405B.
NVME_BUFFER, LARGEST_MATRIX = 100_000_000, 2_200_000_000


def parallel(say: Said, machine: Hardware, known: KnownModel | None, processes: int) -> Decided[Parallel]:
    """Choose the sharding of a model, of which something may be known, over data-parallel processes."""
    given = say.recipe.parallel
    strategy = given.strategy or ("single" if machine.world == 1 else "ddp")
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
        bucket_size=_bucket(say, machine, strategy, known),
        nvme_buffer=_nvme_buffer(say, known, processes),
    )


def _bucket(say: Said, machine: Hardware, strategy: str, known: KnownModel | None) -> Decided[int]:
    """Decide how many gradients are reduced together: under ZeRO-3 as Transformers does it, else by the GPU's memory."""
    given = say.recipe.parallel.bucket_size
    if strategy == "zero3" and known is not None and known.hidden_size is not None:
        # integrations/deepspeed.py of Transformers, trainer_config_finalize: what `auto` stands for
        size = min(known.hidden_size**2, BUCKETS[0])
        return say.take("parallel.bucket_size", given, size, f"{known.hidden_size}², the hidden size", "model.base")
    if not strategy.startswith("zero") or machine.device == "cpu":
        return say.take("parallel.bucket_size", given, BUCKETS[0])
    quarter = machine.memory_gib * 1024**3 / 4
    size = next((one for one in BUCKETS if one * BUCKET_BYTES <= quarter), BUCKETS[-1])
    if size == BUCKETS[0]:
        return say.take("parallel.bucket_size", given, size)
    why = f"{size * BUCKET_BYTES / 1e9:.2g} GB of buckets; DeepSpeed's own take 9 of {machine.memory_gib} GiB"
    return say.take("parallel.bucket_size", given, size, why, "hardware.gpu")


def _nvme_buffer(say: Said, known: KnownModel | None, processes: int) -> Decided[int | None]:
    """Decide the buffer that a piece of the weights is read into: DeepSpeed stops where the largest does not fit.

    `get_buffer` of its runtime/swap_tensor/partitioned_param_swapper.py. No matrix is larger than the embeddings, or than all
    of a layer (experts are one); each process holds a piece of each.
    """
    if say.recipe.parallel.offload.parameters != "nvme":
        return plain(None)
    largest, why = LARGEST_MATRIX, "the largest matrix of models of up to 405B, as this one is not known"
    sizes = (known.vocab, known.hidden_size, known.layers, known.parameters) if known is not None else (None,)
    if known is not None and None not in sizes:
        vocab, hidden, layers, parameters = (size or 0 for size in sizes)
        largest = max(vocab * hidden, (parameters - known.embedding_parameters) // layers)
        why = f"the largest matrix has up to {largest:,} elements"
    piece = -(-largest // processes)
    spare = -(-(piece + piece // 50) // 1_000_000) * 1_000_000  # tokens may be added
    over = f" over {counted(processes, 'process')}"
    if spare <= NVME_BUFFER:
        return say.rule(NVME_BUFFER, f"DeepSpeed's default; {why}{over}", "model.base", *MACHINE)
    return say.rule(spare, f"{why}{over}", "model.base", *MACHINE)


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
