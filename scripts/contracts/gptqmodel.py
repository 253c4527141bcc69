"""Extract what GPTQModel's QuantizeConfig takes for the two methods that recipes know."""

from __future__ import annotations

from importlib import import_module

import common
from common import Node, node

METHODS = {"gptq": "GPTQConfig", "awq": "AWQConfig"}


def build() -> dict[str, Node]:
    """Return a document for each method, and one that takes the method's."""
    module = import_module("gptqmodel.quantization.config")
    documents: dict[str, Node] = {}
    for method, name in METHODS.items():
        found = common.fields(getattr(module, name))
        keys = {key: child for key, child in found["keys"].items() if not key.startswith("_")}
        for word in ("method", "format"):
            words = [one.value for one in getattr(module, word.upper())]
            keys[word] = {**node("str"), "choices": words}
        keys["method"]["choices"] = [method]
        documents[method] = {**found, "keys": keys}
    return documents


if __name__ == "__main__":
    common.main("gptqmodel", "gptqmodel", "gptqmodel.py", build)
