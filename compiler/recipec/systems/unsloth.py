"""Unsloth 2026.10.9: the training stage as a script on its Python API, with TRL's trainers, on one GPU.

Its own command, `unsloth train`, is not used: it can be told neither a precision, an optimiser, a schedule nor a
validation, cuts rows that are too long, cannot go on from a checkpoint, and fails on a CPU. The script says it all.
What it says of its arguments is in `unsloth/models/loader.py` and `llama.py`, and of the CPU in `unsloth_zoo/cpu`.
"""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.plan import TrainStage
from recipec.render.python_writer import Expression, literal
from recipec.systems import rewards
from recipec.systems.check import Unsupported
from recipec.systems.document import Sheet
from recipec.systems.system import Trainer
from recipec.systems.table import OMIT, Row, computed, same
from recipec.systems.trl import script, settings

TOOL = "unsloth"
METHODS = ("pretrain", "sft", "dpo", "ipo", "kto", "orpo", "grpo")
FULL = ("embed_tokens", "lm_head")  # what its fast path trains in full beside a LoRA
INITS = {"default": OMIT, "gaussian": "gaussian", "orthogonal": "orthogonal"}
OWN = ("gradient_checkpointing_kwargs", "torch_compile", "trust_remote_code")  # rows of TRL's that are Unsloth's here
DECIDED = ("r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "use_rslora", "use_dora",
           "init_lora_weights", "random_state", "use_gradient_checkpointing")  # fmt: skip


def _model(s: TrainStage) -> str:
    """An adapter that is trained further names its base itself."""
    start = s.adapter.start_from if s.adapter is not None else None
    return start or s.model.path


def _revision(s: TrainStage) -> Any:
    if s.adapter is not None and s.adapter.start_from is not None:
        return OMIT
    return s.model.revision or OMIT


def _dtype(s: TrainStage) -> Expression:
    return Expression(f"torch.{settings.dtype(s)}")


def _four_bit(s: TrainStage) -> bool:
    if s.model.load_in == "fp4" or (s.model.load_in == "nf4" and not s.model.double_quant):
        message = "Unsloth's 4-bit weights are nf4 with doubly quantised scales"
        raise Unsupported("model.load_in", message, "use load_in: nf4, and leave double_quant out")
    return s.model.load_in == "nf4"


def _eight_bit(s: TrainStage) -> Any:
    if s.model.load_in != "int8":
        return OMIT
    if s.hardware.device == "cpu":
        raise Unsupported("model.load_in", "on a CPU Unsloth loads 16-bit weights instead of int8", "use load_in: nf4")
    return True


def _attention(s: TrainStage) -> Any:
    """There is nothing to say: it takes what its environment has, which is torch's own."""
    if s.model.attention != "sdpa":
        raise Unsupported("model.attention", "Unsloth chooses the attention itself", "drop it; torch's own is taken")
    return OMIT


def _resize(s: TrainStage) -> Any:
    if s.model.resize_embeddings:
        raise Unsupported("model.resize_embeddings", "Unsloth resizes only to a number of tokens", "drop it")
    return OMIT


def _checkpointing(s: TrainStage) -> Any:
    return "unsloth" if s.numerics.gradient_checkpointing else False


def _compile(s: TrainStage) -> Any:
    if s.numerics.torch_compile:
        raise Unsupported("numerics.torch_compile", "Unsloth compiles the parts of a model itself", "drop it")
    return OMIT


LOADING: tuple[Row, ...] = (
    computed("model_name", _model),
    computed("revision", _revision),
    computed("use_exact_model_name", lambda _s: True, "else it loads a copy of its own in place of some models"),
    same("max_seq_length", "model.max_length"),
    computed("dtype", _dtype),
    computed("load_in_4bit", _four_bit),
    computed("load_in_8bit", _eight_bit),
    computed("full_finetuning", lambda s: True if s.adapter is None else OMIT),
    computed("trust_remote_code", lambda s: True if s.model.trust_remote_code else OMIT),
    computed("use_gradient_checkpointing", _checkpointing),
    same("random_state", "seed"),
    computed("attn_implementation", _attention),
    computed("resize_model_vocab", _resize),
    computed("float32_mixed_precision", _compile),
)


def _whole_alpha(s: TrainStage) -> int:
    assert s.adapter is not None
    if s.adapter.alpha != int(s.adapter.alpha):
        raise Unsupported("adapter.alpha", "PEFT takes whole numbers for alpha", "round it")
    return int(s.adapter.alpha)


def _targets(s: TrainStage) -> Any:
    assert s.adapter is not None
    return "all-linear" if tuple(s.adapter.targets) == ("all-linear",) else list(s.adapter.targets)


def _also_train(s: TrainStage) -> Any:
    assert s.adapter is not None
    for name in s.adapter.also_train:
        if name not in FULL:
            raise Unsupported("adapter.also_train", f"Unsloth cannot train {name} in full", f"it can {', '.join(FULL)}")
    return list(s.adapter.also_train) or OMIT


def _init(s: TrainStage) -> Any:
    assert s.adapter is not None
    init = s.adapter.init
    if init not in INITS:
        message = f"with {init} Unsloth changes the base, and the adapter that it saves fits the changed base only"
        raise Unsupported("adapter.init", message, f"use {', '.join(INITS)}")
    if init == "orthogonal" and (s.model.load_in in ("nf4", "int8") or s.adapter.rank % 2):
        advice = "use another init"
        raise Unsupported("adapter.init", "orthogonal needs an even rank and weights that are not quantised", advice)
    return INITS[init]


def _lora_plus(s: TrainStage) -> Any:
    assert s.adapter is not None
    if s.adapter.lora_plus_ratio is not None:
        raise Unsupported("adapter.lora_plus_ratio", "LoRA+ is not offered with Unsloth", "use trainer: trl")
    return OMIT


ADAPTER: tuple[Row, ...] = (
    computed("r", lambda s: s.adapter.rank),
    computed("lora_alpha", _whole_alpha),
    computed("lora_dropout", lambda s: s.adapter.dropout),
    computed("target_modules", _targets),
    computed("modules_to_save", _also_train),
    computed("use_rslora", lambda s: s.adapter.rslora or OMIT),
    computed("use_dora", lambda s: s.adapter.dora or OMIT),
    computed("init_lora_weights", _init),
    computed("use_gradient_checkpointing", _checkpointing),
    same("random_state", "seed"),
    computed("bias", _lora_plus),
)


def _option(name: str) -> Any:
    def read(s: TrainStage) -> Any:
        assert s.adapter is not None
        if name in DECIDED:
            advice = f"drop options.{name}"
            raise Unsupported("adapter.options", f"{name} is decided by the recipe's own words", advice)
        return s.adapter.options[name]

    return read


def _optimizer(s: TrainStage) -> Any:
    if s.hardware.device == "cpu" and ("8bit" in s.optimizer.name or "paged" in s.optimizer.name):
        message = f"on a CPU Unsloth trains with adamw instead of {s.optimizer.name}"
        raise Unsupported("optimizer.name", message, "use optimizer: adamw")
    return OMIT


def _packing(s: TrainStage) -> Any:
    if s.hardware.device == "cpu" and s.data.packing:
        raise Unsupported("data.packing", "on a CPU Unsloth turns packing off", "drop it")
    return OMIT


def _training(s: TrainStage) -> tuple[Row, ...]:
    """TRL's own table without what Unsloth decides, and with what it would change in silence refused."""
    found = [row for row in settings.rows(s.method) if row.key not in OWN]
    return (*found, computed("push_to_hub", _optimizer), computed("hub_model_id", _packing))


def _grouped(group: str, rows: tuple[Row, ...]) -> list[Row]:
    return [row.grouped(group) for row in rows]


def _sheets(s: TrainStage) -> list[Sheet]:
    stem = script.TRAINERS[s.method][1]
    found = [*_grouped("from_pretrained", LOADING), *_grouped(f"{stem}Config", _training(s))]
    if s.adapter is not None:
        options = tuple(computed(name, _option(name)) for name in s.adapter.options)
        found += _grouped("get_peft_model", (*ADAPTER, *options))
    own = Sheet(script.FILE, tuple(found), TOOL, s.release, f"{stem}Config", "python", _text(s))
    datasets = pinned(f"{TOOL}-{s.release}", "datasets")
    return [own, Sheet(script.SETTINGS, script.SETTING_ROWS, "datasets", datasets, "", "json")]


def _text(s: TrainStage) -> str:
    """Return the script's template."""
    package, stem = script.TRAINERS[s.method]
    online = s.method in settings.ONLINE
    adapter = _ADAPTER if s.adapter is not None else ""
    return _SCRIPT.format(
        what=f"{stem} by Unsloth and TRL with what the recipe decided; {script.LIBRARY} brings the rows that "
        f"{script.SETTINGS} describes.",
        package=package,
        stem=stem,
        imports="import rewards\nimport rows" if online and rewards.functions(s) else "import rows",
        settings=script.SETTINGS,
        quantised=_QUANTISED if s.model.load_in == "nf4" else "",
        adapter=adapter,
        more=f"    reward_funcs=[{', '.join(_judges(s))}],\n" if online else "",
    )


def _judges(s: TrainStage) -> list[str]:
    names = zip(rewards.names(s.rewards), s.rewards, strict=True)
    return [name if reward.type != "model" else literal(name) for name, reward in names]


_SCRIPT = '''"""{what}"""

import os
from pathlib import Path

import torch
from unsloth import FastLanguageModel  # before TRL, which it patches

from {package} import {stem}Config, {stem}Trainer

{imports}

settings = rows.read_settings(Path(__file__).parent / "{settings}")
model, _tokenizer = FastLanguageModel.from_pretrained(
    {{{{from_pretrained}}}}
)
{quantised}{adapter}config = {stem}Config(
    {{{{{stem}Config}}}}
)
tokenizer = rows.load_tokenizer(settings)
train, validation = rows.load_rows(settings, tokenizer)
trainer = {stem}Trainer(
    model=model,
    args=config,
    processing_class=tokenizer,
{more}    train_dataset=train,
    eval_dataset=validation,
)
trainer.train(resume_from_checkpoint=os.environ.get("RECIPE_RESUME_FROM") or None)
trainer.save_model(config.output_dir)
'''
_QUANTISED = """if not getattr(model, "is_loaded_in_4bit", False):
    raise SystemExit("train.py: Unsloth has loaded 16-bit weights, for bitsandbytes cannot hold 4-bit weights here")
"""
_ADAPTER = """model = FastLanguageModel.get_peft_model(
    model,
    {{get_peft_model}}
)
"""


def _commands(_s: TrainStage) -> list[str]:
    return [f'python "$here/{script.FILE}"']


def _variables(s: TrainStage) -> dict[str, str]:
    found = {
        "UNSLOTH_COMPILE_LOCATION": f"{s.data.cache}/unsloth_compiled_cache",
        "UNSLOTH_DISABLE_STATISTICS": None if s.track.telemetry else "1",
        "WANDB_PROJECT": s.track.wandb_project,
        "WANDB_ENTITY": s.track.wandb_entity,
        "MLFLOW_TRACKING_URI": s.track.mlflow_uri,
        "MLFLOW_EXPERIMENT_NAME": s.track.mlflow_experiment,
    }
    return {name: value for name, value in found.items() if value is not None}


def _files(s: TrainStage) -> dict[str, str]:
    judged = {rewards.FILE: rewards.text(s)} if s.rewards and rewards.functions(s) else {}
    return {**script.files(), **judged}


TRAINER = Trainer(
    TOOL,
    methods=frozenset(METHODS),
    adapters=frozenset(["lora"]),
    strategies=frozenset(["single"]),
    sheets=_sheets,
    commands=_commands,
    variables=_variables,
    files=_files,
    one_process="Unsloth trains in one process",
    lm_eval=True,
)
