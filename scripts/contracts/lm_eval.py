"""Extract what an lm-eval run configuration may hold, and the arguments of its hf and vllm back ends."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from typing import Any

import common
from common import Node, node

BACK_ENDS = {"hf": "lm_eval.models.huggingface:HFLM", "vllm": "lm_eval.models.vllm_causallms:VLLM"}

NOT_FROM_A_FILE = {"cls", "args", "kwargs", "model_args", "state_dict", "config", "pretrained_model_name_or_path"}


def build() -> dict[str, Node]:
    """Return the documents of lm-eval's contract."""
    module = import_module("lm_eval.config.evaluate_config")
    registry = import_module("lm_eval.api.registry")
    models = import_module("lm_eval.models")
    config = common.fields(module.EvaluatorConfig)
    keys = config["keys"]
    for name in module.DICT_KEYS:
        if name in keys:  # these may be written as `a=b,c=d`
            keys[name]["type"] = node("str", "map", "null")["type"]
    known = {**dict.fromkeys(registry.MODEL_REGISTRY), **getattr(models, "MODEL_MAPPING", {})}
    keys["model"]["choices"] = sorted(known)
    keys["batch_size"] = {
        **keys["batch_size"],
        "type": node("int", "str")["type"],
        "patterns": [r"auto(:\d+)?", r"\d+"],
    }
    keys["limit"]["type"] = node("float", "null")["type"]
    # In a file these are handed on as they are: to the request cache by word, to the tasks as a list or one text.
    keys["cache_requests"]["type"] = node("map", "str", "bool", "null")["type"]
    documents: dict[str, Node] = {}
    when = []
    for name, where in BACK_ENDS.items():
        path, _, cls = where.partition(":")
        documents[f"model_args.{name}"] = arguments(name, getattr(common.imported(path), cls))
        same = sorted(
            n for n, target in known.items() if target == where or n == name or getattr(target, "value", "") == where
        )
        when.append(
            {
                "at": "root",
                "key": "model",
                "in": [*same, *([None] if name == "hf" else [])],
                "ref": f"model_args.{name}",
            }
        )
    keys["model_args"]["when"] = when
    return {"config": config, **documents}


def arguments(name: str, cls: Any) -> Node:
    """Return a back end's arguments: its own, and for hf those that transformers' loader takes out of the rest."""
    out = common.signature(cls.__init__)
    for extra in looked_up(cls):
        out["keys"].setdefault(extra, node("any"))
    if name == "hf":
        base = import_module("transformers").PreTrainedModel
        for extra in (*inspect.signature(base.from_pretrained).parameters, *looked_up(base.from_pretrained)):
            if not extra.startswith("_") and extra not in NOT_FROM_A_FILE:
                out["keys"].setdefault(extra, node("any", doc="handed on to transformers' from_pretrained"))
        quantisation = import_module("transformers").BitsAndBytesConfig
        for extra, child in common.signature(quantisation.__init__)["keys"].items():
            out["keys"].setdefault(extra, {**child, "doc": "handed on to BitsAndBytesConfig"})
        del out["values"]  # the rest would end in an error of from_pretrained
    for child in out["keys"].values():  # a class beside plain types is for callers from Python
        if set(child["type"]) - {"any", "null"}:
            child["type"] = [kind for kind in child["type"] if kind != "any"]
    out["type"] = node("str", "map", "null")["type"]
    return out


def looked_up(source: Any) -> list[str]:
    """Return the names that code takes out of its `kwargs`."""
    found = set()
    for n in ast.walk(common.syntax(source)):
        if isinstance(n, ast.Call) and getattr(n.func, "attr", "") in ("pop", "get") and n.args:
            holder, key = getattr(n.func, "value", None), n.args[0]
            if (
                getattr(holder, "id", "") in ("kwargs", "model_kwargs")
                and isinstance(key, ast.Constant)
                and isinstance(key.value, str)
            ):
                found.add(key.value)
    return sorted(found)


if __name__ == "__main__":
    common.main("lm_eval", "lm_eval", "lm_eval.py", build)
