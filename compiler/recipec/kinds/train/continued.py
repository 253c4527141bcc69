"""The adapter that a stage leaves, as it is.

One that is trained further keeps its own rank, alpha and modules: PEFT loads it as it was saved. One that is stacked has those of both.
"""

from __future__ import annotations

from recipec.facts.layers import adapter_config
from recipec.kinds.train.records import Adapter, Train
from recipec.plan import Plan
from recipec.source import is_list


def kept_from(plan: Plan, s: Train) -> str | None:
    """Return the adapter from outside the recipe whose shape that of a training has; None where the recipe gives it.

    That of one which is stacked is given: it follows from both.
    """
    adapter, seen = s.adapter, set[str]()
    while adapter is not None and adapter.start_from is not None:
        maker = plan.maker(adapter.start_from)
        if maker is not None and maker.kind == "stack":
            return None
        if maker is None or maker.kind != "train" or maker.name in seen:
            return adapter.start_from
        seen.add(maker.name)
        adapter = maker.body.adapter
    return None


def left(plan: Plan, place: str | None) -> Adapter | None:
    """Return the adapter that stands at a place as the stage that makes it leaves it; None where that is not known."""
    maker = plan.maker(place)
    if maker is None or maker.kind not in ("train", "stack"):
        return None
    if maker.kind == "train":
        return as_saved(plan, maker.body)
    below, above = left(plan, maker.body.parent), left(plan, maker.body.adapter)
    if below is None or above is None or below.target_pattern is not None or above.target_pattern is not None:
        return None
    everything, both = ("all-linear",), tuple(dict.fromkeys((*below.targets, *above.targets)))
    return below.replaced(
        rank=below.rank + above.rank,
        alpha=float(below.rank + above.rank),
        targets=everything if everything in (below.targets, above.targets) else both,
        rslora=False,
        init="default",
        options={},
        start_from=None,
    )


def as_saved(plan: Plan, s: Train) -> Adapter | None:
    """Return the adapter of a training as it is: one that is trained further as its own files say; None where they are not at hand."""
    begin = s.adapter.start_from if s.adapter is not None else None
    maker = plan.maker(begin) if begin is not None else None
    if maker is not None and maker.kind == "stack":
        both = left(plan, begin)
        return both.replaced(start_from=begin) if both is not None else None
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
        init=init if isinstance(init := config.get("init_lora_weights"), str) else "default",
    )
