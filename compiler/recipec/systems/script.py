"""A training script of the user, as it is: started by accelerate, torchrun, DeepSpeed's launcher or Ray Train.

Of the plan, the script hears what its arguments ask for, and the launcher what it acts on; whatever else the recipe
says of this training is without effect, and named so.
"""

from typing import Any, get_args

from recipec.facts import pinned
from recipec.job import ADDRESS, PORT, RANK, Argument, Beside, Job, Part, RayJob, Word
from recipec.kinds.train.records import Method, Train
from recipec.language.model import AdapterType
from recipec.language.train import Scheduler
from recipec.launch.words import option
from recipec.plan import leaf
from recipec.references import Reference, references, text
from recipec.render.python_writer import Expression
from recipec.systems import accelerate, deepspeed, torchrun, trainers
from recipec.systems.document import Sheet
from recipec.systems.system import Need, System
from recipec.systems.table import Row, constant, named, same

RAY = "ray-2.60.0"  # where Ray starts the script
FILE, HOSTS = "ray_train.py", "hostfile"
RAY_TEMPLATE = '''"""Runs the training script on every worker of a Ray cluster, each with the rank that Ray gives it.

    python ray_train.py SCRIPT [ARGUMENTS]
"""

import os
import subprocess
import sys

import torch.distributed
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer


def work(driver):
    """Hand this worker's place over from Ray's process group to the script, and run it."""
    torch.distributed.barrier()  # so that nobody meets the group that ends here
    torch.distributed.destroy_process_group()
    variables = {**driver["variables"], **os.environ}  # where Ray has set one, it knows better
    subprocess.run([sys.executable, *driver["command"]], cwd=driver["folder"], env=variables, check=True)


if __name__ == "__main__":
    TorchTrainer(
        work,
        train_loop_config={"command": sys.argv[1:], "folder": os.getcwd(), "variables": dict(os.environ)},
        scaling_config=ScalingConfig(
            {{ScalingConfig}}
        ),
        run_config=RunConfig(
            {{RunConfig}}
        ),
    ).fit()
'''


RAY_ROWS: tuple[Row, ...] = (
    same("ScalingConfig.num_workers", "hardware.world", "over all nodes"),
    named("ScalingConfig.use_gpu", "hardware.device", {"gpu": True, "cpu": False}),
    same("RunConfig.name", "track.run_name"),
    constant(
        "RunConfig.storage_path",
        Expression("os.path.abspath(os.environ.get('RAY_STORAGE', 'runs/ray'))"),
        "what Ray itself keeps of the run",
    ),
)


def arguments(s: Train) -> tuple[Argument, ...]:
    """Return the script's command line, an argument on a line, with what of the plan it holds in a remark."""
    assert s.script is not None
    found: list[Argument] = []
    for key, value in s.script.arguments.items():
        filled, names = _filled(s, value)
        words: tuple[Word, ...] = (f"--{key}",) if isinstance(filled, bool) else option(f"--{key}", filled)
        if filled is not False:
            found.append(Argument(words, ", ".join(names)))
    return tuple(found)


def _filled(s: Train, value: Any) -> tuple[Word | bool, list[str]]:
    """Return the value of an argument with the plan's in the place of its references, and the names of these."""
    if isinstance(value, bool):
        return value, []
    parts: list[Part] = [""]
    names: list[str] = []
    begin = 0

    def add(more: str) -> None:
        parts[-1:] = [parts[-1] + more] if isinstance(parts[-1], str) else [parts[-1], more]

    for reference in references(value):
        names.append(reference.name)
        add(value[begin : reference.start])
        begin = reference.end
        if reference.kind == "file":
            parts.append(Beside(reference.name))
            continue
        found = leaf(s, _path(reference))
        if isinstance(found, bool) and reference.end - reference.start == len(value):
            return found, names
        add(text(found))
    add(value[begin:] if isinstance(value, str) else text(value))
    kept = tuple(part for part in parts if part != "")
    return (kept if len(kept) > 1 else kept[0] if kept else ""), names


def _path(reference: Reference) -> str:
    """Return the plan path below the stage that a reference names."""
    return reference.name.partition(".")[2]


def _references(s: Train) -> list[Reference]:
    """Return all that the script's arguments ask for."""
    assert s.script is not None
    return [reference for value in s.script.arguments.values() for reference in references(value)]


def _sheets(s: Train, _environment: str) -> list[Sheet]:
    if s.script is None:  # an error of its own (P095)
        return []
    if s.script.launcher == "ray":
        release = RAY.partition("-")[2]
        return [Sheet(FILE, RAY_ROWS, "ray", release, "", "python", RAY_TEMPLATE)]
    launched = s.script.launcher == "accelerate"
    asked = any(reference.kind == "file" and reference.name == deepspeed.FILE for reference in _references(s))
    files = deepspeed.sheets(s, trainers.GENERAL) if launched or asked else []  # else nobody would read it
    if launched:
        release = pinned(trainers.GENERAL, accelerate.TOOL)
        return [Sheet(accelerate.FILE, accelerate.ROWS, accelerate.TOOL, release, "config"), *files]
    return files


def _job(s: Train) -> Job:
    assert s.script is not None
    launcher, machine = s.script.launcher, s.hardware
    program: tuple[Word, ...] = (s.script.path,)
    start: tuple[Word, ...] | RayJob
    variables: dict[str, str] = {}
    if launcher == "accelerate":
        start = accelerate.start(s)
    elif launcher == "torchrun":
        start = torchrun.start(s)
    elif launcher == "ray":
        start, program = RayJob(), ("python", Beside(FILE), *program)
    else:  # a script as it is knows no --local_rank; LOCAL_RANK is set
        start = ("deepspeed", "--num_gpus", str(machine.per_node), "--no_local_rank")
        if machine.nodes > 1:
            meeting = ("--node_rank", RANK, "--master_addr", ADDRESS, "--master_port", PORT)
            start += ("--num_nodes", str(machine.nodes), "--no_ssh", *meeting, "--hostfile", Beside(HOSTS))
        else:
            start += ("--master_port", PORT)
        variables = {"DS_ACCELERATOR": "cpu"} if machine.device == "cpu" else {}
    job = trainers.job(s, *program).replaced(start=start, arguments=arguments(s), resume="", variables=variables)
    return job.replaced(first_gpus=launcher == "deepspeed")  # told of a number, it heeds no CUDA_VISIBLE_DEVICES


def _files(s: Train) -> dict[str, str]:
    """DeepSpeed's launcher counts nodes by a file of their names; started on each node, it only counts them."""
    assert s.script is not None
    if s.script.launcher != "deepspeed" or s.hardware.nodes == 1:
        return {}
    return {HOSTS: "".join(f"node-{rank} slots={s.hardware.per_node}\n" for rank in range(s.hardware.nodes))}


def _uses(s: Train) -> tuple[str, ...]:
    """What the script is told, and what its launcher acts on beside files.

    A source of data that the script is told of has a format, of which the recipe must speak: that is its use. Of a whole
    batch it needs to hear no more than its parts, of which the launcher makes the processes.
    """
    if s.script is None:
        return ()
    told = [_path(reference) for reference in _references(s) if reference.kind == "plan"]
    sources = [path.split(".")[:3] for path in told if path.startswith("data.") and path.count(".") > 2]
    started = {
        "accelerate": ("hardware.nodes",),
        "torchrun": ("hardware.nodes", "hardware.per_node"),
        "deepspeed": ("hardware.nodes", "hardware.per_node", "hardware.device"),
        "ray": (),
    }
    formats = [".".join([*source, "format"]) for source in sources]
    parts = "batch.micro" in told and ("batch.accumulation" in told or s.batch.accumulation == 1)
    whole = ["batch.total"] if parts else []
    return ("script.path", "script.launcher", "script.arguments", *started[s.script.launcher], *told, *formats, *whole)


def _need(s: Train) -> Need:
    if s.script is not None and s.script.launcher == "ray":
        return trainers.need(s, base=RAY, holds=frozenset(), adds=frozenset())
    need = trainers.need(s, holds=frozenset(), adds=frozenset())
    started = s.script is not None and s.script.launcher == "deepspeed"
    return need.replaced(extras=need.extras | {"deepspeed"}) if started else need


SYSTEM = System(
    "script",
    kinds=frozenset(["train"]),
    can={
        "method": frozenset(get_args(Method)),
        "parallel.strategy": frozenset(["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]),
        "adapter.type": frozenset(get_args(AdapterType)),
        "optimizer.scheduler": frozenset(get_args(Scheduler)),
    },
    sheets=_sheets,
    own_program=True,
    own_loop=True,
    needs=_need,
    job=_job,
    files=_files,
    uses=_uses,
)
