"""lm-evaluation-harness 0.4.11 and 0.4.13: the run configuration of an evaluation."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.evaluate import Evaluate
from recipec.systems.document import Sheet
from recipec.systems.system import Need, System
from recipec.systems.table import OMIT, Row, flag, made, named, number, same, where, within
from recipec.systems.trainers import GENERAL

TOOL, FILE = "lm_eval", "lm_eval.yaml"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def sheets(_stage: Evaluate, environment: str) -> list[Sheet]:
    """Return the run configuration, for the release of lm-eval in an environment."""
    return [Sheet(FILE, ROWS, TOOL, pinned(environment, "lm-eval"), "config")]


def job(stage: Evaluate) -> Job:
    """Return what runs the evaluation."""
    variables = {"HF_ALLOW_CODE_EVAL": "1"} if stage.allow_code_execution else {}
    return Job(("lm-eval", "run", "--config", Beside(FILE)), variables=variables)


def _tokenizer(tokenizer: str, model: str) -> Any:
    """Return where the tokenizer is, unless it is beside the model: beside an adapter it is not looked for."""
    return OMIT if tokenizer == model else tokenizer


HF, VLLM = ("backend", "hf"), ("backend", "vllm")
MODEL_ARGS: tuple[Row, ...] = (
    same("pretrained", "model.path"),
    named("dtype", "precision", DTYPES),
    same("revision", "model.revision"),
    made("tokenizer", _tokenizer, "model.tokenizer", "model.path"),
    flag("trust_remote_code", "trust_remote_code"),
    same("max_length", "max_length").when(*HF),
    same("peft", "model.adapter").when(*HF),
    same("max_model_len", "max_length").when(*VLLM),
    same("tensor_parallel_size", "hardware.per_node").when(*VLLM),
    same("lora_local_path", "model.adapter").when(*VLLM),
)


ROWS: tuple[Row, ...] = (
    same("model", "backend"),
    *within("model_args", *MODEL_ARGS),
    same("tasks", "tasks"),
    same("include_path", "task_folder"),
    number("num_fewshot", "few_shot"),
    same("batch_size", "batch_size"),
    named("device", "hardware.device", {"cpu": "cpu", "gpu": "cuda:0"}).unless("backend", "vllm"),
    number("limit", "limit"),
    same("apply_chat_template", "model.chat_template"),
    same("log_samples", "log_samples"),
    flag("confirm_run_unsafe_code", "allow_code_execution"),
    made("seed", lambda seed: [seed] * 4, "seed"),
    same("output_path", "output"),
    *where(
        "track.wandb_project",
        rows=within(
            "wandb_args",
            same("project", "track.wandb_project"),
            made("name", lambda run, name: f"{run}-{name}", "track.run_name", "model.name"),
            same("entity", "track.wandb_entity"),
        ),
    ),
)


def _need(s: Evaluate) -> Need:
    if s.backend == "vllm":
        return Need("vllm-0.33.0")
    return Need(packages=frozenset(["lm-eval"]), otherwise=GENERAL)


def _uses(_s: Evaluate) -> tuple[str, ...]:
    return ("allow_code_execution",)


SYSTEM = System(
    TOOL,
    kinds=frozenset(["evaluate"]),
    sheets=sheets,
    needs=_need,
    job=job,
    uses=_uses,
    package="lm-eval",
)
