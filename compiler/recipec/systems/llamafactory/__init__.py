"""LLaMA-Factory 0.9.5: the training stage as its YAML, and its data as `dataset_info.json`.

What it says of its keys is in `llamafactory/hparams/*_args.py`.
"""

from __future__ import annotations

from typing import Any, get_args

from recipec.job import Beside, Copy, Folder, Job, LinkToStart, Step, Word
from recipec.kinds.train.records import Train
from recipec.language.train import Scheduler
from recipec.source import is_mapping
from recipec.systems import accelerate, deepspeed, on_cpu, trainers
from recipec.systems.check import Check, differs, refuses
from recipec.systems.document import Sheet
from recipec.systems.huggingface import (
    ALIKE,
    BASE,
    OPTIMIZERS,
    REENTRANT,
    TRACKERS,
    UPCAST,
    base,
    in_steps,
    reentrant,
    trackers,
    without_steps,
)
from recipec.systems.llamafactory import data
from recipec.systems.on_cpu import OnCpu
from recipec.systems.system import Need, System
from recipec.systems.table import OMIT, Row, choice, constant, joined, made, named, nonzero, present, same, within

TOOL = "llamafactory"
FILE = "llamafactory.yaml"

STAGES = {"pretrain": "pt", "sft": "sft", "dpo": "dpo", "orpo": "dpo", "simpo": "dpo", "kto": "kto", "reward": "rm"}
PREFERENCES = {"dpo": "sigmoid", "orpo": "orpo", "simpo": "simpo"}  # the losses of `stage: dpo`
ATTENTION = {"eager": "disabled", "sdpa": "sdpa", "flash_attention_2": "fa2"}
QUANTISED = {"int8": 8, "nf4": 4, "fp4": 4}
PISSA = {"pissa": -1, "pissa_niter_4": 4, "pissa_niter_16": 16}  # iterations of its fast SVD, -1 for the exact one


def _disabled(checkpointing: bool, strategy: str) -> Any:
    """Under FSDP2 accelerate checkpoints the activations, and the trainer must not."""
    return True if strategy == "fsdp2" or not checkpointing else OMIT


def _divided(decay: float, unit: str, amount: float) -> Any:
    """Return how the steps are divided: a number of stable ones of its own LLaMA-Factory only sets where there is no such key."""
    steps = in_steps(decay, unit, amount)
    return OMIT if steps is OMIT else {"num_decay_steps": steps, "num_stable_steps": None}


def _divided_back(words: Any) -> dict[str, Any]:
    told: dict[str, Any] = words if is_mapping(words) else {}
    return {"optimizer.decay": told["num_decay_steps"]} if "num_decay_steps" in told else {}


def _report_to(wandb: str | None, mlflow: str | None, tensorboard: bool) -> list[str]:
    return trackers(wandb, mlflow, tensorboard) or ["none"]


MODEL: tuple[Row, ...] = (
    same("model_name_or_path", "model.path"),
    same("model_revision", "model.revision"),
    BASE["trust_remote_code"],
    joined("add_special_tokens", "model.new_tokens"),
    constant("resize_vocab", True, "for the new tokens").when("model.new_tokens"),
    named("flash_attn", "model.attention", ATTENTION),
    choice("quantization_bit", "model.load_in", QUANTISED),
    choice("quantization_method", "model.load_in", dict.fromkeys(QUANTISED, "bnb")),
    BASE["bnb_4bit_quant_type"].called("quantization_type"),
    BASE["bnb_4bit_use_double_quant"].called("double_quantization"),
)
# train/trainer_utils.py, create_ref_model: beside a LoRA it would compare with the base alone, without the adapter that is continued
_NAMED = ("reference", "adapter.start_from")
COMPARED: tuple[Row, ...] = (
    made("ref_model", lambda one, start, path: one.path if one else path if start else OMIT, *_NAMED, "model.path"),
    made("ref_model_adapters", lambda one, start: (one.adapter if one else start) or OMIT, *_NAMED),
    made(
        "ref_model_quantization_bit",
        lambda one, start, load: QUANTISED.get(load, OMIT) if one or start else OMIT,
        *_NAMED,
        "model.load_in",
    ),
)
TASK: tuple[Row, ...] = (
    named("stage", "method", STAGES),
    constant("do_train", True),
    choice("finetuning_type", "adapter.type", {"lora": "lora", "oft": "oft"}, other="full"),
    same("adapter_name_or_path", "adapter.start_from"),
    BASE["r"].called("lora_rank").when("adapter.type", "lora"),
    BASE["lora_alpha"].when("adapter.type", "lora"),
    BASE["lora_dropout"].when("adapter.type", "lora"),
    joined("lora_target", "adapter.targets", {"all-linear": "all"}).when("adapter.type", "lora"),
    BASE["use_dora"],
    BASE["use_rslora"],
    choice("pissa_init", "adapter.init", dict.fromkeys(PISSA, True)),
    named("pissa_iter", "adapter.init", {"default": OMIT, **PISSA}),
    BASE["loraplus_lr_ratio"],
    BASE["r"].called("oft_rank").when("adapter.type", "oft"),
    constant("oft_block_size", 0, "the rank decides").when("adapter.type", "oft"),
    BASE["lora_dropout"].called("module_dropout").when("adapter.type", "oft"),
    joined("oft_target", "adapter.targets", {"all-linear": "all"}).when("adapter.type", "oft"),
    joined("additional_target", "adapter.also_train"),
    *(row.when("method", "dpo", "kto") for row in COMPARED),
    choice("pref_loss", "method", PREFERENCES),
    same("pref_beta", "objective.beta"),
    same("pref_ftx", "objective.sft_weight").when("method", "dpo", "simpo"),
    same("dpo_label_smoothing", "objective.label_smoothing").when("method", "dpo"),
    same("simpo_gamma", "objective.margin").when("method", "simpo"),
    same("kto_chosen_weight", "objective.desirable_weight").when("method", "kto"),
    same("kto_rejected_weight", "objective.undesirable_weight").when("method", "kto"),
)
TRAINING: tuple[Row, ...] = (
    *base("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
    BASE["num_train_epochs"],
    named("optim", "optimizer.name", {**OPTIMIZERS, "muon": OMIT}),
    choice("use_muon", "optimizer.name", {"muon": True}),
    *base("learning_rate", "lr_scheduler_type"),
    *within(
        "lr_scheduler_kwargs",
        same("min_lr_rate", "optimizer.min_lr_ratio").when("optimizer.scheduler", "cosine_with_min_lr"),
    ),
    made(
        "lr_scheduler_kwargs",
        _divided,
        "optimizer.decay",
        "length.unit",
        "length.amount",
        back=_divided_back,
        why="null: what is left of the steps; unsaid, a third of those after warmup",
    ).when("optimizer.scheduler", "warmup_stable_decay"),
    nonzero("warmup_steps", "optimizer.warmup", "below 1: fraction of all steps"),
    *base("weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm"),
    choice("bf16", "numerics.precision", {"bf16": True}),
    # unsaid, it trains fp32 copies of all weights
    choice("pure_bf16", "model.load_in", {"bf16": True})
    .unless("adapter.type")
    .when("parallel.strategy", "single", "ddp"),
    choice("fp16", "numerics.precision", {"fp16": True}),
    *base("tf32", "use_cpu"),
    made("disable_gradient_checkpointing", _disabled, "numerics.gradient_checkpointing", "parallel.strategy"),
    *reentrant(constant("use_reentrant_gc", False, REENTRANT), constant("use_reentrant_gc", True)),
    BASE["torch_compile"],
    # a streamed file is cut into as many pieces as there are workers, so there must be one
    same("dataloader_num_workers", "data.workers").unless("data.streaming"),
    made("dataloader_num_workers", lambda workers: max(1, workers), "data.workers").when("data.streaming"),
    *base(
        "dataloader_pin_memory",
        "save_strategy",
        "save_total_limit",
        "save_only_model",
        "eval_strategy",
        "logging_steps",
    ),
    same("early_stopping_steps", "watch.early_stopping", "evaluations without gain"),
    present("load_best_model_at_end", "watch.early_stopping"),
    same("neftune_noise_alpha", "optimizer.neftune_alpha"),
    made("report_to", _report_to, *TRACKERS),
    *base("run_name", "seed", "output_dir"),
    constant("overwrite_output_dir", True, "resumes only from a checkpoint that is given"),
)

_INSTEAD = ": with its TRL 0.24, it trains sigmoid instead, without a message"


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _always(*_values: Any) -> bool:
    return True


_VALUE_HEAD = differs(
    "method",
    when=_always,
    message="LLaMA-Factory's reward model is a language model with a value head, which it alone loads",
    advice="train an adapter instead; an interrupted training starts from the beginning",
).when("method", "reward")

# Every difference is measured in tests/real/test_llamafactory.py, or stands in the sources of LLaMA-Factory.
CHECKS: tuple[Check, ...] = (
    *trainers.unsplit("LLaMA-Factory", trainers.CONTEXT, trainers.TENSOR),
    refuses(
        "model.tokenizer",
        "model.path",
        "adapter.start_from",
        when=lambda tokenizer, model, adapter: tokenizer not in (model, adapter),
        message="LLaMA-Factory takes the tokenizer from the model's own folder",
        advice="save the tokenizer beside the model, and drop model.tokenizer",
    ),
    refuses(
        "model.resize_embeddings",
        when=bool,
        message="LLaMA-Factory does not round up to a multiple of 32",
        advice="drop it, or set overrides.llamafactory.resize_vocab, which rounds up to a multiple of 64",
    ),
    refuses(
        "model.load_in",
        "model.new_tokens",
        when=lambda load_in, new: load_in in QUANTISED and new,
        message=lambda _load_in, new: f"LLaMA-Factory cannot add {new[0]} to quantised weights",
        advice="drop load_in, or use a template whose tokens the model has",
    ),
    refuses(
        "model.load_in",
        "parallel.strategy",
        when=lambda load_in, _strategy: load_in == "int8",
        message=lambda _load_in, strategy: f"{strategy} of LLaMA-Factory shards 4-bit weights only",
        advice="use nf4",
    ).when("parallel.strategy", "zero3"),
    refuses(
        "reference.revision",
        "model.revision",
        when=lambda own, revision: own != revision,
        message="LLaMA-Factory loads the reference model at the revision of the model",
        advice="use one revision for both, or trainer: trl",
    ).when("reference.path"),
    differs(
        "adapter.start_from",
        when=bool,
        message="LLaMA-Factory holds the base a second time in memory, as the reference model under the adapter that is continued",
        advice="use trainer: trl, or parent_adapter: merge, where memory is short",
    ).when("method", "dpo", "kto"),
    refuses(
        "adapter.start_from",
        "adapter.type",
        when=lambda start_from, _type: start_from is not None,
        message=lambda _start_from, kind: f"LLaMA-Factory cannot continue training {kind}",
        advice="use lora",
    ).unless("adapter.type", "lora"),
    refuses(  # train/trainer_utils.py: a third of the steps would be stable, and the rest decay
        "optimizer.decay",
        "length.unit",
        when=without_steps,
        message="LLaMA-Factory takes decay in steps",
        advice="give a number of steps, or train.steps instead of epochs",
    ).when("optimizer.scheduler", "warmup_stable_decay"),
    refuses(
        "watch.early_stopping",
        "method",
        when=lambda patience, method: patience is not None and method == "reward",
        message="LLaMA-Factory cannot go back to the best checkpoint of a reward model",
        advice="drop early_stopping, or use another trainer",
    ),
    refuses(  # trackio.init takes bucket_id, which TrackioCallback passes, in releases that need gradio 6, or gradio-client 2
        "track.trackio_project",
        when=lambda project: project is not None,
        message="LLaMA-Factory's Gradio excludes every Trackio that its Transformers can log to",
        advice="use wandb, mlflow or tensorboard",
    ),
    refuses(
        "adapter.init",
        "parallel.strategy",
        when=lambda init, strategy: init in PISSA and strategy == "zero3",
        message="LLaMA-Factory cannot initialise PiSSA under ZeRO-3, where no process has whole weights",
        advice="use zero2, or another init",
    ),
    refuses(
        "adapter.init",
        "method",
        when=lambda init, _method: init in PISSA,
        message=lambda _init, method: f"the reference model of {method} excludes PiSSA here",
        advice="drop init, or use orpo or simpo, which have none",
    ).when("method", "dpo", "kto"),
    refuses(
        "adapter.options",
        when=bool,
        message="LLaMA-Factory takes no other fields of PEFT",
        advice="drop options; LLaMA-Factory has rank, alpha, dropout, targets, dora, rslora, init and LoRA+",
    ),
    refuses(
        "adapter.merge",
        when=bool,
        message="a merge would lose the value head of the reward model",
        advice="drop merge; LLaMA-Factory loads adapter and value head together",
    ).when("method", "reward"),
    refuses(
        "objective.loss",
        when=lambda loss: loss != "sigmoid",
        message=lambda loss: f"LLaMA-Factory 0.9.5 cannot train {loss}{_INSTEAD if loss == 'hinge' else ''}",
        advice="use loss: sigmoid, or another trainer",
    ).when("method", "dpo"),
    refuses(
        "objective.loss",
        when=lambda loss: loss != "kto",
        message=lambda loss: f"LLaMA-Factory has no {loss}",
        advice="use loss: kto",
    ).when("method", "kto"),
    differs(
        "model.max_length",
        when=_always,
        message="LLaMA-Factory truncates rows longer than max_length; other trainers drop them",
        advice="raise max_length, or leave long rows out of the data",
    )
    .of_rows("long")
    .unless("method", "pretrain"),
    UPCAST,
    differs(  # model/loader.py: its dtype is auto
        "model.load_in",
        "model.path",
        "output",
        when=lambda load_in, path, output: load_in == "bf16" and _folder(path) == _folder(output),
        message="LLaMA-Factory trains weights in the format in which they were saved, and an earlier stage may save fp32",
        advice="count 16 bytes per parameter with AdamW, or use axolotl or trl, which turn them into bf16",
    )
    .unless("adapter.type")
    .when("parallel.strategy", "single", "ddp"),
    refuses(
        "model.load_in",
        "numerics.precision",
        when=lambda load_in, precision: load_in == "fp32" != precision,
        message=lambda _load_in, precision: f"LLaMA-Factory loads the base of an adapter in {precision}",
        advice="drop load_in; the adapter itself is trained in fp32",
    ).when("adapter.type"),
    _VALUE_HEAD.when("adapter"),
    _VALUE_HEAD.replaced(message=f"{_VALUE_HEAD.message}; where embeddings are tied it cannot be saved").unless(
        "adapter"
    ),
)


def rows(s: Train) -> tuple[Row, ...]:
    """Return the table of a stage; what names and renders its data depends on how many sources it has."""
    return (*MODEL, *TASK, *data.settings(s), *TRAINING)


def _sheets(s: Train, _environment: str) -> list[Sheet]:
    files = accelerate.sheets(s, f"{s.trainer}-{s.release}")
    listed = Sheet(data.FILE, data.rows(s), TOOL, s.release, "dataset_info", "json", raw_keys=False)
    return [Sheet(FILE, rows(s), TOOL, s.release, "config", alike=ALIKE), listed, *files]


def _job(s: Train) -> Job:
    folder = s.data.cache
    steps: tuple[Step, ...] = (Folder(folder), Copy(data.FILE, folder))
    if any(source.path is not None for source in data.sources_of(s)):
        steps += (LinkToStart(f"{folder}/{data.START}"),)
    own: tuple[Word, ...] = (Beside(FILE),)
    if s.parallel.strategy.startswith("zero"):
        own += (("deepspeed=", Beside(deepspeed.FILE)),)
    single, cpu = s.parallel.strategy == "single", s.hardware.device == "cpu"
    if single:
        job = trainers.job(s, "llamafactory-cli", "train", *own)
    else:
        job = accelerate.job(s, "-m", "llamafactory.launcher", *own)
    return job.replaced(
        steps=steps,
        resume=None if s.method == "reward" else "resume_from_checkpoint=",  # the value head is not loaded again
        variables=trainers.tracking(s) | ({"CUDA_VISIBLE_DEVICES": ""} if cpu else {}),
    )


def _checks(s: Train) -> tuple[Check, ...]:
    return (*CHECKS, *data.checks(s))


def _uses(s: Train) -> tuple[str, ...]:
    """Return what the environment of `run.sh` says, and what the checks hold to one value."""
    tracked = ("track.wandb_entity", "track.mlflow_experiment", *trainers.grouped(s))
    found = (*tracked, "model.tokenizer", "model.resize_embeddings")
    return (*found, "objective.loss") if s.method in ("dpo", "kto") else found


def _need(s: Train) -> Need:
    return trainers.need(s, adds=frozenset(["mlflow"]))


SYSTEM = System(
    "llamafactory",
    kinds=frozenset(["train"]),
    can={
        "method": frozenset(STAGES),
        "parallel.strategy": frozenset(["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]),
        "adapter.type": frozenset(["lora", "oft"]),
        "optimizer.scheduler": frozenset(get_args(Scheduler)),
    },
    sheets=_sheets,
    fp32_copies=frozenset(["fsdp2"]),
    pairs=frozenset(["message"]),
    reads={},
    scores_apart=True,
    keeps=frozenset(["activations", "logits"]),
    dequantises=frozenset(["fp8", "mxfp4"]),  # model/model_utils/quantization.py
    trains_new_embeddings=True,
    own_templates=True,
    needs=_need,
    job=_job,
    checks=_checks,
    uses=_uses,
    on_cpu=OnCpu(on_cpu.TRAINERS),
)
