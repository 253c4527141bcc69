"""Axolotl 0.19: the training stage as its YAML.

On CPU it needs more than on GPU: `bf16: auto` turns into fp16 there and dies, and its LoRA kernels are Triton.
"""

from __future__ import annotations

from typing import Any

from recipec.plan import DataSource, TrainStage
from recipec.targets import accelerate
from recipec.targets.table import OMIT, Row, Sheet, Trainer, Unsupported, made, named, same

TOOL = "axolotl"
FILE = "axolotl.yaml"

OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "adamw_paged": "paged_adamw_32bit",
    "adamw_paged_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
    "lion_8bit": "lion_8bit",
    "muon": "muon",
}
SCHEDULERS = {
    "cosine": "cosine",
    "linear": "linear",
    "constant": "constant",
    "constant_with_warmup": "constant_with_warmup",
    "cosine_with_min_lr": "cosine",
}
TEMPLATES = {
    "tokenizer": "tokenizer_default",
    **{
        name: name
        for name in ("chatml", "llama3", "mistral_v1", "mistral_v3_tekken", "gemma", "phi_3", "qwen3", "alpaca")
    },
}
FILE_KINDS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def _talks(s: TrainStage) -> bool:
    return any(source.format in ("chat", "preference") for source in s.data.train)


def _place(source: DataSource) -> dict[str, Any]:
    """Where rows come from; files are loaded by the datasets builder of their kind."""
    if source.path is not None:
        kind = FILE_KINDS[source.path[source.path.rindex(".") :]]
        return {"path": source.path, "ds_type": kind, "split": source.split}
    place: dict[str, Any] = {"path": source.hub}
    for key, value in (("name", source.subset), ("split", source.split), ("revision", source.revision)):
        if value is not None:
            place[key] = value
    return place


def _dataset(s: TrainStage, source: DataSource) -> dict[str, Any]:
    columns, row = source.columns, _place(source)
    kind = source.format
    if s.method == "dpo":  # its data keys are fewer: the kind of a file is told from its name
        row.pop("ds_type", None)
        if "name" in row:
            raise Unsupported(
                "data.train", "Axolotl's DPO data cannot choose a subset", "use a copy that has only this subset"
            )
    if kind == "chat":
        row |= {"type": "chat_template", "field_messages": columns["messages"]}
        row["message_property_mappings"] = {"role": columns["role"], "content": columns["content"]}
        if source.roles:
            row["roles"] = {role: list(names) for role, names in source.roles.items()}
        row["roles_to_train"] = ["assistant"]
        row["train_on_eos"] = "turn"
    elif kind == "instruction":
        if s.model.chat_template in ("tokenizer", "alpaca") and columns == {
            k: k for k in ("instruction", "input", "output")
        }:
            row["type"] = "alpaca"
        else:
            fields = {f"field_{name}": column for name, column in columns.items()}
            row["type"] = {**fields, "format": "{instruction}\n{input}\n", "no_input_format": "{instruction}\n"}
    elif kind == "completion":
        fields = {"field_instruction": columns["prompt"], "field_output": columns["completion"]}
        row["type"] = {**fields, "format": "{instruction}", "no_input_format": "{instruction}"}
    elif kind == "text":
        row |= {"type": "completion", "field": columns["text"]}
    elif "prompt" in columns:
        fields = {f"field_{name}": columns[name] for name in ("prompt", "chosen", "rejected")}
        row["type"] = fields
    else:
        row |= {"type": "chat_template.default", "field_messages": columns["messages"]}
        row |= {"field_chosen": columns["chosen"], "field_rejected": columns["rejected"]}
        if source.roles or (columns["role"], columns["content"]) != ("role", "content"):
            advice = "name the columns role and content in the data"
            raise Unsupported("data.train", "Axolotl's DPO data cannot map roles or message columns", advice)
    return row


def _datasets(s: TrainStage, sources: tuple[DataSource, ...]) -> Any:
    if not sources:
        return OMIT
    return [_dataset(s, source) for source in sources for _copy in range(source.weight)]


def _streamed(s: TrainStage) -> Any:
    if not s.data.streaming:
        return OMIT
    if len(s.data.train) > 1 or s.data.train[0].weight > 1:
        raise Unsupported("data.streaming", "Axolotl streams one data source", "give one source, or drop streaming")
    source = s.data.train[0]
    row = _place(source)
    if source.path is not None:
        row = {"path": row["ds_type"], "data_files": source.path, "split": source.split}
    return [{**row, "text_column": source.columns["text"], "type": "pretrain"}]


def _holdout(s: TrainStage) -> Any:
    share = s.data.holdout
    if isinstance(share, int) and share > 0:
        advice = "give a percentage, such as holdout: 2%"
        raise Unsupported("data.holdout", "Axolotl holds out a fraction of the rows, not a number", advice)
    return float(share) if share else OMIT


def _on_all(s: TrainStage) -> Any:
    return True if s.data.train_on == "all" and s.method == "sft" else OMIT


def _warmup(s: TrainStage, *, share: bool) -> Any:
    value = s.optimizer.warmup
    return value if isinstance(value, float) is share and (share or value) else OMIT


def _every(unit: Any) -> Any:
    return unit if isinstance(unit, int) else OMIT


def _strategy(unit: Any) -> str:
    return {"epoch": "epoch", "never": "no"}.get(unit, "steps")


def _adapter(s: TrainStage) -> Any:
    if s.adapter is None:
        return OMIT
    return "qlora" if s.adapter.type == "lora" and s.model.load_in in ("nf4", "fp4") else "lora"


def _alpha(s: TrainStage) -> Any:
    if s.adapter is None:
        return OMIT
    if s.adapter.alpha != int(s.adapter.alpha):
        raise Unsupported("adapter.alpha", "Axolotl takes whole numbers for alpha", "round it")
    return int(s.adapter.alpha)


def _four_bit(s: TrainStage) -> Any:
    if s.model.load_in not in ("nf4", "fp4"):
        return OMIT
    return {"bnb_4bit_quant_type": s.model.load_in, "bnb_4bit_use_double_quant": s.model.double_quant}


def _targets(s: TrainStage, *, linear: bool) -> Any:
    if s.adapter is None:
        return OMIT
    everything = tuple(s.adapter.targets) == ("all-linear",)
    if linear:
        return True if everything else OMIT
    return OMIT if everything else list(s.adapter.targets)


def _fsdp(s: TrainStage) -> Any:
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


def _checkpointing(s: TrainStage) -> Any:
    return OMIT if s.parallel.strategy == "fsdp2" else s.numerics.gradient_checkpointing


def _no_kernel(s: TrainStage) -> Any:
    return False if s.hardware.device == "cpu" and s.adapter is not None else OMIT


def _cpu(value: Any) -> Any:
    return lambda s: value if s.hardware.device == "cpu" else OMIT


ROWS: tuple[Row, ...] = (
    same("base_model", "model.path"),
    same("revision_of_model", "model.revision"),
    made("tokenizer_config", lambda s: OMIT if s.model.tokenizer == s.model.path else s.model.tokenizer),
    made("trust_remote_code", lambda s: True if s.model.trust_remote_code else OMIT),
    made("resize_token_embeddings_to_32x", lambda s: True if s.model.resize_embeddings else OMIT),
    made(
        "chat_template",
        lambda s: TEMPLATES[s.model.chat_template] if _talks(s) or s.model.chat_template != "tokenizer" else OMIT,
    ),
    named(
        "attn_implementation",
        "model.attention",
        {name: name for name in ("eager", "sdpa", "flash_attention_2", "flex_attention")},
    ),
    made("load_in_4bit", lambda s: True if s.model.load_in in ("nf4", "fp4") else OMIT),
    made("load_in_8bit", lambda s: True if s.model.load_in == "int8" else OMIT),
    made("bnb_config_kwargs", _four_bit),
    made("adapter", _adapter),
    same("lora_model_dir", "adapter.start_from"),
    same("lora_r", "adapter.rank"),
    made("lora_alpha", _alpha),
    same("lora_dropout", "adapter.dropout"),
    made("lora_target_linear", lambda s: _targets(s, linear=True)),
    made("lora_target_modules", lambda s: _targets(s, linear=False)),
    made(
        "lora_modules_to_save",
        lambda s: list(s.adapter.also_train) if s.adapter is not None and s.adapter.also_train else OMIT,
    ),
    made("peft_use_dora", lambda s: True if s.adapter is not None and s.adapter.dora else OMIT),
    made("peft_use_rslora", lambda s: True if s.adapter is not None and s.adapter.rslora else OMIT),
    *(
        made(f"lora_{part}_kernel", _no_kernel, "Triton kernels need a GPU")
        for part in ("mlp", "qkv", "o", "embedding")
    ),
    made("rl", lambda s: "dpo" if s.method == "dpo" else OMIT),
    made("rl_beta", lambda s: s.objective.beta if s.objective is not None else OMIT),
    made("pretraining_dataset", _streamed),
    made("datasets", lambda s: OMIT if s.data.streaming else _datasets(s, s.data.train)),
    made("test_datasets", lambda s: _datasets(s, s.data.validation)),
    made("val_set_size", _holdout),
    same("dataset_prepared_path", "data.cache"),
    made("dataset_num_proc", _cpu(1), "one process is enough, and starts at once"),
    same("shuffle_merged_datasets", "data.shuffle"),
    made("train_on_inputs", _on_all),
    same("sequence_len", "model.max_length"),
    made(
        "excess_length_strategy",
        lambda s: "drop" if s.method != "pretrain" else OMIT,
        "rows that are too long are dropped whole",
    ),
    made("sample_packing", lambda s: s.data.packing if s.method != "dpo" else OMIT),
    made("eval_sample_packing", lambda s: False if s.data.packing else OMIT, "validation loss per row, not per pack"),
    made("pad_to_sequence_len", lambda s: True if s.data.packing else OMIT, "one shape, so that memory does not vary"),
    same("micro_batch_size", "batch.micro"),
    same("gradient_accumulation_steps", "batch.accumulation"),
    made("num_epochs", lambda s: s.length.amount if s.length.unit == "epochs" else OMIT),
    made("max_steps", lambda s: s.length.amount if s.length.unit == "steps" else OMIT),
    named("optimizer", "optimizer.name", OPTIMIZERS),
    same("learning_rate", "optimizer.learning_rate"),
    named("lr_scheduler", "optimizer.scheduler", SCHEDULERS),
    made("cosine_min_lr_ratio", lambda s: s.optimizer.min_lr_ratio or OMIT),
    made("warmup_ratio", lambda s: _warmup(s, share=True)),
    made("warmup_steps", lambda s: _warmup(s, share=False)),
    same("weight_decay", "optimizer.weight_decay"),
    made("adam_beta1", lambda s: s.optimizer.beta1 if "adam" in s.optimizer.name else OMIT),
    made("adam_beta2", lambda s: s.optimizer.beta2 if "adam" in s.optimizer.name else OMIT),
    made("adam_epsilon", lambda s: s.optimizer.epsilon if "adam" in s.optimizer.name else OMIT),
    same("max_grad_norm", "optimizer.max_grad_norm"),
    made("bf16", lambda s: s.numerics.precision == "bf16"),
    made("fp16", lambda s: s.numerics.precision == "fp16"),
    made("tf32", lambda s: s.hardware.sm >= 80),
    made("gradient_checkpointing", _checkpointing),
    made(
        "gradient_checkpointing_kwargs",
        lambda s: {"use_reentrant": False} if _checkpointing(s) is True else OMIT,
        "re-entrant checkpointing breaks LoRA under DDP",
    ),
    made("torch_compile", lambda s: True if s.numerics.torch_compile else OMIT),
    made("fsdp_version", lambda s: 2 if s.parallel.strategy == "fsdp2" else OMIT),
    made("fsdp_config", _fsdp),
    same("dataloader_num_workers", "data.workers"),
    made("dataloader_pin_memory", _cpu(False), "pinned memory is for GPUs"),
    made("save_strategy", lambda s: _strategy(s.watch.save_every)),
    made("save_steps", lambda s: _every(s.watch.save_every)),
    made("save_total_limit", lambda s: _every(s.watch.save_keep)),
    made("eval_strategy", lambda s: _strategy(s.watch.evaluate_every)),
    made("eval_steps", lambda s: _every(s.watch.evaluate_every)),
    same("logging_steps", "watch.log_every"),
    made("use_wandb", lambda s: s.track.wandb_project is not None),
    same("wandb_project", "track.wandb_project"),
    same("wandb_entity", "track.wandb_entity"),
    made("wandb_name", lambda s: s.track.run_name if s.track.wandb_project is not None else OMIT),
    made("use_mlflow", lambda s: True if s.track.mlflow_uri is not None else OMIT),
    same("mlflow_tracking_uri", "track.mlflow_uri"),
    same("mlflow_experiment_name", "track.mlflow_experiment"),
    made("use_tensorboard", lambda s: True if s.track.tensorboard else OMIT),
    same("seed", "seed"),
    same("output_dir", "output"),
)


def _sheets(s: TrainStage) -> list[Sheet]:
    files = accelerate.sheets(s, f"{s.trainer}-{s.release}")
    return [Sheet(FILE, ROWS, TOOL, s.release, "config"), *files]


def _commands(s: TrainStage) -> list[str]:
    resume = '${RECIPE_RESUME_FROM:+"--resume-from-checkpoint=$RECIPE_RESUME_FROM"}'
    config = f'"$here/{FILE}"'
    if s.parallel.strategy == "single":
        return [f"axolotl train {config} --launcher python {resume}"]
    if s.parallel.strategy.startswith("zero"):
        config += ' --deepspeed "$here/ds_config.json"'
    return accelerate.command(s, f"-m axolotl.cli.train {config} {resume}")


def _variables(s: TrainStage) -> dict[str, str]:
    return {} if s.track.telemetry else {"AXOLOTL_DO_NOT_TRACK": "1"}


TRAINER = Trainer(
    "axolotl",
    methods=frozenset(["pretrain", "sft", "dpo"]),
    adapters=frozenset(["lora"]),
    strategies=frozenset(["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]),
    sheets=_sheets,
    commands=_commands,
    variables=_variables,
    one_process="Axolotl starts one process on CPU whatever it is told",
    lm_eval=True,
)
