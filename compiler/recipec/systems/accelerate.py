"""accelerate 1.13 and later: the launcher's configuration of a training stage.

The path of `ds_config.json` and the rank of a node are given on the command line by `run.sh`: they are not the
same everywhere. Keys: https://huggingface.co/docs/accelerate/package_reference/cli
"""

from __future__ import annotations

from recipec.facts import pinned
from recipec.job import ADDRESS, PORT, RANK, Beside, Job, Word
from recipec.kinds.train.records import Train
from recipec.systems import deepspeed, trainers
from recipec.systems.document import Sheet
from recipec.systems.huggingface import FOUR_BIT
from recipec.systems.table import OMIT, Row, choice, constant, made, named, renamed, same, where, within

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


ZERO = ("zero1", "zero2", "zero3")
PRECISIONS = {"bf16": "bf16", "fp16": "fp16", "fp32": "no"}
# Without it the processes of all runs on a machine meet at 29500.
FREE_PORT = constant("main_process_port", 0, "a free one, so that two runs do not meet").replaced(yields=True)


SPLIT = (
    *trainers.where_split(same("parallelism_config_dp_shard_size", "batch.data_parallel")),
    renamed("parallelism_config_cp_size", trainers.CONTEXT, {1: OMIT}),
    renamed("parallelism_config_tp_size", trainers.TENSOR, {1: OMIT}),
)


def _rows(*, gathers: bool) -> tuple[Row, ...]:
    return (
        constant("compute_environment", "LOCAL_MACHINE"),
        named("distributed_type", "parallel.strategy", TYPES),
        same("num_machines", "hardware.nodes"),
        same("num_processes", "hardware.world", "over all nodes"),
        constant("machine_rank", 0, "run.sh sets the rank of each node"),
        FREE_PORT.when("hardware.nodes", 1).unless("parallel.strategy", "single"),
        # with DeepSpeed, ds_config.json says the precision, and accelerate refuses to be given it twice
        named("mixed_precision", "numerics.precision", PRECISIONS).unless("parallel.strategy", *ZERO),
        named("use_cpu", "hardware.device", {"cpu": True, "gpu": False}),
        constant("main_training_function", "main"),
        choice("rdzv_backend", "hardware.nodes", {1: "static"}, other="c10d"),
        constant("same_network", True),
        *where("parallel.strategy", "fsdp2", rows=within("fsdp_config", *_fsdp(gathers=gathers))),
        *(() if gathers else where("parallel.strategy", "fsdp2", rows=within("parallelism_config", *SPLIT))),
        *where(
            "parallel.strategy",
            *ZERO,
            rows=within(
                "deepspeed_config",
                constant("deepspeed_multinode_launcher", "standard"),
                choice("zero3_init_flag", "parallel.strategy", {"zero3": True}, other=False),
            ),
        ),
    )


def frugal(key: str) -> Row:
    """Return the row of whether one process of a node reads the weights for the others.

    Not with 4-bit weights: bitsandbytes quantises where they are read, so the other processes would have none to shard.
    """
    why = "each process quantises the weights that it reads"
    return choice(key, "model.load_in", dict.fromkeys(FOUR_BIT, False), other=True, why=why)


def _fsdp(*, gathers: bool) -> tuple[Row, ...]:
    return (
        constant("fsdp_version", 2),
        same("fsdp_reshard_after_forward", "parallel.reshard_after_forward"),
        made("fsdp_offload_params", _both_on_cpu, "parallel.parameter_offload", "parallel.optimizer_offload"),
        constant("fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"),
        # from a sharded state the Hugging Face trainer writes no final model
        constant("fsdp_state_dict_type", "SHARDED_STATE_DICT" if gathers else "FULL_STATE_DICT"),
        frugal("fsdp_cpu_ram_efficient_loading"),
        same("fsdp_activation_checkpointing", "numerics.gradient_checkpointing"),
    )


def _both_on_cpu(parameters: str, optimizer: str) -> bool:
    return parameters == "cpu" and optimizer == "cpu"


ROWS = _rows(gathers=False)
GATHERING_ROWS = _rows(gathers=True)  # of a trainer that itself gathers the final model from its shards


def sheets(s: Train, environment: str, *, always: bool = False, gathers: bool = False) -> list[Sheet]:
    """Return the launcher's files of a training: none for one process unless `always`, DeepSpeed's too where it shards.

    `gathers` says that the trainer itself gathers the final model from its shards.
    """
    if s.parallel.strategy == "single" and not always:
        return []
    found = [Sheet(FILE, GATHERING_ROWS if gathers else ROWS, TOOL, pinned(environment, TOOL), "config")]
    return [*found, *deepspeed.sheets(s, environment)]


def options(s: Train) -> tuple[Word, ...]:
    """Return what the launcher is told on its command line beside its file."""
    told: tuple[Word, ...] = ()
    if s.parallel.strategy.startswith("zero"):
        told += ("--deepspeed_config_file", Beside(deepspeed.FILE))
    if s.hardware.nodes > 1:
        told += ("--machine_rank", RANK, "--main_process_ip", ADDRESS, "--main_process_port", PORT)
    return told


def start(s: Train) -> tuple[Word, ...]:
    """Return the words that start a program by accelerate, one process too."""
    return ("accelerate", "launch", "--config_file", Beside(FILE), *options(s))


def job(s: Train, *program: Word) -> Job:
    """Return the job that runs a program (`-m MODULE ARGUMENTS` or a script) as the plan's processes."""
    if s.parallel.strategy == "single":
        return trainers.job(s, "python", *program)
    return trainers.job(s, *program, start=start(s))
