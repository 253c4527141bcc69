"""Extract what OpenRLHF's command lines take: the options that each program's own parser has, without importing OpenRLHF.

Its packages need a GPU. But every program makes its parser in its main block out of the standard library alone.
"""

from __future__ import annotations

import argparse
import ast
from datetime import datetime
from importlib.metadata import files
from pathlib import Path
from typing import Any

import common
from common import Node, node

PROGRAMS = ("train_sft", "train_rm", "train_dpo", "train_ppo_ray")


def build() -> dict[str, Node]:
    """Return one document for each program."""
    return {program: node("map", keys=options(parser(program))) for program in PROGRAMS}


def parser(program: str) -> argparse.ArgumentParser:
    """Return a program's parser: its main block, run up to where it reads the command line."""
    path = next(str(file.locate()) for file in files("openrlhf") or () if file.match(f"openrlhf/cli/{program}.py"))
    main = next(n for n in ast.parse(Path(path).read_text(encoding="utf-8")).body if isinstance(n, ast.If))
    steps = []
    for step in main.body:
        if isinstance(step, ast.Assign) and "parse_args" in ast.unparse(step.value):
            break
        steps.append(step)
    names: dict[str, Any] = {"argparse": argparse, "datetime": datetime}
    exec(compile(ast.Module(steps, []), path, "exec"), names)
    found = names["parser"]
    assert isinstance(found, argparse.ArgumentParser)
    return found


def options(found: argparse.ArgumentParser) -> dict[str, Node]:
    """Return the options by their names without dashes; `true` stands for a flag that takes no value."""
    keys = {}
    for action in found._actions:
        for name in action.option_strings:
            if name.startswith("--") and name != "--help":
                keys[name.removeprefix("--")] = option(action) | common.short(action.help)
    return keys


def option(action: argparse.Action) -> Node:
    """Return the node of one option."""
    if action.nargs == 0:
        return node("bool")
    kinds: dict[Any, str] = {int: "int", float: "float", str: "str", None: "str"}
    one = node(kinds[action.type])
    if action.choices:
        one["choices"] = list(action.choices)
    out = node("list", items=one) if action.nargs is not None else one
    plain = action.default
    if isinstance(plain, str) and plain[-1:].isdigit() and "T" in plain:
        return out  # the hour at which the program starts
    if plain in (None, float("inf")):
        return out
    return {**out, "default": list(plain) if isinstance(plain, tuple) else plain}


if __name__ == "__main__":
    common.main("openrlhf", "openrlhf", "openrlhf.py", build)
