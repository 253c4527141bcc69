"""Judge accelerate configuration files: its loader, its launcher's checks, and the plugin objects its processes make.

A job: {"file": ..., "cwd": folder from which `deepspeed_config_file` is found, "world": 4, "data_parallel": 4,
"arguments": what the stage's script adds on the command line, as ["--main_process_ip", "10.0.0.1"]}.
"""

import contextlib
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from judging import Job, environment, run

PREFIXES = {"fsdp_config": "fsdp_", "fp8_config": "fp8_", "dynamo_config": "dynamo_"}


def judge(job: Job) -> list[str]:
    """Return the nested keys that the launcher ignores. Raises whatever accelerate raises."""
    launch = import_module("accelerate.commands.launch")
    utils = import_module("accelerate.utils.launch")
    yaml = import_module("yaml")
    import_module("accelerate.commands.config.config_args").load_config_from_file(job["file"])
    parser = launch.launch_command_parser()
    args = launched(launch, parser.parse_args(["--config_file", job["file"], *job.get("arguments", []), "train.py"]))
    world = job.get("world")
    if world is not None and args.num_processes != world:
        raise ValueError(f"starts {args.num_processes} processes, not {world}")
    variables = prepared(utils, args)
    with environment(**variables):
        plugins = import_module("accelerate.utils")
        if args.use_fsdp:
            version = plugins.FullyShardedDataParallelPlugin().fsdp_version
            if str(version) != str(args.fsdp_version):
                raise ValueError(f"FSDP version {version}, not {args.fsdp_version}")
        if args.use_deepspeed:
            deepspeed(plugins, args)
        if args.use_parallelism_config:
            groups(import_module("accelerate.parallelism_config").ParallelismConfig(), args, job)
    known = {action.dest for action in parser._actions} | set(re.findall(r"\bargs\.(\w+)", inspect.getsource(utils)))
    return list(ignored(yaml.safe_load(Path(job["file"]).read_text(encoding="utf-8")), known, launch))


def groups(sizes: Any, args: Any, job: Job) -> None:
    """Compare the groups of processes with their number, and with those that the plan divides the batch by."""
    if sizes.total_size != args.num_processes:  # `_validate_accelerator` of the processes
        raise ValueError(f"groups of {sizes.total_size} processes, of {args.num_processes}")
    if sizes.data_parallel_size != job.get("data_parallel", sizes.data_parallel_size):
        raise ValueError(f"{sizes.data_parallel_size} data-parallel processes, not {job['data_parallel']}")


def launched(launch: Any, args: Any) -> Any:
    """Return the arguments with which the launcher would start the processes."""
    found: list[Any] = []
    with contextlib.ExitStack() as stack:
        for name in ("deepspeed_launcher", "multi_gpu_launcher", "simple_launcher"):
            stack.enter_context(patch.object(launch, name, found.append))
        launch.launch_command(args)
    return found[0]


def prepared(utils: Any, args: Any) -> dict[str, str]:
    """Return the environment that the launcher would give its processes."""
    with patch.object(utils, "is_port_in_use", lambda _port: False):  # what else this machine runs is not the question
        if args.use_deepspeed:
            launchers = import_module("accelerate.utils.constants").DEEPSPEED_MULTINODE_LAUNCHERS
            if args.deepspeed_multinode_launcher not in (None, *launchers):
                raise ValueError(f"unknown deepspeed_multinode_launcher {args.deepspeed_multinode_launcher}")
            found = utils.prepare_deepspeed_cmd_env(args)[1]
        elif args.use_fsdp or args.multi_gpu:
            found = utils.prepare_multi_gpu_env(args)
        else:
            found = utils.prepare_simple_launcher_cmd_env(args)[1]
    if args.num_machines > 1 and not args.main_process_ip:
        raise ValueError("several machines, but no main_process_ip")
    return {name: str(value) for name, value in found.items()}


def deepspeed(plugins: Any, args: Any) -> None:
    """Make the plugin object of a process. Raises whatever accelerate and DeepSpeed raise."""
    plugin = plugins.DeepSpeedPlugin()
    stage = plugin.deepspeed_config["zero_optimization"]["stage"]
    if stage not in (0, 1, 2, 3):
        raise ValueError(f"no ZeRO stage {stage}")
    if args.deepspeed_config_file and not Path(args.deepspeed_config_file).is_file():
        raise FileNotFoundError(args.deepspeed_config_file)


def ignored(document: dict[str, Any], known: set[str], launch: Any) -> Any:
    """Yield the dotted nested keys whose option the launcher does not have."""
    source = inspect.getsource(launch._validate_launch_command)
    for block, keys in document.items():
        for key in keys if isinstance(keys, dict) else ():
            prefix = PREFIXES.get(block, "") if f'"{block}"' in source else ""
            if key not in known and (key.startswith(prefix) or prefix + key not in known):
                yield f"{block}.{key}"


if __name__ == "__main__":
    run(judge)
