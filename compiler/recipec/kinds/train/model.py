"""The model of a training, its number formats, and the adapter."""

from __future__ import annotations

from recipec.decide.said import Decided, Said, indexed, plain, section
from recipec.kinds.train.records import Adapter, Format, Model, Numerics
from recipec.language import train as recipe
from recipec.plan import Hardware, ModelOutput, Precision
from recipec.systems.registry import system

QUANTISED = ("int8", "nf4", "fp4")
# Which kinds of adapter have a rank, an alpha, a learnt prompt: the fields of their configurations in PEFT 0.20.
RANKED = ("lora", "adalora", "loha", "lokr", "oft", "hra", "vera", "bone")
SCALED = ("lora", "adalora", "loha", "lokr")
PROMPTED = ("prompt_tuning", "prefix_tuning", "p_tuning")


def numerics(say: Said, train: recipe.Train, machine: Hardware, computed: Decided[Precision]) -> Decided[Numerics]:
    """What the computation is made in, and what trades time for memory."""
    return section(
        Numerics,
        precision=computed,
        gradient_checkpointing=say.take(
            "train.gradient_checkpointing",
            train.gradient_checkpointing,
            machine.device == "gpu",
            "saves memory on GPU",
        ),
        liger_kernel=say.word("train.liger_kernel", train.liger_kernel),
        torch_compile=say.word("train.torch_compile", train.torch_compile),
    )


def model(say: Said, computed: Precision, start: ModelOutput | None, name: str | None, init: str) -> Decided[Model]:
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
    tokens = dict(given.special_tokens)
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
        special_tokens=say.rule(tokens, "as given", *(f"model.special_tokens.{one}" for one in tokens)),
        trust_remote_code=say.word("model.trust_remote_code", given.trust_remote_code),
        resize_embeddings=say.word("model.resize_embeddings", given.resize_embeddings),
    )


def _weights(say: Said, given: Format | None, computed: Precision) -> Decided[Format]:
    """Decide the format of the weights: where all are trained, fp32, as bf16 would round small updates away.

    DeepSpeed keeps fp32 copies by itself, and an adapter is trained in fp32 beside a base that does not change.
    """
    sharded = (say.recipe.parallel.strategy or "").startswith("zero")
    full = say.recipe.adapter is None and not system(say.recipe.trainer).own_program
    if full and not sharded and computed != "fp32":
        return say.take("model.load_in", given, "fp32", f"{computed} would round small updates of trained weights away")
    why = "the precision of the computation" + "; DeepSpeed keeps fp32 copies" * (full and sharded)
    return say.take("model.load_in", given, computed, why, *["parallel.strategy"] * (full and sharded))


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
            say.rule(init, "made by the stage 00-init", "model.from_scratch.family"),
            say.rule(None, "a local folder has no revision"),
            say.take(
                "model.tokenizer", given.tokenizer, init, "made by the stage 00-init", "model.from_scratch.vocab_size"
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
    rank = say.take("adapter.rank", given.rank, 16, "a usual rank") if ranked else plain(0)
    if start is not None and start.adapter is not None:
        begin: Decided[str | None] = say.rule(start.adapter, f"continues the result of {name}", "parent_adapter")
    else:
        begin = say.word("adapter.start_from", given.start_from)
    modules = ("all-linear",) if given.targets == "all-linear" else tuple(given.targets)
    options = dict(given.options)
    return section(
        Adapter,
        type=say.word("adapter.type", given.type),
        rank=rank,
        alpha=say.take("adapter.alpha", given.alpha, float(2 * rank.value), "2 × rank") if scaled else plain(0.0),
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
