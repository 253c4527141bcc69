"""Axolotl 0.17 and 0.19: the training stage as its YAML.

On CPU it needs more than on GPU: `bf16: auto` turns into fp16 there and dies, and its LoRA kernels are Triton. What it
does unasked is said where a value keeps it from that: it keeps four checkpoints, warms up over 3% of the steps, and
returns to the best checkpoint.
"""

from __future__ import annotations

from math import ceil
from shlex import quote
from typing import Any

from recipec.kinds.train.records import Train
from recipec.systems import accelerate, rewards, trainers
from recipec.systems.axolotl import adapter, data, loaders, objective
from recipec.systems.check import Refusal, Unsupported
from recipec.systems.document import Sheet
from recipec.systems.system import System
from recipec.systems.table import OMIT, Row, computed, named, same

TOOL = "axolotl"
FILE = "axolotl.yaml"

OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adamw_4bit": "adamw_torch_4bit",
    "adamw_paged": "paged_adamw_32bit",
    "adamw_paged_8bit": "paged_adamw_8bit",
    "adamw_schedule_free": "schedule_free_adamw",
    "ademamix": "ademamix",
    "ademamix_8bit": "ademamix_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
    "lion_8bit": "lion_8bit",
    "muon": "muon",
}
SCHEDULERS = {
    **{
        name: name
        for name in (
            "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial",
            "inverse_sqrt", "warmup_stable_decay",
        )
    },
    "cosine_with_min_lr": "cosine",
}  # fmt: skip
LIGER = "axolotl.integrations.liger.LigerPlugin"
ALL = 1_000_000  # more checkpoints than any training writes
CAUSAL = ("pretrain", "sft", "reward")  # built by Axolotl's causal builder, which alone knows some keys


def _template(s: Train) -> Any:
    if s.model.chat_template_file is not None:
        return "jinja"
    if s.model.chat_template == "tokenizer":
        return "tokenizer_default" if data.talks(s) or s.method == "reward" else OMIT
    return s.model.chat_template


def _on_all(s: Train) -> Any:
    return True if s.data.train_on == "all" and s.method == "sft" else OMIT


def _warmup(s: Train, *, share: bool) -> Any:
    value = s.optimizer.warmup
    if s.method == "simpo" and isinstance(value, float):
        value = _steps(s, value, "optimizer.warmup", "Axolotl's SimPO takes warmup in steps")
    return value if isinstance(value, float) is share else OMIT


def _steps(s: Train, share: float, path: str, message: str) -> int:
    """Return a share of all steps in steps."""
    if s.length.unit != "steps":
        raise Unsupported(path, message, "give a number of steps, or train.steps instead of epochs")
    return ceil(share * s.length.amount)


def _schedule(s: Train) -> Any:
    if s.optimizer.scheduler == "cosine_with_restarts":
        return {"num_cycles": s.optimizer.cycles}
    if s.optimizer.scheduler != "warmup_stable_decay":
        return OMIT
    decay = s.optimizer.decay
    if isinstance(decay, float):
        decay = _steps(s, decay, "optimizer.decay", "Axolotl takes the decay in steps")
    return {"num_decay_steps": decay}


def _early(s: Train) -> Any:
    if s.watch.early_stopping is not None and s.method not in CAUSAL:
        advice = f"drop it, or use one of {', '.join(CAUSAL)}"
        raise Unsupported("watch.early_stopping", f"Axolotl does not stop {s.method} early", advice)
    return s.watch.early_stopping


def _adam(word: str) -> Any:
    """Return a row's function: Adam's `word` with the optimisers that have it."""
    return lambda s: getattr(s.optimizer, word) if s.optimizer.name.startswith(("adamw", "ademamix")) else OMIT


def _liger(*methods: str) -> Any:
    return lambda s: True if s.numerics.liger_kernel and (not methods or s.method in methods) else OMIT


def _every(unit: Any) -> Any:
    return unit if isinstance(unit, int) else OMIT


def _strategy(unit: Any) -> str:
    return {"epoch": "epoch", "never": "no"}.get(unit, "steps")


def _fsdp(s: Train) -> Any:
    if s.parallel.strategy != "fsdp2":
        return OMIT
    return {
        "reshard_after_forward": s.parallel.reshard_after_forward,
        "offload_params": s.parallel.parameter_offload == "cpu" and s.parallel.optimizer_offload == "cpu",
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "state_dict_type": "SHARDED_STATE_DICT",
        "final_state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": True,
        "activation_checkpointing": s.numerics.gradient_checkpointing,
    }


def _checkpointing(s: Train) -> Any:
    return OMIT if s.parallel.strategy == "fsdp2" else s.numerics.gradient_checkpointing


def _cpu(value: Any) -> Any:
    return lambda s: value if s.hardware.device == "cpu" else OMIT


ROWS: tuple[Row, ...] = (
    same("base_model", "model.path"),
    same("revision_of_model", "model.revision"),
    computed("tokenizer_config", lambda s: OMIT if s.model.tokenizer == s.model.path else s.model.tokenizer),
    computed("trust_remote_code", lambda s: True if s.model.trust_remote_code else OMIT),
    computed("resize_token_embeddings_to_32x", lambda s: True if s.model.resize_embeddings else OMIT),
    computed("special_tokens", lambda s: {f"{n}_token": t for n, t in s.model.special_tokens.items()} or OMIT),
    computed("chat_template", _template),
    same("chat_template_jinja", "model.chat_template_file"),
    named(
        "attn_implementation",
        "model.attention",
        {name: name for name in ("eager", "sdpa", "flash_attention_2", "flex_attention")},
    ),
    *adapter.ROWS,
    *objective.ROWS,
    computed("pretraining_dataset", data.streamed),
    computed("datasets", lambda s: OMIT if s.data.streaming else data.datasets(s, s.data.train)),
    computed("test_datasets", lambda s: data.datasets(s, s.data.validation)),
    computed("val_set_size", data.holdout),
    same("dataset_prepared_path", "data.cache"),
    computed("dataset_num_proc", _cpu(1), "one process is enough, and starts at once"),
    same("shuffle_merged_datasets", "data.shuffle"),
    computed("train_on_inputs", _on_all),
    computed("sequence_len", lambda s: s.model.max_length if s.method != "grpo" else OMIT),
    computed(
        "excess_length_strategy",
        lambda s: "drop" if s.method not in ("pretrain", "grpo", "reward") else OMIT,
        "rows that are too long are dropped whole",
    ),
    computed("sample_packing", lambda s: s.data.packing if s.method in ("sft", "pretrain") else OMIT),
    computed("group_by_length", lambda s: True if s.data.group_by_length and s.method in CAUSAL else OMIT),
    computed(
        "eval_sample_packing", lambda s: False if s.data.packing else OMIT, "validation loss per row, not per pack"
    ),
    computed(
        "pad_to_sequence_len", lambda s: True if s.data.packing else OMIT, "one shape, so that memory does not vary"
    ),
    same("micro_batch_size", "batch.micro"),
    same("gradient_accumulation_steps", "batch.accumulation"),
    computed("num_epochs", lambda s: s.length.amount if s.length.unit == "epochs" else OMIT),
    computed("max_steps", lambda s: s.length.amount if s.length.unit == "steps" else OMIT),
    named("optimizer", "optimizer.name", OPTIMIZERS),
    same("learning_rate", "optimizer.learning_rate"),
    named("lr_scheduler", "optimizer.scheduler", SCHEDULERS),
    computed("cosine_min_lr_ratio", lambda s: s.optimizer.min_lr_ratio or OMIT),
    computed("lr_scheduler_kwargs", _schedule),
    computed("warmup_ratio", lambda s: _warmup(s, share=True)),
    computed("warmup_steps", lambda s: _warmup(s, share=False)),
    same("weight_decay", "optimizer.weight_decay"),
    same("embedding_lr", "optimizer.embedding_learning_rate"),
    same("neftune_noise_alpha", "optimizer.neftune_alpha"),
    *(computed(f"adam_{word}", _adam(word)) for word in ("beta1", "beta2", "epsilon")),
    same("max_grad_norm", "optimizer.max_grad_norm"),
    computed("bf16", lambda s: s.numerics.precision == "bf16"),
    computed("fp16", lambda s: s.numerics.precision == "fp16"),
    computed("tf32", lambda s: s.hardware.sm >= 80),
    computed("gradient_checkpointing", _checkpointing),
    computed(
        "gradient_checkpointing_kwargs",
        lambda s: {"use_reentrant": False} if _checkpointing(s) is True else OMIT,
        "re-entrant checkpointing breaks LoRA under DDP",
    ),
    computed("plugins", lambda s: [LIGER] if s.numerics.liger_kernel else OMIT),
    *(computed(f"liger_{part}", _liger()) for part in ("rope", "rms_norm", "glu_activation")),
    computed("liger_fused_linear_cross_entropy", _liger("pretrain", "sft")),
    computed("torch_compile", lambda s: True if s.numerics.torch_compile else OMIT),
    computed("fsdp_version", lambda s: 2 if s.parallel.strategy == "fsdp2" else OMIT),
    computed("fsdp_config", _fsdp),
    same("dataloader_num_workers", "data.workers"),
    computed("dataloader_pin_memory", _cpu(False), "pinned memory is for GPUs"),
    computed("save_strategy", lambda s: _strategy(s.watch.save_every)),
    computed("save_steps", lambda s: _every(s.watch.save_every)),
    computed(
        "save_total_limit",
        lambda s: s.watch.save_keep if isinstance(s.watch.save_keep, int) else ALL,
        "unasked, Axolotl keeps 4",
    ),
    computed("save_only_model", lambda s: True if s.watch.save_only_model else OMIT),
    computed("eval_strategy", lambda s: _strategy(s.watch.evaluate_every)),
    computed("eval_steps", lambda s: _every(s.watch.evaluate_every)),
    computed("early_stopping_patience", _early),
    computed(
        "load_best_model_at_end",
        lambda s: s.watch.early_stopping is not None if s.method in CAUSAL else OMIT,
        "only where the recipe stops early; unasked, Axolotl would",
    ),
    same("logging_steps", "watch.log_every"),
    computed("use_wandb", lambda s: s.track.wandb_project is not None),
    same("wandb_project", "track.wandb_project"),
    same("wandb_entity", "track.wandb_entity"),
    computed("wandb_name", lambda s: s.track.run_name if s.track.wandb_project is not None else OMIT),
    computed("use_mlflow", lambda s: True if s.track.mlflow_uri is not None else OMIT),
    same("mlflow_tracking_uri", "track.mlflow_uri"),
    same("mlflow_experiment_name", "track.mlflow_experiment"),
    computed("use_trackio", lambda s: True if s.track.trackio_project is not None else OMIT),
    same("trackio_project_name", "track.trackio_project"),
    same("trackio_space_id", "track.trackio_space"),
    computed("trackio_run_name", lambda s: s.track.run_name if s.track.trackio_project is not None else OMIT),
    computed("use_tensorboard", lambda s: True if s.track.tensorboard else OMIT),
    same("seed", "seed"),
    same("output_dir", "output"),
)


def _sheets(s: Train) -> list[Sheet]:
    files = accelerate.sheets(s, f"{s.trainer}-{s.release}", gathers=True)
    return [Sheet(FILE, ROWS, TOOL, s.release, "config"), *files]


def _commands(s: Train) -> list[str]:
    resume = '${RECIPE_RESUME_FROM:+"--resume-from-checkpoint=$RECIPE_RESUME_FROM"}'
    config = f'"$here/{FILE}"'
    own = ['export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"'] if _files(s) else []
    own += _forget_old_rows(s)
    if s.parallel.strategy == "single":
        return [*own, f"axolotl train {config} --launcher python {resume}"]
    if s.parallel.strategy.startswith("zero"):
        config += ' --deepspeed "$here/ds_config.json"'
    return [*own, *accelerate.command(s, f"-m axolotl.cli.train {config} {resume}")]


def _forget_old_rows(s: Train) -> list[str]:
    """Return the lines that drop prepared data whose rows have changed: Axolotl keys it by the configuration alone.

    On several nodes the first does it, since they may share the folder.
    """
    paths = [source.path for source in (*s.data.train, *s.data.validation) if source.path is not None]
    if not paths or s.data.streaming:
        return []
    prepared = quote(s.data.cache)
    files = " ".join(quote(path) for path in dict.fromkeys([*paths, *filter(None, [s.model.chat_template_file])]))
    return [
        "# Axolotl knows its prepared data by the configuration, not by the rows: drop it where they have changed.",
        f"rows=$(cat -- {files} | sha256sum)",
        'if [ "${NODE_RANK:-0}" = 0 ]; then',
        f'  [ "$(cat {prepared}/.rows 2>/dev/null)" = "$rows" ] || rm -rf -- {prepared}',
        f"  mkdir -p -- {prepared}",
        f"  printf '%s\\n' \"$rows\" >{prepared}/.rows",
        "fi",
    ]


def _files(s: Train) -> dict[str, str]:
    """Return Python beside the configuration: loaders of ours, and the reward functions."""
    files = {loaders.file(s, source): loaders.text(s, source) for source in data.used(s)}
    return files | ({rewards.FILE: rewards.text(s)} if rewards.functions(s) else {})


def _differences(s: Train) -> list[Refusal]:
    found = []
    if s.optimizer.warmup == 1:
        found.append(Refusal("optimizer.warmup", "Axolotl warms up over 2 steps where 1 is asked for", "use 0, or 2"))
    if (s.adapter is not None and s.adapter.start_from is None) or s.method == "reward":
        new = "the head of a reward model" if s.adapter is None else "a new adapter"
        advice = "two runs differ from their second step on; trl, llamafactory and unsloth seed it"
        message = f"Axolotl draws the first weights of {new} before it sets the seed"
        found.append(Refusal("seed", message, advice, when_said=True))
    return found


def _variables(s: Train) -> dict[str, str]:
    return {} if s.track.telemetry else {"AXOLOTL_DO_NOT_TRACK": "1"}


SYSTEM = System(
    "axolotl",
    kinds=frozenset(["train"]),
    can={
        "method": frozenset(["pretrain", "sft", "reward", *objective.RL]),
        "parallel.strategy": frozenset(["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]),
        "adapter.type": frozenset(["lora"]),
    },
    sheets=lambda s, _environment: _sheets(s),
    needs=trainers.need,
    commands=_commands,
    variables=_variables,
    files=_files,
    differences=_differences,
    one_process="Axolotl starts one process on CPU whatever it is told",
)
