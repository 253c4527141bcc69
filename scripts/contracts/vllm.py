"""Extract what `vllm serve --config FILE` reads: every option of its parser, as a key without the dashes.

And what `vllm bench sweep serve --bench-params FILE` reads: by name, the options of `vllm bench serve`, with underscores. vLLM itself needs no GPU to make its parser. Types are those of the fields that the options fill.
"""

from __future__ import annotations

import argparse
import os
import typing
from importlib import import_module
from typing import Any

os.environ["VLLM_TARGET_DEVICE"] = "cpu"

import common
from common import Node, node

JSON = ("loads", "parse_dataclass", "union_dict_and_str", "_parse_type")  # what reads a mapping
PARSERS = {
    "tool-call-parser": ("vllm.tool_parsers", "ToolParserManager"),
    "reasoning-parser": ("vllm.reasoning", "ReasoningParserManager"),
}
PLAIN = {int: "int", float: "float", str: "str"}


def build() -> dict[str, Node]:
    """Return the document of vLLM's contract."""
    args = import_module("vllm.entrypoints.common.cli_args")
    parser = args.make_arg_parser(import_module("vllm.utils.argparse_utils").FlexibleArgumentParser())
    engine = import_module("vllm.engine.arg_utils").AsyncEngineArgs
    hints = {**hints_of(args.FrontendArgs), **hints_of(engine)}
    keys: dict[str, Node] = {}
    for action in parser._actions:
        for name in action.option_strings:
            if name.startswith("--") and name not in ("--help", "--config"):
                keys[name.removeprefix("--")] = option(action, hints.get(action.dest)) | common.short(action.help)
    for name, (module, manager) in PARSERS.items():  # a wrong name ends the server, but not its parser
        keys[name]["choices"] = sorted(getattr(import_module(module), manager).list_registered())
        keys[name]["type"] = node("str")["type"]
    keys["quantization"]["choices"] = list(
        import_module("vllm.model_executor.layers.quantization").QUANTIZATION_METHODS
    )
    keys["kv-cache-dtype"]["choices"] = list(typing.get_args(import_module("vllm.config.cache").CacheDType))
    keys["quantization"]["type"] = node("str")["type"]
    keys["model"] = node("str", doc="The model to serve; on the command line it stands by itself.")
    return {"serve": node("map", keys=keys), "sweep_bench": {**node("map"), "values": node("map", keys=bench())}}


def bench() -> dict[str, Node]:
    """Return the options of `vllm bench serve`."""
    parser = import_module("vllm.utils.argparse_utils").FlexibleArgumentParser()
    import_module("vllm.benchmarks.serve").add_cli_args(parser)
    found: dict[str, Node] = {}
    for action in parser._actions:
        for name in action.option_strings:
            if name.startswith("--") and name != "--help":
                word = name.removeprefix("--").replace("-", "_")
                found[word] = option(action, action.type if action.type in PLAIN else str) | common.short(action.help)
    return found


def hints_of(cls: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields, those that can be told."""
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError):
        return dict(getattr(cls, "__annotations__", {}))


def option(action: argparse.Action, hint: Any) -> Node:
    """Return the node of one option. A file's mapping is handed on as JSON, its list as several words."""
    if action.nargs == 0:
        return node("bool")
    read = getattr(action.type, "__name__", "")
    told = common.of(hint) if hint is not None and not isinstance(hint, str) else node("any")
    names = set(told["type"]) - {"null", "bool"}
    if action.type in PLAIN:
        names = {PLAIN[action.type]}
    elif read in JSON or action.dest.endswith("_config"):
        names = {"str", "map"}
    elif read.startswith("human_readable"):
        names = {"int", "str"}
    elif not names or "any" in names:
        names = {"str", "int", "float"}
    if action.nargs in ("+", "*"):
        items = node(*(names - {"list", "map"} or {"str"}))
        return node("list", "str", items=items)
    one = node(*names)
    choices = action.choices if action.choices else told.get("choices", [])
    choices = sorted(choices) if isinstance(choices, set | frozenset) else choices  # whose order is another each time
    if choices and names <= {"str", "int", "float"} and (action.choices or names == {"str"}):
        one["choices"] = [choice for choice in choices if choice is not None]
    return one


if __name__ == "__main__":
    common.main("vllm", "vllm", "vllm.py", build)
