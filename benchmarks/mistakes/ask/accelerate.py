"""Ask accelerate: its loader, its launcher up to the start of processes, and the plugin objects of a process."""

from importlib import import_module
from unittest.mock import patch

from asking import Job, judge, judging, run

JUDGE = judge("accelerate")


def validate(job: Job) -> None:
    """Launch, but for the processes. Raises whatever accelerate raises."""
    launch = import_module("accelerate.commands.launch")
    utils = import_module("accelerate.utils.launch")
    plugins = import_module("accelerate.utils")
    import_module("accelerate.commands.config.config_args").load_config_from_file(job["file"])
    parser = launch.launch_command_parser()
    args = JUDGE.launched(launch, parser.parse_args(["--config_file", job["file"], "train.py"]))
    with patch.object(utils, "is_port_in_use", lambda _port: False):  # what else this machine runs is not the question
        if args.use_deepspeed:
            variables = utils.prepare_deepspeed_cmd_env(args)[1]
        elif args.use_fsdp or args.multi_gpu:
            variables = utils.prepare_multi_gpu_env(args)
        else:
            variables = utils.prepare_simple_launcher_cmd_env(args)[1]
    with judging.environment(**variables):
        if args.use_fsdp:
            plugins.FullyShardedDataParallelPlugin()
        if args.use_deepspeed:
            plugins.DeepSpeedPlugin()


if __name__ == "__main__":
    run(validate)
