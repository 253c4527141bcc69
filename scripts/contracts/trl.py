"""Extract what TRL reads: the YAML of each command, and the calls with which a script of ours trains."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import common
from common import Node, node

COMMANDS = ("sft", "dpo", "kto", "reward", "grpo", "rloo")
EXPERIMENTAL = ("cpo", "orpo")  # trained by a script of ours
# Methods that only a person's own script trains, with a file of the same keys; a release has some of them.
SCRIPTED = ("orpo", "cpo", "bco", "gkd", "online_dpo", "ppo", "prm")
UNION = r"^\s+{name} \((`\w+`(?:(?:,| or) `\w+`)+)"
WORDS = {"str": "str", "bool": "bool", "int": "int", "float": "float", "None": "null"}
ADAPTERS = (
    "LoraConfig", "AdaLoraConfig", "LoHaConfig", "LoKrConfig", "OFTConfig", "BOFTConfig", "HRAConfig", "VeraConfig",
    "VBLoRAConfig", "FourierFTConfig", "MissConfig", "IA3Config", "LNTuningConfig", "PromptTuningConfig",
    "PrefixTuningConfig", "PromptEncoderConfig",
)  # fmt: skip
FILLED = ("peft_type", "auto_mapping", "peft_version", "inference_mode")  # PEFT writes them itself
LOSSES = {"loss_type", "self.loss_type", "args.loss_type"}
SEVERAL = frozenset(["dpo"])  # commands whose loss_type is a list


def build() -> dict[str, Node]:
    """Return the documents of TRL's contract."""
    documents: dict[str, Node] = {}
    for command in COMMANDS:
        script = import_module(f"trl.scripts.{command}")
        keys: dict[str, Node] = {}
        for cls in script.make_parser().dataclass_types:
            found = settings(cls)["keys"]
            if cls.__name__.endswith("Config") and cls.__name__.lower() == f"{command}config":
                modules = (import_module(f"trl.trainer.{command}_{part}") for part in ("trainer", "config"))
                losses(modules, found, several=command in SEVERAL)
                documents[cls.__name__] = node("map", keys={name: undocumented(key) for name, key in found.items()})
            keys |= found
        keys["env"] = node("map", doc="Environment variables of the run")
        documents[command] = node("map", keys=keys)
    for name in EXPERIMENTAL:
        package = import_module(f"trl.experimental.{name}")
        cls = getattr(package, f"{name.upper()}Config")
        found = settings(cls)["keys"]
        losses([import_module(f"trl.experimental.{name}.{name}_trainer")], found, several=False)
        documents[cls.__name__] = node("map", keys={name: undocumented(key) for name, key in found.items()})
    documents |= scripted(documents["dpo"]["keys"], set(documents["DPOConfig"]["keys"]))
    peft = import_module("peft")
    for name in ADAPTERS:
        documents[name] = settings(getattr(peft, name))
        for key in FILLED:
            documents[name]["keys"].pop(key, None)
    for name in ("LoraConfig", "AdaLoraConfig"):
        init = documents[name]["keys"]["init_lora_weights"]
        init["choices"] = [choice for choice in init["choices"] if not str(choice).startswith("pissa_niter")]
        init["patterns"] = ["pissa_niter_[0-9]+"]  # the annotation says `pissa_niter_[number of iters]`
    documents["BitsAndBytesConfig"] = common.signature(import_module("transformers").BitsAndBytesConfig.__init__)
    documents["BitsAndBytesConfig"]["keys"]["bnb_4bit_compute_dtype"] = node("str", "null")
    return documents


def scripted(command: dict[str, Node], own: set[str]) -> dict[str, Node]:
    """Return a document for each experimental method of this release: its configuration beside what every command reads."""
    shared = {name: key for name, key in command.items() if name not in own}
    found: dict[str, Node] = {}
    for name in SCRIPTED:
        with contextlib.suppress(ImportError):
            package = import_module(f"trl.experimental.{name}")
            title = next(n for n in dir(package) if n.lower() == f"{name.replace('_', '')}config")
            keys = settings(getattr(package, title))["keys"]
            losses([import_module(f"trl.experimental.{name}.{name}_trainer")], keys, several=False)
            found[name] = node("map", keys={name: undocumented(key) for name, key in {**shared, **keys}.items()})
    return found


def undocumented(key: Node) -> Node:
    """Return a key without its text, which the command's document has."""
    return {name: value for name, value in key.items() if name != "doc"}


def settings(cls: Any) -> Node:
    """Return the closed mapping of a dataclass's public fields, with the choices that only parsers and code know."""
    out = common.fields(cls)
    keys = out["keys"]
    for field in dataclasses.fields(cls):
        if not field.init or field.name.startswith("_"):
            keys.pop(field.name)
            continue
        trainers = re.findall(r"`(\w+Trainer)`", keys[field.name].get("deprecated", ""))
        if trainers and cls.__name__.replace("Config", "Trainer") not in trainers:
            del keys[field.name]["deprecated"]
        said = re.search(UNION.format(name=field.name), cls.__doc__ or "", re.MULTILINE)
        if said and cls.__module__.startswith("trl."):  # TRL hands on what YAML read, as its own text says
            words = [WORDS[word] for word in re.findall(r"`(\w+)`", said[1]) if word in WORDS]
            keys[field.name] = {**keys[field.name], **node(*keys[field.name]["type"], *words)}
        if choices := field.metadata.get("choices"):
            keys[field.name] = {**keys[field.name], "choices": list(choices)}
    training, trainer = import_module("transformers.training_args"), import_module("transformers.trainer_utils")
    for name, kind in (
        ("optim", training.OptimizerNames),
        ("lr_scheduler_type", trainer.SchedulerType),
        ("eval_strategy", trainer.IntervalStrategy),
        ("logging_strategy", trainer.IntervalStrategy),
        ("save_strategy", trainer.SaveStrategy),
    ):
        if name in keys:
            keys[name] = {**keys[name], **common.literals(kind)}
    if "datasets" in keys:
        one = import_module("trl.scripts.utils").DatasetConfig
        keys["datasets"] = {**keys["datasets"], "items": settings(one)}
    return out


def losses(modules: Iterable[Any], keys: dict[str, Node], *, several: bool) -> None:
    """Give `loss_type` the names with which the trainer's modules compare it."""
    if "loss_type" not in keys:
        return
    found: list[str] = []
    for part in (part for module in modules for part in ast.walk(common.syntax(module))):
        if isinstance(part, ast.Compare) and ast.unparse(part.left) in LOSSES:
            found += [name for side in part.comparators for name in common.strings(side)]
    names = sorted(set(found))
    if not names:
        return
    if several:  # the configuration itself makes a list of a single name
        old = keys["loss_type"]
        keys["loss_type"] = {**old, **node("str", *old["type"], choices=names), "items": node("str", choices=names)}
    else:
        keys["loss_type"] = {**keys["loss_type"], "choices": names}


if __name__ == "__main__":
    common.main("trl", "trl", "trl.py", build)
