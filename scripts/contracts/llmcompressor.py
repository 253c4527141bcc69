"""Extract what an llm-compressor recipe may hold: stages, groups of modifiers, and the fields of each modifier."""

from __future__ import annotations

from importlib import import_module

import common
from common import Node, node


def build() -> dict[str, Node]:
    """Return the document of llm-compressor's contract: the names of a recipe's stages and groups are free."""
    factory = import_module("llmcompressor.modifiers").ModifierFactory
    factory.refresh()
    modifiers = {name: common.model(cls) for name, cls in factory._main_registry.items() if name != "Modifier"}
    schemes = import_module("compressed_tensors.quantization.quant_scheme")
    scheme = common.model(schemes.QuantizationScheme)
    names = sorted({text for name in schemes.PRESET_SCHEMES for text in (name, name.lower())})
    for child in modifiers.values():
        keys = child["keys"] = {name: one for name, one in child["keys"].items() if not name.endswith("_")}
        if "config_groups" in keys:
            keys["config_groups"] = {**keys["config_groups"], "values": scheme}
        if "scheme" in keys:  # a preset by name, or a mapping of presets or of a scheme's own words
            keys["scheme"] = {**keys["scheme"], "choices": names}
        if "actorder" in keys:  # a sentinel stands for a default that a scheme may replace
            order = import_module("compressed_tensors.quantization.quant_args").ActivationOrdering
            words = sorted({one.value for one in order} | set(order.get_aliases()))
            keys["actorder"] = {**keys["actorder"], "type": node("str", "bool", "null")["type"], "choices": words}
    group = {**node("map"), "values": {**node("map"), "keys": modifiers}}
    return {"recipe": {**node("map"), "values": group}}


if __name__ == "__main__":
    common.main("llmcompressor", "llmcompressor", "llmcompressor.py", build)
