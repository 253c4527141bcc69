"""`transformers serve`: a server that runs on a CPU too, and stands in for vLLM there."""

from __future__ import annotations

import shlex
from typing import Any

from recipec.facts import pinned
from recipec.job import Job
from recipec.kinds.serve import Serve
from recipec.systems import serving
from recipec.systems.check import Check, Said, differs, refuses
from recipec.systems.document import Sheet
from recipec.systems.quantised import READERS
from recipec.systems.system import Need, System
from recipec.systems.table import made

TOOL, PACKAGE, ENVIRONMENT = "transformers_serve", "transformers", "llmcompressor-0.14.0.1"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
# It refuses `ignore_eos`: no token ends an answer of a generation that is told of another end.
FULL_ANSWERS = {"ignore_eos": None, "generation_config": '{"eos_token_id": -1, "pad_token_id": 0, "do_sample": false}'}
OTHER: Said = "other"


def _place(path: str, revision: str | None) -> str:
    """Return the model as the server knows it: its folder, or its name on the hub with a revision."""
    return path if revision in (None, "main") else f"{path}@{revision}"


PLACED = made("models", lambda path, revision: [_place(path, revision)], "path", "revision")


def _need(s: Serve) -> Need:
    package, environment = READERS[s.format] if s.format is not None else ("transformers", ENVIRONMENT)
    return Need(packages=frozenset(["openai", "uvicorn", package]), otherwise=environment)


def _words(s: Serve) -> tuple[str, ...]:
    words = ["transformers", "serve", _place(s.path, s.revision), "--host", s.host, "--port", str(s.port)]
    words += ["--dtype", DTYPES[s.precision], *(["--trust-remote-code"] if s.trust_remote_code else [])]
    return (*words, "--default-seed", str(s.seed), "--model-timeout", "-1")


def _job(s: Serve) -> Job:
    return Job(serving.job_words(*_words(s)), one_gpu=True, ports=serving.ports(s.port))


def _sheets(_s: Serve, environment: str) -> list[Sheet]:
    return [serving.settings("", PLACED, {}, PACKAGE, pinned(environment, PACKAGE))]


def _none(path: str, usual: Any, what: str) -> Check:
    return differs(
        path,
        when=lambda value: value != usual,
        message=f"transformers serve has no {what}",
        advice="use tool: vllm_serve, on a GPU, or drop it",
        said=OTHER,
    )


CHECKS: tuple[Check, ...] = (
    refuses(
        "key_variable",
        when=bool,
        message="transformers serve asks for no key",
        advice="drop key_variable, or use tool: vllm_serve",
    ),
    differs(
        "name",
        when=bool,
        message="transformers serve knows the model by its folder alone",
        advice="ask for it by that, or use tool: vllm_serve",
        said="written",
    ),
    _none("max_requests", None, "limit of requests at once"),
    _none("max_batched_tokens", None, "limit of tokens in a step"),
    _none("gpu_memory_share", 0.9, "share of memory"),
    _none("tensor_parallel", 1, "tensor parallelism"),
    _none("pipeline_parallel", 1, "pipeline parallelism"),
    _none("data_parallel", 1, "copies of the model"),
    _none("expert_parallel", False, "division of experts"),
    _none("prefix_caching", True, "choice of it"),
    _none("kv_cache", "auto", "other format of its cache"),
    _none("tool_parser", None, "parser of tools by name"),
    _none("reasoning_parser", None, "parser of reasoning by name"),
    _none("structured_outputs", "auto", "choice of it"),
    _none("speculative", None, "speculative decoding"),
)
SYSTEM = System(
    TOOL,
    kinds=frozenset(["serve"]),
    sheets=_sheets,
    needs=_need,
    job=_job,
    scripts=lambda s, environment: serving.files(s, environment, shlex.join(_words(s)), ""),
    checks=lambda _s: CHECKS,
    uses=lambda s: (*serving.uses(s), "path", "revision", "seed", "precision", "trust_remote_code"),
    package=PACKAGE,
    full_answers=FULL_ANSWERS,
)
