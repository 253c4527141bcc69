"""Hardware, world size, sharding."""

from __future__ import annotations

from recipec.decide.draft import Draft
from recipec.facts import gpus
from recipec.plan import Hardware, Parallel
from recipec.suggest import nearest


def hardware(d: Draft) -> None:
    """Look the declared GPU up in the facts; world = nodes × per_node."""
    name = d.copy("hardware.gpu", "hardware.gpu")
    gpu = gpus().get(name)
    if gpu is None:
        known = sorted(gpus())
        close = nearest(name, known)
        d.error(
            "P001", "hardware.gpu", f'"{name}" is not a GPU of the hardware facts', f"known: {', '.join(known)}", close
        )
        gpu = gpus()[close or "a100-80gb"]
    why = f"hardware facts: {gpu.source}"
    d.put("hardware.device", "cpu" if gpu.name == "none" else "gpu", why, "hardware.gpu", kind="fact")
    for field in ("memory_gib", "sm", "bf16"):
        d.put(f"hardware.{field}", getattr(gpu, field), why, "hardware.gpu", kind="fact")
    per_node = d.copy("hardware.per_node", "hardware.per_node")
    nodes = d.copy("hardware.nodes", "hardware.nodes")
    d.copy("hardware.host_memory_gib", "hardware.host_memory_gib")
    paths = ("hardware.per_node", "hardware.nodes")
    d.put("hardware.world", per_node * nodes, f"{nodes} node{'s' * (nodes != 1)} × {per_node} per node", *paths)
    d.values["hardware"] = d.make(Hardware, "hardware")


def parallel(d: Draft) -> None:
    """Choose the sharding and judge its offload against it."""
    world = d.values["hardware.world"]
    default = "single" if world == 1 else "ddp"
    words = "one process" if world == 1 else "several GPUs and nothing said"
    strategy = d.copy("train.parallel.strategy", "parallel.strategy", default, f"{words}: {default}")
    optimizer = d.copy("train.parallel.optimizer_offload", "parallel.offload.optimizer")
    parameters = d.copy("train.parallel.parameter_offload", "parallel.offload.parameters")
    nvme = d.copy("train.parallel.nvme_path", "parallel.offload.nvme_path")
    d.copy("train.parallel.reshard_after_forward", "parallel.reshard_after_forward", True)
    d.copy("train.parallel.bucket_size", "parallel.bucket_size", 500_000_000)
    if strategy == "single" and world > 1:
        d.error(
            "P010",
            "parallel.strategy",
            f"strategy single uses one GPU, but {world} are declared",
            "choose ddp, fsdp2, zero2 or zero3",
        )
    if strategy in ("ddp", "fsdp2") and world == 1:
        d.error(
            "P011",
            "parallel.strategy",
            f"{strategy} needs at least two GPUs",
            "use single, or zero2 or zero3 with offload",
        )
    if strategy not in ("single", "ddp") and d.values["hardware.device"] == "cpu":
        d.error("P012", "parallel.strategy", f"{strategy} needs GPUs", "use ddp, or single for one process")
    sharded = strategy in ("fsdp2", "zero3")
    if optimizer != "none" and not (sharded or strategy in ("zero1", "zero2")):
        d.error(
            "P013",
            "parallel.offload.optimizer",
            f"{strategy} cannot offload optimiser states",
            "use zero2, zero3 or fsdp2",
        )
    if parameters != "none" and not sharded:
        d.error("P013", "parallel.offload.parameters", f"{strategy} cannot offload parameters", "use zero3 or fsdp2")
    if strategy == "fsdp2" and (optimizer, parameters) not in (("none", "none"), ("cpu", "cpu")):
        advice = "set both optimizer and parameters to cpu, or use zero3"
        d.error("P014", "parallel.offload", "FSDP2 offloads parameters and optimiser states together, to CPU", advice)
    if "nvme" in (optimizer, parameters) and strategy != "fsdp2":
        if strategy != "zero3":
            d.error("P015", "parallel.offload", "offload to NVMe needs ZeRO stage 3", "use strategy: zero3")
        if nvme is None:
            d.error("P016", "parallel.offload", "offload to NVMe needs a folder", "set parallel.offload.nvme_path")
    elif nvme is not None and strategy != "fsdp2":
        d.error(
            "P017",
            "parallel.offload.nvme_path",
            "nothing is offloaded to NVMe",
            "set optimizer or parameters to nvme, or drop it",
        )
    if strategy != "fsdp2" and d.said("parallel.reshard_after_forward"):
        d.error(
            "P018",
            "parallel.reshard_after_forward",
            f"{strategy} does not reshard",
            "it is an option of fsdp2; drop it",
        )
    if not strategy.startswith("zero") and d.said("parallel.bucket_size"):
        d.error("P018", "parallel.bucket_size", f"{strategy} has no reduce bucket", "it is an option of ZeRO; drop it")
    d.values["train.parallel"] = d.make(Parallel, "train.parallel")
