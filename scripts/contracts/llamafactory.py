"""Extract what a LLaMA-Factory training YAML and an entry of its dataset_info.json may hold.

The options are those of its own parser; a dictionary goes past argparse, so texts that the code compares with names
(templates, optimisers' and trackers' enums) are closed here.
"""

from __future__ import annotations

import ast
from importlib import import_module
from typing import Any

import common
from common import Node, node

# What `_parse_args` turns into a list or a mapping, beside the type that argparse shows.
SPLIT = {"report_to": ("str", "list", "null")}
HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name")


def build() -> dict[str, Node]:
    """Return the documents of LLaMA-Factory's contract."""
    return {"config": config(), "dataset_info": {**node("map"), "values": entry()}}


def config() -> Node:
    """Return the keys of a training YAML: every option of the parser of `llamafactory-cli train`."""
    parser_module = import_module("llamafactory.hparams.parser")
    parser = import_module("transformers").HfArgumentParser(parser_module._TRAIN_ARGS)
    keys: dict[str, Node] = {}
    typed: dict[str, Node] = {}
    for cls in parser_module._TRAIN_ARGS:
        typed |= common.fields(cls)["keys"]
    for action in parser._actions:
        if action.dest in typed and any(option == f"--{action.dest}" for option in action.option_strings):
            keys[action.dest] = option(action, typed[action.dest])
    for name, types in SPLIT.items():
        keys[name]["type"] = node(*types)["type"]
    for name in splits():
        keys[name] = {**keys[name], "type": node(*keys[name]["type"], "list")["type"], "items": node("str")}
    keys["interleave_probs"]["items"] = node("str", "int", "float")
    keys["template"]["choices"] = sorted(import_module("llamafactory.data.template").TEMPLATES)
    training = import_module("transformers.training_args")
    trainer = import_module("transformers.trainer_utils")
    for name, enum in (
        ("optim", training.OptimizerNames),
        ("lr_scheduler_type", trainer.SchedulerType),
        ("eval_strategy", trainer.IntervalStrategy),
        ("logging_strategy", trainer.IntervalStrategy),
        ("save_strategy", trainer.SaveStrategy),
    ):
        keys[name]["choices"] = [member.value for member in enum]
    for name in ("stage", "finetuning_type", "pref_loss", "flash_attn"):
        assert keys[name].get("choices"), f"{name} has lost its choices"
    return node("map", keys=keys)


def splits() -> list[str]:
    """Return the options that may be a list in the file: their own code splits only text at commas."""
    found: list[str] = []
    for name in ("DataArguments", "FinetuningArguments"):
        cls = getattr(import_module("llamafactory.hparams"), name)
        for call in ast.walk(common.syntax(cls.__post_init__)):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "split_arg":
                found += [part.attr for part in call.args if isinstance(part, ast.Attribute)]
    assert {"dataset", "lora_target"} <= set(found), "LLaMA-Factory splits its lists elsewhere"
    return found


def option(action: Any, typed: Node) -> Node:
    """Return an option: its type by the annotation, its choices by argparse, which spells enums out."""
    out = dict(typed)
    if action.choices:
        plain = [getattr(choice, "value", choice) for choice in action.choices]
        out["choices"] = list(dict.fromkeys(choice for choice in plain if choice is not None))
        out["type"] = node(*{common.kind(choice) for choice in out["choices"]}, *("null",) * (action.default is None))[
            "type"
        ]
    if action.dest == "overwrite_output_dir":  # LLaMA-Factory still reads that one itself
        out.pop("deprecated", None)
    return out


def entry() -> Node:
    """Return the keys of one data set: those that `DatasetAttr.join` looks up, and where the rows come from."""
    parser = import_module("llamafactory.data.parser")
    attribute = common.fields(parser.DatasetAttr)["keys"]
    keys: dict[str, Node] = {}
    columns: list[str] = []
    tags: list[str] = []
    for call in ast.walk(common.syntax(parser.DatasetAttr.join)):
        if not isinstance(call, ast.Call) or getattr(call.func, "attr", "") != "set_attr":
            continue
        if isinstance(call.args[0], ast.Constant):
            name = str(call.args[0].value)
            keys[name] = attribute[name]
    for statement in ast.walk(common.syntax(parser.DatasetAttr.join)):
        if isinstance(statement, ast.Assign | ast.AugAssign):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            names = {"column_names": columns, "tag_names": tags}.get(getattr(target, "id", ""))
            if names is not None:
                names += common.strings(statement.value)
    assert columns, "DatasetAttr.join has changed"
    assert tags, "DatasetAttr.join has changed"
    keys["columns"] = node("map", keys={name: attribute[name] for name in columns})
    keys["tags"] = node("map", keys={name: attribute[name] for name in tags})
    source = common.strings(common.syntax(parser.get_dataset_list))
    for name in HUBS:
        assert name in source, f"get_dataset_list no longer reads {name}"
        keys[name] = node("str")
    return node("map", keys=keys)


if __name__ == "__main__":
    common.main("llamafactory", "llamafactory", "llamafactory.py", build)
