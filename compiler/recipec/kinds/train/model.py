"""The model of a training, its number formats, and the adapter."""

from __future__ import annotations

from math import sqrt
from typing import TypeVar

from recipec.decide.said import Decided, Said, indexed, plain, section
from recipec.facts.models import known_model
from recipec.facts.tokens import Tokenizer, template
from recipec.kinds.train import memory
from recipec.kinds.train.data import Talk
from recipec.kinds.train.records import Adapter, Format, Model, Numerics, Train
from recipec.language import train as recipe
from recipec.plan import Hardware, ModelOutput, Precision, Record
from recipec.systems.registry import system

U = TypeVar("U")

QUANTISED = ("int8", "nf4", "fp4")
# Which kinds of adapter have a rank, an alpha, a learnt prompt: the fields of their configurations in PEFT 0.20.
RANKED = ("lora", "adalora", "loha", "lokr", "oft", "hra", "vera", "bone")
SCALED = ("lora", "adalora", "loha", "lokr")
# What decides beside the model whether weights fit: how it is split and stepped, the rows, the GPU.
FITTED = (
    "model.max_length", "train.optimizer", "train.micro_batch_size", "parallel.strategy", "hardware.gpu",
    "hardware.per_node", "hardware.nodes",
)  # fmt: skip
USABLE = 0.9
PROMPTED = ("prompt_tuning", "prefix_tuning", "p_tuning")


def numerics(say: Said, train: recipe.Train, machine: Hardware, computed: Decided[Precision]) -> Decided[Numerics]:
    """What the computation is made in, and what trades time for memory."""
    gpu = machine.device == "gpu"
    prefix = say.recipe.adapter is not None and say.recipe.adapter.type == "prefix_tuning"
    return section(
        Numerics,
        precision=computed,
        gradient_checkpointing=say.take(
            "train.gradient_checkpointing",
            train.gradient_checkpointing,
            gpu and not prefix,
            "a learnt prefix stands in the cache, which checkpointing drops"
            if gpu and prefix
            else "saves memory on GPU",
            *(["adapter.type"] if gpu and prefix else []),
        ),
        liger_kernel=say.word("train.liger_kernel", train.liger_kernel),
        torch_compile=say.word("train.torch_compile", train.torch_compile),
    )


class Turns(Record, frozen=True):
    """What rendering by a chat template asks of the tokenizer: see `Model`."""

    template: Decided[str | None]
    special_tokens: Decided[dict[str, str]]
    end: Decided[str | None]
    new: Decided[tuple[str, ...]]


def talk(say: Said, known: Tokenizer | None, named: tuple[str, ...]) -> Talk:
    """Return whether the model talks through a chat template: one is written, or it has learnt its tokenizer's own.

    `known` is what is known of the tokenizer, and `named` the recipe paths that say which it is.
    """
    written = say.recipe.model.chat_template is not None or say.recipe.model.chat_template_file is not None
    because = ("model.chat_template", "model.chat_template_file", *named)
    return Talk(written or (known is not None and known.instruct), because)


def turns(say: Said, known: Tokenizer | None, named: tuple[str, ...], *, renders: bool) -> Turns:
    """Decide which tokens the tokenizer needs so that the end of an answer is trained, and generation stops at it.

    `known` is what is known of the tokenizer, and `named` the recipe paths that say which it is; `renders`: a template
    renders some of the rows.

    The EOS token becomes the one that ends an answer: Transformers' Trainer hands it on to the model's configuration,
    lm-evaluation-harness and servers stop at it.
    """
    given = say.recipe.model
    tokens: dict[str, str] = {word: token for word, token in given.special_tokens.items()}  # noqa: C416  # wider keys
    paths = [f"model.special_tokens.{one}" for one in tokens]
    laid = given.chat_template not in (None, "tokenizer") or given.chat_template_file is not None
    name = given.chat_template if laid else known.template if known is not None else None
    used = template(name) if name is not None and given.chat_template_file is None and renders else None
    if used is None:
        return Turns(plain(None), say.rule(tokens, "as given", *paths), plain(None), plain(()))
    because = [*paths, "model.chat_template", *named]
    renders_by = say.rule(used.name, "as given" if laid else "the tokenizer's own", *because[len(paths) :])
    has = known.tokens if known is not None else ()
    new = tuple(token for token in used.markers if has and token not in has)
    eos = tokens.get("eos", known.eos if known is not None else None)
    end = used.end if used.end != eos else None
    if end is not None and "eos" not in tokens:
        tokens["eos"] = end
    lacks = say.rule(new, f"markers of {used.name} that the tokenizer lacks", *because) if new else plain(())
    if end is None:
        return Turns(renders_by, say.rule(tokens, "as given", *paths), plain(None), lacks)
    if known is None or known.eos is None:
        why = f"{used.name} ends an answer with it"
    else:
        why = f"{used.name} ends an answer with it, where the EOS token of {known.name} is {known.eos}"
    return Turns(renders_by, say.rule(tokens, why, *because), say.rule(end, why, *because), lacks)


def model(
    say: Said, computed: Precision, start: ModelOutput | None, name: str | None, init: str, turns: Turns
) -> Decided[Model]:
    """Decide the model: given, from scratch (`init` is the folder), or what the stage `name` left (`start`)."""
    given = say.recipe.model
    scratch = given.from_scratch is not None
    path, revision, tokenizer = _source(say, start, name, init)
    load = _weights(say, given.load_in, computed)
    four_bit = load.value in ("nf4", "fp4")
    why = "saves about 0.4 bit per parameter" if four_bit else "default of the language"
    new = scratch and start is None
    template, reason = (
        ("chatml", "a new tokenizer gets ChatML") if new else ("tokenizer", "the tokenizer's own template")
    )
    because = ["model.from_scratch.family"] if new else []
    return section(
        Model,
        path=path,
        revision=revision,
        max_length=say.word("model.max_length", given.max_length),
        load_in=load,
        double_quant=say.take("model.double_quant", given.double_quant, four_bit, why),
        attention=say.take("model.attention", given.attention, "sdpa", "comes with torch on every machine"),
        tokenizer=tokenizer,
        chat_template=say.take("model.chat_template", given.chat_template, template, reason, *because),
        chat_template_file=say.word("model.chat_template_file", given.chat_template_file),
        template=turns.template,
        special_tokens=turns.special_tokens,
        turn_end=turns.end,
        new_tokens=turns.new,
        trust_remote_code=say.word("model.trust_remote_code", given.trust_remote_code),
        resize_embeddings=say.word("model.resize_embeddings", given.resize_embeddings),
    )


def _weights(say: Said, given: Format | None, computed: Precision) -> Decided[Format]:
    """Decide the format of the weights: where all are trained, fp32, as bf16 would round small updates away.

    DeepSpeed keeps fp32 copies by itself, and an adapter is trained in fp32 beside a base that does not change. What does
    not fit the machine is seen when the rest is decided (`fitted`).
    """
    sharded = (say.recipe.parallel.strategy or "").startswith("zero")
    full = say.recipe.adapter is None and not system(say.recipe.trainer).own_program
    if full and not sharded and computed != "fp32":
        return say.take("model.load_in", given, "fp32", f"{computed} would round small updates of trained weights away")
    why = "the precision of the computation" + "; DeepSpeed keeps fp32 copies" * (full and sharded)
    return say.take("model.load_in", given, computed, why, *["parallel.strategy"] * (full and sharded))


def fitted(say: Said, decided: Decided[Train], root: str, named: str) -> Decided[Train]:
    """Return a training, its weights in bf16 where nobody wrote their format and they are known to fit the GPU only so.

    A tenth of the memory is left to what nobody can count: CUDA's context, workspaces, fragments. `root` is the model that
    it began with, `named` the recipe path that says so; what a folder of this machine tells of it changes nothing that is
    emitted.
    """
    s = decided.value
    halved = None if say.wrote("model.load_in") or s.hardware.device == "cpu" else memory.in_bf16(s)
    known = known_model(root, folders=False) if halved is not None else None
    if halved is None or known is None or known.parameters is None or known.quantised is not None:
        return decided
    measure = memory.overfull if memory.overfull(known, s, USABLE) else memory.overfull_step
    parts = measure(known, s, USABLE)
    if not parts or measure(known, halved):
        return decided
    why = f"in fp32, {memory.told(parts, s, USABLE)}"
    load = say.rule("bf16", why, named, *FITTED, kind="default")
    return Decided(halved, {**decided.origins, "model.load_in": load.origins[""]})


def _source(
    say: Said, start: ModelOutput | None, name: str | None, init: str
) -> tuple[Decided[str], Decided[str | None], Decided[str]]:
    """Return path, revision and tokenizer."""
    given = say.recipe.model
    if start is not None:
        why = f"the result of {name}" if start.adapter is None else f"the base of {name}'s adapter"
        return (
            say.rule(start.path, why, "start_from"),
            say.rule(start.revision, why),
            say.take("model.tokenizer", given.tokenizer, start.tokenizer, f"{name} saved it"),
        )
    if given.from_scratch is not None:
        return (
            say.rule(init, "made by the stage init", "model.from_scratch.family"),
            say.rule(None, "a local folder has no revision"),
            say.take(
                "model.tokenizer", given.tokenizer, init, "made by the stage init", "model.from_scratch.vocab_size"
            ),
        )
    base = given.base or ""
    return (
        say.word("model.base", base),
        say.word("model.revision", given.revision),
        say.take("model.tokenizer", given.tokenizer, base, "the model's own tokenizer"),
    )


def adapter(say: Said, start: ModelOutput | None, name: str | None) -> Decided[Adapter | None]:
    """Decide the adapter, if any; `start` is what the stage `name` left, where an adapter of it is continued."""
    given = say.recipe.adapter
    if given is None:
        return plain(None)
    ranked, scaled, prompted = (given.type in kinds for kinds in (RANKED, SCALED, PROMPTED))
    if start is not None and start.adapter is not None:
        begin: Decided[str | None] = say.rule(start.adapter, f"continues the result of {name}", "parent_adapter")
    else:
        begin = say.word("adapter.start_from", given.start_from)
    rank = say.take("adapter.rank", given.rank, 16, "a usual rank") if ranked else plain(0)
    usual = (float(round(2 * sqrt(rank.value))), "2 × √rank") if given.rslora else (2.0 * rank.value, "2 × rank")
    alpha = say.take("adapter.alpha", given.alpha, *usual) if scaled else plain(0.0)
    if begin.value is not None:  # nothing that somebody would have to approve
        rank, alpha = _kept(say, "adapter.rank", rank), _kept(say, "adapter.alpha", alpha)
    modules = ("all-linear",) if given.targets == "all-linear" else tuple(given.targets)
    options = dict(given.options)
    return section(
        Adapter,
        type=say.word("adapter.type", given.type),
        rank=rank,
        alpha=alpha,
        dropout=say.word("adapter.dropout", given.dropout),
        targets=say.take("adapter.targets", modules, ("all-linear",)),
        target_pattern=say.word("adapter.target_pattern", given.target_pattern),
        also_train=say.take("adapter.also_train", None if given.also_train is None else tuple(given.also_train), ()),
        dora=say.word("adapter.dora", given.dora),
        rslora=say.word("adapter.rslora", given.rslora),
        init=say.word("adapter.init", given.init),
        lora_plus_ratio=say.word("adapter.lora_plus_ratio", given.lora_plus_ratio),
        virtual_tokens=say.take("adapter.virtual_tokens", given.virtual_tokens, 20, "a usual length")
        if prompted
        else plain(0),
        options=say.rule(options, "as given", *(indexed("adapter.options", key) for key in options)),
        start_from=begin,
        merge=say.word("adapter.merge", given.merge),
    )


def _kept(say: Said, word: str, decided: Decided[U]) -> Decided[U]:
    """Return a size of an adapter that is trained further: it keeps its own, where the recipe says none."""
    if say.wrote(word) or not decided.origins:
        return decided
    return say.rule(decided.value, "a continued adapter keeps its own", "adapter.start_from", kind="fact")
