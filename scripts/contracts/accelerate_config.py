"""Extract the contract of accelerate's configuration file; run by an environment that holds accelerate.

The loader refuses unknown top-level keys by itself; the keys inside `fsdp_config` and the like are read by name
from the launcher's arguments, and it drops any other.
"""

import argparse
from typing import Any

import common
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import ComputeEnvironment, DistributedType

NESTED = {"fsdp_config": "fsdp_", "deepspeed_config": "", "dynamo_config": "dynamo_"}


def argument(action: argparse.Action) -> common.Node:
    """Return what a launcher argument accepts when it comes from the file."""
    text: dict[str, Any] = {"choices": list(action.choices)} if action.choices else {}
    if isinstance(action, argparse._StoreTrueAction):
        return common.node("bool", "null")
    if action.type is int:
        return common.node("int", "null", **text)
    if action.type is float:
        return common.node("float", "null", **text)
    return common.node("any") if not text else common.node("str", "int", "bool", "null", **text)


def build() -> dict[str, common.Node]:
    """Return the one document, `config`."""
    parser = launch_command_parser()
    config = common.fields(ClusterConfig)
    keys = config["keys"]
    groups = {group.title: group._group_actions for group in parser._action_groups}
    deepspeed = next(actions for title, actions in groups.items() if title and "deepspeed" in title.lower())
    actions = [action for action in parser._actions if action.dest != "help"]
    for name, prefix in NESTED.items():
        members = deepspeed if name == "deepspeed_config" else [a for a in actions if a.dest.startswith(prefix)]
        keys[name] = common.node(
            "map", "null", keys={a.dest: argument(a) for a in members if a.dest != "use_deepspeed"}
        )
    keys["distributed_type"] = common.node("str", choices=[kind.value for kind in DistributedType])
    keys["compute_environment"] = common.node("str", choices=[place.value for place in ComputeEnvironment])
    keys["mixed_precision"] = common.node("str", "null", choices=["no", "fp16", "bf16", "fp8"])
    return {"config": config}


if __name__ == "__main__":
    common.main("accelerate", "accelerate", "accelerate_config.py", build)
