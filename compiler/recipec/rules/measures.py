"""What rules about usual numbers ask of a training: the conditions of `facts/usual.yaml`, and what is computed from several values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import sqrt

from recipec.facts.datasets import known_dataset
from recipec.facts.usual import shown
from recipec.kinds.train.records import DataSource, Reward, Train
from recipec.plan import leaf
from recipec.plural import counted
from recipec.rules.local_rows import counted_rows
from recipec.rules.rule import Context

# A value, the plan paths to blame, and what to call it.
Measured = tuple[float, str, str]
THOUGHTS = ("<think", "<reason", "<thought", "</think", "</reason")  # of a pattern that asks for thoughts first
SHORT = 100  # steps: a trial so long may save and validate as often as it likes
LOW_RANK = ("lora", "adalora")
VECTORS = ("ia3", "vera", "vblora", "fourierft", "ln_tuning")


def _adapter(s: Train) -> str:
    """Return the kind of adapter that a training has, by how its weights learn."""
    if s.adapter is None:
        return "none"
    if s.adapter.virtual_tokens:
        return "prompt"
    return "lora" if s.adapter.type in LOW_RANK else "vectors" if s.adapter.type in VECTORS else "other"


def _optimizer(name: str) -> str:
    """Return the family of an optimiser: those that bear the same rates."""
    if name == "adamw_schedule_free":
        return "schedule free"
    return "adam" if name.startswith(("adamw", "ademamix")) else name.partition("_")[0]


def _rows(see: Context, s: Train) -> int | None:
    """Return how many rows there are to train on; None where that is not known."""
    total = 0
    for source in s.data.train:
        if source.path is not None:
            count = counted_rows(s, source, see.stage.environment) if see.folders and see.stage is not None else None
        else:
            known = known_dataset(source.hub or "") if source.revision is None and "[" not in source.split else None
            count = known.rows if known is not None and source.split == known.trained else None
        if count is None:
            return None
        total += count * source.weight
    return total


_SIZE = re.compile(r"(?:^|[-_])(\d{1,3}(?:\.\d+)?)b(?=$|[-_.])", re.IGNORECASE)  # granite-3.1-8b-instruct


def _parameters(see: Context, s: Train) -> float | None:
    """Return how many weights the model has: as is known, of one from scratch by its sizes, else as its name says, or None."""
    sizes = see.said.recipe.model.from_scratch
    known = see.model(s.model.path)
    if known is not None and known.parameters is not None:
        return known.parameters
    if sizes is None:
        named = _SIZE.search(s.model.path.rpartition("/")[2])
        return float(named[1]) * 1e9 if named else None
    width, inner = sizes.hidden_size, sizes.intermediate_size or 4 * sizes.hidden_size
    keys = width // sizes.heads * (sizes.kv_heads or sizes.heads)
    layer = 2 * width * width + 2 * width * keys + 3 * width * inner  # queries and output; keys and values; gated
    return sizes.layers * layer + (1 if sizes.tie_embeddings else 2) * sizes.vocab_size * width


def _start(see: Context, s: Train) -> str:
    """Return whether a training starts from random weights."""
    maker = see.plan.maker(s.model.path)
    return "scratch" if maker is not None and maker.kind == "init" else "pretrained"


def _thinks(s: Train) -> bool:
    """Return whether a reward asks for thoughts between marks before the answer."""
    return any(mark in (one.pattern or "") for one in s.rewards for mark in THOUGHTS)


# What a row of the table may ask of a training.
CONDITIONS: Mapping[str, Callable[[Context, Train], str | float | None]] = {
    "methods": lambda _, s: s.method,
    "adapter": lambda _, s: _adapter(s),
    "optimizer": lambda _, s: _optimizer(s.optimizer.name),
    "start": _start,
    "loss": lambda _, s: s.objective.loss if s.objective is not None else None,
    "rslora": lambda _, s: "yes" if s.adapter is not None and s.adapter.rslora else "no",
    "rank": lambda _, s: s.adapter.rank if s.adapter is not None else None,
    "parameters": _parameters,
    "size": lambda see, s: "known" if see.model(s.model.path) is not None else "named",
    "rows": _rows,
    "thinks": lambda _, s: "yes" if _thinks(s) else "no",
    "mask_truncated": lambda _, s: "yes" if s.rollout is not None and s.rollout.mask_truncated else "no",
}


def _steps(value: float | int | str, path: str) -> Iterator[Measured]:
    """Yield a number of steps: no share of them, and no word."""
    if isinstance(value, int) and value:
        yield value, path, f"an interval of {value}" if path.startswith("watch") else f"warmup of {value:,} steps"


def _often(see: Context, s: Train, value: float | int | str, path: str, what: str) -> Iterator[Measured]:
    """Yield how many steps lie between two of something, where the training is long, or of no known length."""
    if not isinstance(value, int) or s.hardware.device == "cpu" or value > SHORT:
        return
    total: float | None = s.length.amount
    if s.length.unit == "epochs":
        rows = _rows(see, s) if s.rollout is None else None
        total = rows * s.length.amount / s.batch.total if rows is not None else None  # with packing even fewer
    if total is None or total > SHORT:
        yield value, path, f"{counted(value, 'step')} between {what}"


def _kept(s: Train) -> Iterator[Measured]:
    """Yield how many checkpoints come to lie on the disk."""
    every = s.watch.save_every
    if s.length.unit == "steps" and isinstance(every, int) and s.watch.save_keep == "all":
        count = s.length.amount // every
        yield count, "watch.save_every", f"{count:,} checkpoints, of which all are kept"


def _scale(s: Train) -> Iterator[Measured]:
    a = s.adapter
    if a is not None and a.rank and a.alpha:
        scale = a.alpha / (sqrt(a.rank) if a.rslora else a.rank)
        yield (
            scale,
            "adapter.alpha adapter.rank",
            f"alpha {a.alpha:g} at rank {a.rank} scales the update by {scale:.3g}",
        )


def _batch(see: Context, s: Train) -> Iterator[Measured]:
    """Yield the sequences of a step, where the person said how many there are."""
    words = ("batch_size", "micro_batch_size", "gradient_accumulation")
    if any(see.said.wrote(f"train.{word}") for word in words):
        yield (
            s.batch.total,
            "batch.total",
            f"{'one sequence' if s.batch.total == 1 else f'{s.batch.total:,} sequences'} per step",
        )


def _budget(see: Context, s: Train) -> Iterator[Measured]:
    """Yield how many tokens a training sees for each weight."""
    weights = _parameters(see, s)
    if s.length.unit == "steps" and weights:
        share = s.length.amount * s.batch.total * s.model.max_length / weights
        yield share, "length.amount", f"{s.length.amount:,} steps are {share:.2g} tokens for each parameter"


def _embeddings(s: Train) -> Iterator[Measured]:
    rate, of = s.optimizer.learning_rate, s.optimizer.embedding_learning_rate
    if rate and of is not None:
        yield of / rate, "optimizer.embedding_learning_rate", f"{of / rate:.3g} times the learning rate"


def _margin(see: Context, s: Train) -> Iterator[Measured]:
    o = s.objective
    if o is not None and o.beta and see.said.wrote("train.margin"):
        yield o.margin / o.beta, "objective.margin", f"margin {o.margin:g}, {o.margin / o.beta:.3g} times beta"


def of_leaf(s: Train, path: str) -> Iterator[Measured]:
    """Yield a number of the plan; nothing where it does not exist."""
    try:
        value = leaf(s, path)
    except AttributeError:  # no adapter, no rollout
        return
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value, path, f"{path.rpartition('.')[2]} {shown(value * 1.0)}"


def _nonzero(s: Train, path: str) -> Iterator[Measured]:
    """Yield a number of the plan of which 0 means that there is none of it."""
    return (one for one in of_leaf(s, path) if one[0])


def _of_hub(see: Context, s: Train) -> int | None:
    """Return the rows of data sets of the hub; None where any is local, for local rows are counted and judged by rules of their own."""
    return _rows(see, s) if all(source.path is None for source in s.data.train) and not s.data.packing else None


def _passes(see: Context, s: Train) -> Iterator[Measured]:
    """Yield how many times the rows are trained on."""
    if s.length.unit == "epochs":
        yield s.length.amount, "length.amount", f"{s.length.amount:g} epochs"
    elif s.rollout is None:
        rows = _of_hub(see, s)
        passes = s.length.amount * s.batch.total / rows if rows else 0
        if passes > 1:
            said = f"{s.length.amount:,} steps of {s.batch.total:,} are {passes:,.0f} passes over {rows:,} rows"
            yield passes, "length.amount", said


def _warmup(see: Context, s: Train) -> Iterator[Measured]:
    """Yield what share of the training a warmup in steps is."""
    rows = _of_hub(see, s) if isinstance(s.optimizer.warmup, int) and s.optimizer.warmup else None
    if rows and s.length.unit == "epochs" and s.rollout is None:
        steps = max(1, round(rows * s.length.amount / s.batch.total))
        said = f"warmup of {s.optimizer.warmup:,} steps, of about {steps:,}"
        yield s.optimizer.warmup / steps, "optimizer.warmup", said


def _weighed(s: Train) -> tuple[DataSource, ...]:
    """Return the sources whose weights are counts: of what adds up to 100, L183 tells."""
    return () if len(s.data.train) > 1 and sum(one.weight for one in s.data.train) == 100 else s.data.train


def _each(items: tuple[DataSource | Reward, ...], path: str, said: str) -> Iterator[Measured]:
    """Yield the weight of each of some things."""
    for index, one in enumerate(items):
        yield one.weight, f"{path}.{index}.weight", said.format(shown(float(one.weight)))


# What is no leaf of a training's plan.
MEASURES: Mapping[str, Callable[[Context, Train], Iterator[Measured]]] = {
    "epochs": _passes,
    "share of warmup": _warmup,
    "clip_high": lambda see, s: of_leaf(s, "rollout.clip_high") if see.said.wrote("rollout.clip_high") else iter(()),
    "weight of a source": lambda _, s: _each(_weighed(s), "data.train", "taken {} times"),
    "weight of a reward": lambda _, s: _each(s.rewards, "rewards", "a weight of {}"),
    "tokens per parameter": _budget,
    "sequences per step": _batch,
    "tokens per step": lambda _, s: iter(
        [
            (
                s.batch.total * s.model.max_length,
                "batch.total model.max_length",
                f"{s.batch.total * s.model.max_length:,} tokens per step",
            )
        ]
    ),
    "embedding rate over learning rate": lambda _, s: _embeddings(s),
    "steps of warmup": lambda _, s: _steps(s.optimizer.warmup, "optimizer.warmup"),
    "share of decay": lambda _, s: iter(
        [(s.optimizer.decay, "optimizer.decay", f"a decay of {s.optimizer.decay:.0%}")]
        * isinstance(s.optimizer.decay, float)
    ),
    "clipping": lambda _, s: _nonzero(s, "optimizer.max_grad_norm"),
    "momentum": lambda _, s: _nonzero(s, "optimizer.beta1"),
    "scale": lambda _, s: _scale(s),
    "margin over beta": _margin,
    "steps between checkpoints": lambda see, s: _often(see, s, s.watch.save_every, "watch.save_every", "checkpoints"),
    "steps between validations": lambda see, s: _often(
        see, s, s.watch.evaluate_every, "watch.evaluate_every", "validations"
    ),
    "checkpoints that are kept": lambda _, s: _kept(s),
}
