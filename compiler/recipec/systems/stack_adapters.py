"""PEFT alone: two adapters made one, by a script of ours that is copied as it is, and a settings file for it."""

from __future__ import annotations

from recipec.systems.peft import script_system
from recipec.systems.table import Row, same

ROWS: tuple[Row, ...] = tuple(
    same(word, word) for word in ("base", "revision", "parent", "adapter", "tokenizer", "trust_remote_code", "output")
)
SYSTEM = script_system("stack_adapters", "stack", ROWS, "stack_adapters.py", "stack.json")
