"""Every leaf of the language as it stands in one recipe, and other values that its type allows."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin
from zlib import crc32

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from recipec.facts import releases
from recipec.language import Recipe
from recipec.language.data import COLUMNS
from recipec.language.stages import Stage
from recipec.source import Path, dotted

# Leaves that no tool hears of, or that the language alone cannot give another value.
UNHEARD = {
    "recipe": "the version of the language, of which there is one",
    "extends": "read when a recipe is composed, and gone before it is compiled",
    "variables": "read when a recipe is composed, and gone before it is compiled",
    "profiles": "read when a recipe is composed, and gone before it is compiled",
    "sweep": "read when a recipe is composed, and gone before a variant is compiled",
    "description": "for people",
    "launch.on": "there is one launcher",
    "allow": "for the rules, which tell of an allowance that matches nothing",
    "overrides": "the words of a tool, not of the language; its contract judges each",
    "hardware.host_memory_gib": "only judged: no tool is told how much memory a node has",
}
# What a text must look like to mean something; by the last steps of the path.
TEXTS: dict[tuple[str, ...], tuple[Any, ...]] = {
    ("script", "path"): ("other.py",),
    ("script", "file"): ("other.jsonl", "other.csv"),
    ("rewards", "path"): ("org/other.v1",),
    ("path",): ("data/other.jsonl",),
    ("hub",): ("org/other",),
    ("base",): ("org/other",),
    ("tokenizer",): ("org/other",),
    ("chat_template_file",): ("other.jinja",),
    ("gpu",): ("t4", "a100-80gb"),
    ("stages", "gpu"): ("none", "l4"),
    ("nvme_path",): ("/other",),
    ("task_folder",): ("other",),
    ("tracking_uri",): ("http://other:5000",),
    ("space",): ("org/other",),
    ("key_variable",): ("OTHER_KEY", "ANOTHER_KEY"),
    ("tool_parser",): ("hermes", "llama3_json"),
    ("reasoning_parser",): ("qwen3", "deepseek_r1"),
    ("host",): ("127.0.0.2", "127.0.0.3"),
    ("url",): ("http://other:5000/score",),
    ("by", "url"): ("https://judge.example/v1", "http://127.0.0.1:8000/v1", "http://localhost:9000/v1"),
    ("judge", "allow"): (["https://judge.example/v1", "https://other.example/v1"],),
    ("judge", "name"): ("other", "another"),
    ("judge", "against"): ("base", "first"),
    ("judge", "temperature"): (0.2, 0.9),
    ("by", "temperature"): (0.2, "model"),
    ("judge", "questions"): ("data/other.jsonl",),
    ("references",): ("data/other.jsonl",),
    ("prompts",): ("data/other.jsonl",),
    ("against_answers",): ("data/other.jsonl",),
    ("function",): ("other",),
    ("target_pattern",): (".*q_proj", ".*v_proj"),
    ("adapter", "start_from"): ("org/adapter",),
    ("targets",): (["q_proj"], ["v_proj"]),
    ("also_train",): (["lm_head"], ["embed_tokens"]),
    ("models",): (["base"], ["tuned"]),
    ("reference_model",): ("base", "first"),
    ("require", "gsm8k"): ("> 0.4", "> 30%"),
    ("pass_at",): ([2], [3]),
    ("evaluate", "best"): ("gsm8k", "ifeval/prompt_level_loose_acc"),
    ("options",): ({"layers_to_transform": [0]},),
    ("holdout",): ("3%", 40),
    ("decay",): ("20%", 30),
    ("benchmark", "warmup"): (3, 5),
    ("warmup",): ("7%", 20),
    ("every",): (40, 20),
    ("evaluate_every",): (40, 20),
}
OTHER_KINDS = {
    "merge",
    "generate",
    "script",
    "quantize",
    "serve",
    "benchmark",
    "evaluate",
}  # of stages: words that say so
# How a finding calls what these words give.
CALLED = {
    "per_node": ("GPU", "GPUs", "processes"),
    "nodes": ("GPU", "GPUs", "processes"),
    "tensor_parallel": ("GPUs",),
    "context_parallel": ("context parallelism",),
}


class Leaf(NamedTuple):
    """One leaf of the language at a place of a recipe.

    `now` is what the recipe says there, or else the language's default. `within` are the sections that the recipe lacks
    and that the leaf needs, from the outside in, each with the least that it must say.
    """

    path: Path
    kind: Any
    limits: tuple[Any, ...]
    now: Any
    said: bool
    within: tuple[tuple[Path, Any], ...] = ()


def leaves(recipe: dict[str, Any]) -> Iterator[Leaf]:
    """Yield every leaf of the language, one for each place that the recipe has for it."""
    for leaf in _below(Recipe, recipe, (), (), recipe):
        plain = ".".join(step for step in leaf.path if isinstance(step, str))
        if not any(f"{plain}.".startswith(f"{name}.") for name in UNHEARD):
            yield leaf


def _below(
    model: type[BaseModel], said: Any, path: Path, within: tuple[tuple[Path, Any], ...], recipe: dict[str, Any]
) -> Iterator[Leaf]:
    for name, field in model.model_fields.items():
        here = (*path, name)
        value = said.get(name) if isinstance(said, dict) else None
        kinds = flat(field.annotation, tuple(field.metadata))
        section = section_of(kinds) if value is not None or not any(kind is str for kind, _ in kinds) else None
        item = item_of(kinds)
        if section is not None and (value is None or isinstance(value, dict)):
            lacking = value is None and any(kind is type(None) for kind, _ in kinds)
            inner = needed(section, here, recipe) if lacking else value
            yield from _below(section, inner, here, (*within, (here, inner)) if lacking else within, recipe)
        elif item is not None and (value or item is Stage):
            for index, one in enumerate(value or ()):
                yield from _below(item, one, (*here, index), within, recipe)
        elif item is not None:
            one = needed(item, here, recipe)
            yield from _below(item, one, (*here, 0), (*within, (here, [one])), recipe)
        elif get_origin(kinds[0][0]) is dict and name != "options":
            for key, inner, now in _members(here, kinds[0][0], value or {}, said, recipe):
                yield Leaf((*here, key), inner, (), now, key in (value or {}), within)
        else:
            now = value if value is not None or field.is_required() else field.get_default(call_default_factory=True)
            yield Leaf(here, field.annotation, tuple(field.metadata), now, value is not None, within)


def section_of(kinds: list[tuple[Any, tuple[Any, ...]]]) -> type[BaseModel] | None:
    """Return the section that is among some types."""
    return next((kind for kind, _ in kinds if _is_section(kind)), None)


def item_of(kinds: list[tuple[Any, tuple[Any, ...]]]) -> type[BaseModel] | None:
    """Return the section that a list of sections consists of."""
    items = (get_args(kind)[0] for kind, _ in kinds if get_origin(kind) is list)
    return next((item for item in items if _is_section(item)), None)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def flat(annotation: Any, limits: tuple[Any, ...] = ()) -> list[tuple[Any, tuple[Any, ...]]]:
    """Return the members of a union, each with its limits."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        found = [m for item in more for m in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return flat(inner, (*limits, *found))
    if origin in (Union, types.UnionType):
        return [pair for member in get_args(annotation) for pair in flat(member, limits)]
    return [(annotation, limits)]


def _members(
    here: Path, kind: Any, value: dict[str, Any], said: Any, recipe: dict[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the keys that a mapping may have here, with the type of their values and what is said."""
    name, (key, inner) = here[-1], get_args(kind)
    if name == "columns":
        names: list[str] = list(COLUMNS[said["format"]]) if said else []
    elif name == "adapters":
        names = [stage["name"] for stage in recipe.get("stages") or ()]
    elif name == "versions":
        names = [trainer for trainer in get_args(key) if releases(trainer)]
    elif get_origin(key) is Literal:
        names = list(get_args(key))
    elif name == "require":
        names = list(said.get("tasks", ())) if said else []
    else:
        names = [*value, "OTHER"]
    used, stages = recipe.get("trainer", "axolotl"), recipe.get("stages") or ()
    trains = "train" in recipe or any("train" in stage or not OTHER_KINDS & {*stage} for stage in stages)
    defaults = {used: releases(used)[0]} if name == "versions" and releases(used) and trains else {}
    for one in names:
        yield one, inner, value.get(one, defaults.get(one))


def needed(model: type[BaseModel], path: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the least that a section must say."""
    made: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if field.is_required():
            item = item_of(flat(field.annotation))
            leaf = Leaf((*path, name), field.annotation, tuple(field.metadata), None, said=False)
            made[name] = [needed(item, (*path, name), recipe)] if item else next(others(leaf, None, ""), None)
    if path[-1] in ("train", "validation") and "format" in made:
        sources = (recipe.get("data") or {}).get("train") or [{"format": "chat"}]
        made = {**sources[0], "path": "data/held.jsonl"}
        made.pop("hub", None)
    if path[-1] == "rewards":
        made = {"type": "length", "max_words": 9}
    if path[-1] == "from_scratch":
        made = {"family": "llama", "hidden_size": 64, "layers": 2, "heads": 4}
    if path[-1] == "generate":
        made = {"prompts": [{"path": "data/prompts.jsonl", "format": "prompt"}]}
    if path[-1] == "data" and "calibration" in path:
        made = {"path": "data/held.jsonl", "format": "chat"}
    if path[-1] == "evaluate":
        made = {"tasks": ["gsm8k"]}
    if path[-1] == "judge":
        by = [{"model": "judge", "url": "http://127.0.0.1:8000/v1"}]
        made = {"benchmark": "rubric", "questions": "data/questions.jsonl", "rubric": "It is short.", "by": by}
    if path[-1] == "merge":
        made = {"adapters": {(recipe.get("stages") or [{"name": "first"}])[0]["name"]: 1.0}}
    if path == ("train",):
        made["learning_rate"] = 1e-5
    return made


def others(leaf: Leaf, now: Any, base: str) -> Iterator[Any]:
    """Yield other values than `now` (None: not known) that the leaf's type allows; which of a choice depends on `base`."""
    special = _special(leaf)
    if special:
        yield from (value for value in special if value != now)
        return
    for kind, limits in flat(leaf.kind, leaf.limits):
        for value in _of(kind, limits, now, f"{base} {dotted(leaf.path)}"):
            if value != now or isinstance(value, bool) is not isinstance(now, bool):
                yield value


def _special(leaf: Leaf) -> tuple[Any, ...]:
    steps = tuple(step for step in leaf.path if isinstance(step, str))
    if steps[-2:-1] == ("versions",):
        return tuple(releases(steps[-1]))
    if steps[-2:-1] == ("arguments",):
        return (f"other-{leaf.now}",)
    if steps[-1] == "parameters":
        return ("cpu", "none")
    for depth in (2, 1):
        found = TEXTS.get(steps[-depth:]) or (TEXTS.get((steps[0], steps[-1])) if depth == 2 else None)
        if found:
            return found
    return ()


def _of(kind: Any, limits: tuple[Any, ...], now: Any, salt: str) -> Iterator[Any]:
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        start = crc32(salt.encode()) % len(choices)
        yield from (*choices[start:], *choices[:start])
    elif get_origin(kind) is list:
        inner = get_args(kind)[0]
        [(of, own)] = flat(inner)
        numbers = of in (int, float, bool)
        if numbers or get_origin(of) is Literal:
            yield from ([value] for value in (_of(of, own, None, salt) if numbers else get_args(of)))
        else:
            yield ["other"]
    elif kind is bool:
        yield from (True, False)
    elif kind is str:
        pattern = next((p for m in limits if (p := getattr(m, "pattern", None))), None)
        yield from ("3%", "4%") if pattern and "%" in pattern else ("other", "another")
    elif kind in (int, float):
        known = isinstance(now, int | float) and not isinstance(now, bool)
        near = [2 * now, now / 2, now + 1, 0.25] if known else [3, 5, 0.25, 0.4, 64, 512]
        for value in near:
            if kind is float or float(value).is_integer():
                value = kind(value)
                if all(_fits(limit, value) for limit in limits):
                    yield value


def _fits(limit: Any, value: float) -> bool:
    if isinstance(limit, Ge):
        return bool(value >= limit.ge)
    if isinstance(limit, Gt):
        return bool(value > limit.gt)
    if isinstance(limit, Le):
        return bool(value <= limit.le)
    return bool(value < limit.lt) if isinstance(limit, Lt) else True
