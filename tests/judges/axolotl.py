"""Judge Axolotl files with Axolotl's own validation, on GPUs that are only declared.

A job: {"file": ..., "gpu": null | {"sm": "sm_80", "count": 4, "bf16": true, "fp8": false, "nodes": 1}}.
Axolotl drops unknown keys in silence: what is in the file but not in the validated configuration is reported.
"""

import logging
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from judging import Job, environment, modules_of, run

# Keys that Axolotl takes in and moves elsewhere, which is not dropping them.
MOVED = {"message_field_role", "message_field_content", "version", "batch_size"}


class Warned(logging.Handler):
    """Collects the warnings in which Axolotl foretells a failure that its validation lets through."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.fatal: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning of that kind."""
        if "will fail" in record.getMessage():
            self.fatal.append(record.getMessage())


def judge(job: Job) -> list[str]:
    """Return the dropped keys. Raises whatever Axolotl raises."""
    yaml = import_module("yaml")
    cli = import_module("axolotl.cli.config")
    validation = import_module("axolotl.utils.config")
    wrap = import_module("axolotl.utils.dict").DictDefault
    manager = import_module("axolotl.integrations.base").PluginManager.get_instance()
    given = yaml.safe_load(Path(job["file"]).read_text(encoding="utf-8"))
    manager.plugins.clear()
    gpu = job.get("gpu") or {"count": 1, "sm": None, "bf16": False}
    sm = int(gpu["sm"].removeprefix("sm_")) if gpu["sm"] else 0
    sys.modules.setdefault(
        "ring_flash_attn", ModuleType("ring_flash_attn")
    )  # validation imports it, and it needs a GPU
    with environment(WORLD_SIZE=gpu["count"]), modules_of(Path(job["file"]).parent):
        cfg = wrap(yaml.safe_load(Path(job["file"]).read_text(encoding="utf-8")))
        beside = Path(job["file"]).with_name("ds_config.json")
        if beside.exists():
            cfg.deepspeed = str(beside)  # as run.sh does
        cli.prepare_plugins(cfg)
        for name in cfg.plugins or []:  # a plugin that cannot be imported is only logged
            if name not in manager.plugins:
                raise ImportError(f"plugin {name} was not loaded")
        warned = Warned()
        logging.getLogger("axolotl").addHandler(warned)
        valid = validation.validate_config(
            cfg,
            capabilities={
                "bf16": gpu["bf16"],
                "fp8": gpu.get("fp8", sm >= 90),
                "tf32": sm >= 80,
                "n_gpu": gpu["count"],
                "n_node": gpu.get("nodes", 1),
                "compute_capability": gpu["sm"],
            },
            env_capabilities={"torch_version": import_module("torch").__version__.split("+")[0]},
        )
        groups(valid, job)
    if warned.fatal:
        raise ValueError(warned.fatal[0])
    names(valid)
    manager.cfg = valid  # as its load_cfg does
    if job.get("start"):
        started(valid, gpu)
    kept = import_module("axolotl.utils.schemas.enums").LEGACY_ATTN_FLAG_TO_IMPL
    return list(dropped(given, valid.to_dict(), "", {*MOVED, *kept}))


def groups(cfg: Any, job: Job) -> None:
    """Compare the groups of processes that Axolotl would make with those that the plan divides the batch by."""
    world = (job.get("gpu") or {"count": 1})["count"]
    sizes = import_module("axolotl.utils.distributed")._get_parallel_config_kwargs(
        world,
        cfg.tensor_parallel_size or 1,
        cfg.context_parallel_size or 1,
        cfg.dp_shard_size,
        cfg.dp_replicate_size,
        bool(cfg.fsdp_config),
    )
    holders = (
        world // (cfg.context_parallel_size or 1) // (cfg.tensor_parallel_size or 1)
    )  # as normalize_config divides
    if (cfg.context_parallel_size or 1) * (cfg.tensor_parallel_size or 1) > 1:
        if sizes.get("dp_shard_size", 1) * sizes.get("dp_replicate_size", 1) != holders:
            raise ValueError(f"{sizes} of {world} processes")
        if holders != job.get("data_parallel", holders):
            raise ValueError(f"{holders} data-parallel processes, not {job['data_parallel']}")


def names(cfg: Any) -> None:
    """Look names up as the trainer's builder would, which the schema leaves to it. Raises ValueError."""
    training = import_module("transformers.training_args")
    trainer = import_module("transformers.trainer_utils")
    custom = import_module("axolotl.utils.schemas.enums").CustomSupportedOptimizers
    optimizer = getattr(cfg.optimizer, "value", cfg.optimizer)
    if optimizer and optimizer not in {member.value for member in custom}:
        training.OptimizerNames(optimizer)
    if cfg.lr_scheduler and cfg.lr_scheduler not in ("one_cycle", "rex"):
        trainer.SchedulerType(cfg.lr_scheduler)
    if cfg.eval_strategy:
        trainer.IntervalStrategy(cfg.eval_strategy)
    if cfg.save_strategy:
        trainer.SaveStrategy(cfg.save_strategy)


def started(cfg: Any, gpu: dict[str, Any]) -> None:
    """Make what the training starts with: arguments, trainer, optimiser and schedule, on a tiny model without rows.

    Sharding and DeepSpeed are left out of it, for there is one process. Raises whatever Axolotl, TRL and transformers raise.
    """
    training = import_module("transformers.training_args")
    builders = import_module("axolotl.core.builders")
    model, tokenizer = tiny(reward=bool(cfg.reward_model))
    for key in ("deepspeed", "fsdp_config", "fsdp", "dataset_num_proc", "plugins", "torch_compile", "use_wandb"):
        cfg[key] = None
    cfg.eval_table_size = cfg.eval_table_size or 0  # as normalize_config does; with MLflow it is compared
    kind = "reward" if cfg.reward_model else cfg.rl or ""
    rows = import_module("datasets").Dataset.from_list(ROWS[kind])
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(training, "is_torch_bf16_gpu_available", lambda: gpu["bf16"]),
        patch.object(training, "is_torch_tf32_available", lambda: True),
        patch.object(import_module("transformers").Trainer, "_validate_args", lambda *_: None, create=True),
    ):
        cfg.output_dir = folder
        model.save_pretrained(f"{folder}/base")  # where KTO looks for its reference model
        model.config._name_or_path = f"{folder}/base"
        made = builders.HFRLTrainerBuilder if cfg.rl else builders.HFCausalTrainerBuilder
        if cfg.adapter:  # by then Axolotl's loader has laid it over the model
            peft = import_module("peft")
            model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"]))
        builder = made(cfg, model, tokenizer)
        builder.model_ref = None if cfg.adapter or not cfg.rl else tiny(reward=False)[0]
        builder.train_dataset = rows
        builder.eval_dataset = rows if cfg.val_set_size or cfg.test_datasets else None
        trainer = builder.build(100)
        trainer.create_optimizer()
        trainer.create_scheduler(100, trainer.optimizer)


TEXT = {"input_ids": [5, 6, 7, 8], "attention_mask": [1, 1, 1, 1], "labels": [5, 6, 7, 8]}
TOLD = {"prompt": "a", "chosen": "b", "rejected": "c"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "": [TEXT] * 8,
    "reward": [{"chosen_ids": [5, 6, 7], "rejected_ids": [5, 6]}] * 8,
    **dict.fromkeys(("dpo", "ipo", "orpo", "simpo"), [TOLD] * 8),
    "kto": [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "a", "completion": "b", "label": False}] * 4,
    "grpo": [{"prompt": "a", "answer": "b"}] * 8,
}


@cache
def tokenizer_of_bytes() -> Any:
    """Return a tokenizer that knows bytes, and a template."""
    tokenizers, transformers = import_module("tokenizers"), import_module("transformers")
    words = {char: at for at, char in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}
    bytewise = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=words, merges=[]))
    bytewise.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token="<eos>", pad_token="<pad>")
    made.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    return made


def tiny(*, reward: bool) -> Any:
    """Return a Llama of a few thousand weights, and its tokenizer."""
    transformers, tokenizer = import_module("transformers"), tokenizer_of_bytes()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id, **sizes
    )
    kind = transformers.LlamaForSequenceClassification if reward else transformers.LlamaForCausalLM
    return kind(config), tokenizer


def dropped(given: Any, valid: Any, path: str, moved: set[str]) -> Any:
    """Yield the dotted keys of `given` that `valid` does not have; what was set to null cannot be told."""
    if isinstance(given, dict) and isinstance(valid, dict):
        for key, value in given.items():
            spelt = next((s for s in spellings(str(key), path) if s in valid), None)
            if spelt is not None:
                yield from dropped(value, valid[spelt], f"{path}{key}.", moved)
            elif value is not None and key not in moved:
                yield f"{path}{key}"
    elif isinstance(given, list) and isinstance(valid, list):
        for index, (mine, theirs) in enumerate(zip(given, valid, strict=False)):
            yield from dropped(mine, theirs, f"{path}{index}.", moved)


def spellings(key: str, path: str) -> list[str]:
    """Return the names under which the validated configuration may hold a key."""
    renamed = {
        "model_config": "overrides_of_model_config",
        "model_kwargs": "overrides_of_model_kwargs",
        "model_type": "type_of_model",
        "model_revision": "revision_of_model",
    }
    if not path:
        return [key, renamed.get(key, key)]
    return [key, key.removeprefix("fsdp_"), key.replace("/", ".")] if path == "fsdp_config." else [key]


if __name__ == "__main__":
    run(judge)
