"""Contradictions about the model, its number formats and the adapter."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds.train.model import PROMPTED, QUANTISED, RANKED, SCALED
from recipec.kinds.train.records import Train
from recipec.language import Recipe
from recipec.rules.contradictions.machine import could
from recipec.rules.rule import Context, Fault, contradiction
from recipec.systems.registry import system

PRECISION = ("train.precision", "hardware.gpu")
SCRATCH = "model.from_scratch"


@contradiction("P020", "no-model-or-two", "recipe", words=("model.base", SCRATCH))
def which_model(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a recipe that names no model, or two.

    Why is this bad:
    It is not clear which weights are trained.

    Example:
        model: {chat_template: chatml}

    Use instead:
        model: {base: my-lab/my-model, chat_template: chatml}
    """
    base, scratch = recipe.model.base, recipe.model.from_scratch
    if (base is None) == (scratch is None) and not (base is None and system(recipe.trainer).own_program):
        both = "both base and from_scratch are given"
        message = both if base else "the model has neither base nor from_scratch"
        empty = base is None and "model.base" in see.said.nodes
        yield Fault("model.base" if empty else "model", message, "give exactly one of them")


@contradiction("P021", "word-without-meaning-from-scratch", "recipe", words=(SCRATCH,))
def scratch_words(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds keys about an existing model together with a model from scratch.

    Why is this bad:
    There is no repository to take a revision, a tokenizer or code from: the key has no effect.

    Example:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}, revision: main}

    Use instead:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}}
    """
    for word in ("revision", "tokenizer", "trust_remote_code", "resize_embeddings", "special_tokens"):
        if recipe.model.from_scratch is not None and see.otherwise(f"model.{word}"):
            yield Fault(f"model.{word}", f"{word} has no meaning for a model from scratch", "drop it")


@contradiction("P022", "template-of-a-new-tokenizer", "recipe", words=(SCRATCH, "model.chat_template"))
def scratch_template(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds another chat template than ChatML on a model from scratch.

    Why is this bad:
    The tokenizer that is made for it has the tokens of ChatML, and no others for turns.

    Example:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}, chat_template: llama3}

    Use instead:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}, chat_template: chatml}
    """
    if recipe.model.from_scratch is None:
        return
    message = "a tokenizer trained from scratch uses ChatML"
    if recipe.model.chat_template not in (None, "chatml"):
        yield Fault("model.chat_template", message, "use chatml, or drop the key")
    if see.said.wrote("model.chat_template_file"):
        yield Fault("model.chat_template_file", message, "drop it")


@contradiction("P023", "uneven-heads", "recipe", words=(f"{SCRATCH}.heads", f"{SCRATCH}.hidden_size"))
def uneven_heads(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds heads that do not divide the width of the model into even sizes.

    Why is this bad:
    Each head takes an equal share of the width, and rotary positions turn its values in pairs.

    Example:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 3}}

    Use instead:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}}
    """
    scratch = recipe.model.from_scratch
    if scratch is not None and (scratch.hidden_size % scratch.heads or (scratch.hidden_size // scratch.heads) % 2):
        message = f"{scratch.heads} heads do not divide hidden_size {scratch.hidden_size} into even head sizes"
        yield Fault(f"{SCRATCH}.heads", message, "change one of them")


@contradiction("P024", "uneven-kv-heads", "recipe", words=(f"{SCRATCH}.heads", f"{SCRATCH}.kv_heads"))
def uneven_kv_heads(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds key and value heads that do not divide the heads.

    Why is this bad:
    Each key and value head serves an equal number of query heads.

    Example:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 8, kv_heads: 3}}

    Use instead:
        model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 8, kv_heads: 2}}
    """
    scratch = recipe.model.from_scratch
    if scratch is not None and scratch.heads % (scratch.kv_heads or scratch.heads):
        message = f"kv_heads {scratch.kv_heads} does not divide heads {scratch.heads}"
        yield Fault(f"{SCRATCH}.kv_heads", message, "choose a divisor of heads")


@contradiction("P029", "liger-without-a-gpu", words=("train.liger_kernel", "hardware.gpu"))
def liger_on_cpu(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds Liger's kernels on a machine without a GPU.

    Why is this bad:
    They are written in Triton, which compiles for GPUs. The training ends at its first step.

    Example:
        hardware: {gpu: none}
        train: {learning_rate: 1e-5, liger_kernel: true}

    Use instead:
        train: {learning_rate: 1e-5}
    """
    if s.numerics.liger_kernel and s.hardware.device == "cpu":
        yield Fault("train.liger_kernel", "Liger's kernels are Triton, which needs a GPU", "drop it")


@contradiction("P030", "precision-that-the-machine-lacks", words=PRECISION)
def precision(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a number format in which the declared machine cannot train.

    Why is this bad:
    The trainer refuses it when it starts, or computes it in software, many times slower.

    Example:
        hardware: {gpu: t4}
        train: {learning_rate: 1e-5, precision: bf16}

    Use instead:
        train: {learning_rate: 1e-5, precision: fp16}
    """
    chosen, machine = s.numerics.precision, s.hardware
    if chosen == "bf16" and not (machine.device == "gpu" and machine.bf16):
        usual = "fp32" if machine.device == "cpu" else "fp16"
        detail = "" if machine.device == "cpu" else f" (SM {machine.sm}, needs 80)"
        yield Fault("train.precision", f"{machine.gpu} cannot train in bf16{detail}", f"use {usual}")
    if chosen == "fp16" and machine.device == "cpu":
        yield Fault("train.precision", "a CPU cannot train in fp16", "use fp32")


@contradiction("P031", "quantised-weights-without-an-adapter", words=("model.load_in", "adapter"))
def quantised_in_full(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds quantised weights that are trained in full.

    Why is this bad:
    Integers of 4 or 8 bit have no gradient. The tools refuse them when the training starts.

    Example:
        model: {base: my-lab/my-model, load_in: nf4}

    Use instead:
        adapter: {rank: 16}
    """
    if s.model.load_in in QUANTISED and s.adapter is None:
        advice = "add an adapter: QLoRA trains it beside frozen weights"
        yield Fault("model.load_in", f"weights in {s.model.load_in} cannot be trained", advice)


@contradiction("P241", "eight-bit-weights-under-fsdp2", words=("model.load_in", "parallel.strategy"))
def sharded_int8(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds weights in int8 under FSDP2.

    Why is this bad:
    bitsandbytes keeps the scales of an 8-bit layer beside its weight. Once FSDP2 has sharded the weight they are gone, and the
    first forward pass ends with `no attribute 'CB'`. Layers in 4 bit run.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: fsdp2}
        model: {base: my-lab/my-model, load_in: int8}
        adapter: {rank: 16}

    Use instead:
        model: {base: my-lab/my-model, load_in: nf4}
    """
    if s.model.load_in == "int8" and s.parallel.strategy == "fsdp2":
        able = could(s, "zero2", "ddp")
        advice = f"use nf4, or {able}" if able else "use nf4"
        yield Fault("model.load_in", "8-bit weights cannot be sharded by FSDP2", advice)


FP8 = {"fp8": True, "mixed_precision": "fp8"}  # raw keys that the tools have for it


@contradiction("P242", "fp8-that-the-gpu-lacks", words=("overrides", "hardware.gpu"))
def fp8(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a training in fp8, by a raw key, on a GPU that does not compute in it.

    Why is this bad:
    Tensor cores multiply 8-bit floats from compute capability 8.9 on, and the tools ask for 9.0 (Hopper) when they start.

    Example:
        hardware: {gpu: a100-80gb}
        overrides: {axolotl: {fp8: true}}

    Use instead:
        hardware: {gpu: h100-80gb}
    """
    for tool, raw in see.overrides.items():
        for key in [key for key, value in FP8.items() if raw.get(key) == value and s.hardware.sm < 90]:
            has = f"{s.hardware.gpu} has {s.hardware.sm}" if s.hardware.sm else "the CPU has none"
            message = f"training in fp8 needs a GPU with SM 90; {has}"
            yield Fault(f"overrides.{tool}.{key}", message, "drop it, or train on such a GPU")


@contradiction("P033", "scales-that-are-not-there", "part", words=("model.load_in", "model.double_quant"))
def no_scales(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds double quantisation of weights that are not in 4 bit.

    Why is this bad:
    It quantises the scales of 4-bit weights. There are none, and nothing is saved.

    Example:
        adapter: {rank: 16}
        model: {base: my-lab/my-model, load_in: int8, double_quant: true}

    Use instead:
        model: {base: my-lab/my-model, load_in: nf4, double_quant: true}
    """
    model = recipe.model
    if model.double_quant and model.load_in not in ("nf4", "fp4"):
        load = model.load_in or next((s.body.model.load_in for s in see.plan.of_kind("train")), "bf16")
        advice = "it belongs to load_in: nf4 or fp4"
        yield Fault("model.double_quant", f"{load} has no scales to quantise", advice)


@contradiction("P034", "attention-that-the-gpu-lacks", words=("model.attention", "hardware.gpu"))
def attention(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an attention implementation that the declared GPU does not run.

    Why is this bad:
    The kernels are compiled for newer GPUs. The first forward pass ends with an error.

    Example:
        hardware: {gpu: t4}
        model: {base: my-lab/my-model, attention: flash_attention_2}

    Use instead:
        model: {base: my-lab/my-model, attention: sdpa}
    """
    needed = {"flash_attention_2": 80, "flex_attention": 70}.get(s.model.attention, 0)
    if s.hardware.sm < needed:
        has = f"{s.hardware.gpu} has {s.hardware.sm}" if s.hardware.sm else "the CPU has none"
        message = f"{s.model.attention} needs a GPU with SM {needed}; {has}"
        yield Fault("model.attention", message, "use sdpa")


@contradiction("P035", "flash-attention-in-fp32", words=("model.attention", *PRECISION))
def flash_in_fp32(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds Flash Attention with a computation in fp32.

    Why is this bad:
    Its kernels take 16-bit values only.

    Example:
        model: {base: my-lab/my-model, attention: flash_attention_2}
        train: {learning_rate: 1e-5, precision: fp32}

    Use instead:
        train: {learning_rate: 1e-5, precision: bf16}
    """
    if s.model.attention.startswith("flash") and s.numerics.precision == "fp32":
        advice = "use bf16 or fp16, or attention: sdpa"
        yield Fault("model.attention", f"{s.model.attention} does not compute in fp32", advice)


CONTINUED = {
    "continue": "the adapter of the stage before is continued",
    "stack": "a new adapter is stacked on that of the stage before",
}


@contradiction("P039", "two-adapters-to-start-from", words=("adapter.start_from", "parent_adapter"))
def two_starts(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an adapter that would start from two others.

    Why is this bad:
    A stage that continues the adapter of the one before has its weights already. It cannot load others into the same place.

    Example:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, parent_adapter: continue, adapter: {rank: 16, start_from: my-lab/my-adapter}}

    Use instead:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, parent_adapter: continue, adapter: {rank: 16}}
    """
    if see.said.wrote("adapter.start_from") and s.adapter is not None and see.said.part.parent_adapter in CONTINUED:
        advice = "drop it, or drop parent_adapter"
        yield Fault("adapter.start_from", CONTINUED[see.said.part.parent_adapter], advice)


@contradiction("P092", "modules-given-twice", words=("adapter.targets", "adapter.target_pattern"))
def which_modules(see: Context, s: Train) -> Iterator[Fault]:
    r"""Finds both a list and a pattern of the modules that get an adapter.

    Why is this bad:
    PEFT takes one of them. Whether the other narrows or widens it, the recipe does not say.

    Example:
        adapter: {rank: 16, targets: [q_proj], target_pattern: '.*\.[qv]_proj'}

    Use instead:
        adapter: {rank: 16, target_pattern: '.*\.[qv]_proj'}
    """
    if s.adapter is not None and s.adapter.target_pattern is not None and see.otherwise("adapter.targets"):
        yield Fault("adapter.target_pattern", "both targets and a pattern are given", "give one of them")


LAYERS = ("layers_to_transform", "layers_pattern")


@contradiction("P244", "layers-of-a-pattern", words=("adapter.target_pattern", "adapter.options"))
def layers_of_a_pattern(_see: Context, s: Train) -> Iterator[Fault]:
    r"""Finds a choice of layers beside a pattern for the full names of modules.

    Why is this bad:
    A full name says the layer. PEFT refuses both together when the adapter is made.

    Example:
        adapter: {rank: 16, target_pattern: '.*\.[qv]_proj', options: {layers_to_transform: [0, 1]}}

    Use instead:
        adapter: {rank: 16, targets: [q_proj, v_proj], options: {layers_to_transform: [0, 1]}}
    """
    if s.adapter is not None and s.adapter.target_pattern is not None:
        for word in LAYERS:
            if s.adapter.options.get(word) is not None:
                advice = "name the layers in the pattern, or the modules in targets"
                yield Fault(f"adapter.options.{word}", f"a pattern of full names excludes {word}", advice)


@contradiction("P106", "pattern-that-does-not-compile", words=("adapter.target_pattern", "rewards"))
def pattern(_see: Context, s: Train) -> Iterator[Fault]:
    r"""Finds a pattern, of module names or of a reward, that is not a valid regular expression.

    Why is this bad:
    It is compiled after the model is loaded, and fails there.

    Example:
        adapter: {rank: 16, target_pattern: '.*\.([qv]_proj'}

    Use instead:
        adapter: {rank: 16, target_pattern: '.*\.[qv]_proj'}
    """
    patterns = {indexed("rewards", index) + ".pattern": reward.pattern for index, reward in enumerate(s.rewards)}
    if s.adapter is not None:
        patterns["adapter.target_pattern"] = s.adapter.target_pattern
    for path, text in patterns.items():
        try:
            re.compile(text or "")
        except (re.error, OverflowError, RecursionError) as error:
            yield Fault(path, f"the pattern is not a regular expression: {error}", "correct it")


@contradiction("P272", "template-that-cannot-be-rendered", words=("model.chat_template_file",))
def template_file(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a file with a chat template that is not valid Jinja, or that takes nothing of the conversation.

    Why is this bad:
    The training ends when the first row is rendered, after the environment is made and the model is loaded; or all rows become
    the same text. A file that is not here is not checked.

    Example:
        model: {base: my-lab/my-model, chat_template_file: templates/open.jinja}

    Use instead:
        model: {base: my-lab/my-model, chat_template_file: templates/plain.jinja}
    """
    if s.model.chat_template_file is None:
        return
    from recipec.chat_template import trouble  # few recipes have one

    found = trouble(s.model.chat_template_file)
    if found is not None:
        yield Fault("model.chat_template_file", found.message, found.advice)


@contradiction("P223", "dropout-of-everything", words=("adapter.dropout",))
def drops_all(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a dropout of 1, which drops the whole input of the adapter.

    Why is this bad:
    The adapter sees zeros in every step: no gradient reaches it, and nothing is learnt.

    Example:
        adapter: {rank: 16, dropout: 1}

    Use instead:
        adapter: {rank: 16, dropout: 0.1}
    """
    if s.adapter is not None and s.adapter.dropout == 1:
        yield Fault("adapter.dropout", "a dropout of 1 drops all of the adapter's input", "0 to 0.1 is usual")


@contradiction("P093", "word-of-another-adapter", words=("adapter",))
def other_adapter(see: Context, s: Train) -> Iterator[Fault]:
    """Finds a key of the adapter that its type does not have.

    Why is this bad:
    The key has no effect, or the tool refuses it.

    Example:
        adapter: {type: ia3, rank: 16}

    Use instead:
        adapter: {type: lora, rank: 16}
    """
    if s.adapter is None:
        return
    kind, said = s.adapter.type, see.said
    for word, kinds in (("rank", RANKED), ("alpha", SCALED), ("virtual_tokens", PROMPTED)):
        if kind not in kinds and said.wrote(f"adapter.{word}"):
            yield Fault(f"adapter.{word}", f"{kind} has no {word}", f"drop it; {', '.join(kinds)} have it")
    for word in ("dora", "rslora", "lora_plus_ratio"):
        if kind != "lora" and getattr(s.adapter, word):
            yield Fault(f"adapter.{word}", f"{kind} has no {word}", "it belongs to type: lora")
    if kind in PROMPTED and s.adapter.merge:
        yield Fault("adapter.merge", f"{kind} changes no weights that could be merged", "drop merge")
    if kind != "lora" and s.adapter.init != "default":
        yield Fault("adapter.init", f"{kind} has no init {s.adapter.init}", "it belongs to type: lora")


@contradiction("P100", "template-given-twice", "part", words=("model.chat_template", "model.chat_template_file"))
def which_template(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds both a named chat template and a file with one.

    Why is this bad:
    A conversation is rendered by one template, and the recipe does not say which.

    Example:
        model: {base: my-lab/my-model, chat_template: chatml, chat_template_file: mine.jinja}

    Use instead:
        model: {base: my-lab/my-model, chat_template: chatml}
    """
    if recipe.model.chat_template_file is not None and recipe.model.chat_template is not None:
        message = "both a chat template and a file with one are given"
        yield Fault("model.chat_template_file", message, "give one of them")


RULES = (
    which_model,
    scratch_words,
    scratch_template,
    uneven_heads,
    uneven_kv_heads,
    liger_on_cpu,
    precision,
    quantised_in_full,
    sharded_int8,
    fp8,
    no_scales,
    attention,
    flash_in_fp32,
    two_starts,
    layers_of_a_pattern,
    which_modules,
    pattern,
    drops_all,
    other_adapter,
    which_template,
    template_file,
)
