"""Judge TRL files with TRL's own code, on GPUs that are only declared.

A job: {"file": ".../trl.yaml" or ".../train.py", "command": "dpo", "gpu": null | {"sm": "sm_80", "bf16": true}, "world": 4}.
A YAML goes through the parser of its command, which refuses unknown keys. Of a script, its imports and the calls of its
configuration classes are run: they refuse unknown keywords and contradictions.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch

from judging import Job, run


def judge(job: Job) -> list[str]:
    """Return nothing: TRL refuses unknown keys itself. Raises whatever it raises."""
    training = import_module("transformers.training_args")
    gpu = job.get("gpu")
    sm = int(gpu["sm"].removeprefix("sm_")) if gpu else 0
    with (
        patch.object(training, "is_torch_bf16_gpu_available", lambda: bool(gpu and gpu["bf16"])),
        patch.object(training, "is_torch_tf32_available", lambda: sm >= 80),
        patch.object(training.TrainingArguments, "world_size", PropertyMock(return_value=job["world"])),
    ):
        if job["file"].endswith(".py"):
            configured(Path(job["file"]))
        else:
            parser = import_module(f"trl.scripts.{job['command']}").make_parser()
            _, arguments, model, data = parser.parse_args_and_config(["--config", job["file"]])
            import_module("trl").get_peft_config(model)
            import_module("trl").get_quantization_config(model)
            if not data.datasets or not arguments.output_dir:
                raise ValueError("no datasets")
    return []


def configured(path: Path) -> None:
    """Run the imports of a script and every call of a configuration class in it. Raises ValueError if there is none."""
    kept: list[Any] = []
    for part in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(part, ast.ImportFrom):
            kept.append(part)
        elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Call):
            name = part.value.func
            if isinstance(name, ast.Name) and name.id.endswith("Config"):
                kept.append(part)
    if not any(isinstance(part, ast.Assign) for part in kept):
        raise ValueError("no configuration in the script")
    exec(compile(ast.Module(kept, []), str(path), "exec"), {"__name__": "judged"})


if __name__ == "__main__":
    run(judge)
