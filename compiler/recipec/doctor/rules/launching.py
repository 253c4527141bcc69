"""What contradicts itself in DeepSpeed's and accelerate's files. Facts: DeepSpeed 0.18 and 0.19, accelerate 1.11 to 1.15."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.doctor.contract_check import File
from recipec.doctor.rules import Fault, number, rule, whole

# Keys of accelerate's `deepspeed_config` that belong into the file which `deepspeed_config_file` names.
IN_THE_FILE = (
    "gradient_accumulation_steps", "gradient_clipping", "zero_stage", "offload_optimizer_device", "offload_param_device",
    "offload_param_nvme_path", "offload_optimizer_nvme_path", "zero3_save_16bit_model",
)  # fmt: skip


@rule("D170", "deepspeed")
def batch_that_does_not_divide(file: File) -> Iterator[Fault]:
    """DeepSpeed requires total = micro × accumulation × processes."""
    total, micro, steps = (
        file.get(key) for key in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    )
    if whole(total) and whole(micro) and total % (micro * (steps if whole(steps) else 1)):
        parts = f"{micro} × {steps}" if whole(steps) else f"{micro}"
        yield Fault(
            "train_batch_size",
            f"train_batch_size {total} is not a multiple of {parts}",
            'it is micro batch × accumulation × processes; with a trainer write "auto"',
        )


@rule("D171", "deepspeed")
def its_own_schedule(file: File) -> Iterator[Fault]:
    """An optimiser or schedule in this file replaces the trainer's; only `auto` values follow the trainer."""
    for key in ("optimizer", "scheduler"):
        parameters = file.get(f"{key}.params")
        if isinstance(parameters, dict) and any(number(value) for value in parameters.values()):
            yield Fault(
                key,
                f"this {key} replaces the trainer's own",
                f'delete {key}, or write "auto" for its numbers',
                "warning",
            )


@rule("D172", "deepspeed")
def keys_of_another_stage(file: File) -> Iterator[Fault]:
    """DeepSpeed reads the parameter keys only at stage 3, and ignores them at a lower stage."""
    stage = file.get("zero_optimization.stage", 0)
    zero = file.get("zero_optimization")
    if not isinstance(zero, dict) or not number(stage) or stage >= 3:
        return
    for key, value in zero.items():
        if key == "offload_param" and isinstance(value, dict) and value.get("device") not in (None, "none"):
            yield Fault(
                f"zero_optimization.{key}",
                f"offload_param has no effect at stage {stage}",
                'write `"stage": 3`, or delete it',
            )
        elif key.startswith("stage3_") and key != "stage3_gather_16bit_weights_on_model_save":
            yield Fault(
                f"zero_optimization.{key}",
                f"{key} has no effect at stage {stage}",
                'write `"stage": 3`, or delete it',
                "warning",
            )
    offload = zero.get("offload_optimizer")
    if stage == 0 and isinstance(offload, dict) and offload.get("device") not in (None, "none"):
        yield Fault(
            "zero_optimization.offload_optimizer",
            "offload_optimizer has no effect at stage 0",
            'write `"stage": 2` or 3, or delete it',
        )


@rule("D173", "deepspeed")
def two_precisions(file: File) -> Iterator[Fault]:
    """DeepSpeed refuses bf16 and fp16 together."""
    half = next((key for key in ("bf16", "bfloat16") if file.get(f"{key}.enabled") is True), None)
    if half and file.get("fp16.enabled") is True:
        yield Fault("fp16.enabled", f"{half} and fp16 are both enabled", "keep one of them")


@rule("D174", "deepspeed")
def nvme_without_path(file: File) -> Iterator[Fault]:
    """Nothing checks the NVMe folder until the first tensor is written to it."""
    for key in ("offload_param", "offload_optimizer"):
        if file.get(f"zero_optimization.{key}.device") == "nvme" and not file.get(f"zero_optimization.{key}.nvme_path"):
            yield Fault(
                f"zero_optimization.{key}.device",
                f"{key} to nvme without nvme_path",
                "name a folder on a local NVMe disk",
            )


@rule("D175", "deepspeed")
def stage_as_text(file: File) -> Iterator[Fault]:
    """DeepSpeed reads "3" as 3; transformers and accelerate compare it with the number 3 and do not shard while loading."""
    stage = file.get("zero_optimization.stage")
    if isinstance(stage, str) and stage in ("0", "1", "2", "3"):
        yield Fault(
            "zero_optimization.stage",
            f'stage "{stage}" is text: the trainer does not see stage {stage}',
            f"write {stage} without quotes",
        )


@rule("D180", "accelerate")
def processes_over_machines(file: File) -> Iterator[Fault]:
    """accelerate gives each machine num_processes / num_machines, rounded down."""
    processes, machines = file.get("num_processes"), file.get("num_machines", 1)
    if whole(processes) and whole(machines) and processes % machines:
        yield Fault(
            "num_processes",
            f"{processes} processes cannot be shared by {machines} machines",
            "num_processes counts those of all machines",
        )
    rank = file.get("machine_rank", 0)
    if whole(machines) and number(rank) and rank >= machines:
        yield Fault(
            "machine_rank", f"machine_rank {rank} with {machines} machine{'s' * (machines != 1)}", "ranks count from 0"
        )


@rule("D181", "accelerate")
def section_of_another_type(file: File) -> Iterator[Fault]:
    """accelerate reads a section only with the matching `distributed_type`."""
    kind = str(file.get("distributed_type", "NO")).upper()
    for key, wanted in (
        ("deepspeed_config", "DEEPSPEED"),
        ("fsdp_config", "FSDP"),
        ("megatron_lm_config", "MEGATRON_LM"),
    ):
        if file.get(key) and kind != wanted and not (key == "deepspeed_config" and kind == "MULTI_XPU"):
            yield Fault(
                key,
                f"{key} has no effect under distributed_type {kind}",
                f"write `distributed_type: {wanted}`, or delete it",
            )


@rule("D182", "accelerate")
def said_in_two_files(file: File) -> Iterator[Fault]:
    """With a DeepSpeed file, accelerate refuses keys that belong in that file."""
    if file.get("deepspeed_config.deepspeed_config_file"):
        for key in IN_THE_FILE:
            if file.get(f"deepspeed_config.{key}") is not None:
                yield Fault(
                    f"deepspeed_config.{key}",
                    f"{key} is set together with deepspeed_config_file, which decides it",
                    "delete it here",
                )
        if file.get("mixed_precision") is not None:
            yield Fault(
                "mixed_precision",
                "mixed_precision is set together with deepspeed_config_file, which decides it",
                "delete it here",
            )


@rule("D183", "accelerate")
def machines_without_a_meeting_place(file: File) -> Iterator[Fault]:
    """Several machines need an address, which may also be given on the command line."""
    machines = file.get("num_machines")
    if whole(machines) and machines > 1 and not file.get("main_process_ip"):
        yield Fault(
            "num_machines",
            "several machines, but no main_process_ip",
            "give it here or with `--main_process_ip`",
            "warning",
        )


@rule("D184", "accelerate")
def one_process_in_parallel(file: File) -> Iterator[Fault]:
    """accelerate starts only one process, without a message."""
    if file.get("distributed_type") == "MULTI_GPU" and file.get("num_processes") == 1:
        yield Fault(
            "num_processes",
            "distributed_type MULTI_GPU with one process",
            "write the number of GPUs, or `distributed_type: 'NO'`",
            "warning",
        )
