"""How published scores were measured, so that one's own can stand beside them."""

from functools import cache
from typing import Literal, NamedTuple

from recipec.facts import FOLDER
from recipec.source import Items, Mapping, Node, Scalar, Source, Span, is_mapping, plain
from recipec.yaml_reader import read_text

WORDS = ("tasks", "few_shot", "chat_template")  # of `evaluate`, which a preset says


class Preset(NamedTuple):
    """The tasks and examples of published scores. `template`: prompts are rendered by it never, or of models that follow instructions."""

    title: str
    tasks: tuple[str, ...]
    few_shot: int | Literal["task"]
    template: Literal["never", "follows"]
    sources: str


@cache
def presets() -> dict[str, Preset]:
    """Return the presets by name."""
    rows = plain(read_text(Source("presets.yaml", (FOLDER / "presets.yaml").read_text(encoding="utf-8"))))
    assert is_mapping(rows)
    return {str(name): Preset(**row | {"tasks": tuple(row["tasks"])}) for name, row in rows.items()}


def written_out(evaluate: Mapping) -> Mapping:
    """Return a section `evaluate` with what its preset says and it does not say itself, at the place of the preset's name."""
    node = evaluate.entries.get("preset")
    preset = presets().get(str(node.value)) if isinstance(node, Scalar) else None
    if node is None or preset is None:
        return evaluate
    words: dict[str, Node] = {
        "tasks": Items([_scalar(task, node.span) for task in preset.tasks], node.span),
        "few_shot": _scalar(preset.few_shot, node.span),
    }
    if preset.template == "never":
        words["chat_template"] = _scalar(False, node.span)
    more = {word: value for word, value in words.items() if word not in evaluate.entries}
    entries = evaluate.entries | more
    return Mapping(entries, evaluate.keys | dict.fromkeys(more, evaluate.keys["preset"]), evaluate.span)


def _scalar(value: str | int | bool, span: Span) -> Scalar:
    return Scalar(value, span, str(value).lower() if isinstance(value, bool) else str(value))
