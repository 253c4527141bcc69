"""Which plan values of a stage act: other values are tried one after another, and what is emitted is compared.

A system declares what it uses (`Row.paths`, conditions, `uses`); here that is held against what it does.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from recipec.kinds import kind
from recipec.kinds.train.records import Train
from recipec.language.data import COLUMNS
from recipec.pipeline import Compiled, compile_tree
from recipec.plan import Stage, fields
from recipec.source import Source
from recipec.systems.emit import emit
from recipec.systems.table import flattened
from recipec.yaml_reader import read_text

# other values of leaves whose type does not say them, or of which only some cross a threshold
OTHER: dict[str, tuple[Any, ...]] = {
    "adapter.also_train": (("lm_head",), ("embed_tokens",)),
    "adapter.init": ("default", "gaussian", "pissa", "olora"),
    "adapter.options": ({"bias": "all"}, {"use_qalora": True}),
    "adapter.targets": (("q_proj",), ("all-linear",)),
    "adapter.type": ("lora", "loha", "oft", "vera"),
    "length.unit": ("steps", "epochs"),
    "model.attention": ("sdpa", "eager", "flash_attention_2"),
    "model.chat_template": ("tokenizer", "chatml", "alpaca", "mistral_v1"),
    "model.special_tokens": ({"pad": "<pad>"},),
    "model.template": ("mistral", "qwen3", "chatml"),
    "model.turn_end": ("<|im_end|>", None),
    "model.new_tokens": (("<|im_start|>",), ()),
    "objective.loss": (
        "sigmoid", "hinge", "kto", "apo_zero_unpaired", "grpo", "dr_grpo", "dapo", "cispo", "gspo", "ppo", "reinforce++",
    ),
    "optimizer.name": ("adamw", "adamw_8bit", "lion", "sgd", "muon"),
    "optimizer.scheduler": ("cosine", "linear", "warmup_stable_decay"),
    "optimizer.decay": (0.2, 5),
    "optimizer.warmup": (0.05, 7),
    "rollout.engines": (None, 2),
    "script.arguments": ({"output": "x"},),
    "watch.evaluate_every": ("epoch", "never", 7),
    "watch.save_every": ("epoch", 7),
    "watch.save_keep": ("all", 7),
}  # fmt: skip
DERIVED = (".turns", ".system")  # what follows from other leaves, which act by it, or is refused where it cannot act
OPTIONAL = (
    "adapter",
    "objective",
    "reference",
    "rollout",
    "rewards",
    "script",
    "data.validation",
)  # what a stage may be without


def training(compiled: Compiled) -> Stage[Train]:
    """Return the one training of a recipe that is right."""
    assert compiled.resolved is not None, compiled.findings
    [stage] = compiled.resolved.plan.of_kind("train")
    return stage


def stage_of(text: str) -> Stage[Train]:
    """Return the one training of the text of a recipe that is right."""
    return training(compile_tree(read_text(Source("test.yaml", text))))


def changed(stage: Stage[Any], path: str, value: Any) -> Stage[Any]:
    """Return a stage with another value at a path below its body."""
    return stage.replaced(body=_with(stage.body, path, value))


def misjudged(stage: Stage[Any], skip: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the plan leaves that count as used and do not act, or act and do not count, each with what is wrong.

    Left out are what acts whatever the system is, what begins with one of `skip`, and words of a reward that belong to
    another type: they are refused before.
    """
    before, used = _emitted(stage), emit(stage).used
    wrong = {}
    for path, value, hint in leaves(stage):
        if path.startswith(skip) or path.endswith(DERIVED) or (value is None and path.startswith("rewards.")):
            continue
        acts = any(_emitted(changed(stage, path, other)) != before for other in _others(path, value, hint))
        counts = any(path == one or path.startswith(f"{one}.") or one.startswith(f"{path}.") for one in used)
        if acts is not counts:
            wrong[path] = "counts as used, but does not act" if counts else "acts, but does not count as used"
    return wrong


def leaves(stage: Stage[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves of a stage that only its system acts on: path, value and type."""
    always = kind(stage.kind).acts
    records = {"": stage.body, **{path: value for path, value in flattened(stage.body).items() if fields(value)}}
    for prefix, record in records.items():
        for name, hint in get_type_hints(type(record)).items():
            path, value = f"{prefix}.{name}".lstrip("."), getattr(record, name)
            section = fields(value) or path in (*OPTIONAL, "data.train")
            if not section and not any(path == one or path.startswith(f"{one}.") for one in always):
                yield path, value, hint


def _others(path: str, value: Any, hint: Any) -> list[Any]:
    last = path.rpartition(".")[2]
    found: tuple[Any, ...] = ("another", "other.json", "a,b", 3, 0.25, ("another",))
    choices = [word for one in (hint, *get_args(hint)) if get_origin(one) is Literal for word in get_args(one)]
    if path in OTHER:
        found = OTHER[path]
    elif last == "format":
        found = tuple(COLUMNS)
    elif last == "columns":
        found = (*({**value, name: "other"} for name in value), {name: f"{column}_" for name, column in value.items()})
    elif last == "roles":
        found = ({"user": ("human",)}, {"user": ("human", "person")})
    elif choices:
        found = tuple(choices)
    elif isinstance(value, bool):
        found = (not value,)
    elif isinstance(value, int | float):
        found = (0, 1, 3, 0.25, 80, value + 1, value + 0.5, 1 - value)
    return [other for other in found if other != value]


def _with(record: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    if isinstance(record, tuple):
        at = int(name)
        return (*record[:at], _with(record[at], rest, value) if rest else value, *record[at + 1 :])
    return record.replaced(**{name: _with(getattr(record, name), rest, value) if rest else value})


def _emitted(stage: Stage[Any]) -> Any:
    """Return all that a person or a tool could see of a stage; of a value that cannot be worked with, the error."""
    try:
        made = emit(stage)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        return repr(error)
    documents = [
        (one.file, one.tool, one.contract, one.template, {key: repr(entry.value) for key, entry in one.entries.items()})
        for one in made.documents
    ]
    return documents, made.job, made.files, set(made.refusals), set(made.differences)
