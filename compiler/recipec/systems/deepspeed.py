"""DeepSpeed 0.18 and 0.19: `ds_config.json` of a training stage.

Every number that the trainer also has is written out, never `auto`: both come from the same plan. Optimiser and
schedule are the trainer's alone. Keys: https://www.deepspeed.ai/docs/config-json/
"""

from __future__ import annotations

from recipec.facts import pinned
from recipec.kinds.train.records import Train
from recipec.systems.document import Sheet
from recipec.systems.table import Row, choice, constant, made, named, same, within

TOOL = "deepspeed"
FILE = "ds_config.json"
PREFETCH = 50_000_000  # elements that are fetched ahead: DeepSpeed's default, of which Transformers' `auto` stays below
STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}


_OFFLOAD = {
    "offload_optimizer": "parallel.optimizer_offload",
    "offload_param": "parallel.parameter_offload",
}


def _offloaded(key: str, device: str) -> tuple[Row, ...]:
    """Return the rows of what is kept elsewhere than on the GPU; `device` is the plan path that says where."""
    return within(
        key,
        same("device", device).unless(device, "none"),
        constant("pin_memory", True).unless(device, "none"),
        same("nvme_path", "parallel.nvme_path").when(device, "nvme"),
        *([same("buffer_size", "parallel.nvme_buffer").when(device, "nvme")] if key == "offload_param" else []),
    )


_SHARDING = (
    named("stage", "parallel.strategy", STAGES),
    constant("overlap_comm", True),
    constant("contiguous_gradients", True),
    same("reduce_bucket_size", "parallel.bucket_size"),
    *(
        row.when("parallel.strategy", "zero3")
        for row in (
            made("stage3_prefetch_bucket_size", lambda bucket: min(bucket * 9 // 10, PREFETCH), "parallel.bucket_size"),
            constant("stage3_param_persistence_threshold", 100_000),
            constant("stage3_max_live_parameters", 1_000_000_000),
            constant("stage3_max_reuse_distance", 1_000_000_000),
            constant("stage3_gather_16bit_weights_on_model_save", True),
            constant("sub_group_size", 1_000_000_000),
        )
    ),
    *(
        row.unless("parallel.strategy", "zero3")
        for row in (
            constant("allgather_partitions", True),
            same("allgather_bucket_size", "parallel.bucket_size"),
            constant("reduce_scatter", True),
        )
    ),
    *(row for key, device in _OFFLOAD.items() for row in _offloaded(key, device)),
)

ROWS: tuple[Row, ...] = (
    same("train_batch_size", "batch.total"),
    same("train_micro_batch_size_per_gpu", "batch.micro"),
    same("gradient_accumulation_steps", "batch.accumulation"),
    same("gradient_clipping", "optimizer.max_grad_norm"),
    *within("bf16", choice("enabled", "numerics.precision", {"bf16": True}, other=False)),
    *within(
        "fp16",
        choice("enabled", "numerics.precision", {"fp16": True}),
        constant("loss_scale", 0).when("numerics.precision", "fp16"),
        constant("initial_scale_power", 16).when("numerics.precision", "fp16"),
    ),
    *within("zero_optimization", *_SHARDING),
    constant("steps_per_print", 1_000_000_000, "the trainer logs"),
    constant("wall_clock_breakdown", False),
)


def sheets(s: Train, environment: str) -> list[Sheet]:
    """Return `ds_config.json` of a training that DeepSpeed shards, for its release in an environment."""
    if not s.parallel.strategy.startswith("zero"):
        return []
    return [Sheet(FILE, ROWS, TOOL, pinned(f"{environment}-deepspeed", TOOL), "ds_config", "json")]
