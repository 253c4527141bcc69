"""PEFT's configurations: each kind of adapter in its own class, with its own names for rank, scale and dropout."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from recipec.kinds.train.records import Train
from recipec.plan import Record
from recipec.systems.check import Check, refuses
from recipec.systems.huggingface import BASE, base
from recipec.systems.table import OMIT, Row, choice, constant, listed, made, nonzero, same


class Kind(Record, frozen=True):
    """A kind of adapter: its configuration class, and that class's names for rank, alpha and dropout ("": it has none)."""

    config: str
    rank: str = ""
    alpha: str = ""
    dropout: str = ""


KINDS = {
    "lora": Kind("LoraConfig", "r", "lora_alpha", "lora_dropout"),
    "adalora": Kind("AdaLoraConfig", "init_r", "lora_alpha", "lora_dropout"),
    "loha": Kind("LoHaConfig", "r", "alpha", "module_dropout"),
    "lokr": Kind("LoKrConfig", "r", "alpha", "module_dropout"),
    "oft": Kind("OFTConfig", "r", dropout="module_dropout"),
    "boft": Kind("BOFTConfig", dropout="boft_dropout"),
    "hra": Kind("HRAConfig", "r"),
    "vera": Kind("VeraConfig", "r", dropout="vera_dropout"),
    "vblora": Kind("VBLoRAConfig", dropout="vblora_dropout"),
    "fourierft": Kind("FourierFTConfig"),
    "bone": Kind("MissConfig", "r", dropout="miss_dropout"),  # PEFT's name for it since 0.18
    "ia3": Kind("IA3Config"),
    "ln_tuning": Kind("LNTuningConfig"),
    "prompt_tuning": Kind("PromptTuningConfig"),
    "prefix_tuning": Kind("PrefixTuningConfig"),
    "p_tuning": Kind("PromptEncoderConfig"),
}
PROMPTS = ("prompt_tuning", "prefix_tuning", "p_tuning")
FEEDFORWARD = r".*\.(down_proj|dense_4h_to_h|fc2|c_proj)"
RESIDUAL = ("olora", "pissa", "pissa_niter_4", "pissa_niter_16")  # these change the base; the result is converted back
EVERYTHING = ("all-linear",)
ALPHA = BASE["lora_alpha"]

TASK = choice("task_type", "method", {"reward": "SEQ_CLS"}, other="CAUSAL_LM")
LORA: tuple[Row, ...] = (
    *base("use_dora", "use_rslora"),
    same("init_lora_weights", "adapter.init").unless("adapter.init", "default"),
    constant("loftq_config", {"loftq_bits": 4, "loftq_iter": 1}).when("adapter.init", "loftq"),
)
ADALORA: tuple[Row, ...] = (
    made("target_r", lambda rank: max(1, rank // 2), "adapter.rank"),
    same("total_step", "length.amount").when("length.unit", "steps"),  # it spreads its pruning over all of them
)
# as a pattern: PEFT 0.21 cannot read back the names that it saves beside all-linear
IA3 = constant("feedforward_modules", FEEDFORWARD, "their input is scaled, not their output")


def table(kind: str) -> tuple[Row, ...]:
    """Return the table of a kind of adapter; the keys are those of its class."""
    names = KINDS[kind]
    found = [TASK]
    if kind not in PROMPTS:  # a learnt prompt has no modules; PEFT knows each family's normalisation layers
        found.append(
            listed("target_modules", "adapter.targets", {"all-linear": OMIT if kind == "ln_tuning" else "all-linear"})
        )
    if names.rank:
        found.append(same(names.rank, "adapter.rank"))
    if kind == "adalora":
        found += ADALORA
    if kind == "oft":
        found.append(constant("oft_block_size", 0, "the rank decides the size of the blocks"))
    if kind in PROMPTS:
        found.append(same("num_virtual_tokens", "adapter.virtual_tokens"))
    if names.alpha:
        found.append(ALPHA.called(names.alpha))
    if kind == "ia3":
        found.append(IA3)
    if names.dropout:
        found.append(same(names.dropout, "adapter.dropout"))
    if kind not in PROMPTS:
        found.append(nonzero("modules_to_save", "adapter.also_train"))
    return (*found, *LORA) if kind == "lora" else tuple(found)


def _decided(options: dict[str, Any], kind: str) -> list[str]:
    """Return the options that the recipe has words of its own for."""
    known = {row.key for row in table(kind)} - {IA3.key}
    return [name for name in options if name in known]


def rows(s: Train) -> tuple[Row, ...]:
    """Return the table of a stage's adapter, with its further options; each key stands below the class's name."""
    if s.adapter is None:
        return ()
    kind, options = s.adapter.type, s.adapter.options
    found = [row for row in table(kind) if row is not IA3 or IA3.key not in options]
    known = {row.key for row in found}
    found += [made(name, itemgetter(name), "adapter.options") for name in options if name not in known]
    return tuple(row.grouped(KINDS[kind].config) for row in found)


CHECKS: tuple[Check, ...] = (
    refuses(
        "adapter.targets",
        "adapter.type",
        when=lambda targets, _kind: tuple(targets) != EVERYTHING,
        message=lambda _targets, kind: f"{kind} changes no modules",
        advice="drop targets",
    ).when("adapter.type", *PROMPTS),
    refuses(
        "adapter.dropout",
        "adapter.type",
        when=lambda dropout, _kind: dropout,
        message=lambda _dropout, kind: f"{kind} has no dropout",
        advice="drop it",
    ).when("adapter.type", *(kind for kind, names in KINDS.items() if not names.dropout)),
    refuses(
        "adapter.also_train",
        "adapter.type",
        when=lambda also, _kind: also,
        message=lambda _also, kind: f"{kind} trains only its prompt",
        advice="drop also_train",
    ).when("adapter.type", *PROMPTS),
    refuses(
        "length.amount",
        "length.unit",
        when=lambda _amount, unit: unit != "steps",
        message="AdaLoRA needs to know the number of steps",
        advice="set train.steps",
    ).when("adapter.type", "adalora"),
    refuses(
        "adapter.options",
        "adapter.type",
        when=_decided,
        message=lambda options, kind: f"the recipe's own words decide {', '.join(_decided(options, kind))}",
        advice=lambda options, kind: f"drop {', '.join(f'options.{name}' for name in _decided(options, kind))}",
    ).when("adapter.type"),
    refuses(  # LoraConfig.__post_init__ of PEFT: all-linear is a text there, as a pattern is
        "adapter.options",
        "adapter.targets",
        when=lambda options, targets: options.get("layers_to_transform") is not None and tuple(targets) == EVERYTHING,
        message="PEFT takes layers_to_transform only beside modules that are named",
        advice="name them by adapter.targets, such as [q_proj, v_proj]",
    ).when("adapter.type"),
    refuses(
        "adapter.init",
        "method",
        when=lambda init, method: init == "eva" and method not in ("sft", "pretrain"),
        message=lambda _init, method: f"eva works with sft, not with {method}",
        advice="choose another init",
    ),
    refuses(
        "adapter.init",
        "hardware.device",
        when=lambda init, device: init == "loftq" and device == "cpu",
        message="PEFT computes LoftQ on a GPU only",
        advice="choose another init, such as pissa",
    ),
    refuses(
        "adapter.init",
        "parallel.strategy",
        when=lambda init, strategy: strategy in ("fsdp2", "zero3") and init in ("eva", "loftq", *RESIDUAL),
        message=lambda init, strategy: f"{init} needs all of the base in one place, which {strategy} shards",
        advice="use zero2, or another init",
    ),
)
