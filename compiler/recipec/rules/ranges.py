"""Rules about numbers far from what is usual with their method, adapter and optimiser; `facts/usual.yaml` says what is usual.

Each rule judges one group of that table. A value of the table is a plan path, or a name in MEASURES: what is computed from
several. What another rule has told of the same number is not told again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from recipec.facts.usual import Usual, usual
from recipec.kinds.init import Init
from recipec.kinds.merge import Merge
from recipec.kinds.train.records import Train
from recipec.rules import amounts, objectives, training, values
from recipec.rules.measures import CONDITIONS, MEASURES, Measured, of_leaf
from recipec.rules.rule import Context, Fault, Rule, rule

# What tells more of the same number; where one does, nothing is added.
STRICTER = (
    training.diverges,
    training.no_pull,
    values.constants_of_adam,
    values.no_rate,
    values.shares,
    values.rank,
    values.lora_plus,
    values.cycles,
    objectives.exchanged_clip,
    objectives.no_discount,
    amounts.absolute_floor,
)


def _holds(row: Usual, see: Context, s: Any) -> bool:
    """Return whether all conditions of a row hold; one about a number that is not known does not."""
    for word, held in row.conditions.items():
        side, _, name = word.partition("_") if word.startswith(("from_", "to_")) else ("", "", word)
        value = CONDITIONS[name](see, s)
        if not side and value not in held:
            return False
        if side and (
            not isinstance(value, int | float) or (value < float(held[0]) if side == "from" else value > float(held[0]))
        ):
            return False
    return True


def _outside(rows: tuple[Usual, ...], value: float, holds: Callable[[Usual], bool]) -> Usual | None:
    """Return the first row whose conditions hold, where the value lies outside of it."""

    def within(row: Usual) -> bool:
        return (row.low is None or value >= row.low) and (row.high is None or value <= row.high)

    if all(within(row) for row in rows):
        return None  # as most are: no condition is asked
    row = next((row for row in rows if holds(row)), None)
    return None if row is None or within(row) else row


def _fault(row: Usual, measured: Measured, words: Mapping[str, object]) -> Fault:
    value, path, said = measured
    far = "below" if row.low is not None and value < row.low else "above"
    message = f"{said}: far {far} what is usual for {row.of.format_map(words)}"
    return Fault(path, message, f"{row.usual.format_map(words)} is usual: write {row.write.format_map(words)}")


def _judged(group: str, see: Context, s: Train) -> Iterator[Fault]:
    """Yield what of a group of the table lies far outside, each plan path once."""
    if s.script is not None:
        return
    rank = s.adapter.rank if s.adapter is not None else 0
    words = {"method": s.method, "optimizer": s.optimizer.name, "twice": 2 * rank, "sqrt": round(2 * rank**0.5)}
    told: set[str] = set()
    for name, rows in usual()[group].items():
        for measured in MEASURES[name](see, s) if name in MEASURES else of_leaf(s, name):
            row = _outside(rows, measured[0], lambda row: _holds(row, see, s))
            paths = measured[1].split()
            if row is None or paths[0] in told or _told(see, s, paths):
                continue
            told.add(paths[0])
            yield _fault(row, measured, words)


def _told(see: Context, s: Train, paths: list[str]) -> bool:
    """Return whether another rule tells of one of some plan paths already."""
    return any(path in fault.path.split() for one in STRICTER for fault in one.judge(see, s) for path in paths[:1])


@rule("L300", "unusual-learning-rate", "warning", sources="facts/usual.yaml")
def rates(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a learning rate about ten times outside what is usual for its method, adapter and optimiser.

    Why is this bad:
    A LoRA wants ten to a hundred times the rate of all weights, a preference method a tenth of that of supervised fine-tuning, Lion
    a third to a tenth of AdamW's, plain SGD a hundred times as much, and a model from scratch more than one that is fine-tuned. With
    the rate of another, the loss diverges, the model forgets, or nothing is learnt; the loss alone does not tell which.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
        adapter: {rank: 16}
        train: {learning_rate: 2e-6}

    Use instead:
        train: {learning_rate: 2e-4}
    """
    yield from _judged("rates", see, s)


@rule("L301", "unusual-length", "warning", sources="facts/usual.yaml")
def lengths(see: Context, s: Train) -> Iterator[Fault]:
    """Finds many passes over the same rows, and a pretraining from scratch that sees hardly any text for its size.

    Why is this bad:
    After a few passes a model knows the rows by heart, and forgets the rest; a reward model overfits after one. On few rows more
    passes are usual, which is judged where their number is known. A model from scratch learns from about twenty tokens for each
    of its parameters; with a two-hundredth of that it hardly learns which words are frequent.

    Example:
        trainer: trl
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: reward, learning_rate: 9e-6, epochs: 10}

    Use instead:
        train: {method: reward, learning_rate: 9e-6, epochs: 1}
    """
    yield from _judged("lengths", see, s)


@rule("L302", "unusual-batch", "warning", sources="facts/usual.yaml")
def batches(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a batch of a single pair, and one of thousands of sequences where dozens are usual.

    Why is this bad:
    The gradient of one pair is mostly noise. A batch of ten thousand makes a handful of steps of a data set: too few for the
    model to move, at any learning rate that it bears.

    Example:
        data: {train: [{path: data/chat.jsonl, format: chat}]}
        train: {learning_rate: 1e-5, batch_size: 10000, micro_batch_size: 4}

    Use instead:
        train: {learning_rate: 1e-5, batch_size: 128, micro_batch_size: 4}
    """
    yield from _judged("batches", see, s)


@rule("L303", "unusual-schedule", "warning", sources="facts/usual.yaml")
def schedules(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a schedule whose floor is near its peak, or that warms up, restarts or decays far longer or more often than usual.

    Why is this bad:
    With a floor of 1 a cosine is a constant. Thousands of steps of warmup are longer than most fine-tunings: the peak is never reached.

    Example:
        train: {learning_rate: 1e-5, scheduler: cosine_with_min_lr, min_lr_ratio: 1.0}

    Use instead:
        train: {learning_rate: 1e-5, scheduler: cosine_with_min_lr, min_lr_ratio: 0.1}
    """
    yield from _judged("schedules", see, s)


@rule("L304", "unusual-constant-of-the-optimiser", "warning", sources="facts/usual.yaml")
def constants(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a β, an ε, a weight decay, a clipping norm or a NEFTune noise about ten times outside what is usual.

    Why is this bad:
    Most often an exponent or a decimal point was lost, or the value of another key was written. A clipping norm of 1e-5 cuts every
    gradient to next to nothing; a weight decay above 1 pulls all weights towards zero; a noise of 500 drowns the embeddings.

    Example:
        train: {learning_rate: 1e-5, max_grad_norm: 1e-5}

    Use instead:
        train: {learning_rate: 1e-5, max_grad_norm: 1.0}
    """
    yield from _judged("constants", see, s)


@rule("L305", "unusual-adapter", "warning", sources="facts/usual.yaml")
def adapters(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an alpha that scales the adapter's update far more, or less, than usual; and a rank, a dropout or a ratio of LoRA+ like it.

    Why is this bad:
    The update of a LoRA is multiplied by alpha / rank, and with rslora by alpha / √rank, which is √rank times as much: an alpha that
    is twice the rank is usual for the first, and far too large for the second. A scale of 128 is a learning rate 64 times as large.

    Example:
        adapter: {rank: 8, alpha: 1024}
        train: {learning_rate: 1e-4}

    Use instead:
        adapter: {rank: 8, alpha: 16}
    """
    yield from _judged("adapters", see, s)


@rule("L306", "unusual-objective", "warning", sources="facts/usual.yaml")
def objective(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a β, a margin, a label smoothing or a weight of a loss about ten times outside what is usual for the method.

    Why is this bad:
    β means something else in each method: what holds DPO and KTO to their reference model (0.1), how much ORPO's odds ratio weighs
    beside the next-token loss (0.1), how SimPO's reward is scaled (2 to 10), and how much a divergence costs in reinforcement
    learning (0 to 0.1). With the value of another method, the loss is all of one part and nothing of the other.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: simpo, learning_rate: 5e-6, beta: 0.1}

    Use instead:
        train: {method: simpo, learning_rate: 5e-6, beta: 2.0}
    """
    yield from _judged("objectives", see, s)


@rule("L307", "unusual-sampling", "warning", sources="facts/usual.yaml")
def sampling(see: Context, s: Train) -> Iterator[Fault]:
    """Finds completions that are too short for what is rewarded, and a temperature, a clip range or a reuse far outside what is usual.

    Why is this bad:
    A completion of 16 tokens cannot hold thoughts and an answer: none is rewarded, and with `mask_truncated` none is in the loss.
    Dozens of passes over the same completions learn from a policy that is long gone.

    Example:
        trainer: trl
        adapter: {rank: 16}
        data: {train: [{path: data/prompts.jsonl, format: prompt, columns: {answer: answer}}]}
        train: {method: grpo, learning_rate: 1e-6, batch_size: 8, micro_batch_size: 8}
        rollout: {iterations: 100}
        rewards: [{type: exact}]

    Use instead:
        rollout: {iterations: 1}
    """
    yield from _judged("sampling", see, s)


@rule("L308", "unusual-interval", "warning", sources="facts/usual.yaml")
def intervals(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a checkpoint or a validation after every few steps of a long training, and more checkpoints than a disk is for.

    Why is this bad:
    Writing a checkpoint with its optimiser takes longer than a step, and so does a validation: the GPUs wait most of the time. Where
    all are kept, each takes up to 14 bytes for every weight of the model.

    Example:
        train: {learning_rate: 1e-5, steps: 2000, save: {every: 1}}

    Use instead:
        train: {learning_rate: 1e-5, steps: 2000, save: {every: 200, keep: 3}}
    """
    yield from _judged("intervals", see, s)


@rule("L309", "weights-of-a-merge-in-percent", "warning", "merge", sources="facts/usual.yaml")
def merge_weights(_see: Context, s: Merge) -> Iterator[Fault]:
    """Finds adapters that are added several times over.

    Why is this bad:
    The weight of an adapter is a factor, no percentage: with 50 its update is added fifty times, and the model writes noise.

    Example:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: korean, start_from: base, adapter: {rank: 16}}
          - {name: both, merge: {adapters: {maths: 50, korean: 50}}}

    Use instead:
        stages:
          - {name: maths, adapter: {rank: 16}}
          - {name: korean, start_from: base, adapter: {rank: 16}}
          - {name: both, merge: {adapters: {maths: 0.5, korean: 0.5}}}
    """
    (row,) = usual()["merges"]["weight of a merged adapter"]
    total = sum(abs(part.weight) for part in s.parts)
    for part in s.parts:
        if _outside((row,), part.weight, lambda _: True):
            share = {"share": f"{part.weight / total:.3g}"}
            yield _fault(row, (part.weight, "parts", f"a weight of {part.weight:g}"), share)
            return


@rule("L310", "unusual-sizes", "warning", "init", sources="facts/usual.yaml")
def sizes(_see: Context, s: Init) -> Iterator[Fault]:
    """Finds a model from scratch whose heads, feed-forward layers or vocabulary are far from those of any published model.

    Why is this bad:
    A head of four components can tell hardly any two words apart; a feed-forward layer narrower than the model loses what it is given.

    Example:
        model: {from_scratch: {family: llama, hidden_size: 256, layers: 4, heads: 64, vocab_size: 8000}, chat_template: chatml}
        train: {learning_rate: 1e-3}

    Use instead:
        model: {from_scratch: {family: llama, hidden_size: 256, layers: 4, heads: 4, vocab_size: 8000}, chat_template: chatml}
    """
    m = s.model
    measured = {
        "width of a head": (m.hidden_size / m.heads, "model.heads", f"a head of width {m.hidden_size // m.heads}"),
        "width of a feed-forward layer over the model's": (
            m.intermediate_size / m.hidden_size,
            "model.intermediate_size",
            f"a feed-forward layer of {m.intermediate_size / m.hidden_size:.3g} times the model's width",
        ),
        "vocabulary": (m.vocab_size, "model.vocab_size", f"a vocabulary of {m.vocab_size:,}"),
    }
    for name, (row,) in usual()["sizes"].items():
        if _outside((row,), measured[name][0], lambda _: True):
            yield _fault(row, measured[name], {})


RULES: tuple[Rule, ...] = (
    rates,
    lengths,
    batches,
    schedules,
    constants,
    adapters,
    objective,
    sampling,
    intervals,
    merge_weights,
    sizes,
)
