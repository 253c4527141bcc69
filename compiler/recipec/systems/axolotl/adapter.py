"""Axolotl's LoRA keys. It trains no other kind of PEFT adapter."""

from __future__ import annotations

from typing import Any

from recipec.systems.check import Check, Only, refuses
from recipec.systems.huggingface import BASE, FOUR_BIT
from recipec.systems.on_cpu import Instead
from recipec.systems.table import OMIT, Row, constant, made, renamed, same, spread, whole, within

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
LATE, LATER = "0.18.0", ("rank_pattern", "alpha_pattern")  # the release that began to hand these on
EARLY = {name: key for name, key in OPTIONS.items() if name not in LATER}
QUANTISED = ("int8", *FOUR_BIT)


def _kind(kind: str | None, load_in: str) -> Any:
    """Axolotl has a name of its own for LoRA beside 4-bit weights."""
    if kind is None:
        return OMIT
    return "qlora" if load_in in FOUR_BIT else "lora"


def _targets(targets: tuple[str, ...] | None, pattern: str | None) -> Any:
    if targets is None:
        return OMIT, OMIT
    if pattern is not None:
        return OMIT, pattern
    return (True, OMIT) if targets == ("all-linear",) else (OMIT, list(targets))


def _targets_back(linear: Any, modules: Any) -> dict[str, Any]:
    if modules is OMIT:
        return {"adapter.targets": ("all-linear",)} if linear is True else {}
    return {"adapter.target_pattern": modules} if isinstance(modules, str) else {"adapter.targets": tuple(modules)}


ROWS: tuple[Row, ...] = (
    BASE["load_in_4bit"],
    BASE["load_in_8bit"],
    *within("bnb_config_kwargs", BASE["bnb_4bit_quant_type"], BASE["bnb_4bit_use_double_quant"]),
    made(
        "adapter",
        _kind,
        "adapter.type",
        "model.load_in",
        back=lambda kind: {"adapter.type": "lora"} if kind in ("lora", "qlora") else {},
    ),
    same("lora_model_dir", "adapter.start_from"),
    BASE["r"].called("lora_r"),
    whole("lora_alpha", "adapter.alpha", "Axolotl takes whole numbers for alpha"),
    BASE["lora_dropout"],
    Row(
        ("lora_target_linear", "lora_target_modules"),
        ("adapter.targets", "adapter.target_pattern"),
        _targets,
        _targets_back,
    ),
    BASE["modules_to_save"].called("lora_modules_to_save"),
    BASE["use_dora"].called("peft_use_dora"),
    BASE["use_rslora"].called("peft_use_rslora"),
    renamed("peft_init_lora_weights", "adapter.init", {"default": OMIT}),
    BASE["loraplus_lr_ratio"],
    spread("adapter.options", OPTIONS).at(since=LATE),
    spread("adapter.options", EARLY).at(until=LATE),
    *(
        constant(f"lora_{part}_kernel", False, "Triton kernels need a GPU")
        .when("hardware.device", "cpu")
        .when("adapter.type")
        for part in ("mlp", "qkv", "o", "embedding")
    ),
)


def _unknown(options: dict[str, Any] | None, known: dict[str, str] = OPTIONS) -> str:
    return ", ".join(name for name in options or () if name not in known)


def _late(options: dict[str, Any] | None) -> str:
    return ", ".join(name for name in options or () if name in LATER)


CHECKS: tuple[Check, ...] = (
    refuses(  # loaders/model.py, ModelLoader._load_adapters: of the adapter only its configuration is read
        "adapter.start_from",
        "method",
        when=lambda start_from, _method: start_from is not None,
        message=lambda _start_from, method: (
            f"Axolotl begins {method} with a new adapter: it would not load the one to start from"
        ),
        advice="set parent_adapter: merge, or train this stage by trl or unsloth",
    ).when("method", "dpo", "ipo", "kto"),
    refuses(
        "adapter.init",
        when=lambda init: init == "eva",
        message="Axolotl does not collect the activations that EVA starts from",
        advice="use init: default or pissa",
    ),
    refuses(
        "adapter.init",
        when=lambda init: init == "loftq",
        message="LoftQ changes the base, and Axolotl saves the adapter alone",
        advice="use init: default, or pissa with unquantised weights",
    ),
    refuses(
        "adapter.init",
        when=lambda init: init is not None and init.startswith("pissa_niter"),
        message=lambda init: f"{init} starts at random, and Axolotl saves the adapter alone",
        advice="use init: pissa, whose exact start a reload finds again",
    ),
    # These move a part of the base into the adapter.
    refuses(
        "adapter.init",
        when=lambda init: init in ("pissa", "olora"),
        message=lambda init: f"{init} needs base weights that are not quantised",
        advice="use init: default, or drop load_in",
    ).when("model.load_in", *QUANTISED),
    refuses(
        "adapter.options",
        when=_unknown,
        message=lambda options: f"Axolotl hands no {_unknown(options)} on to PEFT",
        advice=f"it hands on {', '.join(OPTIONS)}",
    ),
    refuses(
        "adapter.options",
        "release",
        when=lambda options, _release: _late(options),
        message=lambda options, release: f"Axolotl {release} hands no {_late(options)} on to PEFT",
        advice=f"use Axolotl {LATE} or later",
    ).at(until=LATE),
)

# of its fast paths for LoRA, which are Triton's
ON_CPU = tuple(
    Instead(f"overrides.axolotl.lora_{part}_kernel", False, "Triton's kernels need a GPU", (Only("adapter.type"),))
    for part in ("mlp", "qkv", "o", "embedding")
)
