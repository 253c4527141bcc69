"""Extract the contract of ds_config.json; run by an environment that holds deepspeed (DS_ACCELERATOR=cpu).

The nested parts are pydantic models. The top level is read key by key: every constant that the configuration
modules look up in the dictionary is a key.
"""

import ast
import inspect
from importlib import import_module
from typing import Any

import common
import deepspeed.runtime.constants as constants
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from pydantic import BaseModel

MODULES = (
    "deepspeed.runtime.config",
    "deepspeed.runtime.activation_checkpointing.config",
    "deepspeed.runtime.data_pipeline.config",
    "deepspeed.runtime.swap_tensor.aio_config",
    "deepspeed.runtime.zero.config",
    "deepspeed.runtime.precision_config",
    "deepspeed.runtime.model_checkpointing.config",
    "deepspeed.profiling.config",
    "deepspeed.compression.config",
    "deepspeed.monitor.config",
    "deepspeed.comm.config",
    "deepspeed.nebula.config",
    "deepspeed.autotuning.config",
    "deepspeed.datastates.config",
)
NOT_KEYS = ("_DEFAULT", "_FORMAT")


WHOLE = ("param_dict", "ds_config", "config_dict", "pd")


def looked_up(module: Any) -> set[str]:
    """Return every key that a module's functions look up in the whole configuration."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Call) and len(node.args) >= 2 and getattr(node.func, "id", "").startswith("get_"):
            pairs = [(node.args[0], node.args[1])]
        elif isinstance(node, ast.Subscript):
            pairs = [(node.value, node.slice)]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
            found_in = node.comparators[0]
            owner = (
                found_in.func.value
                if isinstance(found_in, ast.Call) and isinstance(found_in.func, ast.Attribute)
                else found_in
            )
            pairs = [(owner, node.left)]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
            and node.args
        ):
            pairs = [(node.func.value, node.args[0])]
        for owner, name in pairs:
            value = node_value(name, module)
            whole = getattr(owner, "id", getattr(owner, "attr", "")).lstrip("_") in WHOLE
            if whole and isinstance(value, str) and value.isidentifier() and value.islower():
                found.add(value)
    return found


def node_value(name: ast.expr, module: Any) -> object:
    """Return the text that an expression stands for, if it is a text or a constant of the module."""
    if isinstance(name, ast.Constant):
        return name.value
    if isinstance(name, ast.Name) and not name.id.endswith(NOT_KEYS):
        return getattr(module, name.id, getattr(constants, name.id, None))
    return None


def build() -> dict[str, common.Node]:
    """Return the one document, `ds_config`."""
    keys = {name: common.node("any") for module in MODULES for name in looked_up(import_module(module))}
    whole = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "steps_per_print")
    keys |= {name: common.node("int") for name in whole}
    keys["gradient_clipping"] = common.node("float")
    keys["zero_optimization"] = common.model(DeepSpeedZeroConfig)
    for name, value in vars(__import__("deepspeed.runtime.precision_config", fromlist=["x"])).items():
        if (
            isinstance(value, type)
            and issubclass(value, BaseModel)
            and name in ("DeepSpeedFP16Config", "DeepSpeedBF16Config")
        ):
            keys["fp16" if "FP16" in name else "bf16"] = common.model(value)
    for name in ("optimizer", "scheduler"):
        keys[name] = common.node(
            "map", keys={"type": common.node("str"), "params": common.node("map"), "legacy_fusion": common.node("bool")}
        )
    return {"ds_config": common.node("map", keys=keys)}


if __name__ == "__main__":
    common.main("deepspeed", "deepspeed", "ds_config.py", build)
