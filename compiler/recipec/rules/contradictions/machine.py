"""Contradictions about the machine, the sharding and what is offloaded."""

from __future__ import annotations

from collections.abc import Iterator

from recipec.facts import gpus
from recipec.facts.gpu_names import capability, declared, named, same_named
from recipec.kinds.train.parallel import wants
from recipec.kinds.train.records import Train
from recipec.language import Recipe
from recipec.launch.words import NODE
from recipec.plural import counted
from recipec.rules.rule import Context, Fault, contradiction
from recipec.source import is_mapping
from recipec.suggest import nearest
from recipec.systems.registry import system

STRATEGY = ("parallel.strategy", "hardware.per_node", "hardware.nodes")
OFFLOAD = ("parallel.strategy", "parallel.offload", "hardware.per_node", "hardware.nodes")


@contradiction("P001", "unknown-gpu", "machine", words=("hardware.gpu",))
def unknown_gpu(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a GPU that is not in the list of known GPUs, or a name that several of them have.

    Why is this bad:
    Memory, number formats and kernels follow from the GPU. Nothing can be decided or checked for an unknown one. One that is
    not in the list can be described: `gpu: {name: …, memory: 48GB, compute_capability: 8.9}`.

    Example:
        hardware: {gpu: a100}

    Use instead:
        hardware: {gpu: a100-80gb}
    """
    name, known = recipe.hardware.gpu, sorted(gpus())
    if not isinstance(name, str):
        return
    found = named(name)
    if found.gpu is None and found.choices:
        sold = " or ".join(found.choices)
        yield Fault(
            "hardware.gpu", f'"{name}" is sold with several sizes of memory', f"write {sold}", found.choices[-1]
        )
    elif found.gpu is None:
        close = nearest(name, known)
        describe = "describe it: gpu: {name: …, memory: 48GB, compute_capability: 8.9}"
        advice = describe if close else f"{describe}; known are {', '.join(known)}"
        yield Fault("hardware.gpu", f'"{name}" is not a known GPU', advice, close)


@contradiction("P273", "two-numbers-of-gpus", "machine", words=("hardware.gpu", "hardware.per_node"))
def two_counts(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a number of GPUs in the GPU's name beside another one in `per_node`.

    Why is this bad:
    The batch is divided by the number of GPUs. It is not clear which of the two is meant.

    Example:
        hardware: {gpu: 'h100-80gb:8', per_node: 4}

    Use instead:
        hardware: {gpu: h100-80gb, per_node: 8}
    """
    name = recipe.hardware.gpu
    count = named(name).number if isinstance(name, str) else None
    if count is not None and see.said.wrote("hardware.per_node") and count != recipe.hardware.per_node:
        message = f'"{name}" says {count} GPUs, and per_node {recipe.hardware.per_node}'
        yield Fault("hardware.gpu", message, "say it by per_node alone")


@contradiction("P321", "gpu-of-another-name", "machine", words=("hardware.gpu",), waivable=True)
def other_gpu(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a described GPU of a known name with another compute capability, or with a memory that it is not sold with.

    Why is this bad:
    Number formats, kernels and what fits are judged by what is described. A machine that is another one refuses them when the training starts.

    Example:
        hardware: {gpu: {name: v100, memory: 32GB, compute_capability: 8.0}}

    Use instead:
        hardware: {gpu: {name: v100, memory: 32GB, compute_capability: 7.0}}

    When it is meant:
    The GPU is a part of another one, or was made for one machine alone.
    """
    given = recipe.hardware.gpu
    if isinstance(given, str):
        return
    mine, same = declared(given.name, given.memory, given.compute_capability), same_named(given.name)
    right = {gpu.sm for gpu in same} or {capability(given.name)} - {None}
    if right and mine.sm not in right:
        wanted = " or ".join(f"{sm / 10:.1f}" for sm in sorted(one for one in right if one is not None))
        message = f"{given.name} has compute capability {wanted}, not {mine.sm / 10:.1f}"
        yield Fault(
            "hardware.gpu.compute_capability",
            message,
            f"write {wanted}, or name the GPU that is meant",
            wanted if len(right) == 1 else None,
        )
    sizes = [gpu.memory_gib for gpu in same]
    if sizes and not any(0.85 * size <= mine.memory_gib <= 1.1 * size + 1 for size in sizes):
        sold = " or ".join(gpu.name for gpu in same)
        message = f"{given.name} is not sold with {mine.memory_gib} GB of memory"
        yield Fault("hardware.gpu.memory", message, f"write gpu: {sold}, or name the GPU that is meant")


@contradiction("P322", "four-bits-on-a-cpu", words=("model.load_in", "hardware.gpu"), severity="warning", waivable=True)
def four_bits_on_cpu(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds weights that bitsandbytes quantises, on a machine without a GPU.

    Why is this bad:
    Its kernels are made for GPUs. On a CPU every matrix is unpacked whenever it is used: the training takes many times as long as in bf16 or
    fp32, and saves memory that a host has.

    Example:
        model: {base: my-lab/my-model, load_in: nf4}
        adapter: {rank: 16}
        hardware: {gpu: none}

    Use instead:
        model: {base: my-lab/my-model}

    When it is meant:
    The run is a trial of the tools with a small model.
    """
    if s.hardware.device == "cpu" and s.model.load_in in ("nf4", "fp4", "int8") and not system(s.trainer).own_program:
        message = f"bitsandbytes computes in {s.model.load_in} on GPUs; on a CPU it unpacks every matrix at each use"
        yield Fault("model.load_in", message, "drop load_in, or declare the GPU that it runs on")


EACH = "drop it: each stage then has single on one GPU, else ddp; or say it in the stages that it is for"


def _said_for_unlike(see: Context) -> bool:
    """Return whether one strategy is said for trainings on different numbers of GPUs."""
    worlds = {stage.body.hardware.world for stage in see.plan.of_kind("train")}
    return len(worlds) > 1 and see.said.place("parallel.strategy") == "parallel.strategy"


@contradiction("P010", "one-process-on-several-gpus", words=STRATEGY)
def too_few_processes(see: Context, s: Train) -> Iterator[Fault]:
    """Finds `strategy: single` on more than one GPU.

    Why is this bad:
    One process trains on one GPU. The others are paid for and idle.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: single}

    Use instead:
        parallel: {strategy: ddp}
    """
    if s.parallel.strategy == "single" and s.hardware.world > 1:
        message = f"strategy single uses one GPU, but {s.hardware.world} are declared"
        able = could(s, "ddp", "fsdp2", "zero2", "zero3")
        advice = f"choose {able}" if able else "use per_node: 1, nodes: 1"
        yield Fault("parallel.strategy", message, EACH if _said_for_unlike(see) else advice)


@contradiction("P011", "several-processes-on-one-gpu", words=STRATEGY)
def too_many_processes(see: Context, s: Train) -> Iterator[Fault]:
    """Finds DDP or FSDP2 on one GPU.

    Why is this bad:
    Both start a process for each GPU and exchange gradients or shards between them. With one there is nothing to exchange.

    Example:
        parallel: {strategy: ddp}

    Use instead:
        parallel: {strategy: single}
    """
    if s.parallel.strategy in ("ddp", "fsdp2") and s.hardware.world == 1:
        able = [could(s, "single"), could(s, "zero2", "zero3")]
        advice = "use " + ", or ".join(filter(None, (able[0], able[1] and f"{able[1]} with offload")))
        message = f"{s.parallel.strategy} needs at least two GPUs"
        yield Fault("parallel.strategy", message, EACH if _said_for_unlike(see) else advice)


@contradiction("P012", "sharding-without-gpus", words=("parallel.strategy", "hardware.gpu"))
def sharding_on_cpu(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds FSDP2 or ZeRO on a machine without GPUs.

    Why is this bad:
    Both shard the memory of GPUs, and the tools start them on GPUs only.

    Example:
        hardware: {gpu: none}
        parallel: {strategy: zero2}

    Use instead:
        parallel: {strategy: single}
    """
    if s.parallel.strategy not in ("single", "ddp") and s.hardware.device == "cpu":
        able = could(s, "ddp", "single")
        advice = f"use {able}" if able else "declare a gpu, or choose another trainer"
        yield Fault("parallel.strategy", f"{s.parallel.strategy} needs GPUs", advice)


@contradiction("P013", "offload-that-the-strategy-lacks", words=OFFLOAD)
def no_offload(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds offload of what the strategy does not shard.

    Why is this bad:
    Offload moves the shards of a process to host memory. DDP keeps whole copies, ZeRO-2 whole parameters: they have no such
    option, and memory would run out where the recipe counts on it.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: ddp, offload: {optimizer: cpu}}

    Use instead:
        parallel: {strategy: zero2, offload: {optimizer: cpu}}
    """
    strategy = s.parallel.strategy
    sharded = strategy in ("fsdp2", "zero3")
    if s.parallel.optimizer_offload != "none" and not (sharded or strategy in ("zero1", "zero2")):
        message = f"{strategy} cannot offload optimiser states"
        able = could(s, "zero2", "zero3", "fsdp2")
        yield Fault("parallel.offload.optimizer", message, f"use {able}" if able else "drop it")
    if s.parallel.parameter_offload != "none" and not sharded:
        able = could(s, "zero3", "fsdp2")
        advice = f"use {able}" if able else "drop it"
        yield Fault("parallel.offload.parameters", f"{strategy} cannot offload parameters", advice)


@contradiction("P014", "half-an-offload-under-fsdp2", words=OFFLOAD)
def fsdp_offload(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds offload of parameters without optimiser states, or the reverse, under FSDP2; and offload to NVMe.

    Why is this bad:
    FSDP2 has one switch, which moves both to host memory.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: fsdp2, offload: {optimizer: cpu}}

    Use instead:
        parallel: {strategy: fsdp2, offload: {optimizer: cpu, parameters: cpu}}
    """
    offloaded = (s.parallel.optimizer_offload, s.parallel.parameter_offload)
    if s.parallel.strategy == "fsdp2" and offloaded not in (("none", "none"), ("cpu", "cpu")):
        advice = "set both optimizer and parameters to cpu, or use zero3"
        yield Fault("parallel.offload", "FSDP2 offloads parameters and optimiser states together, to CPU", advice)


def could(s: Train, *strategies: str) -> str:
    """Return those of some strategies that the trainer can do on the declared machine, as a choice in words."""
    known = system(s.trainer).can["parallel.strategy"]
    able = [one for one in strategies if one in known and not wants(one, s.hardware)]
    return " or ".join(filter(None, (", ".join(able[:-1]), *able[-1:])))


def _to_nvme(s: Train) -> str | None:
    """Return the word that offloads to NVMe."""
    word = "optimizer" if s.parallel.optimizer_offload == "nvme" else "parameters"
    offloads = "nvme" in (s.parallel.optimizer_offload, s.parallel.parameter_offload)
    return f"parallel.offload.{word}" if offloads and s.parallel.strategy != "fsdp2" else None


@contradiction("P015", "nvme-without-zero3", words=OFFLOAD)
def nvme_strategy(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds offload to NVMe with another strategy than ZeRO-3.

    Why is this bad:
    DeepSpeed writes to a drive at stage 3 only.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: zero2, offload: {optimizer: nvme, nvme_path: /nvme}}

    Use instead:
        parallel: {strategy: zero3, offload: {optimizer: nvme, nvme_path: /nvme}}
    """
    word = _to_nvme(s)
    if word and s.parallel.strategy != "zero3":
        yield Fault(word, "offload to NVMe needs ZeRO stage 3", "use strategy: zero3")


@contradiction("P016", "nvme-without-a-folder", words=OFFLOAD)
def nvme_folder(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds offload to NVMe without a folder.

    Why is this bad:
    DeepSpeed needs a folder, and only you know which one is on a fast local drive.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: zero3, offload: {optimizer: nvme}}

    Use instead:
        parallel: {strategy: zero3, offload: {optimizer: nvme, nvme_path: /nvme}}
    """
    word = _to_nvme(s)
    if word and s.parallel.nvme_path is None:
        advice = "set parallel.offload.nvme_path"
        yield Fault(word, "offload to NVMe needs a folder", advice)


@contradiction("P017", "nvme-folder-without-offload", words=OFFLOAD)
def needless_nvme_folder(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds a folder on an NVMe drive that nothing is offloaded to.

    Why is this bad:
    Either the folder is left over, or the states were meant to go there and now stay where memory runs out.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: zero3, offload: {optimizer: cpu, nvme_path: /nvme}}

    Use instead:
        parallel: {strategy: zero3, offload: {optimizer: nvme, nvme_path: /nvme}}
    """
    if s.parallel.nvme_path is not None and not _to_nvme(s) and s.parallel.strategy != "fsdp2":
        advice = "set optimizer or parameters to nvme, or drop it" if could(s, "zero3") else "drop it"
        yield Fault("parallel.offload.nvme_path", "nothing is offloaded to NVMe", advice)


@contradiction(
    "P018", "option-of-another-strategy", words=(*STRATEGY, "parallel.reshard_after_forward", "parallel.bucket_size")
)
def other_strategy(see: Context, s: Train) -> Iterator[Fault]:
    """Finds an option of FSDP2 or ZeRO together with another strategy.

    Why is this bad:
    No file would hold the value: it changes nothing, and the recipe reads as if it did.

    Example:
        hardware: {gpu: a100-80gb, per_node: 2}
        parallel: {strategy: ddp, bucket_size: 1000000}

    Use instead:
        parallel: {strategy: zero2, bucket_size: 1000000}
    """
    strategy = s.parallel.strategy
    if strategy != "fsdp2" and see.otherwise("parallel.reshard_after_forward"):
        advice = "it is an option of fsdp2; drop it"
        yield Fault("parallel.reshard_after_forward", f"{strategy} does not reshard", advice)
    if not strategy.startswith("zero") and see.otherwise("parallel.bucket_size"):
        advice = "it is an option of ZeRO; drop it"
        yield Fault("parallel.bucket_size", f"{strategy} has no reduce bucket", advice)


@contradiction("P115", "several-nodes-started-locally", "recipe", words=("launch.on", "hardware.nodes"))
def several_nodes_locally(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds `launch.on: local` beside more than one node.

    Why is this bad:
    `local` starts the machine that it is run on, and nothing else. The processes of the first node would wait for those
    of the others, which nobody starts.

    Example:
        hardware: {gpu: a100-80gb, per_node: 8, nodes: 2}
        launch: {on: local}

    Use instead:
        launch: {on: nodes}
    """
    if recipe.launch.on == "local" and recipe.hardware.nodes > 1:
        message = f"local starts one machine, but {recipe.hardware.nodes} nodes are declared"
        yield Fault("launch.on", message, "use launch.on: nodes, or hardware.nodes: 1", "nodes")


@contradiction("P116", "one-node-started-as-several", "recipe", words=("launch.on", "hardware.nodes"))
def one_node_as_several(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds `launch.on: nodes` with only one node.

    Why is this bad:
    The recipe says that several machines are started, and declares one. Whichever is meant, the other word is wrong: the
    number of processes, and with it the batch, follows from `hardware.nodes`.

    Example:
        hardware: {gpu: a100-80gb, per_node: 8}
        launch: {on: nodes}

    Use instead:
        launch: {on: local}
    """
    if recipe.launch.on == "nodes" and recipe.hardware.nodes == 1:
        advice = "declare them by hardware.nodes, or use launch.on: local"
        yield Fault("launch.on", "nodes starts several machines, but one node is declared", advice, "local")


VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK")


def _visible(value: object) -> int | None:
    """Return how many GPUs a list names, as CUDA reads it: the first that is invalid ends it. None: all."""
    names = [one.strip() for one in str(value).split(",")]
    if names == ["all"]:
        return None
    return next((index for index, one in enumerate(names) if not one or one.startswith("-")), len(names))


def _set_devices(see: Context) -> Iterator[tuple[str, str, object]]:
    """Yield the path, the name and the value of whatever says which GPUs are used."""
    for name, value in see.said.recipe.launch.environment.items():
        if name in VISIBLE:
            yield f"launch.environment.{name}", name, value
    stack: list[tuple[str, object]] = [("overrides", see.overrides)]
    while stack:
        path, raw = stack.pop()
        for name, inner in raw.items() if is_mapping(raw) else ():
            if name in (*VISIBLE, "gpu_ids"):
                yield f"{path}.{name}", name, inner
            stack.append((f"{path}.{name}", inner))


@contradiction("P220", "visible-and-declared-gpus", "recipe", words=("launch.environment", "overrides", "hardware"))
def visible_gpus(see: Context, _recipe: Recipe) -> Iterator[Fault]:
    """Finds CUDA_VISIBLE_DEVICES with another number of GPUs than the recipe declares.

    Why is this bad:
    A process is started for each declared GPU. Without a GPU of its own it ends with "invalid device ordinal". Of more GPUs than
    declared, a trainer takes the first alone, and a script of your own may spread over all of them.

    Example:
        hardware: {gpu: a100-80gb, per_node: 8}
        launch: {environment: {CUDA_VISIBLE_DEVICES: "0,1"}}

    Use instead:
        hardware: {gpu: a100-80gb, per_node: 2}
    """
    machine = see.plan.hardware
    declared = machine.per_node if machine.device == "gpu" else 0
    for path, name, value in _set_devices(see):
        count = _visible(value)
        fewer, spreads = count is not None and count < declared, declared == 1 and count != 1
        if count is not None and value is not None and (fewer or spreads or (count and not declared)):
            message = f"{name} shows {counted(count, 'GPU')}, and {declared or 'none'} {_are(declared)} declared"
            advice = f"set hardware.per_node: {count}, or name {declared}" if count and declared else "drop one of them"
            yield Fault(path, message, advice)


def _are(count: int) -> str:
    return "are" if count > 1 else "is"


@contradiction("P221", "variables-of-the-launcher", "recipe", words=("launch.environment",))
def launcher_variables(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds the rank of a process, or the number of processes, among the environment variables.

    Why is this bad:
    The launcher gives each process its own. A fixed one makes all of them the same process, or makes a single one wait for
    others that nobody starts.

    Example:
        launch: {environment: {WORLD_SIZE: "8"}}

    Use instead:
        launch: {environment: {NCCL_DEBUG: INFO}}
    """
    for name in recipe.launch.environment:
        if name in RANKS or (name == NODE and recipe.hardware.nodes > 1):
            advice = "drop it; hardware.per_node and hardware.nodes say how many processes there are"
            yield Fault(f"launch.environment.{name}", f"the launcher sets {name} for each process", advice)


RULES = (
    other_gpu,
    four_bits_on_cpu,
    unknown_gpu,
    two_counts,
    too_few_processes,
    too_many_processes,
    sharding_on_cpu,
    no_offload,
    fsdp_offload,
    nvme_strategy,
    nvme_folder,
    needless_nvme_folder,
    other_strategy,
    several_nodes_locally,
    one_node_as_several,
    visible_gpus,
    launcher_variables,
)
