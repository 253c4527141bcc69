"""Contradictions about the weights that a training starts from, and those that it leaves as they are."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.kinds.train.methods import COMPARED
from recipec.kinds.train.model import QUANTISED
from recipec.kinds.train.records import Train
from recipec.rules.rule import Context, Fault, contradiction
from recipec.systems.registry import system

SCRATCH = "model.from_scratch"
# Methods that teach a model which can already write; the others begin with nothing.
AFTER_WRITING = ("dpo", "ipo", "kto", "simpo", "cpo", "orpo", "reward", "grpo", "rloo", "ppo")


@contradiction("P032", "weights-and-computation-disagree", words=("model.load_in", "train.precision", "hardware.gpu"))
def disagreement(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds weights in a smaller number format than the computation, and weights that are trained in fp16.

    Why is this bad:
    A computation is made in the format of the weights, unless mixed precision lowers it: weights in fp32 can be computed
    with in 16 bit, but not the reverse, and nothing turns bf16 into fp16. Gradients of fp16 weights underflow; the scaler
    that prevents it refuses to step them.

    Example:
        model: {base: my-lab/my-model, load_in: fp16}
        train: {learning_rate: 1e-5, precision: bf16}

    Use instead:
        model: {base: my-lab/my-model, load_in: fp32}
    """
    load, chosen = s.model.load_in, s.numerics.precision
    if load not in (*QUANTISED, "fp32", chosen):
        advice = "use fp32, or drop load_in" if chosen == "fp32" else f"use fp32 or {chosen}, or drop load_in"
        yield Fault("model.load_in", f"weights in {load} and computation in {chosen} disagree", advice)
    elif system(s.trainer).own_program:  # which loads its weights itself
        return
    elif load == "fp16" and s.adapter is None and not s.parallel.strategy.startswith("zero"):
        yield Fault("model.load_in", "weights in fp16 cannot be trained", "use load_in: fp32, or drop it")


@contradiction(
    "P291",
    "finish-without-beginning",
    words=(SCRATCH, "adapter", "train.method"),
    severity="warning",
    waivable=True,
)
def scratch(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an adapter, or a method that compares or scores answers, on a model that has only random weights.

    Why is this bad:
    An adapter corrects weights that stay as they are: beside random weights, it corrects noise. Preference methods and
    reinforcement learning move probability between answers, of which a random model writes none.

    Example:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}, chat_template: chatml}
        adapter: {rank: 8}
        data: {train: [{path: data/chat.jsonl, format: chat}]}

    Use instead:
        adapter: null

    When it is meant:
    The run is a trial of the tools, and nobody will use the model.
    """
    maker = see.plan.maker(s.model.path)
    if see.said.recipe.model.from_scratch is None or (maker is not None and maker.kind != "init"):
        return
    if s.adapter is not None and s.adapter.start_from is None:
        yield Fault(
            "adapter", "the weights beside the adapter are random, and stay so", "drop adapter: train all weights"
        )
    if s.method in AFTER_WRITING:
        advice = "train it with pretrain or sft first, as an earlier stage"
        yield Fault("train.method", f"a model with random weights writes nothing that {s.method} could compare", advice)


@contradiction("P292", "start-that-needs-plain-weights", words=("adapter.init", "model.load_in"))
def decomposed(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an adapter that takes its first values from weights which are quantised.

    Why is this bad:
    PiSSA takes the largest directions of each weight matrix: PEFT refuses it on packed integers when the model is loaded. LoftQ
    quantises the weights itself, and so takes the packed integers for weights: what comes out has another shape.

    Example:
        model: {base: my-lab/my-model, load_in: nf4}
        adapter: {rank: 16, init: pissa}

    Use instead:
        model: {base: my-lab/my-model, load_in: bf16}
    """
    init, load_in = s.adapter.init if s.adapter is not None else "", s.model.load_in
    if init.startswith(("pissa", "loftq")) and load_in in ("nf4", "fp4", "int8"):
        message = f"{init} needs plain weights, and these are loaded in {load_in}"
        yield Fault("adapter.init", message, "drop init, or load the weights in bf16")


@contradiction("P290", "rate-of-frozen-embeddings", words=("train.embedding_learning_rate", "adapter"))
def embedding_rate(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a learning rate of the embeddings with an adapter that leaves them frozen.

    Why is this bad:
    The value has no effect: there is nothing that it could be the rate of.

    Example:
        adapter: {rank: 16}
        train: {learning_rate: 1e-4, embedding_learning_rate: 1e-5}

    Use instead:
        adapter: {rank: 16, also_train: [embed_tokens, lm_head]}
    """
    if s.adapter is None or s.optimizer.embedding_learning_rate is None or s.adapter.target_pattern is not None:
        return
    names = {name.rsplit(".", 1)[-1] for name in (*s.adapter.also_train, *s.adapter.targets)}
    if names.isdisjoint(("embed_tokens", "lm_head", "wte", "embeddings", "word_embeddings", "embed_in")):
        advice = "drop it, or train them: adapter.also_train: [embed_tokens, lm_head]"
        yield Fault("train.embedding_learning_rate", "the embeddings stay frozen", advice)


@contradiction(
    "P309", "initial-weights-of-a-trained-adapter", words=("adapter.init", "adapter.start_from", "parent_adapter")
)
def trained_already(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a way to initialise an adapter that is not new, but continued.

    Why is this bad:
    An adapter that is loaded has weights. What is written of its first ones is never done.

    Example:
        adapter: {start_from: my-lab/my-adapter, init: olora}

    Use instead:
        adapter: {start_from: my-lab/my-adapter}
    """
    continued = see.said.wrote("adapter.start_from") or see.said.part.parent_adapter == "continue"
    if s.adapter is not None and continued and s.adapter.init != "default":
        yield Fault("adapter.init", "an adapter that is continued has its weights already", "drop init, or start_from")


@contradiction("P246", "prefix-that-checkpointing-drops", words=("adapter.type", "train.gradient_checkpointing"))
def dropped_prefix(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds prefix tuning with gradient checkpointing.

    Why is this bad:
    A learnt prefix stands in the cache of keys and values, and a forward pass that is made again has none. PEFT refuses the two
    together when the model is wrapped.

    Example:
        trainer: trl
        adapter: {type: prefix_tuning, virtual_tokens: 20}
        train: {gradient_checkpointing: true, learning_rate: 1e-3}

    Use instead:
        trainer: trl
        adapter: {type: prefix_tuning, virtual_tokens: 20}
        train: {gradient_checkpointing: false, learning_rate: 1e-3}
    """
    if s.adapter is not None and s.adapter.type == "prefix_tuning" and s.numerics.gradient_checkpointing:
        message = "prefix_tuning does not work with gradient checkpointing"
        yield Fault("train.gradient_checkpointing", message, "set it to false, or use p_tuning")


@contradiction("P255", "reference-without-its-principal-part", words=("adapter.init", "train.method", "train.beta"))
def hollow_reference(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an adapter that begins with a part of the base's own weights, beside a reference model.

    Why is this bad:
    PiSSA and OLoRA move the strongest part of the weights from the base into the adapter. The reference model of DPO, KTO or a
    reinforcement method is the base with the adapter switched off, and so without that part: the first loss of DPO is then
    far from ln 2.

    Example:
        adapter: {rank: 16, init: pissa}
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: dpo, learning_rate: 5e-6}

    Use instead:
        adapter: {rank: 16}
        data: {train: [{path: data/pairs.jsonl, format: preference}]}
        train: {method: dpo, learning_rate: 5e-6}
    """
    pulled = s.method in COMPARED and s.objective is not None and s.objective.beta > 0 and s.reference is None
    moved = s.adapter is not None and (s.adapter.init == "olora" or s.adapter.init.startswith("pissa"))
    if pulled and moved and s.adapter is not None:
        message = f"{s.adapter.init} takes a part of its weights out of the base, which {s.method} compares with"
        yield Fault("adapter.init", message, "drop init, or use orpo or simpo, which have no reference model")


RULES = (disagreement, scratch, decomposed, embedding_rate, trained_already, dropped_prefix, hollow_reference)
