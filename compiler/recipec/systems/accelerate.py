"""accelerate 1.13 and later: the launcher's configuration of a training stage.

The path of `ds_config.json` and the rank of a node are given on the command line by `run.sh`: they are not the
same everywhere. Keys: https://huggingface.co/docs/accelerate/package_reference/cli
"""

from __future__ import annotations

from typing import Any

from recipec.facts import pinned
from recipec.kinds.train.records import Train
from recipec.systems import deepspeed
from recipec.systems.document import Sheet
from recipec.systems.table import OMIT, Row, computed

TOOL = "accelerate"
FILE = "accelerate.yaml"
TYPES = {
    "single": "NO",
    "ddp": "MULTI_GPU",
    "fsdp2": "FSDP",
    "zero1": "DEEPSPEED",
    "zero2": "DEEPSPEED",
    "zero3": "DEEPSPEED",
}


def _fsdp(s: Train) -> Any:
    if s.parallel.strategy != "fsdp2":
        return OMIT
    return {
        "fsdp_version": 2,
        "fsdp_reshard_after_forward": s.parallel.reshard_after_forward,
        "fsdp_offload_params": s.parallel.parameter_offload == "cpu" and s.parallel.optimizer_offload == "cpu",
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_state_dict_type": _state(s),
        "fsdp_cpu_ram_efficient_loading": True,
        "fsdp_activation_checkpointing": s.numerics.gradient_checkpointing,
    }


def _state(s: Train) -> str:
    """Axolotl gathers the final model itself; the Hugging Face trainer writes none from a sharded state."""
    return "SHARDED_STATE_DICT" if s.trainer == "axolotl" else "FULL_STATE_DICT"


def _deepspeed(s: Train) -> Any:
    if not s.parallel.strategy.startswith("zero"):
        return OMIT
    return {"deepspeed_multinode_launcher": "standard", "zero3_init_flag": s.parallel.strategy == "zero3"}


def _mixed(s: Train) -> Any:
    """With DeepSpeed the file `ds_config.json` says the precision; accelerate refuses to hear it twice."""
    if s.parallel.strategy.startswith("zero"):
        return OMIT
    return "no" if s.numerics.precision == "fp32" else s.numerics.precision


ROWS: tuple[Row, ...] = (
    computed("compute_environment", lambda _s: "LOCAL_MACHINE"),
    computed("distributed_type", lambda s: TYPES[s.parallel.strategy]),
    computed("num_machines", lambda s: s.hardware.nodes),
    computed("num_processes", lambda s: s.hardware.world, "over all nodes"),
    computed("machine_rank", lambda _s: 0, "run.sh gives each node its own"),
    computed("mixed_precision", _mixed),
    computed("use_cpu", lambda s: s.hardware.device == "cpu"),
    computed("main_training_function", lambda _s: "main"),
    computed("rdzv_backend", lambda s: "static" if s.hardware.nodes == 1 else "c10d"),
    computed("same_network", lambda _s: True),
    computed("fsdp_config", _fsdp),
    computed("deepspeed_config", _deepspeed),
)


def sheets(s: Train, environment: str, *, always: bool = False) -> list[Sheet]:
    """Return the launcher's files of a training: none for one process unless `always`, DeepSpeed's too where it shards."""
    if s.parallel.strategy == "single" and not always:
        return []
    found = [Sheet(FILE, ROWS, TOOL, pinned(environment, TOOL), "config")]
    return [*found, *deepspeed.sheets(s, environment)]


def options(s: Train) -> str:
    """Return what the launcher is told on its command line beside its file."""
    told = ""
    if s.parallel.strategy.startswith("zero"):
        told += f' --deepspeed_config_file "$here/{deepspeed.FILE}"'
    if s.hardware.nodes > 1:
        told += ' --machine_rank "${NODE_RANK:?rank of this node, from 0}"'
        told += ' --main_process_ip "${MASTER_ADDR:?address of node 0}" --main_process_port "${MASTER_PORT:-29500}"'
    return told


def command(s: Train, program: str) -> list[str]:
    """Return the lines that start `program` (`-m MODULE ARGUMENTS` or a script) as the plan's processes."""
    if s.parallel.strategy == "single":
        return [f"python {program}"]
    return launch(s, program)


def launch(s: Train, program: str) -> list[str]:
    """Return the lines that start `program` by accelerate, one process too."""
    launch = f'accelerate launch --config_file "$here/{FILE}"' + options(s)
    return [f"{launch} \\", f"  {program}"]
