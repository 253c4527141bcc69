"""lm-evaluation-harness 0.4.11 and 0.4.13: one run configuration for each model of an evaluation stage."""

from __future__ import annotations

from shlex import quote
from typing import Any

from recipec.facts import pinned
from recipec.plan import EvaluateStage, Judged
from recipec.systems.document import Sheet
from recipec.systems.table import OMIT, Row, computed, same

TOOL = "lm_eval"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def sheets(stage: EvaluateStage, environment: str) -> list[Sheet]:
    """Return one run configuration for each model, for the release of lm-eval in an environment."""
    release = pinned(environment, "lm-eval")
    return [
        Sheet(f"lm_eval.{model.name}.yaml", rows(index), TOOL, release, "config")
        for index, model in enumerate(stage.models)
    ]


def commands(stage: EvaluateStage) -> list[str]:
    """Return the lines of `run.sh`; `recipe run` shows the headings (`engine/progress.py`)."""
    lines = []
    for number, model in enumerate(stage.models, 1):
        lines.append(f"echo {quote(f'== {model.name} ({number} of {len(stage.models)})')}")
        lines.append(f'lm-eval run --config "$here/lm_eval.{model.name}.yaml"')
    return lines


def variables(stage: EvaluateStage) -> dict[str, str]:
    """Return what the environment of `run.sh` needs."""
    return {"HF_ALLOW_CODE_EVAL": "1"} if stage.allow_code_execution else {}


def _model_args(s: EvaluateStage, model: Judged) -> dict[str, Any]:
    args: dict[str, Any] = {"pretrained": model.path, "dtype": DTYPES[s.precision]}
    if model.revision is not None:
        args["revision"] = model.revision
    if model.tokenizer not in (model.path, model.adapter):
        args["tokenizer"] = model.tokenizer
    if s.trust_remote_code:
        args["trust_remote_code"] = True
    if s.backend == "vllm":
        args |= {"max_model_len": s.max_length, "tensor_parallel_size": s.hardware.per_node}
        if model.adapter is not None:
            args["lora_local_path"] = model.adapter
    else:
        args["max_length"] = s.max_length
        if model.adapter is not None:
            args["peft"] = model.adapter
    return args


def _device(s: EvaluateStage) -> Any:
    if s.backend == "vllm":
        return OMIT
    return "cpu" if s.hardware.device == "cpu" else "cuda:0"


def rows(index: int) -> tuple[Row, ...]:
    """Return the table for the model at this place of `stage.models`."""
    return (
        same("model", "backend"),
        computed("model_args", lambda s: _model_args(s, s.models[index])),
        same("tasks", "tasks"),
        same("include_path", "task_folder"),
        computed("num_fewshot", lambda s: OMIT if s.few_shot == "task" else s.few_shot),
        same("batch_size", "batch_size"),
        computed("device", _device),
        computed("limit", lambda s: OMIT if s.limit == "all" else s.limit),
        computed("apply_chat_template", lambda s: s.models[index].chat_template),
        same("log_samples", "log_samples"),
        computed("confirm_run_unsafe_code", lambda s: True if s.allow_code_execution else OMIT),
        computed("seed", lambda s: [s.seed, s.seed, s.seed, s.seed]),
        computed("output_path", lambda s: f"{s.output}/{s.models[index].name}"),
        computed("wandb_args", lambda s: _wandb(s, s.models[index])),
    )


def _wandb(s: EvaluateStage, model: Judged) -> Any:
    if s.track.wandb_project is None:
        return OMIT
    args = {"project": s.track.wandb_project, "name": f"{s.track.run_name}-{model.name}"}
    if s.track.wandb_entity is not None:
        args["entity"] = s.track.wandb_entity
    return args
