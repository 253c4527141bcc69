"""Read the files of `vllm serve --config` by vLLM's own parser, and say what it made of them.

A job: {"file": ..., "kept": where the answer goes}. The verdict refuses what its own code refuses.
"""

import contextlib
import dataclasses
import io
import json
import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from judging import Job, run

os.environ["VLLM_TARGET_DEVICE"] = "cpu"
WORDS = (
    "model", "served_model_name", "revision", "tokenizer", "dtype", "trust_remote_code", "host", "port", "max_model_len",
    "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "tensor_parallel_size", "pipeline_parallel_size",
    "data_parallel_size", "enable_expert_parallel", "enable_prefix_caching", "kv_cache_dtype", "enable_lora", "lora_modules",
    "max_lora_rank", "max_loras", "enable_auto_tool_choice", "tool_call_parser", "reasoning_parser", "structured_outputs_config",
    "speculative_config", "seed",
)  # fmt: skip


@cache
def parser() -> Any:
    """Return the parser of `vllm serve`; it takes seconds to make."""
    args = import_module("vllm.entrypoints.common.cli_args")
    return args.make_arg_parser(import_module("vllm.utils.argparse_utils").FlexibleArgumentParser())


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not field.name.startswith("_")
        }
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def judge(job: Job) -> list[str]:
    """Return nothing: unknown keys are refused. Raises whatever it raises."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            found = parser().parse_args(["serve", "--config", job["file"]][1:])
    except SystemExit:
        raise ValueError(said.getvalue()[-1000:]) from None
    found.subparser = "serve"
    import_module("vllm.entrypoints.common.cli_args").validate_parsed_serve_args(found)
    Path(job["kept"]).write_text(json.dumps({word: plain(getattr(found, word)) for word in WORDS}, default=str))
    return []


if __name__ == "__main__":
    run(judge)
