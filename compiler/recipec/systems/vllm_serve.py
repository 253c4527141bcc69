"""vLLM 0.33 as a server: the file that `vllm serve --config` reads, what keeps it up, and the check that it answers."""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.job import Beside, Job
from recipec.kinds.serve import Adapter, Serve, Speculative, gpus
from recipec.systems import on_cpu, serving
from recipec.systems.check import Check, refuses
from recipec.systems.document import Sheet
from recipec.systems.on_cpu import OnCpu
from recipec.systems.system import Need, System
from recipec.systems.table import OMIT, Row, flag, made, named, nonzero, present, renamed, same

TOOL, ENVIRONMENT, FILE = "vllm", "vllm-0.33.0", "vllm.yaml"
KEY = "VLLM_API_KEY"  # where it looks for the key that requests must send
SHOWN = {"skip_special_tokens": False}  # so that an answer that runs past its end can be told
OPTIONS = {  # of its command, which come before those of the file
    "max_length": "--max-model-len",
    "max_requests": "--max-num-seqs",
    "max_batched_tokens": "--max-num-batched-tokens",
    "gpu_memory_share": "--gpu-memory-utilization",
    "tensor_parallel": "--tensor-parallel-size",
    "pipeline_parallel": "--pipeline-parallel-size",
    "data_parallel": "--data-parallel-size",
    "expert_parallel": "--enable-expert-parallel",
    "prefix_caching": "--enable-prefix-caching",
    "kv_cache": "--kv-cache-dtype",
}
IMAGE = "vllm/vllm-openai:v0.33.0"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # of adapters that it holds room for
MOST_RANK = RANKS[-1]


def _name(name: str, replaces: str | None) -> Any:
    """Return the name of the model: that of the base, where the model meant is an adapter, is its own."""
    return [name] if replaces is None else OMIT


def _modules(adapters: tuple[Adapter, ...], name: str, replaces: str | None) -> Any:
    return [f"{name if one.name == replaces else one.name}={one.path}" for one in adapters] or OMIT


def _rank(adapters: tuple[Adapter, ...]) -> Any:
    """Return the least rank that it holds room for, of those that hold every adapter's."""
    most = max((one.rank or MOST_RANK for one in adapters), default=0)
    return next((rank for rank in RANKS if rank >= most), MOST_RANK) if most else OMIT


def _tokenizer(tokenizer: str, path: str) -> Any:
    return OMIT if tokenizer == path else tokenizer


def _proposes(one: Speculative | None) -> Any:
    if one is None:
        return OMIT
    own = {"model": one.model} if one.model is not None else {}
    return {"method": one.method, **own, "num_speculative_tokens": one.tokens}


ROWS: tuple[Row, ...] = (
    same("model", "path"),
    made("served-model-name", _name, "name", "replaces"),
    made("revision", lambda given: given or OMIT, "revision"),
    made("tokenizer", _tokenizer, "tokenizer", "path"),
    named("dtype", "precision", DTYPES),
    flag("trust-remote-code", "trust_remote_code"),
    same("host", "host"),
    same("port", "port"),
    same("max-model-len", "max_length"),
    same("max-num-seqs", "max_requests"),
    same("max-num-batched-tokens", "max_batched_tokens"),
    same("gpu-memory-utilization", "gpu_memory_share"),
    same("tensor-parallel-size", "tensor_parallel"),
    renamed("pipeline-parallel-size", "pipeline_parallel", {1: OMIT}),
    renamed("data-parallel-size", "data_parallel", {1: OMIT}),
    flag("enable-expert-parallel", "expert_parallel"),
    same("enable-prefix-caching", "prefix_caching"),
    renamed("kv-cache-dtype", "kv_cache", {"auto": OMIT}),
    made("enable-lora", lambda adapters: True if adapters else OMIT, "adapters"),
    made("lora-modules", _modules, "adapters", "name", "replaces"),
    made("max-lora-rank", _rank, "adapters"),
    made("max-loras", lambda adapters: len(adapters) or OMIT, "adapters"),
    present("enable-auto-tool-choice", "tool_parser"),
    same("tool-call-parser", "tool_parser"),
    same("reasoning-parser", "reasoning_parser"),
    made(
        "structured-outputs-config", lambda given: OMIT if given == "auto" else {"backend": given}, "structured_outputs"
    ),
    made("speculative-config", _proposes, "speculative"),
    nonzero("seed", "seed"),
)


def _sheets(_s: Serve, environment: str) -> list[Sheet]:
    own = Sheet(FILE, ROWS, TOOL, pinned(environment, TOOL), "serve")
    return [own, serving.settings(KEY, serving.NAMED, SHOWN, "transformers", pinned(environment, "transformers"))]


def _job(s: Serve) -> Job:
    words = serving.job_words("vllm", "serve", "--config", Beside(FILE))
    parts = gpus(s)
    return Job(words, processes=parts, ports=serving.ports(s.port))


def _scripts(s: Serve, environment: str) -> dict[str, str]:
    return serving.files(s, environment, f'vllm serve --config "$here/{FILE}"', KEY) | {"container.sh": _container(s)}


def _container(s: Serve) -> str:
    """Return a script that serves the model in vLLM's own container, from the folder that the recipe's paths start at."""
    told = f'export {KEY}="${{{s.key_variable}:?is not set}}"\n' if s.key_variable else ""
    variables = " ".join(f"-e {name}" for name in ("HF_TOKEN", "DO_NOT_TRACK", *([KEY] if s.key_variable else [])))
    host = "127.0.0.1" if s.host == "localhost" else f"[{s.host}]" if ":" in s.host else s.host
    where = "" if s.host in serving.EVERY else f"{host}:"
    hub = '-v "${HF_HOME:-$HOME/.cache/huggingface}":/root/.cache/huggingface'
    return (
        "#!/usr/bin/env bash\n"
        "# Serves the model in vLLM's own container. Run it from the folder that the recipe's paths start at.\n"
        "set -euo pipefail\n"
        'here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\n'
        f"export DO_NOT_TRACK=1\n{told}"
        f"exec docker run --rm --gpus all --ipc host -p {where}{s.port}:{s.port} {variables} \\\n"
        f'    -v "$PWD":/work -w /work -v "$here/{FILE}":/{FILE}:ro {hub} \\\n'
        f"    {IMAGE} --config /{FILE} --host 0.0.0.0\n"
    )


CHECKS: tuple[Check, ...] = (
    refuses(
        "adapters",
        when=lambda adapters: any((one.rank or 0) > MOST_RANK for one in adapters),
        message=f"vLLM serves adapters of rank {MOST_RANK} at most",
        advice="merge it first, and serve the merged model",
    ),
)
SYSTEM = System(
    "vllm_serve",
    kinds=frozenset(["serve"]),
    sheets=_sheets,
    needs=lambda _s: Need(ENVIRONMENT),
    job=_job,
    scripts=_scripts,
    checks=lambda _s: CHECKS,
    uses=serving.uses,
    package=TOOL,
    needs_gpu=True,
    serves_adapters=True,
    knows_names=True,
    gives_likelihoods=True,
    joint_length=True,
    varies=OPTIONS,
    on_cpu=OnCpu(
        (
            on_cpu.Instead(
                "serve.tool", "transformers_serve", "vLLM needs a GPU; Transformers' server answers", untried="vLLM"
            ),
        )
    ),
)
