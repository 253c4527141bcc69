"""Reads command lines of launchers by their own parsers: jobs `{"tool": "torchrun", "argv": [...]}` in, options out."""

import json
import sys
from importlib import import_module
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))


def parsed(tool: str, argv: list[str]) -> dict[str, object]:
    """Return the options as the launcher itself reads them. Raises SystemExit where it refuses them."""
    if tool == "torchrun":
        return vars(import_module("torch.distributed.run").get_args_parser().parse_args(argv))
    if tool == "deepspeed":
        return vars(import_module("deepspeed.launcher.runner").parse_args(argv))
    assert argv[0] == "launch"
    return vars(import_module("accelerate.commands.launch").launch_command_parser().parse_args(argv[1:]))


if __name__ == "__main__":
    verdicts: list[object] = []
    for job in json.load(sys.stdin):
        try:
            verdicts.append(parsed(job["tool"], job["argv"]))
        except SystemExit as refusal:
            verdicts.append(f"refused: {refusal.code}")
    print("\n" + json.dumps(verdicts, default=str))
