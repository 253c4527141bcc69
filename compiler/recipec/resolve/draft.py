"""The plan of one training while it is being decided: values by dotted path, each with its origin, and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from recipec.course import Part
from recipec.diagnostics import Finding
from recipec.language import Recipe
from recipec.plan import Origin
from recipec.source import Items, Mapping, Node, Path, Span, beginning, dotted, find, key_span, split_path

if TYPE_CHECKING:
    from recipec.rows.judge import RowSurvey

T = TypeVar("T")
COMMAND_LINE = "--set"


class Outcome(NamedTuple):
    """What a stage leaves, or what the recipe starts from: a model's folder or hub name, with an adapter laid over it.

    `merged` is where a merge of the two goes; `template` is `none` where its tokenizer is known to have no chat template.
    """

    name: str
    path: str
    revision: str | None
    tokenizer: str
    adapter: str | None = None
    merged: str = ""
    template: str | None = None


class Draft:
    """What the steps of `resolve` write into. `part` holds the recipe's values, and the tree where they stand.

    `id` is the stage's folder, `several` whether it is one training of more, `start` what it begins with (None: the
    recipe's own model).
    """

    def __init__(self, part: Part, id: str, *, several: bool = False, start: Outcome | None = None) -> None:
        self.part = part
        self.recipe: Recipe = part.recipe
        self.tree: Node = part.tree
        self.id = id
        self.several = several
        self.start = start
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Origin] = {}
        self.findings: list[Finding] = []
        self.surveys: dict[str, RowSurvey] = {}  # of local data, by the recipe path of its source
        self._unsure = False  # whether the step that runs has looked for a value that was wrong

    def begin(self) -> None:
        """Begin a step."""
        self._unsure = False

    def said(self, path: str) -> bool:
        """Return whether the person wrote a value at this recipe path."""
        steps = split_path(path)
        self._look(steps)
        node = find(self.tree, steps)
        return node is not None and getattr(node, "value", 0) is not None

    def get(self, path: str) -> Any:
        """Return the recipe's value at a dotted path; None where a section on the way is absent."""
        at: Any = self.recipe
        step: Any
        steps = split_path(path)
        self._look(steps)
        for step in steps:
            if at is None:
                return None
            at = at.get(step) if isinstance(at, dict) else at[step] if isinstance(at, list) else getattr(at, str(step))
        return at

    def _look(self, steps: Path) -> None:
        if any(steps[: len(wrong)] == wrong for wrong in self.part.wrong):
            self._unsure = True

    def span(self, path: str) -> Span:
        """Return where a recipe path is written, or else its nearest parent that is."""
        steps = split_path(path)
        while steps:
            node = find(self.tree, steps)
            if node is not None:
                key = key_span(self.tree, steps)
                return key if isinstance(node, Mapping | Items) and key is not None else node.span
            steps = steps[:-1]
        return beginning(self.tree)

    def put(self, leaf: str, value: T, why: str, *reads: str, kind: str = "rule") -> T:
        """Decide a plan leaf by a rule that read these recipe paths."""
        self.values[leaf] = value
        said = tuple(self.real(path) for path in reads if self.said(path))
        self.origins[leaf] = Origin(kind, why, None, said)  # type: ignore[arg-type]
        return value

    def real(self, path: str) -> str:
        """Return the path in the whole recipe: a word that a stage says itself stands under `stages[i]`."""
        if self.part.own is None or path == "name" or find(self.part.own, split_path(path)) is None:
            return path
        return dotted((*self.part.path, *split_path(path)))

    def copy(self, leaf: str, path: str, default: Any = None, why: str = "default of the language") -> Any:
        """Decide a plan leaf as the recipe says, or else as `default`; return the value."""
        if self.said(path):
            value = self.get(path)
            span = self.span(path)
            kind = "command line" if span.source.name.startswith(COMMAND_LINE) else "recipe"
            self.origins[leaf] = Origin(kind, "", span, (self.real(path),))  # type: ignore[arg-type]
        else:
            own = self.get(path)
            value = own if own is not None else default
            self.origins[leaf] = Origin("default", why)
        if isinstance(value, list):
            value = tuple(value)
        self.values[leaf] = value
        return value

    def error(self, code: str, path: str, message: str, advice: str, suggestion: str | None = None) -> None:
        """Report a mistake at a recipe path, unless a value that was wrong itself may be all there is to it."""
        if self._unsure:
            return
        self.findings.append(Finding(code, message, self.span(path), suggestion, advice))

    def warn(self, code: str, path: str, message: str, advice: str, suggestion: str | None = None) -> None:
        """Report something that is likely not meant, at a recipe path."""
        if not self._unsure:
            self.findings.append(Finding(code, message, self.span(path), suggestion, advice, "warning"))

    def make(self, kind: type[T], prefix: str) -> T:
        """Build the record whose fields are the leaves below `prefix`. Raises KeyError when one is missing."""
        fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
        return kind(**{name: self.values[f"{prefix}.{name}"] for name in fields})


def indexed(path: str, index: int | str) -> str:
    """Return the recipe path of one member of a list, or of a mapping whose keys are the person's own."""
    return dotted((*split_path(path), index))
