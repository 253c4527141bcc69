"""PEFT's configurations: each kind of adapter in its own class, with its own names for rank, scale and dropout."""

from __future__ import annotations

from typing import Any

from recipec.kinds.train.records import Train
from recipec.systems.check import Unsupported
from recipec.systems.table import OMIT, Row, computed

CLASSES = {
    "lora": "LoraConfig",
    "adalora": "AdaLoraConfig",
    "loha": "LoHaConfig",
    "lokr": "LoKrConfig",
    "oft": "OFTConfig",
    "boft": "BOFTConfig",
    "hra": "HRAConfig",
    "vera": "VeraConfig",
    "vblora": "VBLoRAConfig",
    "fourierft": "FourierFTConfig",
    "bone": "MissConfig",  # PEFT's name for it since 0.18
    "ia3": "IA3Config",
    "ln_tuning": "LNTuningConfig",
    "prompt_tuning": "PromptTuningConfig",
    "prefix_tuning": "PrefixTuningConfig",
    "p_tuning": "PromptEncoderConfig",
}
DROPOUT = {
    "lora": "lora_dropout",
    "adalora": "lora_dropout",
    "loha": "module_dropout",
    "lokr": "module_dropout",
    "oft": "module_dropout",
    "boft": "boft_dropout",
    "vera": "vera_dropout",
    "vblora": "vblora_dropout",
    "bone": "miss_dropout",
}
ALPHA = {"lora": "lora_alpha", "adalora": "lora_alpha", "loha": "alpha", "lokr": "alpha"}
PROMPTS = ("prompt_tuning", "prefix_tuning", "p_tuning")
FEEDFORWARD = r".*\.(down_proj|dense_4h_to_h|fc2|c_proj)"
RESIDUAL = ("olora", "pissa", "pissa_niter_4", "pissa_niter_16")  # these change the base; the result is converted back
INITS = {"default": OMIT, "loftq": "loftq", "eva": "eva", "gaussian": "gaussian", "orthogonal": "orthogonal"}


def task(s: Train) -> str:
    """Return PEFT's name of what the model does."""
    return "SEQ_CLS" if s.method == "reward" else "CAUSAL_LM"


def _targets(s: Train) -> Any:
    assert s.adapter is not None
    kind, targets = s.adapter.type, tuple(s.adapter.targets)
    everything = targets == ("all-linear",)
    if kind in PROMPTS or kind == "ln_tuning":
        if everything:
            return OMIT  # PEFT knows each family's normalisation layers; a learnt prompt has no modules
        if kind in PROMPTS:
            raise Unsupported("adapter.targets", f"{kind} changes no modules", "drop targets")
    return "all-linear" if everything else list(targets)


def _alpha(s: Train) -> Any:
    assert s.adapter is not None
    if s.adapter.alpha != int(s.adapter.alpha):
        raise Unsupported("adapter.alpha", "PEFT takes whole numbers for alpha", "round it")
    return int(s.adapter.alpha)


def _steps(s: Train) -> Any:
    """AdaLoRA spreads its pruning over a known number of steps."""
    if s.length.unit != "steps":
        raise Unsupported("length.amount", "AdaLoRA needs to know the number of steps", "give train.steps")
    return s.length.amount


def _dropout(s: Train, key: str) -> Any:
    assert s.adapter is not None
    if key:
        return s.adapter.dropout
    if s.adapter.dropout:
        raise Unsupported("adapter.dropout", f"{s.adapter.type} has no dropout", "drop it")
    return OMIT


def _option(name: str) -> Any:
    return lambda s: s.adapter.options[name]


def rows(s: Train) -> tuple[Row, ...]:
    """Return the table of the adapter's configuration; the keys are those of its class."""
    assert s.adapter is not None
    kind = s.adapter.type
    group = CLASSES[kind]

    def row(key: str, make: Any, why: str = "") -> Row:
        return computed(f"{group}.{key}", make, why)

    found = [row("task_type", task), row("target_modules", _targets)]
    if s.adapter.rank:
        found.append(row({"adalora": "init_r"}.get(kind, "r"), lambda s: s.adapter.rank))
    if kind == "adalora":
        found += [row("target_r", lambda s: max(1, s.adapter.rank // 2)), row("total_step", _steps)]
    if kind == "oft":
        found.append(row("oft_block_size", lambda _s: 0, "the rank decides the size of the blocks"))
    if kind in PROMPTS:
        found.append(row("num_virtual_tokens", lambda s: s.adapter.virtual_tokens))
    if kind in ALPHA:
        found.append(row(ALPHA[kind], _alpha))
    if kind == "ia3" and "feedforward_modules" not in s.adapter.options:
        # as a pattern: PEFT 0.21 cannot read back the names that it saves beside all-linear
        found.append(row("feedforward_modules", lambda _s: FEEDFORWARD, "their input is scaled, not their output"))
    key = DROPOUT.get(kind, "")
    found.append(row(key or "dropout", lambda s: _dropout(s, key)))
    if kind not in PROMPTS:
        found.append(row("modules_to_save", lambda s: list(s.adapter.also_train) or OMIT))
    elif s.adapter.also_train:
        found.append(row("modules_to_save", _no_more))
    if kind == "lora":
        found += [
            row("use_dora", lambda s: s.adapter.dora or OMIT),
            row("use_rslora", lambda s: s.adapter.rslora or OMIT),
            row("init_lora_weights", lambda s: INITS.get(s.adapter.init, s.adapter.init)),
            row("loftq_config", lambda s: {"loftq_bits": 4, "loftq_iter": 1} if s.adapter.init == "loftq" else OMIT),
        ]
    known = {r.key.partition(".")[2] for r in found}
    for name in s.adapter.options:
        found.append(row(name, _decided(name) if name in known else _option(name)))
    return tuple(found)


def _no_more(s: Train) -> Any:
    assert s.adapter is not None
    raise Unsupported("adapter.also_train", f"{s.adapter.type} trains nothing beside its prompt", "drop also_train")


def _decided(name: str) -> Any:
    def refuse(_s: Train) -> Any:
        raise Unsupported("adapter.options", f"{name} is decided by the recipe's own words", f"drop options.{name}")

    return refuse
