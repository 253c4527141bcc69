"""An adapter that is trained further keeps its own rank, alpha and modules: PEFT loads it as it was saved."""

from __future__ import annotations

from recipec.facts.layers import adapter_config
from recipec.kinds.train.records import Adapter, Train
from recipec.plan import Plan
from recipec.source import is_list


def kept_from(plan: Plan, s: Train) -> str | None:
    """Return the adapter from outside the recipe whose shape that of a training has; None where the recipe gives it."""
    adapter, seen = s.adapter, set[str]()
    while adapter is not None and adapter.start_from is not None:
        maker = plan.maker(adapter.start_from)
        if maker is None or maker.kind != "train" or maker.name in seen:
            return adapter.start_from
        seen.add(maker.name)
        adapter = maker.body.adapter
    return None


def as_saved(plan: Plan, s: Train) -> Adapter | None:
    """Return the adapter of a training as it is: one that is trained further as its own files say; None where they are not at hand."""
    outside = kept_from(plan, s)
    if s.adapter is None or outside is None:
        return s.adapter
    config = adapter_config(outside) or {}
    rank, alpha, targets = config.get("r"), config.get("lora_alpha"), config.get("target_modules")
    also = config.get("modules_to_save")
    if (
        not isinstance(rank, int)
        or not isinstance(alpha, int | float)
        or not (is_list(targets) or isinstance(targets, str))
    ):
        return None
    return s.adapter.replaced(
        rank=rank,
        alpha=float(alpha),
        targets=tuple(sorted(map(str, targets))) if is_list(targets) else s.adapter.targets,
        target_pattern=targets if isinstance(targets, str) else None,
        also_train=tuple(map(str, also)) if is_list(also) else (),
        dora=config.get("use_dora") is True,
    )
