"""TRL 1.9 and 1.16: a YAML for TRL's own commands where they can say the stage, else a script on its Python API.

The commands know local files and hub data whose columns have TRL's names, LoRA, and the trainers that are not
experimental. Whatever else a recipe can say goes into `train.py`, whose rows are prepared by `rows.py` beside it.
"""

from __future__ import annotations

from typing import Any, get_args

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.train.records import DataSource, Train
from recipec.language.train import Scheduler
from recipec.systems import accelerate, on_cpu, rewards, trainers
from recipec.systems.check import Check, differs
from recipec.systems.document import Sheet
from recipec.systems.huggingface import ALIKE, BASE, base
from recipec.systems.on_cpu import OnCpu
from recipec.systems.system import System
from recipec.systems.table import Row, choice, flag, made, present, same
from recipec.systems.trl import adapters, script, settings

TOOL = "trl"
FILE = "trl.yaml"
COMMANDS = {
    "pretrain": "sft",
    "sft": "sft",
    "dpo": "dpo",
    "ipo": "dpo",
    "kto": "kto",
    "reward": "reward",
    "grpo": "grpo",
    "rloo": "rloo",
}
# the columns under which each command looks for a format's parts
COLUMNS = {
    "text": {"text": "text"},
    "chat": {"messages": "messages", "role": "role", "content": "content"},
    "completion": {"prompt": "prompt", "completion": "completion"},
    "preference": {
        "prompt": "prompt",
        "chosen": "chosen",
        "rejected": "rejected",
        "role": "role",
        "content": "content",
    },
    "unpaired-preference": {"prompt": "prompt", "completion": "completion", "label": "label"},
    "prompt": {"prompt": "prompt", "answer": "answer"},
}
ROUNDED = (
    1e-5  # the learning rate at which Adam changes 15% of bf16 weights in 100 steps (benchmarks/rounded_updates.py)
)
KINDS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def by_command(s: Train) -> bool:
    """Return whether one of TRL's commands can say all of the stage."""
    data = s.data
    return (
        s.method in COMMANDS
        and all(_as_it_is(s, source) for source in data.train)
        and len({source.format for source in data.train}) == 1
        and not data.validation
        and not data.holdout
        and (s.method != "pretrain" or data.packing)
        and (s.method != "kto" or not data.shuffle)
        and all(reward.type != "model" for reward in s.rewards)
        and s.model.tokenizer == s.model.path
        and not s.model.resize_embeddings
        and not script.grows(s)
        and s.model.chat_template_file is None
        and s.reference is None
        and not script.stopping(s)
        and not script.decays_by_share(s)
        and _plain(s)
    )


def _as_it_is(s: Train, source: DataSource) -> bool:
    """Return whether a command reads these rows as they are, and trains on what the recipe says."""
    known = COLUMNS.get(source.format, {})
    named = all(known.get(name) == column for name, column in source.columns.items())
    if source.format == "chat" and (s.data.train_on == "assistant" or s.model.chat_template != "tokenizer"):
        return False  # TRL masks the user's turns for a few families of templates only
    if source.format in ("instruction", "prompt") and source.turns:
        return False  # a command takes text for text, whatever the model
    return named and not source.roles and source.weight == 1 and source.revision is None


def _plain(s: Train) -> bool:
    """Return whether the adapter, if any, is a LoRA that a command can make."""
    adapter = s.adapter
    return adapter is None or (
        adapter.type == "lora"
        and adapter.init == "default"
        and adapter.lora_plus_ratio is None
        and not adapter.options
        and adapter.start_from is None
    )


def _dataset(source: DataSource) -> dict[str, Any]:
    columns = [column for name, column in source.columns.items() if name not in ("role", "content")]
    if source.path is not None:
        kind = KINDS[source.path[source.path.rindex(".") :]]
        return {"path": kind, "data_files": source.path, "split": source.split, "columns": columns}
    row = {"path": source.hub, "name": source.subset, "split": source.split, "columns": columns}
    return {key: value for key, value in row.items() if value is not None}


COMMAND_ROWS: tuple[Row, ...] = (
    same("model_name_or_path", "model.path"),
    same("model_revision", "model.revision"),
    made("dtype", settings.dtype, *settings.DTYPE),
    same("attn_implementation", "model.attention"),
    *base("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type"),
    BASE["bnb_4bit_use_double_quant"].called("use_bnb_nested_quant"),
    present("use_peft", "adapter.type"),
    BASE["r"].called("lora_r"),
    *base("lora_alpha", "lora_dropout"),
    same("lora_target_modules", "adapter.targets"),
    BASE["modules_to_save"].called("lora_modules_to_save"),
    adapters.TASK.called("lora_task_type").when("adapter.type"),
    *base("use_dora", "use_rslora"),
    made("datasets", lambda sources: [_dataset(source) for source in sources], "data.train"),
    choice("completion_only_loss", "data.train_on", {"assistant": True, "all": False})
    .when("method", "sft")
    .when("data.train.0.format", "completion"),
    flag("streaming", "data.streaming"),
    choice("packing_strategy", "method", {"pretrain": "bfd_split"}, why="long texts are split, not cut"),
    made("reward_funcs", rewards.names, "rewards", why="functions of rewards.py").when("method", *settings.ONLINE),
)
CHECKS = (
    *settings.SPLITS,
    *settings.CHECKS,
    *adapters.CHECKS,
    differs(  # trl/trainer/sft_trainer.py and its like cast what is trained to bf16, as the paper on QLoRA has it
        "optimizer.learning_rate",
        "model.load_in",
        when=lambda rate, load: load in settings.QUANTISED and rate is not None and rate <= ROUNDED,
        message=lambda rate, load: (
            f"TRL trains an adapter of {load} weights in bf16: at {rate:g}, most updates are rounded away"
        ),
        advice="use load_in: bf16, where the adapter is trained in fp32, another trainer, or a rate of 1e-4",
    ).when("adapter.type"),
)
COMMAND_CHECKS: tuple[Check, ...] = (
    differs(
        "model.max_length",
        "method",
        when=lambda _length, _method: True,
        message=lambda _length, method: (
            f"trl {COMMANDS[method]} cuts rows that are longer than max_length, and trains on the rest of them"
        ),
        advice="sort long rows out of the data, if there are any",
    )
    .of_rows("long")
    .unless("method", "pretrain", *settings.ONLINE),
    differs(
        "data.shuffle",
        "data.streaming",
        when=lambda shuffle, streaming: shuffle and streaming,
        message=f"trl {COMMANDS['pretrain']} takes streamed rows in the order of the data",
        advice="shuffle the data once, or set data.shuffle: false",
    ),
)


def _checks(s: Train) -> tuple[Check, ...]:
    return (*CHECKS, *(COMMAND_CHECKS if by_command(s) else script.CHECKS))


def _uses(s: Train) -> tuple[str, ...]:
    """Return what decides between command and script, what is written into the script, and what starts them.

    Another `packing` or `double_quant` where there is no row for it is refused before a trainer is asked.
    """
    return (
        "data.train", "data.holdout", "data.packing", "data.shuffle", "rewards", "model.path", "model.tokenizer",
        "model.resize_embeddings", "model.double_quant", "model.chat_template_file", "model.special_tokens", "model.new_tokens", "adapter.type", "adapter.merge", "adapter.init",
        "adapter.lora_plus_ratio", "adapter.options", "adapter.start_from", "reference", "hardware.nodes", "hardware.world",
        "track.wandb_project", "track.wandb_entity", "track.mlflow_uri", "track.mlflow_experiment",
        *trainers.grouped(s), *["data.train_on"] * script.masked(s),
        *["watch.early_stopping"] * (s.method not in settings.ONLINE),
        *["model.chat_template"] * any(source.format == "chat" for source in s.data.train),
    )  # fmt: skip


def _sheets(s: Train, _environment: str) -> list[Sheet]:
    environment = f"{TOOL}-{s.release}"
    if by_command(s):
        own = [Sheet(FILE, (*settings.rows(s), *COMMAND_ROWS), TOOL, s.release, COMMANDS[s.method], alike=ALIKE)]
    else:
        own = script.sheets(s, s.release, pinned(environment, "datasets"))
    return [*own, *accelerate.sheets(s, environment, always=by_command(s))]


def _job(s: Train) -> Job:
    if by_command(s):
        own = ("--config", Beside(FILE), "--accelerate_config", Beside(accelerate.FILE), *accelerate.options(s))
        job = trainers.job(s, "trl", COMMANDS[s.method], *own)
        job = job.replaced(resume="--resume_from_checkpoint=", imports_emitted=bool(s.rewards))
    else:
        job = accelerate.job(s, Beside(script.FILE)).replaced(resume="")
    return job.replaced(variables=trainers.tracking(s))


def _files(s: Train) -> dict[str, str]:
    found = {} if by_command(s) else script.files()
    return {**found, rewards.FILE: rewards.text(s)} if s.rewards and rewards.functions(s) else found


SYSTEM = System(
    TOOL,
    kinds=frozenset(["train"]),
    can={
        "method": frozenset(script.TRAINERS),
        "parallel.strategy": frozenset(["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]),
        "adapter.type": frozenset(adapters.KINDS),
        "optimizer.scheduler": frozenset(get_args(Scheduler)),
    },
    sheets=_sheets,
    fp32_copies=frozenset(["fsdp2"]),
    keeps=frozenset(["activations"]),  # TRL 1.16 takes the loss of logits in pieces
    needs=trainers.need,
    job=_job,
    files=_files,
    checks=_checks,
    uses=_uses,
    alternating=frozenset(["gemma"]),
    without_system=frozenset(["gemma"]),
    writing_tools=frozenset(["qwen3"]),
    reads=script.READS,
    unpaired_turns=True,
    on_cpu=OnCpu(on_cpu.TRAINERS),
)
