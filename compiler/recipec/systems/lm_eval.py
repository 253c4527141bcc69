"""lm-evaluation-harness 0.4.11 and 0.4.13: one run configuration for each model of an evaluation stage."""

from __future__ import annotations

from shlex import quote
from typing import Any

from recipec.facts import pinned
from recipec.plan import EvaluateStage
from recipec.systems.document import Sheet
from recipec.systems.table import OMIT, Row, flag, made, named, number, same, within

TOOL = "lm_eval"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def sheets(stage: EvaluateStage, environment: str) -> list[Sheet]:
    """Return one run configuration for each model, for the release of lm-eval in an environment."""
    release = pinned(environment, "lm-eval")
    return [
        Sheet(f"lm_eval.{model.name}.yaml", rows(f"models.{index}"), TOOL, release, "config")
        for index, model in enumerate(stage.models)
    ]


def commands(stage: EvaluateStage) -> list[str]:
    """Return the lines of `run.sh`; `recipe run` shows the headings (`engine/progress.py`)."""
    lines = []
    for place, model in enumerate(stage.models, 1):
        lines.append(f"echo {quote(f'== {model.name} ({place} of {len(stage.models)})')}")
        lines.append(f'lm-eval run --config "$here/lm_eval.{model.name}.yaml"')
    return lines


def variables(stage: EvaluateStage) -> dict[str, str]:
    """Return what the environment of `run.sh` needs."""
    return {"HF_ALLOW_CODE_EVAL": "1"} if stage.allow_code_execution else {}


def _model_args(model: str) -> tuple[Row, ...]:
    """Return what loads the model at a plan path, in the words of either back end."""
    hf, vllm = ("backend", "hf"), ("backend", "vllm")
    return (
        same("pretrained", f"{model}.path"),
        named("dtype", "precision", DTYPES),
        same("revision", f"{model}.revision"),
        made("tokenizer", _tokenizer, f"{model}.tokenizer", f"{model}.path", f"{model}.adapter"),
        flag("trust_remote_code", "trust_remote_code"),
        same("max_length", "max_length").when(*hf),
        same("peft", f"{model}.adapter").when(*hf),
        same("max_model_len", "max_length").when(*vllm),
        same("tensor_parallel_size", "hardware.per_node").when(*vllm),
        same("lora_local_path", f"{model}.adapter").when(*vllm),
    )


def _tokenizer(tokenizer: str, model: str, adapter: str | None) -> Any:
    """Return where the tokenizer is, unless it is beside the model or the adapter, where it is looked for anyway."""
    return OMIT if tokenizer in (model, adapter) else tokenizer


def rows(model: str) -> tuple[Row, ...]:
    """Return the table for the model at a plan path."""
    return (
        same("model", "backend"),
        *within("model_args", *_model_args(model)),
        same("tasks", "tasks"),
        same("include_path", "task_folder"),
        number("num_fewshot", "few_shot"),
        same("batch_size", "batch_size"),
        named("device", "hardware.device", {"cpu": "cpu", "gpu": "cuda:0"}).unless("backend", "vllm"),
        number("limit", "limit"),
        same("apply_chat_template", f"{model}.chat_template"),
        same("log_samples", "log_samples"),
        flag("confirm_run_unsafe_code", "allow_code_execution"),
        made("seed", lambda seed: [seed] * 4, "seed"),
        made("output_path", lambda output, name: f"{output}/{name}", "output", f"{model}.name"),
        *(
            row.when("track.wandb_project")
            for row in within(
                "wandb_args",
                same("project", "track.wandb_project"),
                made("name", lambda run, name: f"{run}-{name}", "track.run_name", f"{model}.name"),
                same("entity", "track.wandb_entity"),
            )
        ),
    )
