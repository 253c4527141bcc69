"""The plan while it is being decided: values by dotted path, each with its origin, and what went wrong."""

from __future__ import annotations

from typing import Any, TypeVar

from recipec.diagnostics import Finding
from recipec.language import Recipe
from recipec.plan import Origin
from recipec.source import Items, Mapping, Node, Span, dotted, find, key_span, split_path

T = TypeVar("T")
COMMAND_LINE = "--set"


class Draft:
    """What the steps of `resolve` write into. `recipe` holds values, `tree` where they stand."""

    def __init__(self, recipe: Recipe, tree: Node) -> None:
        self.recipe = recipe
        self.tree = tree
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Origin] = {}
        self.findings: list[Finding] = []

    def said(self, path: str) -> bool:
        """Return whether the person wrote a value at this recipe path."""
        node = find(self.tree, split_path(path))
        return node is not None and getattr(node, "value", 0) is not None

    def get(self, path: str) -> Any:
        """Return the recipe's value at a dotted path; None where a section on the way is absent."""
        at: Any = self.recipe
        step: Any
        for step in split_path(path):
            if at is None:
                return None
            at = at[step] if isinstance(at, list | dict) else getattr(at, str(step))
        return at

    def span(self, path: str) -> Span:
        """Return where a recipe path is written, or else its nearest parent that is."""
        steps = split_path(path)
        while steps:
            node = find(self.tree, steps)
            if node is not None:
                key = key_span(self.tree, steps)
                return key if isinstance(node, Mapping | Items) and key is not None else node.span
            steps = steps[:-1]
        start = self.tree.span
        return start._replace(end_line=start.line, end_column=start.column + 1)

    def put(self, leaf: str, value: T, why: str, *reads: str, kind: str = "rule") -> T:
        """Decide a plan leaf by a rule that read these recipe paths."""
        self.values[leaf] = value
        self.origins[leaf] = Origin(kind, why, None, tuple(path for path in reads if self.said(path)))  # type: ignore[arg-type]
        return value

    def copy(self, leaf: str, path: str, default: Any = None, why: str = "default of the language") -> Any:
        """Decide a plan leaf as the recipe says, or else as `default`; return the value."""
        if self.said(path):
            value = self.get(path)
            span = self.span(path)
            kind = "command line" if span.source.name.startswith(COMMAND_LINE) else "recipe"
            self.origins[leaf] = Origin(kind, "", span, (path,))  # type: ignore[arg-type]
        else:
            own = self.get(path)
            value = own if own is not None else default
            self.origins[leaf] = Origin("default", why)
        if isinstance(value, list):
            value = tuple(value)
        self.values[leaf] = value
        return value

    def error(self, code: str, path: str, message: str, advice: str, suggestion: str | None = None) -> None:
        """Report a mistake at a recipe path."""
        self.findings.append(Finding(code, message, self.span(path), suggestion, advice))

    def warn(self, code: str, path: str, message: str, advice: str) -> None:
        """Report something that is likely not meant, at a recipe path."""
        self.findings.append(Finding(code, message, self.span(path), None, advice, "warning"))

    def make(self, kind: type[T], prefix: str) -> T:
        """Build the dataclass whose fields are the leaves below `prefix`. Raises TypeError when one is missing."""
        fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
        return kind(**{name: self.values[f"{prefix}.{name}"] for name in fields})


def indexed(path: str, index: int | str) -> str:
    """Return the recipe path of one member of a list, or of a mapping whose keys are the person's own."""
    return dotted((*split_path(path), index))
