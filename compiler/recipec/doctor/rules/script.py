"""What contradicts itself in a launch script: between its `#SBATCH` lines and its launcher, and what Slurm never does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recipec.diagnostics import Finding
from recipec.doctor.shell import OPTIONS, Launch, Script
from recipec.source import Span
from recipec.suggest import nearest

SPREADERS = ("srun", "ssh", "pdsh", "mpirun", "mpiexec", "clush", "parallel-ssh", "ray")
HERE = ("localhost", "127.0.0.1", "0.0.0.0", "::1")  # names to find, not to bind to


def script_findings(script: Script) -> Iterator[Finding]:
    """Yield what is wrong within one script."""
    yield from _directives(script)
    if not script.launches and not script.directives:
        message = "the script calls no launcher that doctor knows"
        advice = f"it knows {', '.join(OPTIONS)} and the commands of the trainers"
        yield Finding("D229", message, script.source.at(0), help=advice, severity="warning")
    for launch in script.launches:
        yield from _options(launch)
        yield from _sizes(script, launch)
        yield from _meeting(script, launch)
        if launch.launcher == "accelerate" and "config_file" not in launch.options:
            message = "accelerate launch without --config_file reads the machine's default configuration"
            yield Finding(
                "D227",
                message,
                launch.word.span,
                help="name the file: `--config_file accelerate.yaml`",
                severity="warning",
            )


def nodes(script: Script) -> tuple[int, Span] | None:
    """Return how many nodes the job asks for."""
    found = script.directive("nodes")
    return (int(found.value), found.span) if found and found.value.isdecimal() and len(found.value) < 8 else None


def gpus(script: Script) -> tuple[int, Span] | None:
    """Return how many GPUs the job asks for on each node."""
    found = script.directive("gpus-per-node", "gres")
    if found is None or (found.name == "gres" and not found.value.startswith("gpu")):
        return None
    count = found.value.split(",")[0].split("(")[0].rpartition(":")[2]
    if found.value in ("gpu", "gpu:") or not count.isdecimal():
        return (1, found.span) if found.value == "gpu" else None
    return (int(count), found.span) if len(count) < 8 else None


def world(launch: Launch) -> tuple[int, Span] | None:
    """Return how many processes a launcher starts on all nodes, where the script says it in numbers."""
    if launch.launcher == "accelerate":
        found = launch.integer("num_processes")
        return (found[0], found[1].span) if found else None
    each = (
        launch.integer("nproc_per_node")
        if launch.launcher == "torchrun"
        else launch.integer("num_gpus", "num_accelerators")
    )
    many = launch.integer("nnodes") if launch.launcher == "torchrun" else launch.integer("num_nodes")
    if each is None or ((launch.options.get("nnodes") or launch.options.get("num_nodes")) and many is None):
        return None
    return each[0] * (many[0] if many else 1), each[1].span


def _directives(script: Script) -> Iterator[Finding]:
    for directive in script.directives:
        if not directive.read:
            message = f"sbatch does not read --{directive.name}: it comes after the first command"
            yield Finding("D221", message, directive.span, help="move every #SBATCH line above the first command")
        elif "$" in directive.value or "`" in directive.value:
            message = "a variable in an #SBATCH line is never expanded"
            yield Finding(
                "D220", message, directive.span, help="write the value, or give it to sbatch on its command line"
            )


def _options(launch: Launch) -> Iterator[Finding]:
    known = OPTIONS.get(launch.launcher, ("", ""))[0].split()
    if not known:
        return
    flags = OPTIONS[launch.launcher][1].split()
    for name, place in launch.places.items():
        if (
            name in flags
            or any(option.startswith(name) for option in known)
            or name.startswith(("megatron_lm", "fp8", "parallelism_config"))
        ):
            continue
        close = nearest(name, known)
        message = f'{launch.launcher} has no option "--{name}"'
        yield Finding("D228", message, place, f"--{close}" if close else None, "its parser stops at it")


def _sizes(script: Script, launch: Launch) -> Iterator[Finding]:
    """Check numbers of processes: more than there are places for is an error, fewer may be meant (another may use the rest)."""
    asked, each = nodes(script), gpus(script)
    many = launch.integer("nnodes", "num_machines", "num_nodes")
    local = launch.integer("nproc_per_node") or launch.integer("num_gpus", "num_accelerators")
    total = launch.integer("num_processes")
    if local and each:
        message = f"{launch.launcher} starts {local[0]} processes on a node, but the job asks for {each[0]} GPUs on each (line {each[1].line})"
        yield from _unequal("D222", message, local[0], each[0], local[1].span)
    if many and asked:
        message = f"{launch.launcher} waits for {many[0]} nodes, but the job asks for {asked[0]} (line {asked[1].line})"
        yield from _unequal("D223", message, many[0], asked[0], many[1].span)
    machines = asked or many
    if total and each and machines:
        wanted = each[0] * machines[0]
        message = f"accelerate starts {total[0]} processes over all nodes, but the job asks for {wanted} GPUs"
        yield from _unequal("D222", message, total[0], wanted, total[1].span)
    tasks = script.directive("ntasks-per-node")
    before = [word.text for word in launch.before]
    told = any(text.startswith(("--ntasks", "-n")) for text in before)
    if tasks and tasks.value.isdecimal() and int(tasks.value) > 1 and "srun" in before and not told:
        message = (
            f"srun starts {launch.launcher} {tasks.value} times on each node, and each starts processes of its own"
        )
        yield Finding("D224", message, tasks.span, help="write --ntasks-per-node=1 and let the launcher start the rest")
    spread = any(word.text.rsplit("/", 1)[-1] in SPREADERS for words in script.commands for word in words)
    itself = launch.launcher == "deepspeed" or any(name.startswith("deepspeed_") for name in launch.options)
    if asked and asked[0] > 1 and not spread and not itself:
        message = f"{launch.launcher} runs on the first of {asked[0]} nodes only"
        yield Finding("D225", message, launch.word.span, help="start it on every node: put `srun` before it")


def _unequal(code: str, message: str, has: int, wanted: int, span: Span) -> Iterator[Finding]:
    if has != wanted:
        yield Finding(code, message, span, help="make them the same", severity="error" if has > wanted else "warning")


def _meeting(script: Script, launch: Launch) -> Iterator[Finding]:
    """Check where the processes of several nodes are to meet."""
    asked, many = nodes(script), launch.integer("nnodes", "num_machines", "num_nodes")
    if max(asked[0] if asked else 1, many[0] if many else 1) < 2:
        return
    words = [launch.options.get(name) for name in ("master_addr", "rdzv_endpoint", "main_process_ip")]
    used = [word for word in words if word is not None]
    if not used and "MASTER_ADDR" in launch.variables:
        used = [launch.variables["MASTER_ADDR"]]
    for word in used:
        host = word.text.rsplit(":", 1)[0] if word.text.count(":") == 1 else word.text
        if host in HERE:
            message = f"the processes of several nodes cannot connect at {host}"
        elif re.fullmatch(r"\$\{?SLURM(_JOB)?_NODELIST\}?", host):
            message = "SLURM_JOB_NODELIST is a compressed list, not a host"
        else:
            continue
        advice = 'write `$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)`'
        yield Finding("D226", message, word.span, help=advice)
    if launch.launcher == "torchrun" and "standalone" in launch.options:
        yield Finding(
            "D226",
            "--standalone is for one node",
            launch.options["standalone"].span,
            help="give --rdzv_backend c10d and --rdzv_endpoint",
        )
