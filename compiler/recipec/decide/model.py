"""Model, adapter, precision and attention."""

from __future__ import annotations

import re

from recipec.decide.draft import Draft, indexed
from recipec.decide.script import wanted
from recipec.plan import Adapter, Model, Numerics, Scratch

QUANTISED = ("int8", "nf4", "fp4")
# Which kinds of adapter have a rank, an alpha, a learnt prompt: the fields of their configurations in PEFT 0.20.
RANKED = ("lora", "adalora", "loha", "lokr", "oft", "hra", "vera", "bone")
SCALED = ("lora", "adalora", "loha", "lokr")
PROMPTED = ("prompt_tuning", "prefix_tuning", "p_tuning")


def source(d: Draft) -> None:
    """Find the model: given, or made from scratch by a stage before the training."""
    base, scratch = d.get("model.base"), d.get("model.from_scratch")
    if (base is None) == (scratch is None) and not (base is None and wanted(d)):
        what = "both base and from_scratch are given" if base else "the model has neither base nor from_scratch"
        d.error("P020", "model", what, "give exactly one of them")
    max_length = d.copy("model.max_length", "model.max_length")
    if d.start is not None:
        why = f"what {d.start.name} left" if d.start.adapter is None else f"the base of {d.start.name}'s adapter"
        d.put("model.path", d.start.path, why, "start_from")
        d.put("model.revision", d.start.revision, why, "model.revision")
        d.copy("model.tokenizer", "model.tokenizer", d.start.tokenizer, f"{d.start.name} saved it")
    elif scratch is None:
        d.copy("model.path", "model.base", "")
        d.copy("model.revision", "model.revision")
        d.copy("model.tokenizer", "model.tokenizer", base or "", "the model's own tokenizer")
    else:
        output = f"runs/{d.recipe.name}/00-init"
        d.put("model.path", output, "made by the stage 00-init", "model.from_scratch.family")
        d.put("model.tokenizer", output, "made by the stage 00-init", "model.from_scratch.vocab_size")
        d.put("model.revision", None, "a local folder has no revision")
        for word in ("revision", "tokenizer", "trust_remote_code", "resize_embeddings", "special_tokens"):
            if d.said(f"model.{word}"):
                d.error("P021", f"model.{word}", f"{word} has no meaning for a model from scratch", "drop it")
        _scratch(d, max_length)
    d.copy("model.trust_remote_code", "model.trust_remote_code")
    d.copy("model.resize_embeddings", "model.resize_embeddings")
    tokens = dict(d.get("model.special_tokens"))
    d.put("model.special_tokens", tokens, "as given", *(f"model.special_tokens.{name}" for name in tokens))
    if d.copy("model.chat_template_file", "model.chat_template_file") is not None and d.said("model.chat_template"):
        advice = "give one of them"
        d.error("P100", "model.chat_template_file", "both a template and a file of one's own are given", advice)
    if d.start is not None:
        d.copy("model.chat_template", "model.chat_template", "tokenizer", "the tokenizer's own template")
        return
    template = "chatml" if scratch is not None else "tokenizer"
    why = "a new tokenizer gets ChatML" if scratch is not None else "the tokenizer's own template"
    d.copy("model.chat_template", "model.chat_template", template, why)
    if scratch is not None and (d.values["model.chat_template"] != "chatml" or d.said("model.chat_template_file")):
        d.error(
            "P022", "model.chat_template", "a tokenizer made from scratch carries ChatML", "use chatml, or drop the key"
        )


def _scratch(d: Draft, max_length: int) -> None:
    here = "model.from_scratch"
    for word in ("family", "hidden_size", "layers", "heads", "vocab_size", "tie_embeddings"):
        d.copy(f"init.model.{word}", f"{here}.{word}")
    heads, hidden = d.values["init.model.heads"], d.values["init.model.hidden_size"]
    kv_heads = d.copy("init.model.kv_heads", f"{here}.kv_heads", heads, "as many as heads: multi-head attention")
    d.copy("init.model.intermediate_size", f"{here}.intermediate_size", 4 * hidden, "4 × hidden_size")
    d.put("init.model.max_length", max_length, "the longest sequence trained on", "model.max_length")
    d.put("init.model.chat_template", "chatml", "a new tokenizer gets ChatML", "model.chat_template")
    if hidden % heads or (hidden // heads) % 2:
        d.error(
            "P023",
            f"{here}.heads",
            f"{heads} heads do not divide hidden_size {hidden} into even head sizes",
            "change one of them",
        )
    if heads % kv_heads:
        d.error(
            "P024",
            f"{here}.kv_heads",
            f"kv_heads {kv_heads} does not divide heads {heads}",
            "choose a divisor of heads",
        )
    d.values["init.model"] = d.make(Scratch, "init.model")


def precision(d: Draft) -> None:
    """Choose the number format of the computation by what the hardware has."""
    sm, device = d.values["hardware.sm"], d.values["hardware.device"]
    default = "fp32" if device == "cpu" else "bf16" if d.values["hardware.bf16"] else "fp16"
    why = {"fp32": "CPU trains in fp32", "bf16": "the GPU computes in bf16", "fp16": "the GPU has no bf16"}[default]
    chosen = d.copy("train.numerics.precision", "train.precision", default, why)
    gpu = d.values["hardware.gpu"]
    if chosen == "bf16" and default != "bf16":
        d.error(
            "P030",
            "train.precision",
            f"{gpu} cannot train in bf16" + ("" if device == "cpu" else f" (SM {sm}, needs 80)"),
            f"use {default}",
        )
    if chosen == "fp16" and device == "cpu":
        d.error("P030", "train.precision", "a CPU cannot train in fp16", "use fp32")
    d.copy(
        "train.numerics.gradient_checkpointing", "train.gradient_checkpointing", device == "gpu", "saves memory on GPU"
    )
    if d.copy("train.numerics.liger_kernel", "train.liger_kernel") and device == "cpu":
        d.error("P029", "train.liger_kernel", "Liger's kernels are Triton, which needs a GPU", "drop it")
    d.copy("train.numerics.torch_compile", "train.torch_compile")
    d.values["train.numerics"] = d.make(Numerics, "train.numerics")


def weights(d: Draft) -> None:
    """Number format of the base weights, and attention; then the model is complete."""
    chosen = d.values["train.numerics.precision"]
    load = d.copy("model.load_in", "model.load_in", chosen, "as the computation")
    four_bit = load in ("nf4", "fp4")
    why = "saves about 0.4 bit per parameter" if four_bit else "default of the language"
    d.copy("model.double_quant", "model.double_quant", four_bit, why)
    if load in QUANTISED and d.get("adapter") is None and d.get("train") is not None:
        d.error(
            "P031",
            "model.load_in",
            f"weights in {load} cannot be trained",
            "add an adapter: QLoRA trains it beside frozen weights",
        )
    if load not in QUANTISED and load != chosen and d.get("train") is not None:
        d.error(
            "P032",
            "model.load_in",
            f"weights in {load} and computation in {chosen} disagree",
            f"use {chosen} for both, or drop load_in",
        )
    if d.said("model.double_quant") and d.values["model.double_quant"] and not four_bit:
        d.error("P033", "model.double_quant", f"{load} has no scales to quantise", "it belongs to load_in: nf4 or fp4")
    attention = d.copy("model.attention", "model.attention", "sdpa", "comes with torch on every machine")
    sm, gpu = d.values["hardware.sm"], d.values["hardware.gpu"]
    needed = {"flash_attention_2": 80, "flex_attention": 70}.get(attention, 0)
    if sm < needed:
        d.error("P034", "model.attention", f"{attention} needs SM {needed}, {gpu} has {sm or 'none'}", "use sdpa")
    if attention.startswith("flash") and chosen == "fp32":
        d.error(
            "P035", "model.attention", f"{attention} does not compute in fp32", "use bf16 or fp16, or attention: sdpa"
        )
    d.values["model"] = d.make(Model, "model")


def adapter(d: Draft) -> None:
    """The adapter, if any."""
    if d.get("adapter") is None:
        d.values["train.adapter"] = None
        return
    if d.get("train") is None:
        d.error("P036", "adapter", "an adapter is given, but nothing is trained", "add train, or drop adapter")
    for word in ("dropout", "dora", "rslora", "init", "lora_plus_ratio", "merge"):
        d.copy(f"train.adapter.{word}", f"adapter.{word}")
    kind = d.copy("train.adapter.type", "adapter.type")
    _sizes(d, kind)
    if d.start is not None and d.start.adapter is not None:
        d.put("train.adapter.start_from", d.start.adapter, f"continues what {d.start.name} left", "parent_adapter")
        if d.said("adapter.start_from"):
            advice = "drop it, or drop parent_adapter"
            d.error("P039", "adapter.start_from", "the adapter of the stage before is continued", advice)
    else:
        d.copy("train.adapter.start_from", "adapter.start_from")
    d.copy("train.adapter.targets", "adapter.targets")
    pattern = d.copy("train.adapter.target_pattern", "adapter.target_pattern")
    if pattern is not None:
        if d.said("adapter.targets"):
            d.error("P092", "adapter.target_pattern", "both targets and a pattern are given", "give one of them")
        try:
            re.compile(pattern)
        except re.error as error:
            d.error("P092", "adapter.target_pattern", f"it is no regular expression: {error}", "mend it")
    if d.values["train.adapter.targets"] == "all-linear":
        d.values["train.adapter.targets"] = ("all-linear",)
    d.copy("train.adapter.also_train", "adapter.also_train", ())
    options = dict(d.get("adapter.options"))
    d.put("train.adapter.options", options, "as given", *(indexed("adapter.options", key) for key in options))
    d.values["train.adapter"] = d.make(Adapter, "train.adapter")


def _sizes(d: Draft, kind: str) -> None:
    """Rank, alpha and virtual tokens: each kind of adapter has some of them."""
    rank = 0
    if kind in RANKED:
        rank = d.copy("train.adapter.rank", "adapter.rank", 16, "a usual rank")
    if kind in SCALED:
        d.copy("train.adapter.alpha", "adapter.alpha", float(2 * rank), "2 × rank")
    if kind in PROMPTED:
        d.copy("train.adapter.virtual_tokens", "adapter.virtual_tokens", 20, "a usual length")
    for word, kinds, zero in (("rank", RANKED, 0), ("alpha", SCALED, 0.0), ("virtual_tokens", PROMPTED, 0)):
        if kind not in kinds:
            d.values[f"train.adapter.{word}"] = zero
            if d.said(f"adapter.{word}"):
                d.error("P093", f"adapter.{word}", f"{kind} has no {word}", f"drop it; {', '.join(kinds)} have it")
    for word in ("dora", "rslora", "lora_plus_ratio"):
        if kind != "lora" and d.said(f"adapter.{word}") and d.get(f"adapter.{word}"):
            d.error("P093", f"adapter.{word}", f"{kind} has no {word}", "it belongs to type: lora")
    if kind in PROMPTED and d.values["train.adapter.merge"]:
        d.error("P093", "adapter.merge", f"{kind} changes no weights that could be merged", "drop merge")
    init = d.values["train.adapter.init"]
    if kind != "lora" and init != "default":
        d.error("P093", "adapter.init", f"{kind} has no init {init}", "it belongs to type: lora")
