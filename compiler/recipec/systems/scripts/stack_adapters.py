"""Make one LoRA adapter of two, a parent and one that was trained over it: `python stack_adapters.py stack.json`.

Copied as it is into the output of a recipe that stacks; needs only torch, transformers and peft. The result is an adapter
over the parent's base, whose rank is the sum of both. Nothing of it depends on the base's weights: they are not loaded.
"""

import json
import os
import shutil
import sys
from dataclasses import fields
from pathlib import Path

# What two adapters may have, or differ in, and be one all the same. Whatever else a LoRA has would be lost without a word.
FREE = frozenset(
    [
        "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
        "inference_mode", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern",
        "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out",
        "init_lora_weights", "eva_config", "runtime_config", "ensure_weight_tying",
    ]
)  # fmt: skip
STARTS = (True, False, "gaussian", "orthogonal", "eva")  # the others take something out of the base


def stack(settings: dict) -> str:
    """Stack as the settings say; return what there is to say about it. Raises OSError or ValueError."""
    import torch
    import transformers
    from peft import PeftModel

    output, trust = Path(settings["output"]), settings["trust_remote_code"]
    parts = {"parent": settings["parent"], "new": settings["adapter"]}
    sizes = {part: matrices(folder) for part, folder in parts.items()}
    config = transformers.AutoConfig.from_pretrained(
        settings["base"], revision=settings.get("revision") or "main", trust_remote_code=trust
    )
    with torch.device("meta"):
        base = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    hollow(base, torch)
    model = PeftModel.from_pretrained(base, parts["parent"], adapter_name="parent")
    model.load_adapter(parts["new"], adapter_name="new")
    for part, folder in parts.items():
        names = adapted(model, part)
        if len(names) != sizes[part]:
            raise ValueError(
                f"{folder} has {sizes[part]} pairs of matrices, of which {len(names)} fit {settings['base']}"
            )
        model.peft_config[part].target_modules = names  # one kind of choice: PEFT combines no list with a pattern
    first = model.peft_config["parent"]  # of which PEFT makes the configuration of the result, with alpha = rank
    first.use_rslora, first.init_lora_weights = False, True
    first.exclude_modules = first.layers_to_transform = first.layers_pattern = None
    first.base_model_name_or_path, first.revision = settings["base"], settings.get("revision")
    wanted = adapted(model, "parent") | adapted(model, "new")
    model.add_weighted_adapter(["parent", "new"], [1.0, 1.0], "default", combination_type="cat")
    for part in parts:
        model.delete_adapter(part)
    model.set_adapter("default")
    if adapted(model, "default") != wanted:
        raise ValueError("PEFT left out modules of one of the adapters")
    fresh = output.with_name(f".{output.name}.new-{os.getpid()}")
    model.save_pretrained(fresh, save_embedding_layers=False)
    transformers.AutoTokenizer.from_pretrained(settings["tokenizer"], trust_remote_code=trust).save_pretrained(fresh)
    if output.exists():
        shutil.rmtree(output)
    fresh.rename(output)
    rank = model.peft_config["default"].r
    return f"stacked {parts['new']} on {parts['parent']}: {output}, of rank {rank} over {settings['base']}"


def matrices(folder: str) -> int:
    """Return the number of pairs of matrices of an adapter. Raises ValueError where there is more to it than these."""
    from peft import LoraConfig, PeftConfig
    from peft.utils import load_peft_weights

    config, usual = PeftConfig.from_pretrained(folder), LoraConfig()
    if not isinstance(config, LoraConfig):
        raise ValueError(f"{folder} is an adapter of type {config.peft_type}, and only LoRA can be stacked")
    known = [field.name for field in fields(LoraConfig) if field.name not in FREE]
    odd = [name for name in known if (getattr(config, name) or None) != (getattr(usual, name) or None)]
    odd += ["init_lora_weights"] * (config.init_lora_weights not in STARTS)
    if odd:
        raise ValueError(f"{folder} cannot be stacked: {', '.join(f'{name}={getattr(config, name)}' for name in odd)}")
    keys = list(load_peft_weights(folder, device="cpu"))
    beside = [key for key in keys if ".lora_A." not in key and ".lora_B." not in key]
    if beside:
        raise ValueError(f"{folder} cannot be stacked: beside its matrices it holds {beside[0]}")
    return len(keys) // 2


def adapted(model, part: str) -> set[str]:
    """Return the names of the modules that have an adapter of this name."""
    modules = model.get_base_model().named_modules()
    return {name for name, module in modules if part in getattr(module, "lora_A", ())}


def hollow(model, torch) -> None:
    """Give a model weights that take no memory: a single zero each, in fp32, which is what PEFT then computes in."""
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(torch.zeros(()).expand(weight.shape), requires_grad=False))


if __name__ == "__main__":
    try:
        print(stack(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        sys.exit(f"stack_adapters.py: {error}")
