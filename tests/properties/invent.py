"""Recipes from the language itself: any value that a field's type and range allow, laid over a real recipe."""

import copy
import types
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from recipec.facts import gpus
from recipec.language import Recipe
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parents[2]
BASES = [
    plain(read_text(Source(p.name, p.read_text(encoding="utf-8")))) for p in sorted((ROOT / "recipes").glob("*.yaml"))
]
TEXTS = ["x", "data/x.jsonl", "data/한국어 'x\".parquet", "org/name", "a\nb", "# c", "- x", "no", "~", "1e3", "0x10", "12:30", "{a}", "é: ü", " x ", "\u2028", "🦙", "=", "!x", "a#b", "%x", "=x", "$(id)", "`id`", "\x07", "\x85"]  # fmt: skip
PATTERNS = {
    r"^[a-z0-9][a-z0-9._-]{0,99}$": ["x", "1", "a.b-c_d", "true", "1e3", "no", "0x1", "12", "a" * 100],
    r"^[a-z0-9][a-z0-9_-]{0,99}$": ["x", "1", "b-c_d", "true", "no", "0x1", "12", "train", "a" * 100],
    r"^[a-z0-9][a-z0-9._-]{0,99}(@best)?$": ["x", "tuned", "base", "tuned@best", "a.b@best", "a" * 100],
    r"^[a-z0-9][a-z0-9_-]{0,99}(@best)?$": ["x", "1", "b-c_d", "base", "x@best", "train@best", "a" * 100],
    r"^(epoch/([2-9]|[1-9][0-9]{1,2})|([1-9][0-9]?(\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)%)$": [
        "epoch/2",
        "epoch/999",
        "0.1%",
        "99.9%",
    ],
    r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$": ["0%", "1%", "100%", "100.0%", "0.1%", "99.999%", "00%"],
    r"^https?://": ["http://localhost:1/x", "https://a b"],
    r"^[A-Z][A-Z0-9_]*$": ["A", "SHOP_KEY", "X1"],
    r"^[A-Za-z_][A-Za-z0-9_]*$": ["A", "_x", "HF_HOME", "no"],
    r"^[^\W\d]\w*$": ["f", "점수", "exact", "class", "print"],
    r"^[^/.][^/]*\.(jsonl|json|parquet|csv)$": ["rows.jsonl", "a b.json", "행.parquet", "x.y.csv"],
    r"^[a-z][a-z0-9_]{0,40}$": ["x", "mt_bench", "a" * 41, "no"],
    r"^[^-]": ["train.py", "a b.py", "./-x.py", "\n"],
}


def value(r: Random, annotation: Any, limits: tuple[Any, ...] = ()) -> Any:
    """Return plain data that this type of the language accepts (nearly always)."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        flat = [m for item in more for m in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return value(r, inner, (*limits, *flat))
    if origin in (Union, types.UnionType):
        return value(r, r.choice(get_args(annotation)), limits)
    if origin is Literal:
        return r.choice(get_args(annotation))
    if origin is list:
        return [value(r, get_args(annotation)[0]) for _ in range(r.choice([1, 1, 2, 3]))]
    if origin is dict:
        key, inner = get_args(annotation)
        return {value(r, key): value(r, inner) for _ in range(r.choice([0, 1, 2]))}
    if annotation is type(None):
        return None
    if annotation is Any:
        return r.choice([None, True, 0, 1, 0.5, "x", [], {}, [1], {"a": 1}])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return section(r, annotation)
    if annotation is bool:
        return r.random() < 0.5
    if annotation is str:
        pattern = next((p for m in limits if (p := getattr(m, "pattern", None))), None)
        return r.choice(PATTERNS[pattern] if pattern else TEXTS)
    low = next((m.ge if isinstance(m, Ge) else m.gt for m in limits if isinstance(m, Ge | Gt)), 0)
    high = next((m.le if isinstance(m, Le) else m.lt for m in limits if isinstance(m, Le | Lt)), 10**30)
    if annotation is int:
        return r.choice([low, low + 1, low + 7, 64, 1000, high - 1, high])
    assert annotation is float, annotation
    return r.choice([low, low + 1e-9, 1e-300, 0.1, 0.5, 1, 1.0, 2.0, 3, high - 1e-9, high])


def section(r: Random, model: type[BaseModel]) -> dict[str, Any]:
    """Return a section: what it needs, and some of what it takes."""
    made = {}
    for name, field in model.model_fields.items():
        if field.is_required() or r.random() < 0.25:
            made[name] = r.choice(list(gpus())) if name == "gpu" else _field(r, field)
    return made


def _field(r: Random, field: FieldInfo) -> Any:
    return value(r, field.annotation, tuple(field.metadata))


def recipe(r: Random) -> dict[str, Any]:
    """Return a recipe: a real one in which some fields were given other values, or one made up."""
    if r.random() < 0.1:
        return {**section(r, Recipe), "overrides": {}}
    made: dict[str, Any] = copy.deepcopy(r.choice(BASES))  # type: ignore[arg-type]
    for _ in range(r.choice([1, 1, 2, 3, 4])):
        _change(r, made, Recipe)
    return made


def _change(r: Random, made: dict[str, Any], model: type[BaseModel]) -> None:
    name = r.choice([name for name in model.model_fields if name not in ("recipe", "overrides")])
    field = model.model_fields[name]
    inner = [
        a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type) and issubclass(a, BaseModel)
    ]
    below = made.get(name)
    if inner and isinstance(below, dict) and r.random() < 0.9:
        _change(r, below, inner[0])
    elif name == "gpu":
        made[name] = r.choice(list(gpus()))
    elif not inner and field.is_required() is False and r.random() < 0.1:
        made.pop(name, None)
    else:
        made[name] = _field(r, field)
