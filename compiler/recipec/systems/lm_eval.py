"""lm-evaluation-harness 0.4.11 and 0.4.13: the run configuration of an evaluation, and the sandbox of programs that models write."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job, Word
from recipec.kinds.evaluate import Evaluate
from recipec.systems import accelerate, on_cpu
from recipec.systems.check import Only
from recipec.systems.document import Sheet, alike
from recipec.systems.on_cpu import OnCpu
from recipec.systems.programs import program
from recipec.systems.quantised import reading
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

TOOL, FILE, PACKAGE = "lm_eval", "lm_eval.yaml", "lm-eval"
RUNNER, WRITER, SANDBOX, CODE = (
    "run_code.py",
    "write_programs.py",
    "sandbox.py",
    "code.json",
)  # where answers are programs
RUN: tuple[Word, ...] = ("run", "--config", Beside(FILE))
MODULE: tuple[Word, ...] = ("-m", "lm_eval", *RUN)
START: tuple[Word, ...] = ("accelerate", "launch", "--config_file", Beside(accelerate.FILE))
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def sheets(stage: Evaluate, environment: str) -> list[Sheet]:
    """Return the run configuration with where it reports, for the release of lm-eval in an environment."""
    return written((*ROWS, *TRACKED), stage, environment)


def written(rows: tuple[Row, ...], stage: Evaluate, environment: str) -> list[Sheet]:
    """Return the run configuration of some rows, and how programs are written and run where answers are such."""
    own = [Sheet(FILE, rows, TOOL, pinned(environment, PACKAGE), "config", alike=ALIKE)]
    if stage.code is not None:
        own.append(of_code(environment, WRITES))
    if not launched(stage.backend, stage.copies):
        return own
    release = pinned(environment, accelerate.TOOL)
    return [*own, Sheet(accelerate.FILE, LAUNCHED, accelerate.TOOL, release, "config", raw_keys=False)]


def launched(backend: str, copies: int) -> bool:
    """Return whether accelerate starts a process for each copy of the model: vLLM makes its own."""
    return backend == "hf" and copies > 1


def command(backend: str, copies: int) -> tuple[Word, ...]:
    """Return the words that evaluate, with the run configuration as the last."""
    return (*START, *MODULE) if launched(backend, copies) else ("lm-eval", *RUN)


CHECK: tuple[Word, ...] = (Beside(RUNNER), Beside(CODE), "--check")


def of_code(environment: str, *more: Row) -> Sheet:
    """Return how programs are written and run; `more` says what writes them."""
    return Sheet(CODE, (*OF_CODE, *more), PACKAGE, pinned(environment, PACKAGE), "", "json", raw_keys=False)


def coding(processes: int, variables: dict[str, str]) -> Job:
    """Return what lets programs be written, and runs them."""
    words: tuple[Word, ...] = (Beside(RUNNER), Beside(CODE))
    return Job(("python", *words), processes=processes, variables=variables, check=CHECK)


def writing(backend: str, copies: int) -> tuple[Word, ...]:
    """Return the words with which lm-eval writes programs and runs none, with the run configuration as the last."""
    start = START if launched(backend, copies) else ("python",)
    return (*start, Beside(WRITER), Beside(CODE), *RUN)


def placed(words: tuple[Word, ...]) -> list[str]:
    """Return words for a settings file, without the last; `{here}` is the folder of the emitted files."""
    return ["{here}/" + one.file if isinstance(one, Beside) else str(one) for one in words[:-1]]


def job(stage: Evaluate) -> Job:
    """Return what runs the evaluation."""
    if stage.code is not None:
        return coding(stage.copies * stage.gpus_per_copy, allowed(stage))
    several = launched(stage.backend, stage.copies)
    return Job(
        MODULE if several else ("lm-eval", *RUN),
        START if several else (),
        processes=stage.copies * stage.gpus_per_copy,
        variables=allowed(stage),
    )


def allowed(stage: Evaluate) -> dict[str, str]:
    """Return what lets lm-eval itself run code: only where no sandbox is asked for."""
    return {"HF_ALLOW_CODE_EVAL": "1"} if itself(stage) else {}


def itself(stage: Evaluate) -> bool:
    """Return whether lm-eval may run what a model wrote, with the rights of the user: the recipe wants no sandbox."""
    return stage.allow_code_execution and not stage.sandbox


def files(stage: Evaluate) -> dict[str, str]:
    """Return the programs that let programs be written, and run them."""
    return {name: program(name) for name in (RUNNER, WRITER, SANDBOX)} if stage.code is not None else {}


def _tokenizer(tokenizer: str, model: str) -> Any:
    """Return where the tokenizer is, unless it is beside the model: beside an adapter it is not looked for."""
    return OMIT if tokenizer == model else tokenizer


def _tests(tasks: tuple[str, ...], fields: tuple[str, ...]) -> dict[str, str]:
    """Return the field of a problem that holds its tests, for each task where lm-eval's own target is not it."""
    return {task: field for task, field in zip(tasks, fields, strict=True) if field != "target"}


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


ITSELF = made(
    "confirm_run_unsafe_code",
    lambda allowed, boxed: True if allowed and not boxed else OMIT,
    "allow_code_execution",
    "sandbox",
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
    ITSELF,
    made("seed", lambda seed: [seed] * 4, "seed"),
    same("output_path", "output"),
)
TRACKED: tuple[Row, ...] = (
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


# how programs are written and run
OF_CODE: tuple[Row, ...] = (
    constant("config", FILE),
    same("tasks", "code.tasks"),
    made("tests", _tests, "code.tasks", "code.tests"),
    same("samples", "code.samples"),
    same("temperature", "code.temperature"),
    same("top_p", "code.top_p"),
    same("max_new_tokens", "code.max_new_tokens"),
    same("pass_at", "code.pass_at"),
    same("sandbox", "sandbox"),
    same("seconds", "code.seconds"),
    same("memory_gib", "code.memory_gib"),
    same("file_mib", "code.file_mib"),
    number("jobs", "code.jobs"),
    same("log_samples", "log_samples"),
)
WRITES = made("command", lambda backend, copies: placed(writing(backend, copies)), "backend", "copies")


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


def needs(s: Evaluate) -> Need:
    """Return the environment of an evaluation."""
    if s.backend == "vllm":
        return Need("vllm-0.33.0", frozenset(["ray"] if s.copies > 1 else []))
    return reading(frozenset([PACKAGE]), s.model.format, alike=TOOL)


def uses(s: Evaluate) -> tuple[str, ...]:
    """Return the plan paths that act on how it is run."""
    return ("allow_code_execution", "sandbox") if s.code is not None or not s.sandbox else ()


ON_CPU = OnCpu(
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
)
SYSTEM = System(
    TOOL,
    kinds=frozenset(["evaluate"]),
    sheets=sheets,
    needs=needs,
    job=job,
    files=files,
    uses=uses,
    package=PACKAGE,
    asks_machine=True,
    on_cpu=ON_CPU,
)
