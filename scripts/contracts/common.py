"""What the contract extractors share: annotations, signatures and defaults as contract nodes, and the writer.

Runs inside a tool's own environment, so it needs nothing but the standard library (pydantic models are
recognised by their shape). An extractor is `python scripts/contracts/TOOL.py [OUT.json]`.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import enum
import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

sys.path.remove(str(Path(__file__).parent))  # the extractors' names would shadow the packages they import

Node = dict[str, Any]

TYPE_ORDER = ("str", "int", "float", "bool", "list", "map", "null", "any")
SCALARS: dict[Any, str] = {str: "str", int: "int", float: "float", bool: "bool", type(None): "null"}
DOC_LENGTH = 110


def node(*names: str, **more: Any) -> Node:
    """Return a node with these type names, in the order every contract uses."""
    return {"type": [name for name in TYPE_ORDER if name in names], **more}


def merge(nodes: Iterable[Node]) -> Node:
    """Return the node that accepts what any of `nodes` accepts; choices survive only where each text form has them."""
    parts = list(nodes)
    if len(parts) == 1:
        return parts[0]
    names = {name for part in parts for name in part["type"]}
    out = node(*names)
    texts = [part for part in parts if {"str", "int", "bool"} & set(part["type"])]
    closed = [part for part in texts if "choices" in part or "patterns" in part]
    free = {name for part in texts if part not in closed for name in part["type"]}
    for field in ("choices", "patterns"):
        found = [item for part in closed for item in part.get(field, [])]
        if field == "choices":
            found = [item for item in found if kind(item) not in free]
        elif "str" in free:
            found = []
        if found:
            out[field] = list(dict.fromkeys(found))
    maps = [part for part in parts if "map" in part["type"]]
    if maps and all("keys" in part for part in maps):
        keys: dict[str, list[Node]] = {}
        for part in maps:
            for name, child in part["keys"].items():
                keys.setdefault(name, []).append(child)
        out["keys"] = {name: merge(children) for name, children in keys.items()}
    elif len(maps) == 1 and "values" in maps[0]:
        out["values"] = maps[0]["values"]
    lists = [part["items"] for part in parts if "list" in part["type"] and "items" in part]
    if lists and len(lists) == sum("list" in part["type"] for part in parts):
        out["items"] = merge(lists)
    for field in ("doc", "default", "deprecated", "removed", "ge", "gt", "le", "lt"):
        held = [part[field] for part in parts if field in part]
        if held and (field == "doc" or all(value == held[0] for value in held)):
            out[field] = held[0]
    return out


def kind(value: object) -> str:
    """Return the contract's type name of a plain value."""
    for base, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str"), (type(None), "null")):
        if isinstance(value, base):
            return name
    return "map" if isinstance(value, Mapping) else "list"


def literals(values: Iterable[Any]) -> Node:
    """Return a node for a closed set of values (members of an enum count by their value)."""
    plain = list(dict.fromkeys(v.value if isinstance(v, enum.Enum) else v for v in values))
    shown = [value for value in plain if value is not None]
    out = node(*{kind(value) for value in plain})
    return {**out, "choices": shown} if shown else out


def of(annotation: Any) -> Node:
    """Return the node for a type annotation: unions, literals, enums, containers, models, dataclasses."""
    if type(annotation).__name__ == "TypeAliasType":
        return of(annotation.__value__)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return {**of(args[0]), **constraints(args[1:])}
    if origin in (typing.Union, types.UnionType):
        return merge([of(arg) for arg in args])
    if origin is typing.Literal:
        return literals(args)
    if annotation in SCALARS:
        return node(SCALARS[annotation])
    if origin in (list, tuple, set, frozenset) or annotation in (list, tuple, set):
        inner = [of(arg) for arg in args if arg is not Ellipsis]
        return node("list", items=merge(inner)) if inner else node("list")
    if (isinstance(origin, type) and issubclass(origin, Mapping)) or annotation is dict:
        child = of(args[1]) if len(args) > 1 else node("any")
        return node("map", values=child)
    if isinstance(annotation, type) and issubclass(annotation, Path):
        return node("str")
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        members = [member for member in annotation if isinstance(member.value, str | int)]
        return literals(members) if members else node("any")
    if hasattr(annotation, "model_fields"):
        return model(annotation)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return fields(annotation)
    return node("any")


def constraints(metadata: Iterable[Any]) -> Node:
    """Return bounds and patterns out of annotated-types metadata, pydantic's StringConstraints or general metadata."""
    out: Node = {}
    for item in metadata:
        for bound in ("ge", "gt", "le", "lt"):
            if (limit := getattr(item, bound, None)) is not None:
                out[bound] = limit
        if isinstance(pattern := getattr(item, "pattern", None), str):
            out["patterns"] = [pattern.removeprefix("^") + ("" if pattern.endswith("$") else ".*")]
    return out


def default(value: object) -> Node:
    """Return `{"default": value}` for a short plain value, else nothing."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str | int | float | bool) and value == value and abs(len(str(value))) < 60:
        return {"default": value}
    return {}


def short(text: object) -> Node:
    """Return `{"doc": first sentence}`, cut to one line."""
    words = " ".join(str(text or "").split())
    first = re.split(r"(?<=[a-z)])\. (?=[A-Z])", words)[0]
    if len(first) > DOC_LENGTH:
        first = first[:DOC_LENGTH].rsplit(" ", 1)[0] + " …"
    return {"doc": first} if first and not first.startswith("None") else {}


def deprecation(text: object) -> str:
    """Return what a description says of a field that is deprecated, on one line.

    An aside in brackets is about another thing, and "the value is deprecated" about one value only.
    """
    found = re.search(
        r"(?i)(?<!\()(?<!value is )\bdeprecated\b[.,:]? *(?:and )?(.*?\binstead\.|.*)",
        " ".join(str(text or "").split()),
    )
    return (found.group(1) or found.group(0)) if found else ""


def model(cls: Any) -> Node:
    """Return the closed mapping that a pydantic model reads: each field under every name it accepts."""
    keys: dict[str, Node] = {}
    by_name = bool(cls.model_config.get("populate_by_name"))
    for name, field in cls.model_fields.items():
        child = {**of(field.annotation), **constraints(field.metadata)}
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        text = field.description or extra.get("description") or ""
        child |= short(text)
        if not field.is_required() and field.default_factory is None:
            child |= default(field.default)
        note = field.deprecated if isinstance(field.deprecated, str) else ""
        if not note and extra.get("deprecated"):
            note = f"use {extra['new_param']}" if extra.get("new_param") else str(extra.get("deprecated_msg") or "yes")
        note = note or deprecation(text)
        if note:
            child["deprecated"] = " ".join(note.split())
        for spelling in spellings(name, field, by_name=by_name):
            keys[spelling] = child
    out = node("map", keys=keys)
    if cls.model_config.get("extra") == "allow":
        out["values"] = node("any")
    return out


def spellings(name: str, field: Any, *, by_name: bool) -> list[str]:
    """Return the keys under which pydantic finds a field."""
    alias = field.validation_alias or field.alias
    choices = getattr(alias, "choices", None)
    found = [c for c in choices if isinstance(c, str)] if choices else [alias] if isinstance(alias, str) else []
    return [*found, name] if by_name and found else found or [name]


def fields(cls: Any) -> Node:
    """Return the closed mapping that a dataclass's constructor reads, with help texts from field metadata."""
    hints = typing.get_type_hints(cls)
    keys: dict[str, Node] = {}
    for field in dataclasses.fields(cls):
        child = of(hints[field.name]) | default(field.default) | short(field.metadata.get("help"))
        if note := deprecation(field.metadata.get("help")):
            child["deprecated"] = note
        if field.default is None and "null" not in child["type"]:
            child = node(*child["type"], "null") | {k: v for k, v in child.items() if k != "type"}
        keys[field.name] = child
    return node("map", keys=keys)


def signature(function: Callable[..., Any], *, skip: Iterable[str] = ("self",)) -> Node:
    """Return the mapping of a callable's named parameters; `values` marks that it also takes `**kwargs`."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, ImportError):
        hints = {}
    keys: dict[str, Node] = {}
    out = node("map", keys=keys)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            out["values"] = node("any")
        elif name not in skip and parameter.kind is not parameter.VAR_POSITIONAL:
            child = of(hints[name]) if name in hints else node("any")
            if parameter.default is None and "null" not in child["type"]:
                child = {**child, "type": node(*child["type"], "null")["type"]}
            keys[name] = child | default(parameter.default)
    return out


class StandIn(types.ModuleType):
    """A module from which anything can be imported."""

    __path__: list[str] = []  # makes it a package

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


def installed(package: str) -> str:
    """Return a package's version; of one that has a stand-in, a version newer than any."""
    return "999" if isinstance(sys.modules.get(package), StandIn) else version(package)


def imported(name: str) -> types.ModuleType:
    """Import a module, with stand-ins for libraries that the environment does not have."""
    while True:
        try:
            with patch("importlib.metadata.version", installed):
                return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if not missing or missing in sys.modules or missing.split(".")[0] == name.split(".")[0]:
                raise
            parts = missing.split(".")
            for end in range(1, len(parts) + 1):
                part = ".".join(parts[:end])
                sys.modules.setdefault(part, StandIn(part))


def syntax(source: object) -> ast.AST:
    """Return the syntax tree of a module, class or function, or of the file at a path."""
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else inspect.getsource(source)  # type: ignore[arg-type]  # anything inspect takes
    return ast.parse(inspect.cleandoc("\n" + text) if not isinstance(source, Path) else text)


def strings(tree: ast.AST) -> list[str]:
    """Return every string constant below a node, in source order."""
    return [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def dump(value: object, depth: int = 0) -> str:
    """Return JSON with sorted keys in which a node without children stands on one line."""
    pad = " " * (depth + 1)
    if isinstance(value, dict) and any(isinstance(child, dict) for child in value.values()):
        rows = [f"{pad}{json.dumps(key)}: {dump(value[key], depth + 1)}" for key in sorted(value)]
        return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def main(
    tool: str, package: str, script: str, build: Callable[[], dict[str, Node]], *, whole_floats: bool = False
) -> None:
    """Run an extractor: write the contract to the path given on the command line, or print it.

    `whole_floats`: the tool takes 5e8 for an integer, as pydantic does.
    """
    with contextlib.redirect_stdout(sys.stderr):  # the tools talk on standard output
        documents = build()
    release = version(package)
    contract: Node = {
        "tool": tool,
        "release": release,
        "source": f"scripts/contracts/{script} run beside {package} {release}",
        "documents": documents,
    }
    if whole_floats:
        contract["whole_floats"] = True
    text = dump(contract) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
