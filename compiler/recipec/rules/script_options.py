"""The command-line options that a Python script declares by argparse, read without running it."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import NamedTuple

from recipec.regular_file import read_regular

LARGEST = 1 << 20  # bytes of a script that is read
# What declares options otherwise, or lets through those that it does not know.
OTHERWISE = {
    "parse_known_args", "parse_known_intermixed_args", "add_subparsers", "HfArgumentParser", "Fire", "TrlParser", "command",
    "Typer", "hydra", "tyro", "add_config_arguments", "parse_args_into_dataclasses",
}  # fmt: skip


class Declared(NamedTuple):
    """Options with their dashes: the names of each that must be given, and the names of all others."""

    required: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...]


def declared_options(path: str) -> Declared | None:
    """Return what a script declares; None where that cannot be told from its text, or it is not here."""
    try:
        return _declared(read_regular(path, LARGEST).decode())
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=16)
def _declared(source: str) -> Declared | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # told of by whoever judges the script
    called: set[str] = set()
    required: list[tuple[str, ...]] = []
    optional: list[str] = ["--help"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            called.add(node.attr if isinstance(node, ast.Attribute) else node.id)
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "ArgumentParser" and any(word.arg in ("parents", "prefix_chars", None) for word in node.keywords):
            return None
        if name != "add_argument":
            continue
        texts = [one.value if isinstance(one, ast.Constant) else None for one in node.args]
        if not texts or any(word.arg is None for word in node.keywords):
            return None
        flags = [text for text in texts if isinstance(text, str)]
        if len(flags) < len(texts):
            return None
        if not flags[0].startswith("-"):
            continue  # a positional argument
        words = {word.arg: word.value for word in node.keywords}
        must = words.get("required")
        long = [flag for flag in flags if flag.startswith("--")]
        if isinstance(must, ast.Constant) and must.value is True and long:
            required.append(tuple(long))
        else:
            optional += long
        if "BooleanOptionalAction" in ast.dump(words.get("action", ast.Constant(None))):
            optional += [f"--no-{flag[2:]}" for flag in long]
    if not {"ArgumentParser", "parse_args"} <= called or called & OTHERWISE or len(required) + len(optional) < 2:
        return None
    return Declared(tuple(required), tuple(optional))
