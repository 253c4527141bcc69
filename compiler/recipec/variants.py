"""The variants of a sweep, compiled as one: what they share is read, decided and rendered once.

A variant is compiled with traced numbers in the place of its own (`recipec.traced`). That leaves conditions and files with
marks; wherever other numbers fulfil the conditions, the files are these with other texts in the marks. Each trace proves
itself before it is used: with its own numbers, it must give, byte for byte, what a plain compile gives. Whatever cannot be
traced (a text, a list, a number that something must know) makes variants of another kind, with traces of their own, and
what none of them covers is compiled plainly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from recipec.course import Course, Part
from recipec.diagnostics import Finding
from recipec.plan import Record
from recipec.source import Items, Mapping, Node, Scalar, is_list, is_mapping, plain
from recipec.sweep import Setting, Variant
from recipec.traced import CURRENT, NAME, Template, Trace, Untraceable, filled, template

TRACES = 64  # of one kind of variants; beyond, each is compiled plainly
Files = dict[str, str]
_ODD = re.compile(r"[^A-Za-z0-9=._+-]|(?<!\w)_|_(?!\w)")  # in a name: what some format of a file writes in another way


class Outcome(Record, frozen=True):
    """What is made of a variant: its name, files, and what there is to say."""

    name: str
    files: Files
    findings: list[Finding]
    notes: list[Finding]


class Pattern(Record, frozen=True):
    """What a trace has made: texts with marks, and those without, which all its variants share."""

    trace: Trace
    name: str
    same: Files
    files: dict[str, Template]
    findings: list[Finding]
    notes: list[Finding]

    def outcome(self, values: tuple[float, ...], name: str) -> Outcome:
        """Return what is made of a variant with other values."""
        texts = self.trace.texts_for(values, name)
        files = {file: self.same[file] if file in self.same else filled(self.files[file], texts) for file in self.order}
        return Outcome(
            f"{self.name}/{name}",
            files,
            [_said(one, texts) for one in self.findings],
            [_said(n, texts) for n in self.notes],
        )

    @property
    def order(self) -> list[str]:
        """The files, as a compile orders them."""
        return sorted([*self.same, *self.files])


def _said(finding: Finding, texts: list[str]) -> Finding:
    message, suggestion, advice = (
        filled(template(text), texts) if text and "qz" in text else text
        for text in (finding.message, finding.suggestion, finding.help)
    )
    return finding._replace(message=message or "", suggestion=suggestion, help=advice)


class Known:
    """What is known of a sweep's variants from those that were compiled before."""

    def __init__(self, plainly: Callable[[Variant], Outcome], traced: Callable[[Variant, Traced], Outcome]) -> None:
        self._plainly = plainly
        self._traced = traced
        self._patterns: dict[str, list[Pattern]] = {}
        self._told: set[str] = set()  # paths whose numbers must be known
        self._failed: dict[str, int] = {}
        self._checks: dict[tuple[type, str], TypeAdapter[Any] | None] = {}
        self._holders: dict[str, tuple[type, str] | None] = {}

    def outcome(self, variant: Variant) -> Outcome:
        """Return what is made of a variant."""
        values = self._values(variant)
        kind = self._kind(variant)
        if values is not None and not _ODD.search(variant.name):
            patterns = self._patterns.get(kind, [])
            for place, pattern in enumerate(patterns):
                if pattern.trace.holds(values):
                    if place:
                        patterns.insert(0, patterns.pop(place))
                    return pattern.outcome(values, variant.name)
        found = self._plainly(variant)
        if not any(finding.code[0] in "RS" for finding in found.findings) and not _ODD.search(variant.name):
            self._learn(variant, found)
        return found

    def _learn(self, variant: Variant, found: Outcome) -> None:
        """Compile a variant once more with traced numbers, and keep that if it comes to the same."""
        for _ in variant.settings:
            kind = self._kind(variant)
            if len(self._patterns.get(kind, ())) >= TRACES or self._failed.get(kind, 0) > 2:
                return
            traced = Traced(variant, self._told)
            CURRENT.append(traced.trace)
            try:
                made = self._traced(variant, traced)
            except Untraceable as error:
                self._told |= {traced.paths[place] for place in error.places}
                continue
            except (TypeError, AttributeError, ValueError, ArithmeticError, AssertionError, LookupError):
                made = None  # something needs a real number, and could not say so
            finally:
                CURRENT.pop()
            pattern = traced.pattern(made) if made is not None else None
            values = self._values(variant)
            if pattern is None or values is None or pattern.outcome(values, variant.name) != found:
                self._failed[kind] = self._failed.get(kind, 0) + 1
                return
            for path, holder in traced.holders.items():
                self._holders.setdefault(path, holder)
            self._patterns.setdefault(kind, []).insert(0, pattern)
            return

    def _kind(self, variant: Variant) -> str:
        """Return what variants have in common that can share a trace: all but their traced numbers."""
        rows = [
            (one.path, number.__class__.__name__)
            if (number := _traced(one, self._told)) is not None
            else (one.path, "=", plain(one.value))
            for one in variant.settings
        ]
        return json.dumps(rows, default=str)

    def _values(self, variant: Variant) -> tuple[float, ...] | None:
        """Return the traced numbers of a variant; None where one may not be what the language takes there."""
        found: list[float] = []
        for one in variant.settings:
            if (value := _traced(one, self._told)) is None:
                continue
            if (holder := self._holders.get(one.path)) is not None and not self._fits(holder, value):
                return None
            found.append(value)
        return tuple(found)

    def _fits(self, holder: tuple[type, str], value: object) -> bool:
        if holder not in self._checks:
            self._checks[holder] = _adapter(*holder)
        adapter = self._checks[holder]
        if adapter is None:
            return False
        try:
            return bool(adapter.validate_python(value) == value)
        except ValidationError:
            return False


def _adapter(model: type, field: str) -> TypeAdapter[Any] | None:
    """Return what judges a value of a field alone; None where nothing can."""
    fields: dict[str, FieldInfo] = getattr(model, "model_fields", {})
    about = fields.get(field)
    if about is None:
        return None
    kind: Any = about.annotation
    limits: tuple[Any, ...] = tuple(about.metadata)
    if limits:
        kind = Annotated[(kind, *limits)]
    try:
        return TypeAdapter(kind, config=ConfigDict(strict=True))
    except PydanticUserError:  # a section has a configuration of its own, and is no number
        return None


def _traced(one: Setting, told: set[str]) -> float | None:
    """Return the number of a setting that is to be traced; None of anything else."""
    value = one.value.value if isinstance(one.value, Scalar) else None
    return value if type(value) in (int, float) and one.path not in told else None  # type: ignore[return-value]


class Traced:
    """The traced numbers of a variant, and where they are put into a course."""

    def __init__(self, variant: Variant, told: set[str]) -> None:
        found = [(one, number) for one in variant.settings if (number := _traced(one, told)) is not None]
        self.paths = [one.path for one, _ in found]
        self.trace = Trace([number for _, number in found])
        self.holders: dict[str, tuple[type, str]] = {}
        self._spans = {one.key: place for place, (one, _) in enumerate(found)}
        self._put: set[int] = set()

    def course(self, course: Course) -> Course:
        """Return a course with the traced numbers in their places. Raises Untraceable where one has none."""
        tree = self._tree(course.tree)
        assert isinstance(tree, Mapping)
        parts = tuple(self._part(part) for part in course.parts)
        recipe = course.recipe
        if course.parts[0].own is None:
            recipe = parts[0].recipe
        else:
            self._into(course.recipe, course.tree)
        missing = frozenset(range(len(self.paths))) - self._put
        if missing:
            raise Untraceable(missing)
        return Course(recipe, tree, parts)

    def _part(self, part: Part) -> Part:
        self._into(part.recipe, part.tree)
        for word, held in (
            ("generate", part.generate),
            ("merge", part.merge),
            ("quantize", part.quantize),
            ("serve", part.serve),
            ("benchmark", part.benchmark),
        ):
            node = part.tree.entries.get(word)
            if isinstance(held, BaseModel) and isinstance(node, Mapping):
                self._into(held, node)
        tree, own = self._tree(part.tree), self._tree(part.own) if part.own is not None else None
        assert isinstance(tree, Mapping)
        assert own is None or isinstance(own, Mapping)
        return part._replace(tree=tree, own=own)

    def _place(self, node: Node) -> int | None:
        return self._spans.get(node.span) if isinstance(node, Scalar) and type(node.value) in (int, float) else None

    def _tree(self, node: Node) -> Node:
        """Return a tree with the traced numbers."""
        if isinstance(node, Scalar):
            place = self._place(node)
            return node if place is None else Scalar(self.trace.number(place), node.span, node.text)
        if isinstance(node, Items):
            return Items([self._tree(one) for one in node.nodes], node.span)
        return Mapping({key: self._tree(one) for key, one in node.entries.items()}, node.keys, node.span)

    def _into(self, held: Any, node: Node) -> None:
        """Put the traced numbers into what was bound of a tree."""
        if isinstance(node, Mapping):
            for key, one in node.entries.items():
                inner = held.get(key) if is_mapping(held) else getattr(held, key, None)
                place = self._place(one)
                if place is None:
                    if inner is not None and not isinstance(one, Scalar):
                        self._into(inner, one)
                    continue
                number = self.trace.number(place)
                if type(inner) is float and type(self.trace.values[place]) is int:
                    number *= 1.0  # as the language takes a whole number there
                elif type(inner) is not type(self.trace.values[place]):
                    raise Untraceable(frozenset([place]))  # it was made something else
                self._put.add(place)
                if is_mapping(held):
                    held[key] = number
                else:
                    vars(held)[key] = number
                    self.holders[self.paths[place]] = (type(held), key)
        elif isinstance(node, Items) and is_list(held) and len(held) == len(node.nodes):
            for index, one in enumerate(node.nodes):
                if (place := self._place(one)) is not None:
                    raise Untraceable(frozenset([place]))
                self._into(held[index], one)

    def pattern(self, made: Outcome) -> Pattern:
        """Return what was made as a pattern for other numbers."""
        self.trace.finish()
        texts = {file: template(text) for file, text in made.files.items()}
        return Pattern(
            self.trace,
            made.name.partition("/")[0],
            {file: made.files[file] for file, parts in texts.items() if len(parts) == 1},
            {file: parts for file, parts in texts.items() if len(parts) > 1},
            made.findings,
            made.notes,
        )


__all__ = ["NAME", "Known", "Outcome", "Traced"]
