"""Which plan values of a training act: other values are tried one after another, and what is emitted is compared.

A system declares what it uses (`Row.paths`, conditions, `uses`); here that is held against what it does.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from recipec.kinds.train.records import Train
from recipec.language.data import COLUMNS
from recipec.systems import ALWAYS, emit
from recipec.systems.table import flattened

# other values of leaves whose type does not say them
OTHER: dict[str, tuple[Any, ...]] = {
    "adapter.init": ("default", "pissa", "olora"),
    "adapter.options": ({"bias": "all"},),
    "adapter.type": ("lora", "oft", "vera"),
    "model.attention": ("eager", "flash_attention_2"),
    "model.chat_template": ("tokenizer", "chatml", "alpaca", "mistral_v1"),
    "model.special_tokens": ({"pad": "<pad>"},),
    "objective.loss": ("sigmoid", "hinge", "kto", "apo_zero_unpaired"),
    "optimizer.name": ("adamw", "adamw_8bit", "sgd", "muon"),
    "optimizer.scheduler": ("cosine", "linear", "warmup_stable_decay"),
}
FORMATS = tuple(COLUMNS)


def misjudged(stage: Train, environment: str) -> dict[str, str]:
    """Return the plan leaves that count as used and do not act, or act and do not count, each with what is wrong.

    A leaf without a value needs not count: nobody wrote one, of which it could be told that it has no effect.
    """
    acts, counts = acting(stage, environment), counted(stage, environment)
    said = {path for path, value, _kind in leaves(stage) if value not in (None, (), {})}
    return {
        **dict.fromkeys(counts - acts, "counts as used, but does not act"),
        **dict.fromkeys((acts - counts) & said, "acts, but does not count as used"),
    }


def acting(stage: Train, environment: str) -> set[str]:
    """Return the plan leaves of which another value changes what is emitted, or is refused or told."""
    before = _emitted(stage, environment)
    return {
        path
        for path, value, kind in leaves(stage)
        if any(_emitted(_with(stage, path, other), environment) != before for other in _others(path, value, kind))
    }


def counted(stage: Train, environment: str) -> set[str]:
    """Return the plan leaves that count as used, but for those that act whatever the system is."""
    seen = emit(stage, environment).seen
    steps = {path: path.split(".") for path, _value, _kind in leaves(stage)}
    return {path for path, way in steps.items() if any(".".join(way[:end]) in seen for end in range(1, len(way) + 1))}


def leaves(stage: Train) -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves of a stage that only its system acts on: path, value and type."""
    for path, value in flattened(stage).items():
        if hasattr(value, "_fields"):
            for name, kind in get_type_hints(type(value)).items():
                yield from _leaf(f"{path}.{name}", getattr(value, name), kind)
    for name, kind in get_type_hints(Train).items():
        yield from _leaf(name, getattr(stage, name), kind)


def _leaf(path: str, value: Any, kind: Any) -> Iterator[tuple[str, Any, Any]]:
    section = hasattr(value, "_fields") or path in ("data.train", "data.validation", "rewards")
    if not section and path not in (*ALWAYS, "adapter", "objective", "rollout", "script"):
        yield path, value, kind


def _others(path: str, value: Any, kind: Any) -> list[Any]:
    last = path.rpartition(".")[2]
    found: tuple[Any, ...] = ("another", 3, 0.25, ("another",))
    if path in OTHER:
        found = OTHER[path]
    elif last == "format":
        found = FORMATS
    elif last == "columns":
        found = ({name: f"{column}_" for name, column in value.items()},)
    elif last == "roles":
        found = ({"user": ("human",)}, {"user": ("human", "person")})
    elif get_origin(kind) is Literal:
        found = get_args(kind)
    elif isinstance(value, bool):
        found = (not value,)
    elif isinstance(value, int | float):
        found = (0, 1, 3, 0.25, 80)
    return [other for other in found if other != value]


def _with(record: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    if isinstance(record, tuple) and not hasattr(record, "_fields"):
        at = int(name)
        return (*record[:at], _with(record[at], rest, value), *record[at + 1 :])
    return record._replace(**{name: _with(getattr(record, name), rest, value) if rest else value})


def _emitted(stage: Train, environment: str) -> Any:
    """Return everything that comes of a stage; of a value that cannot be worked with, its kind of error."""
    try:
        made = emit(stage, environment)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return repr(error)
    documents = [document.values() for document in made.documents]
    return documents, made.commands, made.variables, made.files, made.refusals, made.differences
