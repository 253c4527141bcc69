"""Extract what accelerate's configuration file may hold: the fields of its class, and the nested keys its launcher was seen to take."""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import tempfile
from importlib import import_module
from typing import Any

import common
from common import Node, node

os.environ["HF_HOME"] = tempfile.mkdtemp()  # so that no default configuration of this machine is read

SENTINEL = "recipec-sentinel"
# Nested block -> what the launcher's options for it start with ("" means: the options of the group of that title).
BLOCKS = {
    "deepspeed_config": "",
    "dynamo_config": "dynamo_",
    "fp8_config": "fp8_",
    "fsdp_config": "fsdp_",
    "megatron_lm_config": "megatron_lm_",
    "mpirun_config": "mpirun_",
    "parallelism_config": "parallelism_config_",
}
# Option -> the constant of accelerate.utils.constants that lists its values, which the parser takes as any text.
NAMED = {
    "fsdp_auto_wrap_policy": "FSDP_AUTO_WRAP_POLICY",
    "fsdp_backward_prefetch": "FSDP_BACKWARD_PREFETCH",
    "fsdp_reshard_after_forward": "FSDP_SHARDING_STRATEGY",
    "fsdp_sharding_strategy": "FSDP_SHARDING_STRATEGY",
    "fsdp_state_dict_type": "FSDP_STATE_DICT_TYPE",
    "deepspeed_multinode_launcher": "DEEPSPEED_MULTINODE_LAUNCHERS",
}
ZERO_STAGES = [0, 1, 2, 3]
DEVICES = ["none", "cpu", "nvme"]


def build() -> dict[str, Node]:
    """Return the documents of accelerate's contract."""
    config_args = import_module("accelerate.commands.config.config_args")
    launch = import_module("accelerate.commands.launch")
    dataclasses = import_module("accelerate.utils.dataclasses")
    config = common.fields(config_args.ClusterConfig)
    keys = config["keys"]
    keys["distributed_type"] = common.of(dataclasses.DistributedType)
    keys["mixed_precision"] = {**common.of(dataclasses.PrecisionType), "type": node("str", "null")["type"]}
    keys["downcast_bf16"] = node("str", "bool", doc="TPU only; accelerate's own questionnaire writes the word no")
    for name in converted(config_args.BaseConfig.process_config):
        keys[name] = node("any", deprecated="an old key that accelerate rewrites when it loads the file")
    parser = launch.launch_command_parser()
    for block, prefix in BLOCKS.items():
        children: dict[str, Node] = {}
        for dest, action in options(parser, prefix).items():
            spelt = [dest] if not prefix else [dest, dest.removeprefix(prefix)]
            child = value(dest, action)
            children |= {s: child for s in spelt if taken(launch, parser, block, s, dest)}
        keys[block] = node("map", "null", keys=children)
    return {"config": config}


def converted(function: Any) -> list[str]:
    """Return the old keys that the loader takes out of the mapping before it looks for unknown ones."""
    found = []
    for n in ast.walk(common.syntax(function)):
        if isinstance(n, ast.Delete):
            found += [name for target in n.targets for name in common.strings(target)]
        if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "pop":
            found += common.strings(n.args[0])
    return sorted(set(found))


def options(parser: argparse.ArgumentParser, prefix: str) -> dict[str, argparse.Action | None]:
    """Return the options of a block, and those that the launcher reads although its parser does not know them."""
    found: dict[str, argparse.Action | None] = {}
    for group in parser._action_groups:
        for action in group._group_actions:
            mine = action.dest.startswith(prefix) if prefix else group.title == "DeepSpeed Arguments"
            if mine and not action.dest.startswith("use_"):
                found[action.dest] = action
    tree = common.syntax(import_module("accelerate.utils.launch"))
    read = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "args"]
    for n in read if prefix else ():
        if n.attr.startswith(prefix):
            found.setdefault(n.attr, None)
    return dict(sorted(found.items()))


def taken(launch: Any, parser: argparse.ArgumentParser, block: str, spelling: str, dest: str) -> bool:
    """Return whether a key written so in the block reaches the launcher's option, by loading a file that has it."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(f"distributed_type: MULTI_GPU\nnum_processes: 2\n{block}:\n  {spelling}: {SENTINEL}\n")
        file.flush()
        args = parser.parse_args(["--config_file", file.name, "script.py"])
        with contextlib.suppress(ValueError):  # the sentinel is no valid value, but by then it has arrived or not
            args = launch._validate_launch_command(args)[0]
        return getattr(args, dest, None) == SENTINEL


def value(dest: str, action: argparse.Action | None) -> Node:
    """Return the node of a nested value: the option's own type, and what YAML would hold for it."""
    constants = import_module("accelerate.utils.constants")
    out = node("any")
    if action is not None:
        flag = (
            action.nargs == 0 or str(action.default).lower() in ("true", "false") or "(true|false)" in str(action.help)
        )
        if flag:
            out = node("str", "bool", "null", choices=["true", "false"])
        elif action.type in (int, float):
            out = node("int" if action.type is int else "float", "null")
        else:
            out = node("str", "null")
        if action.choices and not flag:
            out = node("str", "null", choices=[str(choice) for choice in action.choices])
            if all(str(choice).isdigit() for choice in action.choices):
                out = node("int", "str", "null", choices=[*map(int, out["choices"]), *out["choices"]])
        if dest.startswith("dynamo_") and "choices" in out:
            out["patterns"] = [f"(?i:{'|'.join(out['choices'])})"]
        if dest.startswith("parallelism_config_") and "choices" not in out:
            out["type"] = node("str", *out["type"], "int")["type"]  # reaches the training as text either way
        out |= common.short(action.help)
    if dest in NAMED:
        names = getattr(constants, NAMED[dest])
        out = {**out, "type": node("str", "null")["type"], "choices": list(names)}
        if dest.startswith("fsdp"):
            out["patterns"] = [f"(?i:{'|'.join(names)})"]
        if dest == "fsdp_sharding_strategy":
            out["type"] = node("str", "int", "null")["type"]
            out["choices"] = [*names, *range(1, len(names) + 1), *map(str, range(1, len(names) + 1))]
        if dest == "fsdp_reshard_after_forward":
            out["type"] = node("str", "bool", "null")["type"]
            out["patterns"].append("(?i:true|false)")
    if (
        dest == "fp8_backend"
    ):  # its questionnaire writes the names of this enum, and the parser's own spelling stops the training
        backends = import_module("accelerate.utils.dataclasses").FP8BackendType
        out = {**out, "choices": [one.value for one in backends if one.value != "NO"]}
    if (
        dest == "fp8_override_linear_precision"
    ):  # the file's value is not parsed, and the launcher takes it by its index
        out = {**out, "type": node("list", "null")["type"], "items": node("bool")}
    if dest == "zero_stage":
        out = {**out, "choices": ZERO_STAGES}
    if dest in ("offload_optimizer_device", "offload_param_device"):
        out = {**out, "choices": DEVICES}
    return out


if __name__ == "__main__":
    common.main("accelerate", "accelerate", "accelerate.py", build)
