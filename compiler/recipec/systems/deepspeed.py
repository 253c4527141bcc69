"""DeepSpeed 0.18 and 0.19: `ds_config.json` of a training stage.

Every number that the trainer also has is written out, never `auto`: both come from the same plan. Optimiser and
schedule are the trainer's alone. Keys: https://www.deepspeed.ai/docs/config-json/
"""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.kinds.train.records import Train
from recipec.systems.document import Sheet
from recipec.systems.table import OMIT, Row, computed, same

TOOL = "deepspeed"
FILE = "ds_config.json"
STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}


def _zero(s: Train) -> dict[str, Any]:
    stage, bucket = STAGES[s.parallel.strategy], s.parallel.bucket_size
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": bucket,
    }
    if stage == 3:
        zero |= {
            "stage3_prefetch_bucket_size": bucket * 9 // 10,
            "stage3_param_persistence_threshold": 100_000,
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            "stage3_gather_16bit_weights_on_model_save": True,
            "sub_group_size": 1_000_000_000,
        }
    else:
        zero |= {"allgather_partitions": True, "allgather_bucket_size": bucket, "reduce_scatter": True}
    for key, device in (
        ("offload_optimizer", s.parallel.optimizer_offload),
        ("offload_param", s.parallel.parameter_offload),
    ):
        if device != "none":
            zero[key] = {"device": device, "pin_memory": True}
            if device == "nvme":
                zero[key]["nvme_path"] = s.parallel.nvme_path
    return zero


ROWS: tuple[Row, ...] = (
    same("train_batch_size", "batch.total"),
    same("train_micro_batch_size_per_gpu", "batch.micro"),
    same("gradient_accumulation_steps", "batch.accumulation"),
    same("gradient_clipping", "optimizer.max_grad_norm"),
    computed("bf16", lambda s: {"enabled": s.numerics.precision == "bf16"}),
    computed(
        "fp16",
        lambda s: (
            {"enabled": True, "loss_scale": 0, "initial_scale_power": 16} if s.numerics.precision == "fp16" else OMIT
        ),
    ),
    computed("zero_optimization", _zero),
    computed("steps_per_print", lambda _s: 1_000_000_000, "the trainer logs"),
    computed("wall_clock_breakdown", lambda _s: False),
)


def sheets(s: Train, environment: str) -> list[Sheet]:
    """Return `ds_config.json` of a training that DeepSpeed shards, for its release in an environment."""
    if not s.parallel.strategy.startswith("zero"):
        return []
    return [Sheet(FILE, ROWS, TOOL, pinned(f"{environment}-deepspeed", TOOL), "ds_config", "json")]
