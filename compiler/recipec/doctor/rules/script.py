"""What contradicts itself in a launch script: between its `#SBATCH` lines and its launcher, and what Slurm never does."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from recipec.diagnostics import Finding
from recipec.doctor.shell import OPTIONS, Launch, Script, Word
from recipec.source import Span
from recipec.suggest import nearest

SPREADERS = ("srun", "ssh", "pdsh", "mpirun", "mpiexec", "clush", "parallel-ssh", "ray")
NODE_NAMES = re.compile(r"\$\(hostname\b|`hostname\b|\$\{?HOSTNAME\}?|\$\{?SLURMD_NODENAME\}?")
RANKS = re.compile(r"\$\{?SLURM_(?:NODEID|PROCID|LOCALID)\}?")
TOLD_RANKS = {
    "torchrun": ("PET_NODE_RANK",),
    "accelerate": ("ACCELERATE_MACHINE_RANK",),
}  # variables that say it instead
SERVERS = ("vllm-serve", "vllm")
HERE = ("localhost", "127.0.0.1", "0.0.0.0", "::1")  # names to find, not to bind to


# sbatch's own options (Slurm 22.05 to 24.11), and the letters of the short ones.
_SBATCH = (
    "account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint container container-id contiguous "
    "core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency distribution error exclude exclusive "
    "export export-file extra-node-info extra get-user-env gid gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres "
    "gres-flags help hint hold ignore-pbs input job-name kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu "
    "mem-per-gpu mincpus network nice no-kill no-requeue nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node "
    "ntasks-per-socket open-mode output overcommit oversubscribe parsable partition power prefer priority profile propagate qos quiet reboot "
    "requeue reservation resv-ports segment share signal sockets-per-node spread-job stepmgr switches test-only thread-spec threads-per-core "
    "time time-min tmp tres-bind tres-per-task uid usage use-min-nodes verbose version wait wait-all-nodes wckey wrap"
)
SBATCH = tuple(_SBATCH.split())
_SHORT = "AabBCcDdEeFGHhIikLmMNnOopPQqsStuvVWwxJ"
_ALMOST = re.compile(
    r"(?:#[ \t]+SBATCH|[ \t]+#SBATCH|#(?!SBATCH)(?i:sbatch)|#(?:SBTACH|SBACTH|SABTCH|SBATH|SBATCH:|SLURM))(?=[ \t]+-)"
)
# What stands before the command that is meant.
_BEFORE = (
    "srun",
    "exec",
    "time",
    "nohup",
    "env",
    "bash",
    "sh",
    "source",
    ".",
    "sudo",
    "then",
    "do",
    "else",
    "if",
    "{",
    "nice",
    "sbatch",
    "eval",
)


def script_findings(script: Script, follows: Collection[str], *, given: bool) -> Iterator[Finding]:
    """Yield what is wrong within one script; `follows` are words of it that name files which are looked at too.

    A script that a person has `given` is there to launch something; one that only lies in a folder may do anything else.
    """
    yield from _directives(script)
    if not script.launches:
        yield from _unseen(script, follows, given=given)
    yield from _shared_devices(script)
    for launch in script.launches:
        yield from _options(launch)
        yield from _sizes(script, launch)
        yield from _meeting(script, launch)
        yield from _ranks(script, launch)
        if launch.launcher == "accelerate" and not {"config_file", "num_processes"} & launch.options.keys():
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
    for number, line in enumerate(script.source.text.splitlines(), 1):
        if found := _ALMOST.match(line):
            span = Span(script.source, number, 1, number, len(found[0]) + 1)
            message = f"sbatch takes {found[0]} for a comment"
            yield Finding("D234", message, span, help="write `#SBATCH`, at the start of the line", severity="warning")
    for directive in script.directives:
        if not _is_option(directive.name):
            close = nearest(directive.name, SBATCH)
            dashes = "-" if len(directive.name) == 1 else "--"
            message = f'sbatch has no option "{dashes}{directive.name}"'
            yield Finding("D230", message, directive.span, f"--{close}" if close else None, "sbatch refuses the script")
        elif not directive.read:
            message = f"sbatch does not read --{directive.name}: it comes after the first command"
            yield Finding("D221", message, directive.span, help="move every #SBATCH line above the first command")
        elif "$" in directive.value or "`" in directive.value:
            message = "a variable in an #SBATCH line is never expanded"
            yield Finding(
                "D220", message, directive.span, help="write the value, or give it to sbatch on its command line"
            )


def _is_option(name: str) -> bool:
    """Return whether sbatch has an option: it also takes the beginning of a long one."""
    return name in _SHORT if len(name) == 1 else any(option.startswith(name) for option in SBATCH)


def _unseen(script: Script, follows: Collection[str], *, given: bool) -> Iterator[Finding]:
    """Tell that no launcher was seen, and where it may be: nothing was compared with it then."""
    called = [(words, at) for words in script.commands if (at := _called(words)) is not None]
    if not script.directives and any(words[at].text in follows for words, at in called):
        return  # the launchers of those scripts are judged there, and nothing here is to be held against them
    for words, at in called:
        word = words[at]
        if _runs_python([word.text for word in words[at + 1 :]]):
            continue
        if re.match(r"\$(?!\()", word.text):
            message = f"the launcher could not be seen: {word.text} is not set to plain text in this script"
        elif word.text.endswith((".sh", ".slurm", ".sbatch")):
            message = f"the launcher could not be seen: it is in {word.text}"
        else:
            continue
        advice = "write the launcher out here, or give doctor the script that calls it"
        yield Finding(
            "D229", message, word.span, help=f"{advice}; only the #SBATCH lines were checked", severity="warning"
        )
        return
    if given and not script.directives:
        message = "the script calls no launcher that doctor knows"
        advice = f"it knows {', '.join(OPTIONS)} and the commands of the trainers"
        yield Finding("D229", message, script.source.at(0), help=advice, severity="warning")


def _called(words: list[Word]) -> int | None:
    """Return where in a command the program stands that it runs, behind what only wraps it."""
    return next(
        (index for index, word in enumerate(words) if word.name not in _BEFORE and not _option(words, index)), None
    )


def _runs_python(behind: list[str]) -> bool:
    """Return whether what stands behind a command makes it a Python that launches nothing: `$python -m venv`."""
    return behind[:1] == ["-c"] or (behind[:1] == ["-m"] and behind[1:2] in (["venv"], ["pip"], ["ensurepip"]))


def _option(words: list[Word], index: int) -> bool:
    """Return whether a word is an option of a wrapper, or its value."""
    text, before = words[index].text, words[index - 1].text if index else ""
    return text.startswith("-") or (
        re.fullmatch(r"-[a-zA-Z]|--[\w-]+", before) is not None and not text.startswith("$")
    )


def devices(variables: dict[str, Word]) -> list[str] | None:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, or None where it is not set to plain numbers."""
    word = variables.get("CUDA_VISIBLE_DEVICES")
    names = word.text.split(",") if word else []
    return [name.strip() for name in names] if names and all(name.strip().isdecimal() for name in names) else None


def _shared_devices(script: Script) -> Iterator[Finding]:
    """Check GPUs that a server of completions and the training both take: the server never ends."""
    served: dict[str, Word] = {}
    for words, sees in zip(script.commands, script.seen, strict=True):
        at = next((index for index, word in enumerate(words) if word.name in SERVERS), None)
        if at is None or (words[at].name == "vllm" and [word.text for word in words[at + 1 : at + 2]] != ["serve"]):
            continue
        visible = devices(sees)
        parts = [_number(words, f"--{name}") for name in ("tensor-parallel-size", "data-parallel-size")]
        wanted = (parts[0] or 1) * (parts[1] or 1)
        if visible is not None and wanted > len(visible):
            message = f"vLLM takes {wanted} GPUs, but CUDA_VISIBLE_DEVICES leaves it {len(visible)}"
            yield Finding("D235", message, sees["CUDA_VISIBLE_DEVICES"].span, help="make them the same")
        served |= dict.fromkeys(visible or [], words[at])
    for launch in script.launches:
        visible, total = devices(launch.variables), launch.integer("num_processes", "nproc_per_node", "num_gpus")
        own = (
            visible
            if visible is not None
            else [str(index) for index in range(total[0])]
            if total and total[0] <= 64
            else []
        )
        both = [name for name in own if name in served]
        if both:
            message = f"GPU {', '.join(both)} is taken by vLLM (line {served[both[0]].span.line}) and by the training"
            span = launch.variables["CUDA_VISIBLE_DEVICES"].span if visible is not None else launch.word.span
            yield Finding("D236", message, span, help="give each its own GPUs in CUDA_VISIBLE_DEVICES")


def _number(words: list[Word], option: str) -> int | None:
    """Return the whole number behind an option, spelt with dashes or underscores."""
    for index, word in enumerate(words):
        name, equals, value = word.text.partition("=")
        if name.replace("_", "-") == option:
            value = value if equals else words[index + 1].text if index + 1 < len(words) else ""
            return int(value) if value.isdecimal() and len(value) < 8 else None
    return None


def _ranks(script: Script, launch: Launch) -> Iterator[Finding]:
    """Check what differs from node to node: each node's rank, and the address at which they all meet."""
    asked, many = nodes(script), launch.integer("nnodes", "num_machines")
    count = max(asked[0] if asked else 1, many[0] if many else 1)
    if count < 2 or launch.launcher not in TOLD_RANKS:
        return
    for name in ("master_addr", "rdzv_endpoint", "main_process_ip"):
        word = launch.options.get(name)
        if word and launch.late and NODE_NAMES.search(word.text):
            message = f"--{name} is another address on each of the {count} nodes"
            yield Finding("D233", message, word.span, help="set it before srun, from the first node of the job")
    spread = any(word.name in ("srun", "mpirun", "mpiexec", "pdsh", "clush") for word in launch.before)
    static = launch.options.get("rdzv_backend") is None or launch.options["rdzv_backend"].text == "static"
    if not spread or not static or set(TOLD_RANKS[launch.launcher]) & launch.variables.keys():
        return
    if any(name.startswith("deepspeed_") for name in launch.options):
        return  # DeepSpeed's own launcher may do it
    option = "node_rank" if launch.launcher == "torchrun" else "machine_rank"
    given = launch.options.get(option)
    late = f"srun bash -c '{launch.launcher} … --{option} $SLURM_NODEID …'"
    if given is None:
        where = "main_process_ip" if launch.launcher == "accelerate" else "master_addr"
        message = (
            f"{launch.launcher} without --{option}: each of the {count} nodes takes itself for the first, at {where}"
        )
        yield Finding("D231", message, launch.word.span, help=f"let each node fill it in: {late}")
    elif RANKS.search(given.text) and not launch.late:
        message = f"{given.text} is filled in before srun starts: --{option} is 0 on every node"
        yield Finding("D232", message, given.span, help=f"let each node fill it in: {late}")
    elif given.text.isdecimal() and not launch.late:
        message = f"--{option} is {given.text} on every node that srun starts it on"
        yield Finding("D232", message, given.span, help=f"let each node fill it in: {late}")


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
    visible = devices(launch.variables)
    if visible is not None and (local or (total and not (many and many[0] > 1))):
        count, word = local or total or (0, launch.word)
        span = launch.variables["CUDA_VISIBLE_DEVICES"].span
        message = f"{launch.launcher} starts {count} processes, but CUDA_VISIBLE_DEVICES leaves {len(visible)} GPUs (line {span.line})"
        yield from _unequal("D235", message, count, len(visible), word.span)
        each = None
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
