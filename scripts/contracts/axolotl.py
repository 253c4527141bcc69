"""Extract what Axolotl reads: its schema, its plugins' keys, and the names that only its code knows."""

from __future__ import annotations

import ast
import contextlib
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import common
from common import Node, node

STRATEGIES = "axolotl.prompt_strategies"
RL_FOLDERS = {"dpo": "dpo", "ipo": "dpo", "simpo": "dpo", "kto": "kto", "orpo": "orpo", "ebft": "ebft"}


def build() -> dict[str, Node]:
    """Return the documents of Axolotl's contract."""
    schema = import_module("axolotl.utils.schemas.config")
    documents = datasets()
    config = common.model(schema.AxolotlInputConfig)
    keys = config["keys"]
    keys["datasets"]["items"] = dataset_cases()
    keys["test_datasets"]["items"] = {"ref": "datasets.any"}
    keys["pretraining_dataset"]["items"] = {"ref": "datasets.pretraining"}
    retire(keys)
    unread(keys)
    name_choices(keys)
    quantisation(keys)
    fsdp_prefixes(keys)
    plugin_keys(config)
    return {"config": config, **documents}


def folder(package: str) -> Path:
    """Return the folder of a package."""
    return Path(str(import_module(package).__file__)).parent


def functions(path: Path) -> dict[str, list[str]]:
    """Return the top-level functions of a file with the names of their parameters."""
    tree = common.syntax(path)
    assert isinstance(tree, ast.Module)
    return {n.name: [a.arg for a in n.args.args] for n in tree.body if isinstance(n, ast.FunctionDef)}


def assigned(path: Path) -> set[str]:
    """Return the names that a file assigns at its top level."""
    tree = common.syntax(path)
    assert isinstance(tree, ast.Module)
    return {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}


def sft_types() -> Node:
    """Return the dataset types that the supervised loader can find."""
    root = folder(STRATEGIES)
    names: list[str] = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if path.name == "__init__.py" or (len(parts) > 1 and parts[0] in set(RL_FOLDERS.values())):
            continue
        for name, parameters in functions(path).items():
            if re.fullmatch(r"load(_\w+)?", name) and parameters[:2] == ["tokenizer", "cfg"]:
                names.append(".".join(parts) + ("" if name == "load" else f".{name}"))
        if "load" in assigned(path):
            names.append(".".join(parts))
    names.append("messages")
    handlers = sorted(import_module("axolotl.utils.data.wrappers").DATASET_HANDLERS)
    styles = sorted(style.value for style in import_module("axolotl.prompters").PromptStyle)
    own = {name.split(".")[0] for name in names}
    return {
        "choices": sorted({*names, *handlers}),
        "patterns": [f"({'|'.join(handlers)}):({'|'.join(styles)})", own_module(own)],
    }


def rl_types(name: str) -> Node:
    """Return the dataset types under one folder of preference strategies."""
    root = folder(f"{STRATEGIES}.{name}")
    found: list[str] = []
    for path in sorted(root.glob("[a-z]*.py")):
        for function, parameters in functions(path).items():
            if parameters[:1] == ["cfg"]:
                found += [f"{path.stem}.{function}", *([path.stem] if function == "default" else [])]
    return {"choices": sorted(found), "patterns": [own_module({f.split(".")[0] for f in found})]}


def own_module(known: set[str]) -> str:
    """Return the pattern of a dotted name in a module of the user's own."""
    return rf"(?!({'|'.join(sorted(known))})\.)\w+(\.\w+)+"


def datasets() -> dict[str, Node]:
    """Return one document for each kind of dataset entry."""
    module = import_module("axolotl.utils.schemas.datasets")
    enums = import_module("axolotl.utils.schemas.enums")
    templates = {
        "choices": [member.value for member in enums.ChatTemplate],
        "patterns": ["tokenizer_default_fallback_.*"],
    }

    def entry(cls: Any, types: Node | None) -> Node:
        out = common.model(cls)
        if types:
            out["keys"]["type"] = {**out["keys"]["type"], **types}
        if "chat_template" in out["keys"]:
            out["keys"]["chat_template"] = {**out["keys"]["chat_template"], **templates}
        return out

    out = {
        "datasets.sft": entry(module.SFTDataset, sft_types()),
        "datasets.dpo": entry(module.DPODataset, rl_types("dpo")),
        "datasets.kto": entry(module.KTODataset, rl_types("kto")),
        "datasets.orpo": entry(module.SFTDataset, rl_types("orpo")),
        "datasets.ebft": entry(module.SFTDataset, rl_types("ebft")),
        "datasets.grpo": entry(module.SFTDataset, None),
        "datasets.synthetic": entry(module.SyntheticDataset, None),
        "datasets.stepwise": entry(module.StepwiseSupervisedDataset, None),
    }
    streamed = common.merge([entry(module.PretrainingDataset, sft_types()), out["datasets.sft"]])
    out["datasets.pretraining"] = streamed
    union = ("sft", "dpo", "kto", "stepwise", "synthetic")
    out["datasets.any"] = common.merge([out[f"datasets.{name}"] for name in union])
    return out


def dataset_cases() -> Node:
    """Return which document judges an entry of `datasets`: observed in what Axolotl's own validation makes of it."""
    config = import_module("axolotl.utils.config")
    wrap = import_module("axolotl.utils.dict").DictDefault
    kinds = {"SFTDataset": "sft", "DPODataset": "dpo", "KTODataset": "kto", "SyntheticDataset": "synthetic"}
    cases: dict[str, list[str]] = {}

    def observed(rl: str | None, type_: str) -> str:
        cfg = wrap({"rl": rl, "datasets": [{"path": "synthetic", "type": type_}], "base_model": "x"})
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # so short a one need not be valid
            config.validate_config(cfg)
        return kinds[type(cfg["datasets"][0]).__name__]

    for member in import_module("axolotl.utils.schemas.enums").RLType:
        rl = member.value
        kind = observed(rl, "a.b")
        if kind == "sft":
            kind = RL_FOLDERS.get(rl, "grpo")
        cases.setdefault(f"datasets.{kind}", []).append(rl)
    when = [{"at": "root", "key": "rl", "in": rls, "ref": ref} for ref, rls in sorted(cases.items())]
    if observed(None, "_synthetic") == "synthetic":
        when.append({"at": "here", "key": "type", "in": ["_synthetic"], "ref": "datasets.synthetic"})
    return {"ref": "datasets.sft", "when": when}


def retire(keys: dict[str, Node]) -> None:
    """Mark the parameters that Axolotl keeps only to warn about or to refuse, with its own words."""
    cls = import_module("axolotl.utils.schemas.deprecated").DeprecatedParameters
    for statement in ast.walk(common.syntax(cls)):
        if not isinstance(statement, ast.FunctionDef) or not statement.decorator_list:
            continue
        name = statement.decorator_list[0].args[0].value  # type: ignore[attr-defined]  # @field_validator("name")
        refused = [n for n in ast.walk(statement) if isinstance(n, ast.Raise)]
        call = (
            refused[0].exc
            if refused
            else next(
                n for n in ast.walk(statement) if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "warning"
            )
        )
        assert isinstance(call, ast.Call)
        keys[name]["removed" if refused else "deprecated"] = "".join(common.strings(call.args[0]))


def unread(keys: dict[str, Node]) -> None:
    """Mark as removed what the schema calls deprecated and nothing in the package reads any more."""
    root = folder("axolotl")
    declared = {root / "utils" / "schemas" / "deprecated.py", root / "cli" / "config_options.py"}
    read: set[str] = set()
    for path in sorted({*root.rglob("*.py")} - declared):
        for part in ast.walk(common.syntax(path)):
            if isinstance(part, ast.Attribute):
                read.add(part.attr)
            elif isinstance(part, ast.Constant):
                read.add(str(part.value))
    for name, key in keys.items():
        if "deprecated" in key and name not in read:
            key["removed"] = key.pop("deprecated")


def name_choices(keys: dict[str, Node]) -> None:
    """Add the names that the schema takes as any text, but of which the code knows only some."""
    trainer = import_module("transformers.trainer_utils")
    training = import_module("transformers.training_args")
    enums = import_module("axolotl.utils.schemas.enums")
    builder = import_module("axolotl.core.builders.base").TrainerBuilderBase

    def closed(key: str, names: list[str], **more: Any) -> None:
        keys[key] = {**keys[key], "choices": list(dict.fromkeys(names)), **more}

    def values(enum: Any) -> list[str]:
        return [member.value for member in enum]

    closed("optimizer", sorted({*values(training.OptimizerNames), *values(enums.CustomSupportedOptimizers)}))
    scheduler = common.syntax(builder._configure_scheduler)
    extra = next(n for n in ast.walk(scheduler) if isinstance(n, ast.List))
    closed("lr_scheduler", sorted({*values(trainer.SchedulerType), *common.strings(extra)}))
    closed("eval_strategy", values(trainer.IntervalStrategy))
    closed("save_strategy", values(trainer.SaveStrategy))
    closed("hub_strategy", values(trainer.HubStrategy))
    closed("attn_implementation", sorted(enums.CANONICAL_ATTN_IMPLS), patterns=[".*/.*"])
    if "large_head_attention" in keys:  # since 0.19
        model = import_module("axolotl.utils.schemas.config").AxolotlInputConfig
        heads = common.syntax(model.validate_large_head_attention)
        heads_known = common.strings(next(n for n in ast.walk(heads) if isinstance(n, ast.Set)))
        closed("large_head_attention", sorted(heads_known))
    if "torch_compile_options" in keys:  # since 0.19
        options = keys["torch_compile_options"]
        child = options.pop("values")
        options["keys"] = dict.fromkeys(sorted(enums.INDUCTOR_COMPILE_OPTIONS_ALLOWLIST), child)
    lora = common.syntax(import_module("axolotl.utils.schemas.peft").LoraConfig.validate_adapter)
    built_in = next(n for n in ast.walk(lora) if isinstance(n, ast.Tuple))
    closed("adapter", [*common.strings(built_in), *plugin_adapters()])


def plugin_adapters() -> list[str]:
    """Return the adapters that Axolotl's own plugins register."""
    found: list[str] = []
    for path in sorted(folder("axolotl.integrations").rglob("*.py")):
        for call in ast.walk(common.syntax(path)):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "AdapterCapabilities":
                found += [k.value.value for k in call.keywords if k.arg == "name" and isinstance(k.value, ast.Constant)]  # type: ignore[misc]  # a name is text
    return found


def quantisation(keys: dict[str, Node]) -> None:
    """Add the data types by name: the schema's enum holds torch objects, its validator takes words."""
    check = import_module("axolotl.utils.schemas.quantization").validate_ao_dtype
    words = []
    for word in dict.fromkeys(common.strings(common.syntax(check))):
        try:
            check(word)
        except ValueError:
            continue
        words.append(word)
    for block in ("qat", "quantization"):
        for name in ("activation_dtype", "weight_dtype"):
            old = keys[block]["keys"][name]
            more = ["null"] if name == "activation_dtype" else []
            keys[block]["keys"][name] = {**old, **node("str", *more), "choices": words}


def fsdp_prefixes(keys: dict[str, Node]) -> None:
    """Add the old `fsdp_` spellings inside `fsdp_config`, if Axolotl still maps them."""
    model = import_module("axolotl.utils.schemas.config").AxolotlInputConfig
    inner = keys["fsdp_config"]["keys"]
    seen = model.check_fsdp_config_kwargs_prefix({"fsdp_config": {"fsdp_offload_params": True}})
    if seen["fsdp_config"] == {"offload_params": True}:
        for name in [name for name in inner if name not in ("version", "fsdp_version")]:
            inner[f"fsdp_{name}"] = {**inner[name], "deprecated": f"write `{name}`, without the prefix"}


def plugin_keys(config: Node) -> None:
    """Add the keys that Axolotl's plugins read, each with the plugins without which it is dropped."""
    root = folder("axolotl.integrations")
    keys = config["keys"]
    known: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        module = ".".join(("axolotl.integrations", *path.relative_to(root).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for cls in ast.walk(common.syntax(path)):
            bases = [getattr(base, "id", getattr(base, "attr", "")) for base in getattr(cls, "bases", [])]
            if not isinstance(cls, ast.ClassDef) or not any(base.endswith("Plugin") for base in bases):
                continue
            names = plugin_names(module, cls.name)
            known.update(names)
            for method in cls.body:
                if isinstance(method, ast.FunctionDef) and method.name == "get_input_args":
                    target = [s for s in common.strings(method) if re.fullmatch(r"[\w.]+\.\w+", s)][-1]
                    where, _, what = target.rpartition(".")
                    for key, child in common.model(getattr(common.imported(where), what))["keys"].items():
                        if key not in keys:
                            keys[key] = {**child, "needs": {"key": "plugins", "any": list(names)}}
                        elif "needs" in keys[key]:
                            keys[key]["needs"]["any"] += [n for n in names if n not in keys[key]["needs"]["any"]]
    config["opens"] = {"key": "plugins", "known": sorted(known)}
    keys["plugins"]["items"] = node("str", choices=sorted(known), patterns=[r"(?!axolotl\.integrations\.)[\w.]+"])


def plugin_names(module: str, name: str) -> list[str]:
    """Return the dotted names by which a plugin class can be written, the shortest first."""
    found = [f"{module}.{name}"]
    root = folder("axolotl")
    while (module := module.rpartition(".")[0]) != "axolotl.integrations":
        package = common.syntax(root.joinpath(*module.split(".")[1:], "__init__.py"))  # read, since some cannot be run
        imported = [n for n in ast.walk(package) if isinstance(n, ast.ImportFrom)]
        if any(alias.name == name for statement in imported for alias in statement.names):
            found.insert(0, f"{module}.{name}")
    return found


if __name__ == "__main__":
    common.main("axolotl", "axolotl", "axolotl.py", build, whole_floats=True)
