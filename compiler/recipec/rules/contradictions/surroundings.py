"""Contradictions with what surrounds a run: environment variables, trackers, folders that are memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recipec.decide.said import indexed
from recipec.kinds.train.records import Train
from recipec.language import Recipe
from recipec.launch.words import FIRST
from recipec.rules.rule import Context, Fault, contradiction

ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
# One option or several, each `key:value`; a value may be a list in brackets (torch/csrc/.../AcceleratorAllocatorConfig).
_OPTIONS = re.compile(
    r"\s*[a-z_0-9]+\s*:\s*(?:\[[^\]]*\]|[^,\[\]:=]+)(?:,\s*[a-z_0-9]+\s*:\s*(?:\[[^\]]*\]|[^,\[\]:=]+))*\s*"
)
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1|\[::1\]")
INTERFACES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
# What turns a tracker off, by the variable that its client reads.
OFF = {"WANDB_MODE": ("disabled",), "WANDB_DISABLED": ("true", "1", "yes")}
# What finds errors and makes every run slow: the value of each that does.
SLOW = {
    "CUDA_LAUNCH_BLOCKING": (r"(?!0$).+", "makes the CPU wait for every kernel"),
    "NCCL_DEBUG": (r"(?i)trace", "writes a line for every exchange between GPUs"),
    "TORCH_DISTRIBUTED_DEBUG": (r"(?i)detail", "compares the shapes of every exchange between processes, before each"),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": (r"(?!0$).+", "asks the driver for memory at every tensor"),
    "TRITON_INTERPRET": (r"(?!0$).+", "runs Triton's kernels in Python on the CPU"),
    "TORCH_CPP_LOG_LEVEL": (r"(?i)(debug|trace)", "writes a line for much that torch does"),
    "CUDA_CACHE_DISABLE": (r"(?!0$).+", "compiles kernels anew in every process"),
    "NCCL_DEBUG_SUBSYS": (r"(?i)all", "writes a line for every step of NCCL"),
    "ACCELERATE_DEBUG_MODE": (
        r"(?i)(1|true|yes)",
        "compares the shapes of every exchange between processes, before each",
    ),
    "TORCH_USE_CUDA_DSA": (r"(?!0$).+", "lets kernels check what they do"),
    "CUBLAS_LOGDEST_DBG": (r".+", "writes a line for every matrix product"),
    "TORCH_SHOW_DISPATCH_TRACE": (r"(?!0$).+", "writes a line for every operation"),
}
IN_MEMORY = ("/dev/shm", "/run/shm", "/run/user")


def _variable(name: str) -> str:
    return indexed("launch.environment", name)


@contradiction("P293", "malformed-allocator-options", "recipe", words=("launch.environment",))
def allocator(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds options of torch's allocator that it cannot read.

    Why is this bad:
    torch reads them at its first allocation on the GPU, and ends there: options are `key:value`, with commas between.

    Example:
        launch: {environment: {PYTORCH_CUDA_ALLOC_CONF: "expandable_segments=True"}}

    Use instead:
        launch: {environment: {PYTORCH_CUDA_ALLOC_CONF: "expandable_segments:True"}}
    """
    for name in ALLOCATOR:
        value = recipe.launch.environment.get(name)
        if value is not None and "${" not in value and _OPTIONS.fullmatch(value) is None:
            message = f"{name} takes options as key:value, and {value!r} is not that"
            yield Fault(_variable(name), message, "write for example expandable_segments:True")


@contradiction("P294", "tracker-that-is-turned-off", "recipe", words=("launch.environment", "track"))
def turned_off(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a tracker that the recipe asks for and that an environment variable turns off.

    Why is this bad:
    The run sends nothing: its numbers are where nobody looks.

    Example:
        track: {wandb: {project: chat}}
        launch: {environment: {WANDB_MODE: disabled}}

    Use instead:
        track: {wandb: {project: chat}}
        launch: {environment: {WANDB_MODE: online}}
    """
    if recipe.track.wandb is None:
        return
    for name, words in OFF.items():
        value = recipe.launch.environment.get(name)
        if value is not None and value.lower() in words:
            yield Fault(_variable(name), f"{name}={value} turns off what track.wandb asks for", "drop one of the two")


@contradiction("P295", "nodes-that-meet-themselves", "recipe", words=("launch.environment", "hardware.nodes"))
def loopback(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a rendezvous of several nodes at an address, or over an interface, that never leaves a node.

    Why is this bad:
    Each node waits for the others at itself. After half an hour the run ends with a timeout.

    Example:
        hardware: {gpu: a100-80gb, per_node: 8, nodes: 2}
        parallel: {strategy: fsdp2}
        launch: {environment: {NCCL_SOCKET_IFNAME: lo}}

    Use instead:
        launch: {environment: {}}
    """
    if recipe.hardware.nodes < 2:
        return
    given = recipe.launch.environment
    address = given.get(FIRST, "")
    if _LOOPBACK.fullmatch(address):
        advice = "drop it, and set it where a node is started, to the address of node 0"
        yield Fault(_variable(FIRST), f"each of the {recipe.hardware.nodes} nodes finds itself at {address}", advice)
    for name in INTERFACES:
        if given.get(name, "").lstrip("=") == "lo":
            yield Fault(
                _variable(name), "the interface lo never leaves a node", "name the one between the nodes, such as eth0"
            )


@contradiction("P296", "tracking-address-without-scheme", "recipe", words=("track",))
def tracking_address(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds an address of MLflow's server without `http://`.

    Why is this bad:
    MLflow takes what stands before the colon for a kind of store, and ends with an error when the training starts; or it
    takes the whole for a folder, and the numbers never reach the server.

    Example:
        trainer: trl
        track: {mlflow: {tracking_uri: "mlflow.example:5000", experiment: chat}}

    Use instead:
        track: {mlflow: {tracking_uri: "http://mlflow.example:5000", experiment: chat}}
    """
    address = recipe.track.mlflow.tracking_uri if recipe.track.mlflow is not None else ""
    if re.fullmatch(r"(?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+:[0-9]{2,5}(?:/.*)?", address):
        message = f"{address} is the address of a server without its scheme"
        yield Fault("track.mlflow.tracking_uri", message, "begin it with http:// or https://", f"http://{address}")


@contradiction("P297", "project-that-is-a-path", "recipe", words=("track",))
def project(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a name of a Weights & Biases project that holds a character which none may hold.

    Why is this bad:
    The service refuses the name when the run starts. Most often the team stands before it.

    Example:
        track: {wandb: {project: my-team/chat}}

    Use instead:
        track: {wandb: {project: chat, entity: my-team}}
    """
    name = recipe.track.wandb.project if recipe.track.wandb is not None else ""
    found = re.search(r"[/\\#?%:]", name)
    if found is not None:
        team, _, rest = name.partition("/")
        advice = f"write project: {rest}, entity: {team}" if found[0] == "/" and rest else "leave it out"
        yield Fault("track.wandb.project", f"the name of a project cannot hold {found[0]}", advice)


@contradiction("P298", "drive-that-is-memory", words=("parallel.offload",))
def not_a_drive(_see: Context, s: Train) -> Iterator[Fault]:
    """Finds an NVMe offload to a folder that is kept in memory.

    Why is this bad:
    What is offloaded takes host memory after all, up to half of it, and then fails. `cpu` does the same without detours.

    Example:
        hardware: {gpu: a100-80gb, per_node: 8}
        parallel: {strategy: zero3, offload: {optimizer: nvme, nvme_path: /dev/shm/offload}}

    Use instead:
        parallel: {strategy: zero3, offload: {optimizer: nvme, nvme_path: /local_nvme}}
    """
    path = s.parallel.nvme_path or ""
    for folder in IN_MEMORY:
        if path == folder or path.startswith(folder + "/"):
            yield Fault(
                "parallel.offload.nvme_path",
                f"{folder} is memory, not a drive",
                "name a folder on an NVMe drive, or use cpu",
            )


@contradiction("P320", "debugging-left-on", "recipe", words=("launch.environment",), severity="warning", waivable=True)
def debugging(_see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds an environment variable that helps to find an error, and makes every run slow.

    Why is this bad:
    Such a variable is set for an hour of debugging and forgotten. The training does the same as without it, in a multiple of the time.

    Example:
        launch: {environment: {CUDA_LAUNCH_BLOCKING: "1"}}

    Use instead:
        launch: {environment: {CUDA_LAUNCH_BLOCKING: "0"}}

    When it is meant:
    The run is there to find an error, and not for its result.
    """
    for name, (value, does) in SLOW.items():
        given = recipe.launch.environment.get(name)
        if given and re.fullmatch(value, given):
            yield Fault(_variable(name), f"{name}={given} {does}", "drop it, once the error is found")


RULES = (debugging, allocator, turned_off, loopback, tracking_address, project, not_a_drive)
