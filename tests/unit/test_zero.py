"""What DeepSpeed is told of sizes, threads and checkpointing follows from the model, the GPU and what is trained."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import Compiled, compile_file

RECIPE = """recipe: 1
name: zero
trainer: {trainer}
model: {{base: {model}, max_length: 2048}}
data: {{train: [{{path: data/rows.jsonl, format: completion}}]}}
train: {{epochs: 1, batch_size: 64, learning_rate: 1e-5}}
hardware: {{gpu: {gpu}, per_node: 8}}
parallel: {{strategy: {strategy}}}
"""
SMALL, LARGE = "meta-llama/Llama-3.1-8B", "meta-llama/Meta-Llama-3-70B"
NVME = "parallel.offload={optimizer: nvme, parameters: nvme, nvme_path: /nvme}"
CPU = "parallel.offload={optimizer: cpu}"
Made = Callable[..., Compiled]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def of(
        *settings: str, model: str = SMALL, gpu: str = "a100-80gb", strategy: str = "zero3", trainer: str = "axolotl"
    ) -> Compiled:
        text = RECIPE.format(model=model, gpu=gpu, strategy=strategy, trainer=trainer)
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
        return compile_file(str(tmp_path / "r.yaml"), list(settings))

    return of


def zero(compiled: Compiled) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compiled.files["train/ds_config.json"])["zero_optimization"]
    return found


@pytest.mark.parametrize(
    ("strategy", "model", "gpu", "bucket"),
    [
        ("zero3", SMALL, "a100-80gb", 4096**2),  # as Transformers fills in `auto`
        ("zero3", LARGE, "h200-141gb", 8192**2),
        ("zero3", "my-lab/my-model", "a100-80gb", 500_000_000),
        ("zero3", "my-lab/my-model", "rtx-4090", 200_000_000),
        ("zero2", "Qwen/Qwen2.5-0.5B", "a100-80gb", 500_000_000),
        ("zero2", "Qwen/Qwen2.5-0.5B", "a100-40gb", 500_000_000),
        ("zero2", "Qwen/Qwen2.5-0.5B", "rtx-4090", 200_000_000),
        ("zero1", "Qwen/Qwen2.5-0.5B", "rtx-4090", 200_000_000),
        ("zero2", "Qwen/Qwen2.5-0.5B", "{name: small, memory: 8, compute_capability: 8.6}", 100_000_000),
    ],
)
def test_buckets_follow_from_the_model_or_the_memory(
    strategy: str, model: str, gpu: str, bucket: int, made: Made
) -> None:
    found = zero(made(strategy=strategy, model=model, gpu=gpu))
    assert found["reduce_bucket_size"] == bucket
    assert found.get("allgather_bucket_size", bucket) == bucket
    assert found.get("stage3_prefetch_bucket_size", 0) <= 50_000_000


def test_a_written_bucket_is_what_is_emitted(made: Made) -> None:
    for size, ahead in ((300_000_000, 50_000_000), (1_000_000, 900_000)):
        found = zero(made(f"parallel.bucket_size={size}"))
        assert (found["reduce_bucket_size"], found["stage3_prefetch_bucket_size"]) == (size, ahead)


@pytest.mark.parametrize(
    ("model", "per_node", "buffer"),
    [
        (SMALL, 8, 100_000_000),  # DeepSpeed's default is enough
        (SMALL, 4, 134_000_000),
        (LARGE, 8, 134_000_000),
        (LARGE, 16, 100_000_000),
        ("my-lab/my-model", 8, 281_000_000),
    ],
)
def test_a_buffer_holds_a_piece_of_the_largest_matrix(model: str, per_node: int, buffer: int, made: Made) -> None:
    found = zero(made(NVME, f"hardware.per_node={per_node}", model=model))
    assert found["offload_param"]["buffer_size"] == buffer
    assert "buffer_size" not in found["offload_optimizer"]
    vocab = {SMALL: 128256 * 4096, LARGE: 128256 * 8192}.get(model, 0)
    assert buffer >= vocab / per_node


def test_without_parameters_on_nvme_there_is_no_buffer(made: Made) -> None:
    assert "buffer_size" not in json.dumps(zero(made("parallel.offload={optimizer: nvme, nvme_path: /nvme}")))


@pytest.mark.parametrize("trainer", ["axolotl", "trl", "llamafactory"])
@pytest.mark.parametrize(
    ("strategy", "settings", "there"),
    [
        ("zero2", (CPU,), True),
        ("zero3", (CPU,), True),
        ("zero3", (NVME,), True),
        ("fsdp2", ("parallel.offload={optimizer: cpu, parameters: cpu}",), True),
        ("zero3", (), False),
        ("fsdp2", (), False),
    ],
)
def test_an_optimiser_on_the_cpu_has_the_cores_of_its_process(
    trainer: str, strategy: str, settings: tuple[str, ...], there: bool, made: Made, tmp_path: Path
) -> None:
    script = made(*settings, model="my-lab/my-model", strategy=strategy, trainer=trainer).files["train/run.sh"]
    line = next((line for line in script.splitlines() if line.startswith("export OMP_NUM_THREADS")), None)
    assert (line is not None) is there
    if line is None:
        return
    (tmp_path / "nproc").write_text('#!/bin/sh\necho "$CORES"\n', encoding="utf-8")
    (tmp_path / "nproc").chmod(0o755)
    for cores, own, threads in (("96", "", "12"), ("4", "", "1"), ("96", "3", "3")):
        variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CORES": cores} | ({"OMP_NUM_THREADS": own} if own else {})
        told = ["bash", "-c", f'{line}; echo "$OMP_NUM_THREADS"']
        assert subprocess.run(told, env=variables, capture_output=True, text=True, check=True).stdout.strip() == threads


@pytest.mark.parametrize(
    ("trainer", "strategy", "settings", "line"),
    [
        ("axolotl", "zero3", ("adapter={rank: 8}",), "  use_reentrant: true"),
        ("axolotl", "zero3", (), "  use_reentrant: false"),
        ("axolotl", "zero2", ("adapter={rank: 8}",), "  use_reentrant: false"),
        ("axolotl", "ddp", ("adapter={rank: 8}",), "  use_reentrant: false"),
        ("trl", "zero3", ("adapter={rank: 8}",), '{"use_reentrant": True}'),
        ("trl", "zero3", (), '{"use_reentrant": False}'),
        ("llamafactory", "zero3", ("adapter={rank: 8}",), "use_reentrant_gc: true"),
        ("llamafactory", "zero3", (), "use_reentrant_gc: false"),
        ("llamafactory", "zero2", ("adapter={rank: 8}",), "use_reentrant_gc: false"),
    ],
)
def test_only_an_adapter_under_zero3_is_checkpointed_again_by_entering_again(
    trainer: str, strategy: str, settings: tuple[str, ...], line: str, made: Made
) -> None:
    result = made(
        *settings,
        "hardware.gpu=h200-141gb",
        "train.method=pretrain",
        "data.train[0].format=text",
        strategy=strategy,
        trainer=trainer,
    )
    emitted = "".join(text for name, text in result.files.items() if name.startswith("train/"))
    assert line in emitted
    assert emitted.count("use_reentrant") == 1
