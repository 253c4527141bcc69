"""lm-evaluation-harness 0.4.11 and 0.4.13: the run configuration of an evaluation."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.kinds.evaluate import Evaluate
from recipec.systems.document import Sheet
from recipec.systems.system import Need, System
from recipec.systems.table import OMIT, Row, choice, computed, flag, made, same
from recipec.systems.trainers import GENERAL

TOOL, FILE = "lm_eval", "lm_eval.yaml"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def sheets(_stage: Evaluate, environment: str) -> list[Sheet]:
    """Return the run configuration, for the release of lm-eval in an environment."""
    return [Sheet(FILE, ROWS, TOOL, pinned(environment, "lm-eval"), "config")]


def commands(_stage: Evaluate) -> list[str]:
    """Return the lines of `run.sh`."""
    return [f'exec lm-eval run --config "$here/{FILE}"']


def variables(stage: Evaluate) -> dict[str, str]:
    """Return what the environment of `run.sh` needs."""
    return {"HF_ALLOW_CODE_EVAL": "1"} if stage.allow_code_execution else {}


def _model_args(s: Evaluate) -> dict[str, Any]:
    model = s.model
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


def _device(s: Evaluate) -> Any:
    if s.backend == "vllm":
        return OMIT
    return "cpu" if s.hardware.device == "cpu" else "cuda:0"


def _wandb(s: Evaluate) -> Any:
    if s.track.wandb_project is None:
        return OMIT
    args = {"project": s.track.wandb_project, "name": f"{s.track.run_name}-{s.model.name}"}
    if s.track.wandb_entity is not None:
        args["entity"] = s.track.wandb_entity
    return args


ROWS: tuple[Row, ...] = (
    same("model", "backend"),
    computed("model_args", _model_args),
    same("tasks", "tasks"),
    same("include_path", "task_folder"),
    choice("num_fewshot", "few_shot", {"task": OMIT})._replace(say=lambda shots: OMIT if shots == "task" else shots),
    same("batch_size", "batch_size"),
    computed("device", _device),
    choice("limit", "limit", {"all": OMIT})._replace(say=lambda limit: OMIT if limit == "all" else limit),
    same("apply_chat_template", "model.chat_template"),
    same("log_samples", "log_samples"),
    flag("confirm_run_unsafe_code", "allow_code_execution"),
    made("seed", lambda seed: [seed, seed, seed, seed], "seed"),
    same("output_path", "output"),
    computed("wandb_args", _wandb),
)


def _need(s: Evaluate) -> Need:
    if s.backend == "vllm":
        return Need("vllm-0.33.0")
    return Need(packages=frozenset(["lm-eval"]), otherwise=GENERAL)


SYSTEM = System(
    TOOL,
    kinds=frozenset(["evaluate"]),
    sheets=sheets,
    needs=_need,
    commands=commands,
    variables=variables,
    package="lm-eval",
)
