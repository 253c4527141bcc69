"""Read the commands of `vllm bench serve`, the options that a server is started with, and sweeps, by vLLM's own parsers.

A job: {"words": [...]} is a command behind `vllm bench serve`; {"file": …, "options": [...]} what stands behind `vllm serve --config`;
{"sweep": [...]} a command behind `vllm bench sweep serve`, of which every command that it would run is read. With "kept", the
answer goes there. The verdict refuses what its own code refuses.
"""

import contextlib
import io
import json
import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from judging import Job, run

os.environ["VLLM_TARGET_DEVICE"] = "cpu"
ASKED = (
    "backend", "base_url", "model", "tokenizer", "trust_remote_code", "dataset_name", "random_input_len", "random_output_len",
    "random_prefix_len", "max_concurrency", "request_rate", "num_prompts", "num_warmups", "seed", "temperature", "goodput",
    "metric_percentiles", "percentile_metrics", "save_result", "result_dir", "result_filename",
)  # fmt: skip
SERVED = (
    "max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "tensor_parallel_size",
    "pipeline_parallel_size", "data_parallel_size", "enable_expert_parallel", "enable_prefix_caching", "kv_cache_dtype", "host", "port",
)  # fmt: skip


@cache
def parser(kind: str) -> Any:
    """Return the parser of `vllm serve`, `vllm bench serve` or `vllm bench sweep serve`; it takes seconds to make."""
    made = import_module("vllm.utils.argparse_utils").FlexibleArgumentParser()
    if kind == "serve":
        return import_module("vllm.entrypoints.common.cli_args").make_arg_parser(made)
    if kind == "bench":
        import_module("vllm.benchmarks.serve").add_cli_args(made)
        return made
    return import_module("vllm.benchmarks.sweep.serve").SweepServeArgs.add_cli_args(made)


def parsed(kind: str, words: list[str]) -> Any:
    """Return what a parser makes of words. Raises ValueError with what it says against them."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parser(kind).parse_args(words)
    except SystemExit:
        raise ValueError(said.getvalue()[-1000:]) from None


def asked(words: list[str]) -> dict[str, Any]:
    """Return what a measurement is told; its own code reads the limits too."""
    found = parsed("bench", words)
    import_module("vllm.benchmarks.serve").check_goodput_args(found)
    return {word: getattr(found, word) for word in ASKED}


def served(words: list[str]) -> dict[str, Any]:
    """Return what a server is told."""
    found = parsed("serve", words)
    found.subparser = "serve"
    import_module("vllm.entrypoints.common.cli_args").validate_parsed_serve_args(found)
    return {word: getattr(found, word) for word in SERVED}


def swept(words: list[str]) -> list[dict[str, Any]]:
    """Return what each server and each measurement of a sweep is told."""
    sweep = import_module("vllm.benchmarks.sweep.serve").SweepServeArgs.from_cli_args(parsed("sweep", words))
    found = []
    for one in sweep.serve_params:
        command = one.apply_to_cmd(sweep.serve_cmd)
        assert command[:2] == ["vllm", "serve"], command
        found.append({"serve": served(command[2:])})
    for one in sweep.bench_params:
        command = one.apply_to_cmd(sweep.bench_cmd)
        assert command[:3] == ["vllm", "bench", "serve"], command
        found.append({"bench": asked(command[3:])})
    return found


def judge(job: Job) -> list[str]:
    """Return nothing: unknown words are refused. Raises whatever it raises."""
    if "words" in job:
        found: Any = asked(job["words"])
    elif "sweep" in job:
        found = swept(job["sweep"])
    else:
        found = served(["--config", job["file"], *job["options"]])
    if "kept" in job:
        Path(job["kept"]).write_text(json.dumps(found, default=str))
    return []


if __name__ == "__main__":
    run(judge)
