"""Extract what a script on Unsloth's API may pass: its signatures, read from its source, and TRL's configurations.

Its functions swallow unknown keywords, and its package imports its GPU code only beside a GPU; so nothing is imported.
"""

from __future__ import annotations

import ast
from importlib import util
from pathlib import Path

import common
from common import Node, node

MODELS = Path(str(util.find_spec("unsloth").submodule_search_locations[0])) / "models"  # type: ignore[union-attr,index]
CONFIGS = ("SFTConfig", "DPOConfig", "KTOConfig", "ORPOConfig", "GRPOConfig")
# What the code takes beside the type of the default.
MORE = {
    "use_gradient_checkpointing": ("str", "bool"),
    "target_modules": ("str", "list"),
    "init_lora_weights": ("bool", "str"),
    "load_in_fp8": ("bool", "str"),
    "float8_kv_cache": ("bool", "str"),
    "device_map": ("str", "map", "null"),
    "offload_embedding": ("str", "bool"),
    "loftq_config": ("map", "null"),
}


def build() -> dict[str, Node]:
    """Return the documents of Unsloth's contract."""
    spec = util.spec_from_file_location("of_trl", Path(__file__).parent / "trl.py")
    assert spec is not None
    of_trl = util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(of_trl)
    documents: dict[str, Node] = of_trl.build()
    loader = method("loader.py", "FastLanguageModel", "from_pretrained")
    fast = method("llama.py", "FastLlamaModel", "from_pretrained")
    adapter = method("llama.py", "FastLlamaModel", "get_peft_model")
    loading = looked_up(loader) | looked_up(fast) | named(fast) | named(loader)
    assert "model_name" in loading, "from_pretrained has changed"
    lora = documents["LoraConfig"]["keys"]
    made = {name: {key: value for key, value in lora[name].items() if key != "doc"} for name in lora}
    return {
        "from_pretrained": node("map", keys=loading),
        "get_peft_model": node("map", keys=made | looked_up(adapter) | named(adapter)),
        "UnslothTrainingArguments": node("map", keys=documents["SFTConfig"]["keys"] | arguments()),
        **{name: documents[name] for name in CONFIGS},
    }


def arguments() -> dict[str, Node]:
    """Return what Unsloth's own arguments of a training have beside those of TRL's SFTConfig."""
    init = method("../trainer.py", "UnslothTrainingArguments", "__init__")
    return {name: node("float", "null") for name in named(init) if name.endswith(("_rate", "_ratio"))}


def method(file: str, owner: str, name: str) -> ast.FunctionDef:
    """Return a method of a class, as it stands in a file of Unsloth's models."""
    for part in ast.walk(common.syntax(MODELS / file)):
        if isinstance(part, ast.ClassDef) and part.name == owner:
            return next(item for item in part.body if isinstance(item, ast.FunctionDef) and item.name == name)
    raise AssertionError(f"{file} has no {owner}.{name}")


def named(function: ast.FunctionDef) -> dict[str, Node]:
    """Return a function's own parameters, each with the type of its default."""
    arguments = function.args
    pairs = zip(arguments.args[::-1], arguments.defaults[::-1], strict=False)
    pairs = [*list(pairs)[::-1], *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]  # type: ignore[assignment]
    return {argument.arg: parameter(argument.arg, value) for argument, value in pairs}


def parameter(name: str, value: ast.expr | None) -> Node:
    """Return a parameter; a default of None, or one that is computed, says nothing of its type."""
    plain = value.value if isinstance(value, ast.Constant) else None
    if name in MORE:
        return node(*MORE[name])
    return node(common.kind(plain), default=plain) if plain is not None else node("any")


def looked_up(function: ast.FunctionDef) -> dict[str, Node]:
    """Return the keywords that a function takes out of its `**kwargs`."""
    found: dict[str, Node] = {}
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("kwargs.get", "kwargs.pop"):
            name = call.args[0]
            if isinstance(name, ast.Constant):
                found[str(name.value)] = node("any")
    return found


if __name__ == "__main__":
    common.main("unsloth", "unsloth", "unsloth.py", build)
