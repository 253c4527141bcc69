"""What another value of a plan leaf changes for a system: held against what the stage says that it uses."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from recipec.kinds.train.records import Train
from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.systems import ALWAYS, Emitted, emit
from recipec.systems.table import flattened
from recipec.yaml_reader import read_text

SOURCES = ("data.train", "data.validation")
# other values of leaves whose words are not of the plainest kind
OTHERS: Mapping[str, tuple[Any, ...]] = {
    "adapter.targets": (("q_proj",), ("all-linear",)),
    "adapter.also_train": (("lm_head",),),
    "adapter.options": ({"use_qalora": True},),
    "data.train_on": ("all",),
    "hardware.device": ("cpu", "gpu"),
    "length.unit": ("steps", "epochs"),
    "model.attention": ("sdpa", "flash_attention_2"),
    "model.load_in": ("bf16", "nf4", "int8"),
    "model.special_tokens": ({"pad": "<pad>"},),
    "numerics.precision": ("bf16", "fp16", "fp32"),
    "objective.loss": ("sigmoid", "hinge", "grpo", "dr_grpo", "cispo", "gspo", "ppo", "reinforce++"),
    "optimizer.cycles": (4,),
    "optimizer.scheduler": ("linear", "cosine", "warmup_stable_decay"),
    "optimizer.name": ("adamw", "lion"),
    "optimizer.warmup": (0.05, 7),
    "optimizer.decay": (0.2, 5),
    "parallel.optimizer_offload": ("none", "cpu", "nvme"),
    "parallel.parameter_offload": ("none", "cpu", "nvme"),
    "rollout.engine": ("hf", "vllm"),
    "rollout.engines": (None, 2),
    "rollout.scale_rewards": ("group", "batch", "none"),
    "script.arguments": ({"output": "x"},),
    "script.launcher": ("accelerate", "torchrun", "deepspeed", "ray"),
    "watch.evaluate_every": ("epoch", "never", 7),
    "watch.save_every": ("epoch", 7),
    "watch.save_keep": ("all", 7),
}
# the same of the leaves of a source, by what it has
OF_SOURCES: Mapping[str, Callable[[Any], tuple[Any, ...]]] = {
    "columns": lambda value: tuple({**value, name: "other"} for name in value),
    "format": lambda _value: ("chat", "completion", "preference", "prompt"),
    "roles": lambda _value: ({"user": ("human",)},),
}


def stage_of(text: str) -> Train:
    """Return the one training of a recipe that is right."""
    compiled = compile_tree(read_text(Source("test.yaml", text)))
    assert compiled.resolved is not None, compiled.findings
    [stage] = [stage for stage in compiled.resolved.plan.stages if isinstance(stage, Train)]
    return stage


def changed(record: Any, path: str, value: Any) -> Any:
    """Return a record with another value at a path below it."""
    name, _, rest = path.partition(".")
    if isinstance(record, tuple) and not hasattr(record, "_fields"):
        index = int(name)
        return (*record[:index], changed(record[index], rest, value) if rest else value, *record[index + 1 :])
    return record._replace(**{name: changed(getattr(record, name), rest, value) if rest else value})


def inexact(stage: Train, skip: tuple[str, ...] = ()) -> list[str]:
    """Return the leaves that count as used though no other value changes anything, and the reverse, with which it is.

    Left out are what counts for every system, and words of a reward that belong to another type: they are refused
    before. What begins with one of `skip` is left out too.
    """
    told = emit(stage, "")
    before = _seen(told)
    found = []
    for path, value in flattened(stage).items():
        section = hasattr(value, "_fields") or path in (*SOURCES, "rewards") or ("." not in path and value is None)
        if section or path in ALWAYS or path.startswith(skip) or (value is None and path.startswith("rewards.")):
            continue
        used = any(path == one or path.startswith(f"{one}.") or one.startswith(f"{path}.") for one in told.seen)
        acts = any(_seen(emit(changed(stage, path, other), "")) != before for other in _others(path, value))
        if used is not acts:
            found.append(f"{path} {'is used, but does nothing' if used else 'acts, but is not used'}")
    return found


def _others(path: str, value: Any) -> Iterator[Any]:
    """Yield other values of a leaf."""
    word = path.rpartition(".")[2]
    if path in OTHERS:
        known = OTHERS[path]
    elif path.startswith(SOURCES) and word in OF_SOURCES:
        known = OF_SOURCES[word](value)
    elif isinstance(value, bool):
        known = (not value,)
    elif isinstance(value, int | float):
        known = (value + 1, value + 0.5, 1 - value)
    elif path.startswith("rewards.") and word == "type":
        known = ("exact", "model", "python", "length")
    else:
        known = (f"{value or ''}other", "a,b")
    yield from (other for other in known if other != value)


def _seen(told: Emitted) -> Any:
    """Return all that a person or a tool could see of what was emitted."""
    documents = [
        (one.file, one.tool, one.contract, one.template, {key: entry.value for key, entry in one.entries.items()})
        for one in told.documents
    ]
    return documents, told.commands, told.variables, told.files, set(told.refusals), set(told.differences)
