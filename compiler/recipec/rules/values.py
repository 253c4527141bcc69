"""Rules about single numbers that can be written, but are hardly ever meant: exchanged, of the wrong unit or size."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts.models import KnownModel
from recipec.kinds.train.records import Adapter, Train
from recipec.rules.rule import Context, Fault, rule
from recipec.systems.huggingface import BETAS
from recipec.systems.registry import system

LEAST_RATE = 1e-8  # at it, 10,000 steps of Adam move a weight by at most 1e-4
HALF = 0.5
MOST_LOADERS = 256  # on a node; large hosts have 128 to 256 cores
LOW_RANK = ("lora", "adalora")  # whose rank is that of one product of two matrices


@rule("L131", "exchanged-constants-of-adam", "error", sources="")
def constants_of_adam(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds β₁ above β₂, a β that looks like ε, and an ε that looks like a β.

    Why is this bad:
    β₁ averages gradients over about ten steps, β₂ their squares over a thousand. Exchanged, the step is divided by a scale
    that knows only the last few gradients, and momentum lasts for a thousand steps: the loss rises or oscillates. An ε
    near 1 outweighs every gradient.

    Example:
        train: {learning_rate: 1e-5, beta1: 0.999, beta2: 0.9}

    Use instead:
        train: {learning_rate: 1e-5, beta1: 0.9, beta2: 0.999}
    """
    o = s.optimizer
    if o.name not in BETAS or s.script is not None:
        return
    if 0 < o.beta1 < 0.01:
        yield Fault("optimizer.beta1", f"β₁ of {o.beta1:g} averages nothing", "0.9 is usual; is it epsilon?")
    if o.beta2 < HALF:
        message = f"β₂ of {o.beta2:g} forgets all but the last gradient"
        yield Fault("optimizer.beta2", message, "0.95 to 0.999 is usual; is it epsilon?")
    elif o.beta1 > o.beta2:
        message = f"β₁ is {o.beta1:g} and β₂ is {o.beta2:g}: they look exchanged"
        yield Fault("optimizer.beta1 optimizer.beta2", message, "β₁ is 0.9 and β₂ 0.95 to 0.999 as a rule")
    if o.epsilon >= 0.01:
        message = f"ε of {o.epsilon:g} outweighs every gradient"
        yield Fault("optimizer.epsilon", message, "1e-8 is usual; is it a β?")


@rule("L132", "learning-rate-that-teaches-nothing", "error", sources="")
def no_rate(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a learning rate of 1e-8 or less.

    Why is this bad:
    Adam and Lion move a weight by at most about the learning rate in a step. At 1e-8, ten thousand steps change the fourth
    digit of a weight: the run costs as much as any other, and the model stays as it was.

    Example:
        train: {learning_rate: 2e-9}

    Use instead:
        train: {learning_rate: 2e-5}
    """
    rates = {"optimizer.learning_rate": s.optimizer.learning_rate}
    rates["optimizer.embedding_learning_rate"] = s.optimizer.embedding_learning_rate
    if s.rollout is not None:
        rates["rollout.critic_learning_rate"] = s.rollout.critic_learning_rate
    for path, rate in rates.items():
        if rate is not None and rate <= LEAST_RATE and s.script is None:
            advice = "5e-7 to 5e-4 is usual; is the exponent right?"
            yield Fault(path, f"a learning rate of {rate:g} changes next to nothing", advice)


@rule("L134", "share-that-leaves-little", "warning", sources="")
def shares(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a warmup, a holdout or a dropout of more than half.

    Why is this bad:
    Each is usually a few percent. More than half most often says how much should be left: the training warms up for most of
    its steps, most rows are never trained on, or most of each input is dropped.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 95%}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}], holdout: 5%}
    """
    warmup, total = s.optimizer.warmup, s.length.amount if s.length.unit == "steps" else 0
    share = warmup if isinstance(warmup, float) else warmup / total if total else 0.0
    if HALF < share < 1:
        message = f"the learning rate rises for {share:.0%} of the training"
        yield Fault("optimizer.warmup", message, "3% to 10% is usual")
    if isinstance(s.data.holdout, float) and s.data.holdout > HALF:
        message = f"{s.data.holdout:.0%} of the rows are held out, and {1 - s.data.holdout:.0%} are trained on"
        yield Fault("data.holdout", message, "1% to 10% is usual")
    if s.adapter is not None and HALF < s.adapter.dropout < 1:
        yield Fault(
            "adapter.dropout", f"{s.adapter.dropout:.0%} of the adapter's input is dropped", "0 to 0.1 is usual"
        )


# The share of bf16 weights that 100 steps of AdamW change at a learning rate, by benchmarks/rounded_updates.py; in fp32 all.
LOST = {1e-7: 0.0012, 1e-6: 0.02, 5e-6: 0.076, 1e-5: 0.15, 2e-5: 0.30, 5e-5: 0.54}


@rule("L137", "updates-lost-in-rounding", "warning", sources="")
def rounded(see: Context, s: Train) -> Iterator[Fault]:
    """Finds all weights trained in bf16, without fp32 copies, at a learning rate of 5e-5 or less.

    Why is this bad:
    A weight of 0.02 in bf16 cannot change by less than 6e-5: smaller updates are rounded away, in each step anew. In 100
    steps of AdamW 2% of the weights change at 1e-6, 8% at 5e-6, 15% at 1e-5, 30% at 2e-5, 54% at 5e-5; in fp32 all do. The
    loss goes down more slowly, and nothing else tells. ZeRO keeps fp32 copies by itself.

    Example:
        model: {base: my-lab/my-model, load_in: bf16}

    Use instead:
        model: {base: my-lab/my-model, load_in: fp32}
    """
    rate, strategy = s.optimizer.learning_rate or 0.0, s.parallel.strategy
    kept = strategy.startswith("zero") or strategy in system(s.trainer).fp32_copies
    if s.adapter is not None or s.model.load_in != "bf16" or kept or s.script is not None:
        return
    share = next((share for most, share in LOST.items() if rate <= most), None)
    if share is not None:
        many = f"{'about' if rate in LOST else 'less than'} {100 * share:.2g}%"
        message = f"in bf16 alone, a rate of {rate:g} changes {many} of the weights in 100 steps"
        shards = "zero2 or zero3" if s.hardware.world > 1 else "zero2 with offload: {optimizer: cpu}"
        ways = [f"parallel.strategy: {shards}, whose copies of the weights are fp32", "an adapter"]
        if see.said.wrote("model.load_in"):
            ways = ["load_in: fp32 (16 bytes per parameter with AdamW instead of 8)", *ways]
        yield Fault("model.load_in optimizer.learning_rate", message, f"use {', or '.join(ways)}")


def widest(known: KnownModel, adapter: Adapter) -> int | None:
    """Return the largest rank that an update of any of the adapter's layers can have; None where it is not known."""
    hidden, ffn, head = known.hidden_size, known.ffn_size, known.head_size
    if hidden is None:
        return None
    query = hidden if head is None or known.heads is None else known.heads * head
    keys = query if head is None or known.kv_heads is None else known.kv_heads * head
    inner = ffn or hidden
    sides = {"q_proj": query, "k_proj": keys, "v_proj": keys, "o_proj": query}
    sides |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), inner)
    names = [target.rsplit(".", 1)[-1] for target in adapter.targets] if adapter.target_pattern is None else []
    return max((min(hidden, sides.get(name, hidden)) for name in names), default=hidden)


@rule("L136", "rank-beyond-the-layer", "error", sources="")
def rank(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a LoRA rank as large as the layers themselves.

    Why is this bad:
    The update is a product of two matrices, of which the rank is the inner size. A layer of 2,048 rows cannot change by
    more than rank 2,048: beyond that the adapter is larger than what it adapts, and learns nothing more.

    Example:
        model: {base: meta-llama/Llama-3.2-1B-Instruct}
        adapter: {rank: 4096}

    Use instead:
        adapter: {rank: 64}
    """
    if s.adapter is None or s.adapter.type not in LOW_RANK:
        return
    known = see.model(s.model.path)
    most = widest(known, s.adapter) if known is not None else None
    if known is not None and most is not None and s.adapter.rank >= most:
        message = f"rank {s.adapter.rank} is no less than the {most} of the layers of {known.id}"
        yield Fault("adapter.rank", message, "8 to 256 is usual")


@rule("L179", "slower-second-matrix", "warning", sources="arXiv:2402.12354")
def lora_plus(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a LoRA+ ratio below 1.

    Why is this bad:
    The ratio is the learning rate of B over that of A. LoRA+ makes B, which starts at zero, learn faster: 16 is usual.
    Below 1, it learns more slowly than without LoRA+.

    Example:
        adapter: {rank: 16, lora_plus_ratio: 0.0625}

    Use instead:
        adapter: {rank: 16, lora_plus_ratio: 16}
    """
    ratio = s.adapter.lora_plus_ratio if s.adapter is not None else None
    if ratio is not None and ratio < 1:
        message = f"with lora_plus_ratio {ratio:g}, B learns more slowly than A"
        yield Fault("adapter.lora_plus_ratio", message, f"was {1 / ratio:g} meant? 16 is usual")


@rule("L181", "more-loaders-than-cores", "warning", sources="")
def loaders(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds more loader processes on a node than machines have cores.

    Why is this bad:
    `workers` counts for each GPU. Hundreds of processes hold a copy of the data each, wait for one another's cores, and
    take minutes to start.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}], workers: 512}

    Use instead:
        data: {train: [{path: data/chat.jsonl, format: chat}], workers: 8}
    """
    total = s.data.workers * s.hardware.per_node
    if total > MOST_LOADERS:
        message = f"{s.data.workers} loaders for each of {s.hardware.per_node} processes are {total} on a node"
        yield Fault("data.workers", message, "2 to 16 are usual")


@rule("L182", "more-cycles-than-steps", "error", sources="")
def cycles(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds more restarts of a cosine than half the training has steps.

    Why is this bad:
    A cycle falls from the peak to zero. With a step or two in each, the learning rate jumps between values that have
    nothing to do with the schedule.

    Example:
        train: {learning_rate: 1e-5, steps: 100, scheduler: cosine_with_restarts, cycles: 200}

    Use instead:
        train: {learning_rate: 1e-5, steps: 100, scheduler: cosine_with_restarts, cycles: 2}
    """
    steps = s.length.amount if s.length.unit == "steps" else 0
    if steps and s.optimizer.scheduler == "cosine_with_restarts" and s.optimizer.cycles * 2 > steps:
        message = f"{s.optimizer.cycles} cycles do not fit into {steps} steps"
        yield Fault("optimizer.cycles", message, "2 to 10 are usual")


@rule("L183", "percentages-as-weights", "warning", sources="")
def percentages(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds weights of sources that add up to 100.

    Why is this bad:
    `weight` says how many times the rows of a source are taken in one epoch. 70 and 30 are not shares: an epoch has seventy
    copies of one source and thirty of the other.

    Example:
        data: {train: [{path: data/a.jsonl, format: chat, weight: 70}, {path: data/b.jsonl, format: chat, weight: 30}]}

    Use instead:
        data: {train: [{path: data/a.jsonl, format: chat, weight: 2}, {path: data/b.jsonl, format: chat, weight: 1}]}
    """
    weights = [source.weight for source in s.data.train]
    if len(weights) > 1 and sum(weights) == 100:
        copies = " and ".join(str(weight) for weight in weights[:3])
        message = f"an epoch takes the rows {copies} times: weights are counts, not percentages"
        yield Fault("data.train.0.weight", message, "write small numbers, such as 2 and 1")


RULES = (
    constants_of_adam,
    no_rate,
    shares,
    rounded,
    rank,
    lora_plus,
    loaders,
    cycles,
    percentages,
)
