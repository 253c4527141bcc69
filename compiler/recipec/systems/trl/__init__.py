"""TRL 1.9 and 1.16: a YAML for TRL's own commands where they can say the stage, else a script on its Python API.

The commands know local files and hub data whose columns have TRL's names, LoRA, and the trainers that are not
experimental. Whatever else a recipe can say goes into `train.py`, whose rows are prepared by `rows.py` beside it.
"""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.plan import DataSource, TrainStage
from recipec.systems import accelerate, rewards
from recipec.systems.check import Refusal
from recipec.systems.document import Sheet
from recipec.systems.system import Trainer
from recipec.systems.table import OMIT, Row, computed, same
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
KINDS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def by_command(s: TrainStage) -> bool:
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
        and _plain(s)
    )


def _as_it_is(s: TrainStage, source: DataSource) -> bool:
    """Return whether a command reads these rows as they are, and trains on what the recipe says."""
    known = COLUMNS.get(source.format, {})
    named = all(known.get(name) == column for name, column in source.columns.items())
    if source.format == "chat" and (s.data.train_on == "assistant" or s.model.chat_template != "tokenizer"):
        return False  # TRL masks the user's turns for a few families of templates only
    return named and not source.roles and source.weight == 1 and source.revision is None


def _plain(s: TrainStage) -> bool:
    """Return whether the adapter, if any, is a LoRA that a command can make."""
    adapter = s.adapter
    return adapter is None or (
        adapter.type == "lora"
        and adapter.init == "default"
        and adapter.lora_plus_ratio is None
        and not adapter.options
        and adapter.start_from is None
        and adapter.alpha == int(adapter.alpha)
    )


def _datasets(s: TrainStage) -> list[dict[str, Any]]:
    return [_dataset(source) for source in s.data.train]


def _dataset(source: DataSource) -> dict[str, Any]:
    columns = [column for name, column in source.columns.items() if name not in ("role", "content")]
    if source.path is not None:
        kind = KINDS[source.path[source.path.rindex(".") :]]
        return {"path": kind, "data_files": source.path, "split": source.split, "columns": columns}
    row = {"path": source.hub, "name": source.subset, "split": source.split, "columns": columns}
    return {key: value for key, value in row.items() if value is not None}


def _completes(s: TrainStage) -> bool:
    return s.method == "sft" and s.data.train[0].format == "completion"


def _lora(make: Any) -> Any:
    return lambda s: OMIT if s.adapter is None else make(s.adapter)


COMMAND_ROWS: tuple[Row, ...] = (
    same("model_name_or_path", "model.path"),
    computed("model_revision", lambda s: s.model.revision or OMIT),
    computed("dtype", settings.dtype),
    computed("attn_implementation", settings.attention),
    computed("load_in_4bit", lambda s: True if s.model.load_in in settings.FOUR_BIT else OMIT),
    computed("load_in_8bit", lambda s: True if s.model.load_in == "int8" else OMIT),
    computed("bnb_4bit_quant_type", lambda s: s.model.load_in if s.model.load_in in settings.FOUR_BIT else OMIT),
    computed("use_bnb_nested_quant", lambda s: s.model.double_quant if s.model.load_in in settings.FOUR_BIT else OMIT),
    computed("use_peft", lambda s: True if s.adapter is not None else OMIT),
    same("lora_r", "adapter.rank"),
    computed("lora_alpha", _lora(lambda adapter: int(adapter.alpha))),
    same("lora_dropout", "adapter.dropout"),
    computed("lora_target_modules", _lora(lambda adapter: list(adapter.targets))),
    computed("lora_modules_to_save", _lora(lambda adapter: list(adapter.also_train) or OMIT)),
    computed("lora_task_type", lambda s: adapters.task(s) if s.adapter is not None else OMIT),
    computed("use_dora", _lora(lambda adapter: adapter.dora or OMIT)),
    computed("use_rslora", _lora(lambda adapter: adapter.rslora or OMIT)),
    computed("datasets", _datasets),
    computed("completion_only_loss", lambda s: s.data.train_on == "assistant" if _completes(s) else OMIT),
    computed("streaming", lambda s: True if s.data.streaming else OMIT),
    computed(
        "packing_strategy", lambda s: "bfd_split" if s.method == "pretrain" else OMIT, "long texts are split, not cut"
    ),
)


def _rows(s: TrainStage) -> tuple[Row, ...]:
    found = (*settings.rows(s.method), *COMMAND_ROWS)
    if s.method in settings.ONLINE:
        found = (*found, computed("reward_funcs", lambda s: rewards.names(s.rewards), "functions of rewards.py"))
    return found


def _sheets(s: TrainStage) -> list[Sheet]:
    environment = f"{TOOL}-{s.release}"
    if by_command(s):
        own = [Sheet(FILE, _rows(s), TOOL, s.release, COMMANDS[s.method])]
    else:
        own = script.sheets(s, s.release, pinned(environment, "datasets"))
    return [*own, *accelerate.sheets(s, environment, always=by_command(s))]


def _commands(s: TrainStage) -> list[str]:
    if not by_command(s):
        return accelerate.command(s, f'"$here/{script.FILE}"')
    found = 'PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" ' if s.rewards else ""
    resume = '${RECIPE_RESUME_FROM:+"--resume_from_checkpoint=$RECIPE_RESUME_FROM"}'
    return [
        f'{found}trl {COMMANDS[s.method]} --config "$here/{FILE}" {resume} \\',
        f'  --accelerate_config "$here/{accelerate.FILE}"{accelerate.options(s)}',
    ]


def _variables(s: TrainStage) -> dict[str, str]:
    found = {
        "WANDB_PROJECT": s.track.wandb_project,
        "WANDB_ENTITY": s.track.wandb_entity,
        "MLFLOW_TRACKING_URI": s.track.mlflow_uri,
        "MLFLOW_EXPERIMENT_NAME": s.track.mlflow_experiment,
    }
    return {name: value for name, value in found.items() if value is not None}


def _files(s: TrainStage) -> dict[str, str]:
    found = {} if by_command(s) else script.files()
    return {**found, rewards.FILE: rewards.text(s)} if s.rewards and rewards.functions(s) else found


def _differences(s: TrainStage) -> list[Refusal]:
    found = []
    if by_command(s) and s.method not in ("pretrain", *settings.ONLINE):
        message = f"trl {COMMANDS[s.method]} cuts rows that are longer than max_length, and trains on the rest of them"
        found.append(Refusal("model.max_length", message, "sort long rows out of the data, if there are any"))
    if s.numerics.precision == "fp16" and settings.dtype(s) == "float32":
        message = "TRL trains all weights in fp16 by mixed precision, which keeps them in fp32"
        found.append(Refusal("numerics.precision", message, "it needs twice the memory of fp16 weights"))
    return found


TRAINER = Trainer(
    TOOL,
    methods=frozenset(script.TRAINERS),
    adapters=frozenset(adapters.CLASSES),
    strategies=frozenset(["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]),
    sheets=_sheets,
    commands=_commands,
    variables=_variables,
    files=_files,
    differences=_differences,
    lm_eval=True,
)
