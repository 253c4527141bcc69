"""Rules about what a model is made for, and what it cannot be given: numbers, tokens, kernels, a second quantisation."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts.models import embeddings_of, family_row, formats, original_of
from recipec.facts.repositories import overflows
from recipec.facts.tokens import template
from recipec.kinds.train.memory import GIB
from recipec.kinds.train.records import Train
from recipec.rules.model import renders
from recipec.rules.rule import Context, Fault, rule
from recipec.systems.registry import system

PLAIN = ("bf16", "fp16", "fp32")  # formats of weights that are not quantised


@rule("L334", "numbers-too-large-for-fp16", "warning", sources="Transformers#31953, #36822, Unsloth: FORCE_FLOAT32")
def too_large_for_fp16(see: Context, s: Train) -> Iterator[Fault]:
    """Finds fp16 for a model whose activations are larger than fp16 can hold.

    Why is this bad:
    The largest number of fp16 is 65504. What is larger becomes infinite: the loss is nan or 0 from some step on, and everything after it is
    lost. GPUs before Ampere, such as the T4 and the V100, have fp16 and no bf16.

    Example:
        model: {base: google/gemma-2-9b-it, load_in: nf4}
        adapter: {rank: 16}
        hardware: {gpu: v100-32gb}

    Use instead:
        hardware: {gpu: a10g}
    """
    if s.numerics.precision != "fp16" or system(s.trainer).own_program or system(s.trainer).guards_fp16:
        return
    known = see.model(s.model.path)
    if overflows(s.model.path, known.family if known is not None else ""):
        message = f"activations of {s.model.path} are larger than fp16 can hold"
        able = s.hardware.device == "gpu" and s.hardware.bf16
        advice = (
            "use precision: bf16"
            if able
            else "use a GPU with bf16 (Ampere and later), precision: fp32, or another model"
        )
        yield Fault("numerics.precision hardware.gpu model.path", message, advice, "bf16" if able else None)


@rule("L335", "tokenizer-of-another-model", "error", sources="")
def foreign_tokenizer(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a tokenizer that numbers its tokens in another way than the model learnt.

    Why is this bad:
    The model gets numbers that mean other words to it, and some that it has no embedding for. It has to learn language anew, and an adapter cannot teach it that.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct, tokenizer: mistralai/Mistral-7B-Instruct-v0.3}
        adapter: {rank: 16}

    Use instead:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct}
    """
    if s.model.tokenizer == s.model.path or see.made(s.model.path) or system(s.trainer).own_program:
        return
    own, given = see.tokenizer(s.model.path), see.tokenizer(s.model.tokenizer)
    if own is None or given is None or own.ids is None or given.ids is None or own.ids == given.ids:
        return
    message = f"{given.name} numbers its tokens in another way than {own.name}"
    yield Fault("model.tokenizer", message, "drop tokenizer: the model brings its own", own.name)


@rule("L336", "padding-that-ends-turns", "warning", sources="Transformers#22794, LLaMA-Factory#4556")
def pad_ends_turns(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a padding token that is also the token with which an answer ends.

    Why is this bad:
    What is padding carries no loss, in every tool that finds it by its number; so the model may never learn to end an answer. A reward model
    finds the end of a text by its padding, and reads one token too few.

    Example:
        model: {base: meta-llama/Llama-3.1-8B-Instruct, special_tokens: {pad: "<|eot_id|>"}}
        adapter: {rank: 16}

    Use instead:
        model: {base: meta-llama/Llama-3.1-8B-Instruct, special_tokens: {pad: "<|finetune_right_pad_id|>"}}
    """
    pad, known = s.model.special_tokens.get("pad"), see.tokenizer(s.model.tokenizer)
    used = template(s.model.template) if s.model.template is not None else None
    if pad is None or not renders(s):
        return
    ends_with = s.model.turn_end or (used.end if used is not None else None)
    if pad == ends_with or (known is not None and known.instruct and pad == known.eos):
        message = f"{pad} ends every answer, and would be padding too"
        spare = next((one for one in (known.tokens if known is not None else ()) if "pad" in one), None)
        yield Fault(
            "model.special_tokens", message, f"use {spare}, or drop it" if spare else "use another token, or drop it"
        )


@rule(
    "L337",
    "quantised-twice",
    "error",
    sources="Transformers: The model is quantized with GPTQConfig but you are passing a BitsAndBytesConfig",
)
def quantised_twice(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a checkpoint in AWQ, GPTQ, FP8 or the like that is to be quantised by bitsandbytes when it is loaded.

    Why is this bad:
    Its weights are packed already: Transformers ends with an error, and a trainer that drops one of the two trains something else than is
    written.

    Example:
        model: {base: Qwen/Qwen2.5-7B-Instruct-AWQ, load_in: nf4}
        adapter: {rank: 16}

    Use instead:
        model: {base: Qwen/Qwen2.5-7B-Instruct, load_in: nf4}
    """
    known = see.model(s.model.path)
    if known is None or known.quantised is None or s.model.load_in in PLAIN or system(s.trainer).own_program:
        return
    form = formats()[known.quantised]
    if known.quantised.startswith("bnb") or not form.bits or known.quantised in system(s.trainer).requantises:
        return
    origin = original_of(s.model.path)
    message = f"{s.model.path} is kept in {form.says} already, and cannot be loaded in {s.model.load_in}"
    yield Fault("model.load_in model.path", message, f"drop load_in, or use {origin or 'the model in bf16'} with it")


@rule(
    "L338",
    "no-kernels-of-liger",
    "error",
    sources="Liger: There are currently no Liger kernels supported for model type",
)
def no_kernels(see: Context, s: Train) -> Iterator[Fault]:
    """Finds Liger's kernels with a model of a family that it has none for.

    Why is this bad:
    Nothing is replaced: the training needs the memory that was to be saved, above all that of the logits. A line in the log is all that says so.

    Example:
        model: {base: EleutherAI/pythia-1.4b}
        data: {train: [{path: data/corpus.jsonl, format: text}]}
        train: {method: pretrain, learning_rate: 1e-5, liger_kernel: true}

    Use instead:
        train: {method: pretrain, learning_rate: 1e-5}
    """
    known = see.model(s.model.path)
    if s.numerics.liger_kernel and known is not None and family_row(known.family).get("liger") == 0:
        message = f"Liger has no kernels for {known.id}, whose family is {known.family}"
        yield Fault(
            "numerics.liger_kernel", message, "drop liger_kernel; a smaller micro batch saves memory too", "false"
        )


def _merged(see: Context, s: Train) -> bool:
    """Return whether the adapter that a training leaves is merged into its base, by itself or by a later stage."""
    return any(
        stage.kind == "merge" and any(getattr(one.output, "adapter", None) == s.output for one in stage.inputs)
        for stage in see.plan.stages
    )


@rule("L339", "tied-embeddings-taken-apart", "warning", sources="PEFT#2777: tie_word_embeddings")
def taken_apart(see: Context, s: Train) -> Iterator[Fault]:
    """Finds both embeddings of a model trained beside an adapter that is merged, where the model has one matrix for both.

    Why is this bad:
    PEFT copies the matrix twice, and the copies drift apart. A merged model is no longer tied: it is larger by one matrix, and a tool that ties
    it again, as its configuration says, loses what the output layer learnt.

    Example:
        model: {base: Qwen/Qwen2.5-1.5B-Instruct}
        adapter: {rank: 16, also_train: [embed_tokens, lm_head], merge: true}

    Use instead:
        adapter: {rank: 16, merge: true}
    """
    known, a = see.model(s.model.path), s.adapter
    if known is None or a is None or not known.tied_embeddings or a.options.get("ensure_weight_tying") is True:
        return
    both = (embeddings_of(known)[0], "lm_head")
    if _merged(see, s) and all(any(one.rsplit(".", 1)[-1] == name for one in a.also_train) for name in both):
        message = f"{known.id} has one matrix for {both[0]} and {both[1]}, which are trained as two and merged"
        advice = (
            "drop merge, or leave both out of also_train, or tie them: adapter.options: {ensure_weight_tying: true}"
        )
        yield Fault("adapter.also_train", message, advice)


@rule("L340", "scores-beyond-the-memory", "error", sources="")
def scores_too_large(see: Context, s: Train) -> Iterator[Fault]:
    """Finds eager attention at a length at which the scores of one layer alone are larger than the memory of a GPU.

    Why is this bad:
    Eager attention keeps a score for every pair of tokens and every head: heads × length². The others compute it in pieces.

    Example:
        model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 65536, attention: eager}
        adapter: {rank: 16}

    Use instead:
        model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 65536, attention: sdpa}
    """
    known, length = see.model(s.model.path), s.model.max_length
    if known is None or known.heads is None or s.model.attention != "eager" or s.hardware.device == "cpu":
        return
    if (
        s.rollout is not None
        or s.parallel.context_parallel > 1
        or (known.context is not None and length > known.context)
    ):
        return
    # the scores in the format of the computation, and the weights that softmax makes of them in fp32
    each = (2 if s.numerics.precision != "fp32" else 4) + 4
    scores = known.heads * length**2 * each * s.batch.micro / s.parallel.tensor_parallel
    if scores > s.hardware.memory_gib * GIB:
        message = f"scores of {known.heads} heads between {length:,} tokens take {scores / GIB:,.0f} GiB in each layer, more than the {s.hardware.memory_gib} GiB of {s.hardware.gpu}"
        yield Fault(
            "model.attention model.max_length",
            message,
            "use attention: sdpa or flash_attention_2, or a smaller max_length",
            "sdpa",
        )


RULES = (
    too_large_for_fp16,
    foreign_tokenizer,
    pad_ends_turns,
    quantised_twice,
    no_kernels,
    taken_apart,
    scores_too_large,
)
