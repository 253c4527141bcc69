"""Extract what a scenario of `guidellm run --config FILE` may hold, with those kinds of its parts that recipes know."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import common
from common import Node, node

KINDS = {  # part of a scenario → its kinds
    "backend": ("openai_http",),
    "profile": ("concurrent", "poisson"),
    "constraints": ("max_requests",),
    "tokenizer": ("huggingface_auto",),
    "data": ("synthetic_text",),
    "seed": ("static",),
    "outputs": ("json",),
    "metrics": ("generative",),
}


def build() -> dict[str, Node]:
    """Return a document for the scenario, and one for each kind of a part, of which `kind` says which it is."""
    entry = import_module("guidellm.schemas.benchmark.entrypoints")
    documents: dict[str, Node] = {}
    keys: dict[str, Node] = {}
    for part, kinds in KINDS.items():
        field = entry.BenchmarkArgs.model_fields[part]
        base: Any = getattr(field.annotation, "__args__", (field.annotation,))[0]
        when = []
        for kind in kinds:
            documents[f"{part}.{kind}"] = common.model(base.registry[kind])
            when.append({"at": "here", "key": "kind", "in": [kind], "ref": f"{part}.{kind}"})
        one = {
            **node("map", keys={"kind": {**node("str"), "choices": list(kinds)}}),
            "values": node("any"),
            "when": when,
        }
        keys[part] = (one if field.annotation is base else node("list", items=one)) | common.short(field.description)
    top = entry.BenchmarkScenario.model_fields
    documents["scenario"] = node(
        "map", keys={"spec": node("map", keys=keys), **{word: node("any") for word in top if word != "spec"}}
    )
    return documents


if __name__ == "__main__":
    common.main("guidellm", "guidellm", "guidellm.py", build)
