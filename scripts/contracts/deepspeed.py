"""Extract what DeepSpeed reads from `ds_config.json`: its pydantic blocks, and every key its own loader was seen to look up."""

from __future__ import annotations

import ast
import contextlib
import os
import re
from importlib import import_module
from typing import Any

import common
from common import Node, node

os.environ.setdefault("DS_ACCELERATOR", "cpu")

PROBE = "__probe__"
SIZES = {"train_batch_size": 1, "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1}
DEPTH = 4
ROUNDS = 4
FILLED = {"type": "Adam", "enabled": True}  # without these a loader does not look at the rest of a block
# The loader's default for these is None, which tells no type; from the texts beside them in its constants.
UNTYPED: dict[str, Node] = {
    **{name: node("int", ge=1) for name in SIZES},
    "communication_data_type": node("str", "null", choices=["fp16", "bf16", "fp32"]),
    "seq_parallel_communication_data_type": node("str", "null", choices=["fp16", "bf16", "fp32"]),
    "sequence_parallel_size": node("int", ge=1),
    "steps_per_print": node("int", "null"),
    "vocabulary_size": node("int", "null"),
    "log_level": node("str", "null"),
    "data_types.param_dtype": node("str", "null"),
    "data_types.buffer_dtype": node("str", "null"),
    "data_types.grad_accum_dtype": node("str", "null", choices=["fp32", "fp16", "bf16"]),
    "torch_autocast.dtype": node("str", "null"),
    "torch_autocast.lower_precision_safe_modules": node("list", "null", items=node("str")),
}


class Spy(dict[str, Any]):
    """A mapping that notes which keys were looked up, with which default, and whether it was walked through."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.seen: dict[str, Any] = {}
        self.walked = False

    def get(self, key: str, default: Any = None) -> Any:
        """Note the key and its default."""
        self.seen[key] = default if self.seen.get(key) is None else self.seen[key]
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.seen.setdefault(str(key), None)
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.seen.setdefault(key, None)
        return super().__getitem__(key)

    def keys(self) -> Any:
        """Return the spy itself, whose `in` is watched."""
        return self

    def items(self) -> Any:
        """Note that the mapping takes any key."""
        self.walked = True
        return super().items()

    def __copy__(self) -> Spy:
        self.walked = True
        return self

    def __deepcopy__(self, memo: Any) -> Spy:
        return self


def build() -> dict[str, Node]:
    """Return the documents of DeepSpeed's contract."""
    module = import_module("deepspeed.runtime.config")
    base = import_module("deepspeed.runtime.config_utils").DeepSpeedConfigModel
    models: dict[Mark, Any] = {}
    original = base.__init__

    def watched(self: Any, strict: bool = False, **data: Any) -> None:
        if isinstance(data.get(PROBE), Mark):
            models[data[PROBE]] = type(self)
        original(self, strict=strict, **data)

    base.__init__ = watched
    config = look(module, models, ())
    keys = config["keys"]
    for path, child in UNTYPED.items():
        if found := at(config, path.split(".")):
            found.update({**child, **{k: v for k, v in found.items() if k in ("default", "doc")}})
    documents = algorithms(module, keys)
    for path in automatic():
        if found := at(config, path.split(".")):
            found.update(with_auto(found))
    for name, more in documents.items():
        for key, child in more["keys"].items():
            if key in {path.rpartition(".")[2] for path in automatic() if path.startswith(name.partition(".")[0])}:
                more["keys"][key] = with_auto(child)
    for table, block in (
        ("_REMOVED_TOP_LEVEL_CONFIG_KEYS", keys),
        ("_REMOVED_ZERO_CONFIG_KEYS", keys["zero_optimization"]["keys"]),
    ):
        for key, text in getattr(module, table, {}).items():
            block[key] = node("any", removed=" ".join(text.split()))
    return {"ds_config": config, **documents}


def look(module: Any, models: dict[Mark, Any], path: tuple[str, ...]) -> Node:
    """Return the node of the mapping at `path`, by loading configurations in which a spy stands there."""
    seen = reads(module, path)
    for key in (PROBE, *(getattr(module, "_REMOVED_TOP_LEVEL_CONFIG_KEYS", {}) if not path else ())):
        seen.pop(key, None)
    keys: dict[str, Node] = {}
    for key in sorted(seen):
        mark = Mark()
        observe(module, (*path, key), {PROBE: mark})
        if model := models.get(mark):
            keys[key] = auto_fields(common.model(model))
            continue
        below = observe(module, (*path, key), {})
        if len(path) < DEPTH and (below.seen or below.walked):
            keys[key] = look(module, models, (*path, key))
            keys[key]["type"] = node("map", *(["null"] if accepts_null(module, (*path, key)) else []))["type"]
            if below.walked or set(keys[key]["keys"]) == {"enabled"}:  # the rest is read somewhere else, and stays open
                keys[key]["values"] = node("any")
        else:
            keys[key] = leaf(seen[key])
    return node("map", keys=keys)


class Mark:
    """The value of a probe: models refuse the key, but not before it was noted which model got it."""


def reads(module: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys looked up at `path` and their defaults: filling in what was asked for makes a loader ask for more."""
    seen = dict(observe(module, path, {}).seen)
    for _ in range(ROUNDS if path else 0):
        for filler in ("fp16", 1, [1]):
            filled = {key: FILLED.get(key, filler if value is None else value) for key, value in seen.items()}
            for key, value in observe(module, path, filled).seen.items():
                seen.setdefault(key, value)
    return seen


def observe(module: Any, path: tuple[str, ...], inside: dict[str, Any]) -> Spy:
    """Load a configuration with a spy at `path` and return the spy."""
    spy = Spy(inside)
    document: Any = spy
    for key in reversed(path):
        outer = Spy({key: document})
        if document is not spy or key != path[0]:
            for name, value in FILLED.items():
                outer.setdefault(name, value)
        document = outer
    for key, value in SIZES.items():
        if not (path and path[0] == key):
            dict.setdefault(document, key, value)
    with contextlib.suppress(Exception):  # a half-made one may be refused, each block in its own way, once it was read
        module.DeepSpeedConfig(document)
    return spy


def accepts_null(module: Any, path: tuple[str, ...]) -> bool:
    """Return whether null in place of a block loads."""
    document: Any = None
    for key in reversed(path):
        document = {key: document}
    try:
        module.DeepSpeedConfig({**SIZES, **document})
    except Exception:  # any refusal is the answer
        return False
    return True


def leaf(value: Any) -> Node:
    """Return the node that a scalar's default implies."""
    if value is None:
        return node("any")
    if isinstance(value, dict):
        return node("map", values=node("any"))
    if isinstance(value, list | tuple):
        return node("list")
    kind = common.kind(value)
    return node("float" if kind == "int" and isinstance(value, float) else kind) | common.default(value)


def at(config: Node, path: list[str]) -> Node | None:
    """Return the node at a dotted path, or None."""
    found: Node | None = config
    for key in path:
        found = (found or {}).get("keys", {}).get(key)
    return found


def with_auto(child: Node) -> Node:
    """Return the node, accepting the word auto as well."""
    if "any" in child["type"] or "keys" in child or ("str" in child["type"] and "choices" not in child):
        return child
    if "str" in child["type"]:
        return {**child, "choices": [*dict.fromkeys([*child["choices"], "auto"])]}
    return {**child, "type": node("str", *child["type"])["type"], "choices": [*child.get("choices", []), "auto"]}


def auto_fields(block: Node) -> Node:
    """Return a model's node in which each field takes auto, which DeepSpeed drops in favour of the default."""
    keys = {}
    for name, child in block["keys"].items():
        keys[name] = auto_fields(child) if "keys" in child else with_auto(child)
    return {**block, "keys": keys}


def automatic() -> list[str]:
    """Return the dotted keys that transformers fills in where a file says auto."""
    tree = common.syntax(import_module("transformers.integrations.deepspeed"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "attr", "").startswith("fill_")]
    named = [call.args[0].value for call in calls if call.args and isinstance(call.args[0], ast.Constant)]
    return sorted({name for name in named if isinstance(name, str)})


def algorithms(module: Any, keys: dict[str, Node]) -> dict[str, Node]:
    """Close `optimizer` and `scheduler`: their names, and the parameters of those that have a class of their own."""
    torch_optimizers = import_module("torch.optim")
    schedulers = import_module("deepspeed.runtime.lr_schedules")
    torch_schedulers = import_module("torch.optim.lr_scheduler")
    own = sorted(module.DEEPSPEED_OPTIMIZERS)
    keys["optimizer"]["keys"]["type"] = node(
        "str",
        choices=sorted({*classes(torch_optimizers, torch_optimizers.Optimizer), *own}),
        patterns=[f"(?i:{'|'.join(own)})"],
    )
    base = torch_schedulers.LRScheduler
    names = sorted(schedulers.VALID_LR_SCHEDULES)
    keys["scheduler"]["keys"]["type"] = node("str", choices=[*names, *classes(torch_schedulers, base)])
    documents = {
        f"scheduler.{name}": common.signature(getattr(schedulers, name).__init__, skip=("self", "optimizer"))
        for name in names
    }
    when = [{"at": "up", "key": "type", "in": [name], "ref": f"scheduler.{name}"} for name in names]
    keys["scheduler"]["keys"]["params"] = node("map", values=node("any"), when=when)
    adam = import_module("deepspeed.ops.adam")
    parts = [
        common.signature(cls.__init__, skip=("self", "params", "model_params"))
        for cls in (torch_optimizers.AdamW, adam.FusedAdam, adam.DeepSpeedCPUAdam)
    ]
    for part in parts:
        part.pop("values", None)
        for name, child in part["keys"].items():
            part["keys"][name] = {k: v for k, v in child.items() if k != "default"}
            if name in ("lr", "eps", "weight_decay"):
                part["keys"][name] = node("float")
            if name == "betas":
                part["keys"][name] = node("list", items=node("float"))
    documents["optimizer.adam"] = common.merge(parts)
    for name in (module.TORCH_ADAM_PARAM, module.ADAM_W_MODE):
        documents["optimizer.adam"]["keys"][name] = node("bool")
    spelt = [s for word in ("adam", "adamw") for s in (word, word.capitalize(), word.upper(), "AdamW")]
    when = [{"at": "up", "key": "type", "in": sorted({*spelt}), "ref": "optimizer.adam"}]
    keys["optimizer"]["keys"]["params"] = node("map", values=node("any"), when=when)
    return documents


def classes(module: Any, base: type) -> list[str]:
    """Return the names of a module's public subclasses of `base`."""
    return sorted(
        name
        for name, value in vars(module).items()
        if re.match(r"[A-Z]", name) and isinstance(value, type) and issubclass(value, base) and value is not base
    )


if __name__ == "__main__":
    common.main("deepspeed", "deepspeed", "deepspeed.py", build, whole_floats=True)
