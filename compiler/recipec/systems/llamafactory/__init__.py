"""LLaMA-Factory 0.9.5: the training stage as its YAML, and its data as `dataset_info.json`.

What it says of its keys is in `llamafactory/hparams/*_args.py`.
"""

from __future__ import annotations

from shlex import quote
from typing import Any

from recipec.kinds.train.records import Train
from recipec.systems import accelerate, trainers
from recipec.systems.check import Refusal, Unsupported
from recipec.systems.document import Sheet
from recipec.systems.llamafactory import data
from recipec.systems.system import System
from recipec.systems.table import OMIT, Row, computed, named, same

TOOL = "llamafactory"
FILE = "llamafactory.yaml"

STAGES = {"pretrain": "pt", "sft": "sft", "dpo": "dpo", "orpo": "dpo", "simpo": "dpo", "kto": "kto", "reward": "rm"}
OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adamw_paged": "paged_adamw_32bit",
    "adamw_paged_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
    "lion_8bit": "lion_8bit",
}
ATTENTION = {"eager": "disabled", "sdpa": "sdpa", "flash_attention_2": "fa2"}
QUANTISED = {"int8": 8, "nf4": 4, "fp4": 4}
PISSA = {"pissa": -1, "pissa_niter_4": 4, "pissa_niter_16": 16}


def _tokenizer(s: Train) -> Any:
    inherited = s.adapter.start_from if s.adapter is not None else None
    if s.model.tokenizer not in (s.model.path, inherited):
        advice = "save the tokenizer beside the model, and drop model.tokenizer"
        raise Unsupported("model.tokenizer", "LLaMA-Factory takes the tokenizer from the model's own folder", advice)
    return s.model.path


def _resize(s: Train) -> Any:
    if s.model.resize_embeddings:
        advice = "drop it, or set overrides.llamafactory.resize_vocab, which rounds up to a multiple of 64"
        raise Unsupported("model.resize_embeddings", "LLaMA-Factory does not round up to a multiple of 32", advice)
    return OMIT


def _bits(s: Train) -> Any:
    if s.model.load_in not in QUANTISED:
        return OMIT
    if s.model.load_in == "int8" and s.parallel.strategy in ("fsdp2", "zero3"):
        raise Unsupported(
            "model.load_in", f"{s.parallel.strategy} of LLaMA-Factory shards 4-bit weights only", "use nf4"
        )
    return QUANTISED[s.model.load_in]


def _four_bit(value: Any) -> Any:
    return lambda s: value(s) if s.model.load_in in ("nf4", "fp4") else OMIT


def _kind(s: Train) -> str:
    return "full" if s.adapter is None else s.adapter.type


def _start(s: Train) -> Any:
    if s.adapter is None or s.adapter.start_from is None:
        return OMIT
    if s.adapter.type != "lora":
        raise Unsupported("adapter.start_from", f"LLaMA-Factory cannot go on training {s.adapter.type}", "use lora")
    return s.adapter.start_from


def _of(kind: str, value: Any) -> Any:
    """A row of one kind of adapter."""
    return lambda s: value(s) if s.adapter is not None and s.adapter.type == kind else OMIT


def _targets(s: Train) -> str:
    assert s.adapter is not None
    return "all" if tuple(s.adapter.targets) == ("all-linear",) else ",".join(s.adapter.targets)


def _alpha(s: Train) -> int:
    assert s.adapter is not None
    if s.adapter.alpha != int(s.adapter.alpha):
        raise Unsupported("adapter.alpha", "LLaMA-Factory takes whole numbers for alpha", "round it")
    return int(s.adapter.alpha)


def _also_train(s: Train) -> Any:
    return ",".join(s.adapter.also_train) if s.adapter is not None and s.adapter.also_train else OMIT


def _only_plain(s: Train) -> Any:
    """Nothing of PEFT's configuration beyond its own options."""
    if s.adapter is not None and s.adapter.options:
        advice = "drop options; LLaMA-Factory has rank, alpha, dropout, targets, dora, rslora, init and LoRA+"
        raise Unsupported("adapter.options", "LLaMA-Factory takes no other fields of PEFT", advice)
    if s.adapter is not None and s.adapter.merge and s.method == "reward":
        advice = "drop merge; LLaMA-Factory loads adapter and value head together"
        raise Unsupported("adapter.merge", "a merge would lose the value head of the reward model", advice)
    return OMIT


def _pissa(s: Train) -> Any:
    """The number of iterations of PiSSA's fast SVD, -1 for the exact one."""
    if s.adapter is None or s.adapter.init == "default":
        return OMIT
    if s.adapter.init not in PISSA:
        known = ", ".join(("default", *PISSA))
        raise Unsupported("adapter.init", f"LLaMA-Factory has no init {s.adapter.init}", f"it has {known}")
    if s.method in ("dpo", "kto"):
        advice = "drop init, or use orpo or simpo, which have none"
        raise Unsupported("adapter.init", f"the reference model of {s.method} excludes PiSSA here", advice)
    if s.model.load_in in QUANTISED:
        advice = "drop init, or load_in"
        raise Unsupported("adapter.init", "LLaMA-Factory cannot start PiSSA from quantised weights", advice)
    return PISSA[s.adapter.init]


def _loss(s: Train) -> Any:
    """The loss of `stage: dpo`. Its pinned TRL hands hinge and ipo on as sigmoid, so they are not offered."""
    if s.objective is None:
        return OMIT
    if s.method == "kto":
        if s.objective.loss != "kto":
            raise Unsupported("objective.loss", f"LLaMA-Factory has no {s.objective.loss}", "use loss: kto")
        return OMIT
    if s.method in ("orpo", "simpo"):
        return s.method
    if s.objective.loss != "sigmoid":
        message = f"LLaMA-Factory 0.9.5 cannot train {s.objective.loss}"
        if s.objective.loss == "hinge":
            message += ": beside its TRL 0.24 it trains sigmoid in its place and does not say so"
        raise Unsupported("objective.loss", message, "use loss: sigmoid, or another trainer")
    return "sigmoid"


def _objective(leaf: str, *methods: str) -> Any:
    return lambda s: getattr(s.objective, leaf) if s.objective is not None and s.method in methods else OMIT


def _every(unit: Any) -> Any:
    return unit if isinstance(unit, int) else OMIT


def _strategy(unit: Any) -> str:
    return {"epoch": "epoch", "never": "no"}.get(unit, "steps")


def _no_checkpointing(s: Train) -> Any:
    """Under FSDP accelerate does it."""
    return True if s.parallel.strategy == "fsdp2" or not s.numerics.gradient_checkpointing else OMIT


def _workers(s: Train) -> int:
    """A streamed file is cut into as many pieces as there are workers, so there must be one."""
    return max(1, s.data.workers) if s.data.streaming else s.data.workers


def _trackers(s: Train) -> list[str]:
    used = {
        "wandb": s.track.wandb_project is not None,
        "mlflow": s.track.mlflow_uri is not None,
        "tensorboard": s.track.tensorboard,
    }
    return [name for name, wanted in used.items() if wanted] or ["none"]


def _if(condition: Any, value: Any = True) -> Any:
    return lambda s: value if condition(s) else OMIT


def _adam(leaf: str) -> Any:
    return lambda s: getattr(s.optimizer, leaf) if "adam" in s.optimizer.name else OMIT


ROWS: tuple[Row, ...] = (
    computed("model_name_or_path", _tokenizer),
    same("model_revision", "model.revision"),
    computed("trust_remote_code", _if(lambda s: s.model.trust_remote_code)),
    computed("resize_vocab", _resize),
    named("flash_attn", "model.attention", ATTENTION),
    computed("quantization_bit", _bits),
    computed("quantization_method", _if(lambda s: s.model.load_in in QUANTISED, "bnb")),
    computed("quantization_type", _four_bit(lambda s: s.model.load_in)),
    computed("double_quantization", _four_bit(lambda s: s.model.double_quant)),
    named("stage", "method", STAGES),
    computed("do_train", lambda _s: True),
    computed("finetuning_type", _kind),
    computed("adapter_name_or_path", _start),
    computed("lora_rank", _of("lora", lambda s: s.adapter.rank)),
    computed("lora_alpha", _of("lora", _alpha)),
    computed("lora_dropout", _of("lora", lambda s: s.adapter.dropout)),
    computed("lora_target", _of("lora", _targets)),
    computed("use_dora", _if(lambda s: s.adapter is not None and s.adapter.dora)),
    computed("use_rslora", _if(lambda s: s.adapter is not None and s.adapter.rslora)),
    computed("pissa_init", _if(lambda s: s.adapter is not None and s.adapter.init in PISSA)),
    computed("pissa_iter", _pissa),
    same("loraplus_lr_ratio", "adapter.lora_plus_ratio"),
    computed("oft_rank", _of("oft", lambda s: s.adapter.rank)),
    computed("oft_block_size", _of("oft", lambda _s: 0), "the rank decides"),
    computed("module_dropout", _of("oft", lambda s: s.adapter.dropout)),
    computed("oft_target", _of("oft", _targets)),
    computed("additional_target", _also_train),
    computed("create_new_adapter", _only_plain),
    computed("pref_loss", _loss),
    computed("pref_beta", _objective("beta", "dpo", "orpo", "simpo", "kto")),
    computed("pref_ftx", _objective("sft_weight", "dpo", "simpo")),
    computed("dpo_label_smoothing", _objective("label_smoothing", "dpo")),
    computed("simpo_gamma", _objective("margin", "simpo")),
    computed("kto_chosen_weight", _objective("desirable_weight", "kto")),
    computed("kto_rejected_weight", _objective("undesirable_weight", "kto")),
    computed("dataset_dir", lambda s: s.data.cache, f"run.sh puts {data.FILE} there"),
    computed("dataset", data.listed("train")),
    computed("eval_dataset", data.listed("validation")),
    computed("val_size", data.held_out),
    computed("template", data.template),
    same("cutoff_len", "model.max_length"),
    computed("train_on_prompt", _if(lambda s: s.method == "sft" and s.data.train_on == "all")),
    computed("packing", data.packing),
    computed("neat_packing", _if(lambda s: s.method == "sft" and s.data.packing), "attention stays within a row"),
    computed("streaming", data.streamed),
    computed("disable_shuffling", _if(lambda s: not s.data.streaming and not s.data.shuffle)),
    same("per_device_train_batch_size", "batch.micro"),
    same("per_device_eval_batch_size", "batch.micro"),
    same("gradient_accumulation_steps", "batch.accumulation"),
    computed("num_train_epochs", lambda s: s.length.amount if s.length.unit == "epochs" else OMIT),
    computed("max_steps", lambda s: s.length.amount if s.length.unit == "steps" else OMIT),
    named("optim", "optimizer.name", {**OPTIMIZERS, "muon": OMIT}),
    computed("use_muon", _if(lambda s: s.optimizer.name == "muon")),
    same("learning_rate", "optimizer.learning_rate"),
    same("lr_scheduler_type", "optimizer.scheduler"),
    computed(
        "lr_scheduler_kwargs",
        lambda s: {"min_lr_rate": s.optimizer.min_lr_ratio} if s.optimizer.min_lr_ratio else OMIT,
    ),
    computed("warmup_steps", lambda s: s.optimizer.warmup or OMIT, "below 1: a share of all steps"),
    same("weight_decay", "optimizer.weight_decay"),
    *(computed(f"adam_{leaf}", _adam(leaf)) for leaf in ("beta1", "beta2", "epsilon")),
    same("max_grad_norm", "optimizer.max_grad_norm"),
    computed("bf16", _if(lambda s: s.numerics.precision == "bf16")),
    computed("fp16", _if(lambda s: s.numerics.precision == "fp16")),
    computed("tf32", _if(lambda s: s.hardware.sm >= 80)),
    computed("use_cpu", _if(lambda s: s.hardware.device == "cpu")),
    computed("disable_gradient_checkpointing", _no_checkpointing),
    computed("use_reentrant_gc", _if(lambda _s: True, False), "re-entrant checkpointing breaks LoRA under DDP"),
    computed("torch_compile", _if(lambda s: s.numerics.torch_compile)),
    computed("dataloader_num_workers", _workers),
    computed("dataloader_pin_memory", _if(lambda s: s.hardware.device == "cpu", False), "pinned memory is for GPUs"),
    computed("save_strategy", lambda s: _strategy(s.watch.save_every)),
    computed("save_steps", lambda s: _every(s.watch.save_every)),
    computed("save_total_limit", lambda s: _every(s.watch.save_keep)),
    computed("eval_strategy", lambda s: _strategy(s.watch.evaluate_every)),
    computed("eval_steps", lambda s: _every(s.watch.evaluate_every)),
    same("logging_steps", "watch.log_every"),
    computed("report_to", _trackers),
    same("run_name", "track.run_name"),
    same("seed", "seed"),
    same("output_dir", "output"),
    computed("overwrite_output_dir", lambda _s: True, "goes on from a checkpoint only where it is told one"),
)


def _sheets(s: Train) -> list[Sheet]:
    files = accelerate.sheets(s, f"{s.trainer}-{s.release}")
    listed = Sheet(data.FILE, data.rows(s), TOOL, s.release, "dataset_info", "json")
    return [Sheet(FILE, ROWS, TOOL, s.release, "config"), listed, *files]


def _commands(s: Train) -> list[str]:
    folder = quote(s.data.cache)
    lines = [f"mkdir -p {folder}", f'cp "$here/{data.FILE}" {folder}/']
    if any(source.path is not None for source in data.sources_of(s)):
        lines.append(f'ln -sfn "$PWD" {folder}/{data.START}')
    arguments = f'"$here/{FILE}"'
    if s.parallel.strategy.startswith("zero"):
        arguments += ' "deepspeed=$here/ds_config.json"'
    if s.method != "reward":  # it cannot resume: the value head is not loaded again
        arguments += ' ${RECIPE_RESUME_FROM:+"resume_from_checkpoint=$RECIPE_RESUME_FROM"}'
    if s.parallel.strategy != "single":
        return [*lines, *accelerate.command(s, f"-m llamafactory.launcher {arguments}")]
    if s.hardware.device == "gpu":  # seeing more than one, it would start more than one process
        lines += ['gpu="${CUDA_VISIBLE_DEVICES:-0}"', 'export CUDA_VISIBLE_DEVICES="${gpu%%,*}"']
    return [*lines, f"llamafactory-cli train {arguments}"]


def _variables(s: Train) -> dict[str, str]:
    values = {
        "WANDB_PROJECT": s.track.wandb_project,
        "WANDB_ENTITY": s.track.wandb_entity,
        "MLFLOW_TRACKING_URI": s.track.mlflow_uri,
        "MLFLOW_EXPERIMENT_NAME": s.track.mlflow_experiment,
        "CUDA_VISIBLE_DEVICES": "" if s.hardware.device == "cpu" else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _differences(s: Train) -> list[Refusal]:
    """What it does another way; each is measured in tests/real/test_llamafactory.py or stands in its sources."""
    found, sources = [], data.sources_of(s)
    if s.method == "pretrain":
        if s.data.packing:
            message = "LLaMA-Factory joins texts and cuts them at max_length; they attend to one another"
            found.append(Refusal("data.packing", message, "drop packing where that matters"))
    else:
        message = "LLaMA-Factory cuts rows longer than max_length, where others drop them"
        found.append(Refusal("model.max_length", message, "raise max_length, or leave long rows out of the data"))
    if any(data.talks(source) for source in sources):
        message = "LLaMA-Factory leaves out conversations in which user and assistant do not alternate"
        if s.model.chat_template not in data.WITHOUT_BREAK:
            message += "; a line break that its template puts behind an answer carries loss"
        found.append(Refusal("data.train", message, "see that the conversations alternate and end with an answer"))
        if s.model.chat_template == "tokenizer":
            message = (
                "LLaMA-Factory rebuilds the tokenizer's template from single turns, which not every template allows"
            )
            found.append(Refusal("model.chat_template", message, f"name it: {', '.join(data.TEMPLATES)}"))
    elif s.method != "pretrain":
        found += data.rendered(s)
    if s.adapter is None and s.numerics.precision != "fp32" and s.parallel.strategy not in ("zero3", "fsdp2"):
        message = "LLaMA-Factory trains full weights in fp32 beside the computation in " + s.numerics.precision
        found.append(Refusal("numerics.precision", message, "count 4 bytes per parameter; nothing is lost by it"))
    if s.method == "reward":
        message = "LLaMA-Factory's reward model is a language model with a value head, which it alone loads"
        if s.adapter is None:
            message += "; where embeddings are tied it cannot be saved"
        advice = "train an adapter where they are, and do not wait for an interrupted training: it starts anew"
        found.append(Refusal("method", message, advice))
    return found


SYSTEM = System(
    "llamafactory",
    kinds=frozenset(["train"]),
    can={
        "method": frozenset(STAGES),
        "parallel.strategy": frozenset(["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]),
        "adapter.type": frozenset(["lora", "oft"]),
    },
    sheets=lambda s, _environment: _sheets(s),
    one_message=True,
    needs=trainers.need,
    commands=_commands,
    variables=_variables,
    differences=_differences,
)
