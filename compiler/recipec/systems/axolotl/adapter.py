"""Axolotl's LoRA keys. It trains no other kind of PEFT adapter."""

from __future__ import annotations

from typing import Any

from recipec.facts import version
from recipec.kinds.train.records import Train
from recipec.systems.check import Unsupported
from recipec.systems.table import OMIT, Row, computed, same

# Fields of PEFT's LoraConfig that Axolotl hands on, by its own names.
OPTIONS = {
    "fan_in_fan_out": "lora_fan_in_fan_out",
    "target_parameters": "lora_target_parameters",
    "rank_pattern": "lora_rank_pattern",
    "alpha_pattern": "lora_alpha_pattern",
    "layers_to_transform": "peft_layers_to_transform",
    "layers_pattern": "peft_layers_pattern",
    "layer_replication": "peft_layer_replication",
    "trainable_token_indices": "peft_trainable_token_indices",
    "ensure_weight_tying": "peft_ensure_weight_tying",
}
SINCE = {"rank_pattern": "0.18.0", "alpha_pattern": "0.18.0"}
QUANTISED = ("int8", "nf4", "fp4")


def _kind(s: Train) -> Any:
    if s.adapter is None:
        return OMIT
    return "qlora" if s.adapter.type == "lora" and s.model.load_in in ("nf4", "fp4") else "lora"


def _alpha(s: Train) -> Any:
    if s.adapter is None:
        return OMIT
    if s.adapter.alpha != int(s.adapter.alpha):
        raise Unsupported("adapter.alpha", "Axolotl takes whole numbers for alpha", "round it")
    return int(s.adapter.alpha)


def _four_bit(s: Train) -> Any:
    if s.model.load_in not in ("nf4", "fp4"):
        return OMIT
    return {"bnb_4bit_quant_type": s.model.load_in, "bnb_4bit_use_double_quant": s.model.double_quant}


def _targets(s: Train, *, linear: bool) -> Any:
    if s.adapter is None:
        return OMIT
    if s.adapter.target_pattern is not None:
        return OMIT if linear else s.adapter.target_pattern
    everything = tuple(s.adapter.targets) == ("all-linear",)
    if linear:
        return True if everything else OMIT
    return OMIT if everything else list(s.adapter.targets)


def _init(s: Train) -> Any:
    """PEFT's init. Those that move a part of the base into the adapter need the base as it is, not quantised."""
    if s.adapter is None or s.adapter.init == "default":
        return OMIT
    init = s.adapter.init
    if init == "eva":
        advice = "use init: default or pissa"
        raise Unsupported("adapter.init", "Axolotl does not collect the activations that EVA starts from", advice)
    if init == "loftq":
        advice = "use init: default, or pissa with unquantised weights"
        raise Unsupported("adapter.init", "LoftQ changes the base, and Axolotl saves the adapter alone", advice)
    if init.startswith("pissa_niter"):
        advice = "use init: pissa, whose exact start a reload finds again"
        raise Unsupported("adapter.init", f"{init} starts at random, and Axolotl saves the adapter alone", advice)
    if init.startswith(("pissa", "olora")) and s.model.load_in in QUANTISED:
        advice = "use init: default, or drop load_in"
        raise Unsupported("adapter.init", f"{init} needs base weights that are not quantised", advice)
    return init


def _option(name: str, key: str) -> Row:
    row = computed(key, lambda s: s.adapter.options.get(name, OMIT) if s.adapter is not None else OMIT)
    return row.at(since=SINCE.get(name, ""))


def _known(s: Train) -> Any:
    for name in s.adapter.options if s.adapter is not None else ():
        if name not in OPTIONS:
            advice = f"it knows {', '.join(OPTIONS)}"
            raise Unsupported("adapter.options", f"Axolotl hands no {name} on to PEFT", advice)
        if name in SINCE and version(s.release) < version(SINCE[name]):
            advice = f"use Axolotl {SINCE[name]} or later"
            raise Unsupported("adapter.options", f"Axolotl {s.release} hands no {name} on to PEFT", advice)
    return OMIT


def _no_kernel(s: Train) -> Any:
    return False if s.hardware.device == "cpu" and s.adapter is not None else OMIT


ROWS: tuple[Row, ...] = (
    computed("load_in_4bit", lambda s: True if s.model.load_in in ("nf4", "fp4") else OMIT),
    computed("load_in_8bit", lambda s: True if s.model.load_in == "int8" else OMIT),
    computed("bnb_config_kwargs", _four_bit),
    computed("adapter", _kind),
    same("lora_model_dir", "adapter.start_from"),
    same("lora_r", "adapter.rank"),
    computed("lora_alpha", _alpha),
    same("lora_dropout", "adapter.dropout"),
    computed("lora_target_linear", lambda s: _targets(s, linear=True)),
    computed("lora_target_modules", lambda s: _targets(s, linear=False)),
    computed(
        "lora_modules_to_save",
        lambda s: list(s.adapter.also_train) if s.adapter is not None and s.adapter.also_train else OMIT,
    ),
    computed("peft_use_dora", lambda s: True if s.adapter is not None and s.adapter.dora else OMIT),
    computed("peft_use_rslora", lambda s: True if s.adapter is not None and s.adapter.rslora else OMIT),
    computed("peft_init_lora_weights", _init),
    same("loraplus_lr_ratio", "adapter.lora_plus_ratio"),
    computed("\0options", _known),
    *(_option(name, key) for name, key in OPTIONS.items()),
    *(
        computed(f"lora_{part}_kernel", _no_kernel, "Triton kernels need a GPU")
        for part in ("mlp", "qkv", "o", "embedding")
    ),
)
