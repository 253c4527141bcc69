"""Holds what counts as used by a stage against what acts on it: another value at each path of the plan is tried."""

from typing import Any

from recipec.kinds.train.records import Train
from recipec.pipeline import Compiled
from recipec.systems import ALWAYS, Emitted, emit, environment
from recipec.systems.table import flattened

# values to try where another of the same type would be no word of the language, or would cross no threshold
WORDS: dict[str, tuple[Any, ...]] = {
    "adapter.init": ("default", "gaussian", "pissa"),
    "adapter.type": ("lora", "loha"),
    "data.train_on": ("assistant", "all"),
    "hardware.device": ("gpu", "cpu"),
    "hardware.sm": (0, 90),
    "length.unit": ("steps", "epochs"),
    "model.chat_template": ("tokenizer", "chatml"),
    "model.load_in": ("bf16", "fp16", "fp32", "nf4", "int8"),
    "numerics.precision": ("bf16", "fp16", "fp32"),
    "objective.loss": ("sigmoid", "hinge", "kto", "apo_zero_unpaired", "dapo", "gspo"),
    "optimizer.name": ("adamw", "sgd"),
    "optimizer.scheduler": ("linear", "cosine"),
    "rewards.0.type": ("length", "exact"),
    "parallel.optimizer_offload": ("none", "cpu"),
    "parallel.parameter_offload": ("none", "cpu"),
    "rollout.engine": ("hf", "vllm"),
    "rollout.scale_rewards": ("group", "batch", "none"),
    "watch.evaluate_every": ("never", "epoch", 7),
    "watch.save_every": ("epoch", 7),
    "watch.save_keep": ("all", 7),
}
OTHER = "other.json"  # a text where any will do, which ends like a file of data
ABSENT = ("adapter", "objective", "rollout", "rewards", "script", "data.validation")  # what a stage may be without


def training(compiled: Compiled) -> tuple[Train, str]:
    """Return the only training of a plan, and its environment."""
    assert compiled.resolved is not None, compiled.findings
    [stage] = [stage for stage in compiled.resolved.plan.stages if isinstance(stage, Train)]
    return stage, environment(stage, compiled.resolved.plan)


def misjudged(stage: Train, place: str) -> tuple[set[str], set[str]]:
    """Return the paths that count as used though no other value changes anything, and those that act uncounted.

    What decides the whole plan is left out, and what a stage does not have at all.
    """
    emitted = emit(stage, place)
    before, idle, uncounted = _seen(emitted), set(), set()
    for path, value in flattened(stage).items():
        others = [] if path in (*ALWAYS, *ABSENT) else _others(path, value)
        if not others:
            continue
        acts = any(_seen(emit(_changed(stage, path, other), place)) != before for other in others)
        used = any(path == seen or path.startswith(f"{seen}.") for seen in emitted.seen)
        if used and not acts:
            idle.add(path)
        if acts and not used:
            uncounted.add(path)
    return idle, uncounted


def _others(path: str, value: Any) -> list[Any]:
    if path in WORDS:
        return [word for word in WORDS[path] if word != value]
    match value:
        case bool():
            return [not value]
        case int() | float():
            return [value + 1]
        case str():
            return [OTHER]
        case dict():
            return [{**value, "other": OTHER}]
        case None:
            return [OTHER, 5]
        case tuple() if not hasattr(value, "_fields") and not (value and hasattr(value[0], "_fields")):
            return [(OTHER,)]
    return []  # a section, whose leaves are tried


def _changed(record: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    if name.isdecimal():
        index = int(name)
        return (*record[:index], _changed(record[index], rest, value), *record[index + 1 :])
    return record._replace(**{name: _changed(getattr(record, name), rest, value) if rest else value})


def _seen(emitted: Emitted) -> tuple[Any, ...]:
    documents = [
        (one.file, one.template, {key: repr(e.value) for key, e in one.entries.items()}) for one in emitted.documents
    ]
    return documents, emitted.commands, emitted.variables, emitted.files, emitted.refusals, emitted.differences
