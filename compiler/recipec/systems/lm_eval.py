"""lm-evaluation-harness 0.4.11 and 0.4.13: the run configuration of an evaluation."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.evaluate import Evaluate
from recipec.systems import accelerate, on_cpu
from recipec.systems.check import Only
from recipec.systems.document import Sheet, alike
from recipec.systems.on_cpu import OnCpu
from recipec.systems.system import Need, System
from recipec.systems.table import (
    OMIT,
    Row,
    choice,
    constant,
    flag,
    made,
    named,
    number,
    renamed,
    same,
    where,
    within,
)
from recipec.systems.trainers import GENERAL

TOOL, FILE = "lm_eval", "lm_eval.yaml"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def sheets(stage: Evaluate, environment: str) -> list[Sheet]:
    """Return the run configuration, for the release of lm-eval in an environment."""
    own = [Sheet(FILE, ROWS, TOOL, pinned(environment, "lm-eval"), "config", alike=ALIKE)]
    if not launched(stage):
        return own
    release = pinned(environment, accelerate.TOOL)
    return [*own, Sheet(accelerate.FILE, LAUNCHED, accelerate.TOOL, release, "config", raw_keys=False)]


def launched(stage: Evaluate) -> bool:
    """Return whether accelerate starts a process for each copy of the model: vLLM makes its own."""
    return stage.backend == "hf" and stage.copies > 1


def job(stage: Evaluate) -> Job:
    """Return what runs the evaluation."""
    variables = {"HF_ALLOW_CODE_EVAL": "1"} if stage.allow_code_execution else {}
    found = Job(("lm-eval", "run", "--config", Beside(FILE)), variables=variables)
    found = found.replaced(processes=stage.copies * stage.gpus_per_copy)
    if not launched(stage):
        return found
    start = ("accelerate", "launch", "--config_file", Beside(accelerate.FILE))
    return found.replaced(program=("-m", "lm_eval", "run", "--config", Beside(FILE)), start=start)


def _tokenizer(tokenizer: str, model: str) -> Any:
    """Return where the tokenizer is, unless it is beside the model: beside an adapter it is not looked for."""
    return OMIT if tokenizer == model else tokenizer


ALIKE = (alike("evaluate.limit", "limit", "samples"),)
HF, VLLM = ("backend", "hf"), ("backend", "vllm")
MODEL_ARGS: tuple[Row, ...] = (
    same("pretrained", "model.path"),
    named("dtype", "precision", DTYPES),
    same("revision", "model.revision"),
    made("tokenizer", _tokenizer, "model.tokenizer", "model.path"),
    flag("trust_remote_code", "trust_remote_code"),
    same("attn_implementation", "attention").when(*HF),
    number("max_length", "max_length").when(*HF),
    choice("parallelize", "gpus_per_copy", {1: OMIT}, other=True, why="its layers are split over GPUs").when(*HF),
    same("peft", "model.adapter").when(*HF),
    number("max_model_len", "max_length").when(*VLLM),
    same("tensor_parallel_size", "gpus_per_copy").when(*VLLM),
    renamed("data_parallel_size", "copies", {1: OMIT}).when(*VLLM),
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
            same("name", "track.run_name"),
            same("group", "track.group"),
            same("entity", "track.wandb_entity"),
        ),
    ),
)


# the launcher's configuration: one process for each copy of the model, and nothing else that it would do by default
LAUNCHED: tuple[Row, ...] = (
    constant("compute_environment", "LOCAL_MACHINE"),
    constant("distributed_type", "MULTI_GPU"),
    constant("num_machines", 1),
    same("num_processes", "copies", "copies of the model"),
    constant("machine_rank", 0),
    accelerate.FREE_PORT,
    constant("mixed_precision", "no", "the weights are loaded in the precision that counts"),
    constant("use_cpu", False),
    constant("main_training_function", "main"),
    constant("rdzv_backend", "static"),
    constant("same_network", True),
)


def _need(s: Evaluate) -> Need:
    if s.backend == "vllm":
        return Need("vllm-0.33.0", frozenset(["ray"] if s.copies > 1 else []))
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
    on_cpu=OnCpu(
        (
            on_cpu.ATTENTION.replaced(when=(Only("attention", frozenset([None, "sdpa", "eager"]), negate=True),)),
            on_cpu.Instead(
                "evaluate.backend",
                "hf",
                "vLLM needs a GPU; Transformers answers",
                (Only("backend", frozenset(["vllm"])),),
                untried="vLLM",
            ),
        )
    ),
)
