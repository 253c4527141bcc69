"""What a user said for one stage, and how a value is decided of it: a value together with its origin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

from recipec.course import Part
from recipec.language import Recipe
from recipec.plan import Origin, OriginKind, Record
from recipec.source import (
    Items,
    Mapping,
    Node,
    Path,
    Scalar,
    Span,
    beginning,
    dotted,
    is_list,
    is_mapping,
    split_path,
)

T = TypeVar("T", covariant=True)
U = TypeVar("U")
COMMAND_LINE = ("--set", "--rehearse")


_BY_DEFAULT = Origin("default", "default of the language")


class Decided(Record, Generic[T], frozen=True):
    """A value of the plan, a leaf or a section, and the origin of each of its leaves by the dotted path below it.

    The path of a leaf itself is empty.
    """

    value: T
    origins: dict[str, Origin]


class Said:
    """A recipe as one stage sees it, and where each of its words stands."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.recipe: Recipe = part.recipe
        self.tree: Mapping = part.tree

        # Every node of the tree by its dotted path, and where the keys of those in mappings stand.
        self.nodes: dict[str, Node] = {}
        self._keys: dict[str, Span] = {}
        _gather(self.tree, "", self.nodes, self._keys)
        self._null = {path for path, node in self.nodes.items() if isinstance(node, Scalar) and node.value is None}

    @cached_property
    def _own(self) -> frozenset[str]:
        """The dotted paths that the stage itself says, in a course of several."""
        found: dict[str, Node] = {}
        if self.part.own is not None:
            _gather(self.part.own, "", found, {})
        return frozenset(found)

    def wrote(self, path: str) -> bool:
        """Return whether the person wrote a value at this recipe path; `null` is none."""
        return path in self.nodes and path not in self._null

    def says_own(self, word: str) -> bool:
        """Return whether a stage of a course has a word of its own, and not only the recipe's."""
        return self.part.own is not None and word in self.part.own.entries

    def span(self, path: str) -> Span:
        """Return where a recipe path is written, or else its nearest parent that is."""
        while path:
            node = self.nodes.get(path)
            if node is not None:  # of a value that is left out there is only the key
                shown = isinstance(node, Scalar) and (node.value is not None or bool(node.text))
                return node.span if shown else self._keys.get(path, node.span)
            path = parent(path)
        return beginning(self.tree)

    def place(self, path: str) -> str:
        """Return the path in the whole recipe: a word that a stage says itself stands under `stages[i]`."""
        if self.part.own is None or path == "name" or path not in self._own:
            return path
        return f"{dotted(self.part.path)}.{path}"

    def places(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return those of some paths that the person wrote, each in the whole recipe."""
        return tuple([self.place(path) for path in paths if self.wrote(path)])

    def unsure(self, paths: Iterable[str]) -> bool:
        """Return whether what was wrong itself, and has been told, may be all there is to what these paths say."""
        wrong = self.part.wrong
        return bool(wrong) and any(split_path(path)[: len(one)] == one for one in wrong for path in paths)

    def take(
        self, path: str, value: U | None, usual: U, why: str = "default of the language", *paths: str
    ) -> Decided[U]:
        """Decide a leaf as the recipe says at `path`, where it holds `value`; else it is the `usual` one, and why.

        The usual one follows from what stands at `paths`.
        """
        if value is not None and self.wrote(path):
            span = self.span(path)
            kind: OriginKind = "command line" if span.source.name.startswith(COMMAND_LINE) else "recipe"
            return Decided(value, {"": Origin(kind, "", span, (self.place(path),), value == usual)})
        return Decided(usual if value is None else value, {"": Origin("default", why, None, self.places(paths))})

    def word(self, path: str, value: U) -> Decided[U]:
        """Decide a leaf as the recipe says at `path`, where the language itself has a default."""
        if not self.wrote(path):
            return Decided(value, {"": _BY_DEFAULT})
        return self.take(path, value, self.default(path, value))

    def default(self, path: str, value: U) -> U:
        """Return what the language itself has at a path where this recipe holds `value`: its default, if any."""
        if not self.wrote(path):
            return value
        above = _at(self.recipe, split_path(path)[:-1])
        found: U = _default(above.__class__, path.rpartition(".")[2])
        return found

    def otherwise(self, path: str) -> bool:
        """Return whether the person wrote something at a recipe path, or below it, that is not the language's default."""
        node = self.nodes.get(path)
        if isinstance(node, Mapping):
            return any(self.otherwise(dotted((*split_path(path), key))) for key in node.entries)
        value = _at(self.recipe, split_path(path))
        return self.wrote(path) and self.default(path, value) != value

    def rule(self, value: U, why: str, *paths: str, kind: OriginKind = "rule") -> Decided[U]:
        """Decide a leaf by a rule that read these recipe paths."""
        return Decided(value, {"": Origin(kind, why, None, self.places(paths))})


class _Never:
    """Equal to nothing: stands for the default of a word that has none."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


_NEVER: Any = _Never()


@lru_cache(maxsize=512)  # more than the language has words
def _default(section: Any, word: str) -> Any:
    """Return the default of a word of a section; _NEVER where it has none."""
    field = getattr(section, "model_fields", {}).get(word)
    return field.default if field is not None and not field.is_required() else _NEVER


def section(kind: type[U], **parts: Decided[Any]) -> Decided[U]:
    """Return a record of its decided fields, with their origins below their names. Raises TypeError when one is missing."""
    origins: dict[str, Origin] = {}
    for name, part in parts.items():
        for path, origin in part.origins.items():
            origins[f"{name}.{path}" if path else name] = origin
    return Decided(kind(**{name: part.value for name, part in parts.items()}), origins)


def several(parts: Iterable[Decided[U]]) -> Decided[tuple[U, ...]]:
    """Return a tuple of decided records, with their origins below their numbers."""
    kept = tuple(parts)
    origins = {
        f"{index}.{path}" if path else str(index): origin
        for index, part in enumerate(kept)
        for path, origin in part.origins.items()
    }
    return Decided(tuple(part.value for part in kept), origins)


def plain(value: U) -> Decided[U]:
    """Return a value that nobody needs an origin of: it does not exist here, or says what others say already."""
    return Decided(value, {})


def parent(path: str) -> str:
    """Return the dotted path of what a path stands in."""
    return dotted(split_path(path)[:-1])


def indexed(path: str, index: int | str) -> str:
    """Return the recipe path of one member of a list, or of a mapping whose keys are the person's own."""
    return f"{path}[{index}]" if isinstance(index, int) else dotted((*split_path(path), index))


def _at(value: Any, steps: Path) -> Any:
    for step in steps:
        if value is None:
            return None
        if is_list(value):
            at = int(step)
            value = value[at] if at < len(value) else None  # what is wrong itself has been left out
        else:
            value = value.get(step) if is_mapping(value) else getattr(value, str(step), None)
    return value


def _gather(node: Node, prefix: str, found: dict[str, Node], keys: dict[str, Span]) -> None:
    if isinstance(node, Mapping):
        for key, inner in node.entries.items():
            path = (
                f"{prefix}.{key}" if prefix and key.isidentifier() else key if key.isidentifier() else _odd(prefix, key)
            )
            found[path], keys[path] = inner, node.keys[key]
            if not isinstance(inner, Scalar):
                _gather(inner, path, found, keys)
    elif isinstance(node, Items):
        for index, inner in enumerate(node.nodes):
            path = f"{prefix}[{index}]"
            found[path] = inner
            if not isinstance(inner, Scalar):
                _gather(inner, path, found, keys)


def _odd(prefix: str, key: str) -> str:
    return dotted((*(split_path(prefix) if prefix else ()), key))
