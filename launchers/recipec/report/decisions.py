"""The decisions of a plan and where each came from: the recipe, the command line, a rule, a fact or a default."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from recipec.manifest import Manifest
from recipec.render.report import is_plain
from recipec.secrets import is_named

ORDER = ("command line", "recipe", "rule", "fact", "default")
LONGEST = 200  # characters of a value that are shown


def decisions(manifest: Manifest) -> list[dict[str, Any]]:
    """Return every decided value of a stage or of the hardware with its origin, in the order of the plan.

    `plain` are those that are decided the same way for every recipe.
    """
    found: list[dict[str, Any]] = []
    for path, because in manifest.because.items():
        try:
            value = manifest.value(path)
        except LookupError:
            continue
        if (value is None and because.origin == "default") or of_the_machine(manifest, path, value):
            continue
        found.append(
            {
                "path": path,
                "stage": path.partition(".")[0],
                "value": shown(path, value),
                "origin": because.origin,
                "at": because.at,
                "why": because.why,
                "reads": list(because.reads),
                "plain": is_plain(path),
            }
        )
    order = {name: at for at, name in enumerate(("hardware", *(stage.name for stage in manifest.plan.stages)))}
    return sorted(found, key=lambda row: (order.get(row["stage"], -1), ORDER.index(row["origin"])))


def of_the_machine(manifest: Manifest, path: str, value: Any) -> bool:
    """Return whether a value of a stage is that of the declared machine, which is told once, as the plan's own."""
    stage, hardware, rest = path.partition(".hardware.")
    return bool(stage and hardware) and manifest.value(f"hardware.{rest}") == value


def shown(path: str, value: Any) -> str:
    """Return a value as text; what is a secret by its name is none."""
    if isinstance(value, str):
        return "***" if is_named(path.rpartition(".")[2], value) else value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
