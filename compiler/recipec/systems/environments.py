"""Which system does each stage, and in which environment: its own, with what any stage that shares it adds."""

from __future__ import annotations

from typing import Any

from recipec.facts import has_pins, pinned
from recipec.plan import Stage
from recipec.systems.registry import default_system, system
from recipec.systems.system import Need
from recipec.systems.table import flattened


def with_environments(stages: tuple[Stage[Any], ...]) -> tuple[Stage[Any], ...]:
    """Return the stages with their environments, and the releases that these hold.

    A stage whose system has no environment of its own takes the first of the others' that holds what it needs, so that a
    run makes as few as it can. A stage for which the recipe names no system gets the one that does its kind.
    """
    stages = tuple(one if one.system else one.replaced(system=default_system(one.kind)) for one in stages)
    needs = [_need(stage) for stage in stages]
    needs = _shared(needs)
    extras: dict[str, set[str]] = {}
    holds: dict[str, frozenset[str]] = {}
    for need in needs:
        if need.base:
            extras.setdefault(need.base, set()).update(need.extras)
            if has_pins(need.base):  # else a contradiction refuses its release
                holds[need.base] = need.holds
    found: list[Stage[Any]] = []
    for stage, need in zip(stages, needs, strict=True):
        base = need.base or next((one for one, held in holds.items() if need.packages <= held), need.otherwise)
        name = "-".join([base, *sorted(extras.get(base, ()))])
        package = system(stage.system).package
        release = stage.release or (pinned(name, package) if package else "")
        found.append(stage.replaced(environment=name, release=release))
    return tuple(found)


def _shared(needs: list[Need]) -> list[Need]:
    """Return the needs, those that are alike widened to what all of them need, where what one of them asks for has it."""
    widest: dict[str, Need] = {}
    for need in needs:
        if need.alike and not need.base:
            known = widest.get(need.alike, need)
            widest[need.alike] = need if known.packages < need.packages else known
    return [
        widest[need.alike] if need.alike and not need.base and need.packages <= widest[need.alike].packages else need
        for need in needs
    ]


def _need(stage: Stage[Any]) -> Need:
    """Return what a stage needs; of what its system cannot do, which is refused, nothing is added."""
    doer = system(stage.system)
    need = doer.needs(stage.body)
    if not need.extras:
        return need
    values = flattened(stage.body)
    able = all(values.get(path) in (None, *known) for path, known in doer.can.items())
    return need if able else need.replaced(extras=frozenset())
