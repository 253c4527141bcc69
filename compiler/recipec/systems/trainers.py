"""What the systems that train have in common: their environments."""

from __future__ import annotations

from recipec.facts import releases
from recipec.kinds.train.records import Train
from recipec.systems.system import Need

GENERAL = "trl-1.16.0"  # makes, merges and evaluates models where no trainer's environment does
EVALUATES = frozenset(["lm-eval", "peft", "transformers"])


def need(s: Train, *, base: str = "", brings: frozenset[str] = frozenset(), holds: frozenset[str] = EVALUATES) -> Need:
    """Return the environment of a training: the trainer's own (or `base`), with what it needs beyond what that `brings`."""
    extras = ["deepspeed"] if s.parallel.strategy.startswith("zero") else []
    extras += ["flash-attn"] if s.model.attention == "flash_attention_2" else []
    own = base or (f"{s.trainer}-{s.release}" if s.release in releases(s.trainer) else GENERAL)
    return Need(own, frozenset(extras) - brings, holds=holds)
