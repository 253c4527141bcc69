"""Contradictions about what one stage leaves and another does with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipec.kinds.merge import Merge
from recipec.kinds.train.model import PROMPTED
from recipec.language import Recipe
from recipec.plan import ModelOutput
from recipec.rules.contradictions.course import left_adapter
from recipec.rules.rule import Context, Fault, contradiction

SHAPE = ("type", "rank", "alpha", "dropout", "targets", "target_pattern", "also_train", "dora", "rslora", "virtual_tokens", "options")  # fmt: skip


@contradiction(
    "P117", "another-shape-of-a-continued-adapter", "part", words=("parent_adapter", "start_from", "adapter")
)
def other_shape(see: Context, recipe: Recipe) -> Iterator[Fault]:
    """Finds a stage that continues an adapter, but has none or one of another shape.

    Why is this bad:
    A continued adapter is loaded as it was saved. Another rank has no effect, and a stage without an adapter would train all weights of the base instead.

    Example:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, adapter: {rank: 32}, parent_adapter: continue}

    Use instead:
        stages:
          - {name: first, adapter: {rank: 16}}
          - {name: second, adapter: {rank: 16}, parent_adapter: continue}
    """
    name = left_adapter(see)
    if see.said.part.parent_adapter != "continue" or not name or recipe.train is None:
        return
    before = [stage.body for stage in see.plan.stages if stage.name == name and stage.kind == "train"]
    here = [one.body for one in see.plan.stages if one.name == see.said.part.name and one.kind == "train"]
    if not before or not here or before[0].adapter is None:
        return
    old, new = before[0].adapter, here[0].adapter
    if new is None:
        advice = f"give it the adapter of {name}, or set parent_adapter: merge"
        yield Fault("parent_adapter", "this stage has no adapter: it would train all weights", advice)
        return
    for word in SHAPE:
        left, given = getattr(old, word), getattr(new, word)
        if left != given:
            message = f"the adapter of {name} is continued, and its {word} is not {_shown(given)}"
            advice = (
                f"make it {_shown(left)}, or set parent_adapter: merge"
                if left not in (None, 0, ())
                else "drop it, or set parent_adapter: merge"
            )
            yield Fault(f"adapter.{word}", message, advice)
            return


def _shown(value: object) -> str:
    """Return a value as a recipe has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


@contradiction("P118", "adapter-that-cannot-be-merged", "merge", words=("merge", "parent_adapter", "adapter"))
def unmergeable(see: Context, s: Merge) -> Iterator[Fault]:
    """Finds a merge of an adapter that changes no weights, or that cannot be combined with others.

    Why is this bad:
    PEFT refuses it, after all trainings. A learnt prompt stands beside the weights, and only LoRA can be combined by weight.

    Example:
        trainer: trl
        adapter: {type: prompt_tuning}
        stages: [{name: first}, {name: whole, merge: first}]

    Use instead:
        trainer: trl
        adapter: {type: lora}
        stages: [{name: first}, {name: whole, merge: first}]
    """
    part = see.said.part
    if part.kind != "merge" and part.parent_adapter != "merge":
        return  # what adapter.merge asks for is told beside the adapter
    taken = [one.stage for one in see.stage.inputs] if see.stage is not None else []
    for stage in see.plan.stages:
        adapter = stage.body.adapter if stage.id in taken and stage.kind == "train" else None
        if adapter is None:
            continue
        here = "parent_adapter" if part.kind != "merge" else "merge.adapters" if s.parts else "merge"
        if adapter.type in PROMPTED:
            message = f"{stage.name} leaves an adapter of type {adapter.type}, which changes no weights"
            yield Fault(here, message, "evaluate it as it is, or train an adapter of another type")
        elif s.parts and adapter.type != "lora":
            message = f"{stage.name} leaves an adapter of type {adapter.type}, and only lora is combined by weight"
            yield Fault(here, message, f"merge it alone: merge: {stage.name}")


@contradiction(
    "P119", "reward-model-as-a-language-model", "train", "evaluate", words=("train.method", "start_from", "evaluate")
)
def judge_that_speaks(see: Context, s: Any) -> Iterator[Fault]:
    """Finds a reward model that is evaluated, or trained further by another method.

    Why is this bad:
    A reward model has a head that gives one score for an answer, in the place of the one that predicts the next token. It cannot write.

    Example:
        trainer: trl
        train: {learning_rate: 1e-5}
        stages:
          - {name: judge, train: {method: reward}, data: {train: [{path: data/pairs.jsonl, format: preference}]}}
          - {name: sft}

    Use instead:
        trainer: trl
        train: {learning_rate: 1e-5}
        stages:
          - {name: judge, train: {method: reward}, data: {train: [{path: data/pairs.jsonl, format: preference}]}}
          - {name: sft, start_from: base}
    """
    taken = [one.output for one in see.stage.inputs] if see.stage is not None else []
    if not any(isinstance(one, ModelOutput) and one.head == "score" for one in taken):
        return
    if see.stage is not None and see.stage.kind == "evaluate":
        message = f"{s.model.name} is a reward model, which cannot write answers"
        yield Fault(
            "evaluate.models", message, "leave it out of evaluate.models, which is base and every stage by default"
        )
    elif s.method != "reward":
        message = "the model that this stage starts from is a reward model, which cannot write answers"
        yield Fault("start_from", message, "set start_from: base, or a stage that trains by another method")


RULES = (other_shape, unmergeable, judge_that_speaks)
