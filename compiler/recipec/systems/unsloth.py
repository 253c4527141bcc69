"""Unsloth 2026.10.9: the training stage as a script on its Python API, with TRL's trainers, on one GPU.

Its own command, `unsloth train`, is not used: it can be told neither a precision, an optimiser, a schedule nor a
validation, cuts rows that are too long, cannot go on from a checkpoint, and fails on a CPU. The script says it all.
What it says of its arguments is in `unsloth/models/loader.py` and `llama.py`, and of the CPU in `unsloth_zoo/cpu`.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, get_args

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.train.records import Train
from recipec.language.train import Scheduler
from recipec.render.python_writer import Expression, literal
from recipec.systems import on_cpu, rewards, trainers
from recipec.systems.check import Check, Only, refuses
from recipec.systems.document import Sheet
from recipec.systems.huggingface import ALIKE, BASE, base
from recipec.systems.on_cpu import OnCpu
from recipec.systems.system import System
from recipec.systems.table import Row, choice, constant, flag, listed, made, named, same
from recipec.systems.trl import script, settings

TOOL = "unsloth"
METHODS = ("pretrain", "sft", "dpo", "ipo", "kto", "orpo", "grpo")
CAUSAL = ("pretrain", "sft")
FULL = ("embed_tokens", "lm_head")  # what its fast path trains in full beside a LoRA
INITS = ("default", "gaussian", "orthogonal")
OWN = (
    "gradient_checkpointing_kwargs",
    "torch_compile",
    "trust_remote_code",
    settings.NEFTUNE.key,
)  # rows of TRL's that are Unsloth's here


def _dtype(precision: str) -> Expression:
    """Return the format of the computation: that of the weights follows from whether all are trained."""
    return Expression(f"torch.{settings.DTYPES[precision]}")


CHECKPOINTING = named("use_gradient_checkpointing", "numerics.gradient_checkpointing", {True: "unsloth", False: False})
SEED = same("random_state", "seed")
LOADING: tuple[Row, ...] = (
    # an adapter names its base itself; from a file alone, which of the two is named cannot be told
    made("model_name", lambda model: model, "model.path").unless("adapter.start_from"),
    made("model_name", lambda start: start, "adapter.start_from").when("adapter.start_from"),
    same("revision", "model.revision").unless("adapter.start_from"),
    constant("use_exact_model_name", True, "otherwise Unsloth replaces some models by its own copies"),
    same("max_seq_length", "model.max_length"),
    made("dtype", _dtype, "numerics.precision"),
    # its CPU path has no such word
    choice("float32_mixed_precision", "model.load_in", {"fp32": True}, other=False)
    .unless("adapter.type")
    .when("hardware.device", "gpu"),
    choice("load_in_4bit", "model.load_in", {"nf4": True}, other=False),
    BASE["load_in_8bit"],
    choice("full_finetuning", "adapter.type", {None: True}),
    flag("trust_remote_code", "model.trust_remote_code"),
    CHECKPOINTING,
    SEED,
)
ADAPTER: tuple[Row, ...] = (
    *base("r", "lora_alpha", "lora_dropout"),
    listed("target_modules", "adapter.targets", {"all-linear": "all-linear"}),
    *base("modules_to_save", "use_rslora", "use_dora"),
    same("init_lora_weights", "adapter.init").unless("adapter.init", "default"),
    CHECKPOINTING,
    SEED,
)
# trainer.py: it splits the optimiser's groups in the trainer of next tokens only
EMBEDDING: tuple[Row, ...] = (
    same("embedding_learning_rate", "optimizer.embedding_learning_rate").when("method", *CAUSAL),
)
DECIDED = tuple(row.key for row in ADAPTER)


def _decided(options: dict[str, Any]) -> list[str]:
    return [name for name in options if name in DECIDED]


def _elsewhere(also_train: tuple[str, ...]) -> list[str]:
    return [name for name in also_train if name not in FULL]


CHECKS: tuple[Check, ...] = (
    trainers.own_reference("Unsloth"),
    *trainers.unsplit("Unsloth", trainers.CONTEXT, trainers.TENSOR),
    *settings.CHECKS,
    *script.CHECKS,
    refuses(
        "model.load_in",
        when=lambda load: load == "fp4",
        message="Unsloth's 4-bit weights are nf4",
        advice="use load_in: nf4",
    ),
    refuses(
        "model.load_in",
        "numerics.precision",
        when=lambda load, precision: load == "fp32" != precision,
        message=lambda _load, precision: f"Unsloth loads the base of an adapter in {precision}",
        advice="drop load_in; the adapter itself is trained in fp32",
    ).when("adapter.type"),
    refuses(
        "model.double_quant",
        when=lambda double: not double,
        message="Unsloth always quantises the scales of 4-bit weights too",
        advice="drop double_quant",
    ).when("model.load_in", "nf4"),
    refuses(
        "model.load_in",
        when=lambda load: load == "int8",
        message="on a CPU Unsloth loads 16-bit weights instead of int8",
        advice="use load_in: nf4",
    ).when("hardware.device", "cpu"),
    refuses(
        "model.attention",
        when=lambda attention: attention != "sdpa",
        message="Unsloth chooses the attention itself",
        advice="drop it; torch's own is taken",
    ),
    refuses(
        "model.resize_embeddings",
        when=bool,
        message="Unsloth resizes embeddings only to a number of tokens",
        advice="drop it",
    ),
    refuses(
        "numerics.liger_kernel",
        when=bool,
        message="Unsloth has kernels of its own in place of Liger's",
        advice="drop it",
    ),
    refuses(
        "numerics.torch_compile",
        when=bool,
        message="Unsloth compiles the parts of a model itself",
        advice="drop it",
    ),
    refuses(
        "optimizer.name",
        when=lambda name: "8bit" in name or "paged" in name,
        message=lambda name: f"on a CPU Unsloth trains with adamw instead of {name}",
        advice="use optimizer: adamw",
    ).when("hardware.device", "cpu"),
    refuses(
        "data.packing",
        when=bool,
        message="on a CPU Unsloth turns packing off",
        advice="drop it",
    ).when("hardware.device", "cpu"),
    refuses(
        "adapter.also_train",
        when=_elsewhere,
        message=lambda also: f"Unsloth cannot train {', '.join(_elsewhere(also))} in full",
        advice=f"it can {', '.join(FULL)}",
    ).when("adapter.type"),
    refuses(
        "adapter.init",
        when=lambda init: init not in INITS,
        message=lambda init: (
            f"with {init} Unsloth changes the base, and the adapter that it saves fits the changed base only"
        ),
        advice=f"use {', '.join(INITS)}",
    ).when("adapter.type"),
    refuses(
        "adapter.init",
        "model.load_in",
        "adapter.rank",
        when=lambda _init, load, rank: load in settings.QUANTISED or rank % 2,
        message="orthogonal needs an even rank and weights that are not quantised",
        advice="use another init",
    ).when("adapter.init", "orthogonal"),
    refuses(
        "adapter.lora_plus_ratio",
        when=lambda ratio: ratio is not None,
        message="Unsloth does not offer LoRA+",
        advice="use trainer: trl",
    ),
    refuses(
        "adapter.options",
        when=_decided,
        message=lambda options: f"the recipe's own words decide {', '.join(_decided(options))}",
        advice=lambda options: f"drop {', '.join(f'options.{name}' for name in _decided(options))}",
    ).when("adapter.type"),
)


def _grouped(group: str, rows: Iterable[Row]) -> list[Row]:
    return [row.grouped(group) for row in rows]


def _sheets(s: Train, _environment: str) -> list[Sheet]:
    _, config, _ = _classes(s)
    found = _grouped("from_pretrained", LOADING)
    found += _grouped(config, (row for row in (*settings.rows(s), *EMBEDDING) if row.key not in OWN))
    if s.adapter is not None:
        more = [name for name in s.adapter.options if name not in DECIDED]
        options = (made(name, itemgetter(name), "adapter.options") for name in more)
        found += _grouped("get_peft_model", (*ADAPTER, *options))
    own = Sheet(script.FILE, tuple(found), TOOL, s.release, config, "python", _text(s), alike=ALIKE)
    datasets = pinned(f"{TOOL}-{s.release}", "datasets")
    return [own, Sheet(script.SETTINGS, script.setting_rows(s), "datasets", datasets, "", "json")]


def _classes(s: Train) -> tuple[str, str, str]:
    """Return the package of the trainer, its configuration's class and its own; Unsloth's own where embeddings have a rate."""
    package, stem = script.TRAINERS[s.method]
    if s.optimizer.embedding_learning_rate is not None and s.method in CAUSAL:
        return "unsloth", "UnslothTrainingArguments", "UnslothTrainer"
    return package, f"{stem}Config", f"{stem}Trainer"


def _text(s: Train) -> str:
    """Return the script's template."""
    package, config, trainer = _classes(s)
    online, decays = s.method in settings.ONLINE, script.decays_by_share(s)
    early = "from transformers import EarlyStoppingCallback\n" if script.stopping(s) else ""
    adapter = _ADAPTER if s.adapter is not None else ""
    return _SCRIPT.format(
        what=f"{script.TRAINERS[s.method][1]} by Unsloth and TRL with what the recipe decided; {script.LIBRARY} brings the rows that "
        f"{script.SETTINGS} describes.",
        config=config,
        trainer=script.DECAYING if decays else trainer,
        decaying=script.decaying(s, trainer) + "\n" if decays else "",
        math="import math\n" if decays else "",
        classes=_IMPORTS[package == TOOL].format(package=package, config=config, trainer=trainer, early=early),
        imports="import rewards\nimport rows" if online and rewards.functions(s) else "import rows",
        settings=script.SETTINGS,
        quantised=_QUANTISED if s.model.load_in == "nf4" else "",
        fit="rows.fit_embeddings(model, tokenizer)\n" if script.grows(s) else "",
        adapter=adapter,
        more=(f"    reward_funcs=[{', '.join(_judges(s))}],\n" if online else "")
        + (f"    callbacks=[{script.stopping(s)}],\n" if script.stopping(s) else ""),
    )


def _judges(s: Train) -> list[str]:
    names = zip(rewards.names(s.rewards), s.rewards, strict=True)
    return [name if reward.type != "model" else literal(name) for name, reward in names]


_SCRIPT = '''"""{what}"""

{math}import os
from pathlib import Path

import torch
{classes}
{imports}

settings = rows.read_settings(Path(__file__).parent / "{settings}")
model, _tokenizer = FastLanguageModel.from_pretrained(
    {{{{from_pretrained}}}}
)
{quantised}tokenizer = rows.load_tokenizer(settings)
{fit}{adapter}config = {config}(
    {{{{{config}}}}}
)
train, validation = rows.load_rows(settings, tokenizer)
{decaying}trainer = {trainer}(
    model=model,
    args=config,
    processing_class=tokenizer,
{more}    train_dataset=train,
    eval_dataset=validation,
)
trainer.train(resume_from_checkpoint=os.environ.get("RECIPE_RESUME_FROM") or None)
trainer.save_model(config.output_dir)
'''
_IMPORTS = {
    False: """from unsloth import FastLanguageModel  # before TRL, which it patches

{early}from {package} import {config}, {trainer}
""",
    True: """from unsloth import FastLanguageModel, {trainer}, {config}  # before TRL, which it patches
{early}""",
}
_QUANTISED = """if not getattr(model, "is_loaded_in_4bit", False):
    raise SystemExit("train.py: Unsloth has loaded 16-bit weights, for bitsandbytes cannot hold 4-bit weights here")
"""
_ADAPTER = """model = FastLanguageModel.get_peft_model(
    model,
    {{get_peft_model}}
)
"""


def _job(s: Train) -> Job:
    own = {"UNSLOTH_COMPILE_LOCATION": f"{s.data.cache}/unsloth_compiled_cache"}
    own |= {} if s.track.telemetry else {"UNSLOTH_DISABLE_STATISTICS": "1"}
    return trainers.job(s, "python", Beside(script.FILE)).replaced(resume="", variables=own | trainers.tracking(s))


def _files(s: Train) -> dict[str, str]:
    functions = {rewards.FILE: rewards.text(s)} if s.rewards and rewards.functions(s) else {}
    return {**script.files(), **functions}


def _checks(_s: Train) -> tuple[Check, ...]:
    return CHECKS


def _uses(s: Train) -> tuple[str, ...]:
    """Return what is written into the script and its variables, and what decides that there is one process.

    Another `packing` or `double_quant` where there is no row for it is refused before a trainer is asked.
    """
    return (
        *["watch.early_stopping"] * (s.method not in settings.ONLINE), "rewards", "adapter.type", "adapter.merge", "adapter.options", "data.packing", "data.cache", "model.double_quant", "model.load_in",
        "hardware.nodes", "hardware.world", "track.wandb_project", "track.wandb_entity", "track.mlflow_uri",
        "track.mlflow_experiment", *trainers.grouped(s),
    )  # fmt: skip


# What its own path for CPUs does without: models/_utils.py and unsloth_zoo/cpu
ON_CPU = (
    on_cpu.Instead("data.packing", False, "on a CPU Unsloth turns packing off", (Only("data.packing"),)),
    on_cpu.Instead(
        "train.optimizer",
        "adamw",
        "on a CPU Unsloth trains with adamw instead",
        (Only("optimizer.name", frozenset(["adamw_8bit", "adamw_paged_8bit", "adamw_paged"])),),
    ),
)
SYSTEM = System(
    TOOL,
    kinds=frozenset(["train"]),
    can={
        "method": frozenset(METHODS),
        "parallel.strategy": frozenset(["single"]),
        "adapter.type": frozenset(["lora"]),
        "optimizer.scheduler": frozenset(get_args(Scheduler)),
    },
    sheets=_sheets,
    needs=trainers.need,
    job=_job,
    files=_files,
    checks=_checks,
    uses=_uses,
    one_process="Unsloth trains in one process",
    alternating=frozenset(["gemma"]),
    without_system=frozenset(["gemma"]),
    writing_tools=frozenset(["qwen3"]),
    reads=script.READS,
    unpaired_turns=True,
    requantises=frozenset(["mxfp4", "fp8"]),  # models/mapper.py
    guards_fp16=True,
    on_cpu=OnCpu((*on_cpu.TRAINERS, *ON_CPU)),
    joint_length=True,  # of the loaded model: models/llama.py cuts what is longer
)
