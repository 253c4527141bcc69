"""A recipe as the stages that it lists: its own words, or those of each of its `stages` merged over them."""

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from recipec.bind import bind
from recipec.diagnostics import Finding, tidy
from recipec.facts.presets import written_out
from recipec.language import Recipe
from recipec.language.base import BEST, Section
from recipec.language.benchmark import Benchmark
from recipec.language.quantize import Quantize
from recipec.language.serve import Serve
from recipec.language.stages import Generate, Merge, Stage, StageScript
from recipec.source import Items, Mapping, Node, Path, Scalar, Span, find, key_span, plain
from recipec.suggest import nearest

S = TypeVar("S", bound=Section)
HEAD = frozenset(
    ["name", "start_from", "parent_adapter", "merge", "quantize", "serve", "benchmark", "generate", "script"]
)  # words of a stage that are not words of the recipe
SHARED = frozenset(Stage.model_fields) - HEAD  # words that a recipe and its stages both have
INHERITED = SHARED - {"evaluate"}  # those that a stage takes from the recipe where it says nothing
# What models, sections and folders of a run are called, and what the names of stages that are made beside a course's own begin with.
# The kinds of stages beside trainings: the words that a stage of each may have, one of which says that it is one.
KINDS = {
    "quantize": frozenset(["name", "start_from", "quantize", "hardware"]),
    "serve": frozenset(["name", "start_from", "serve", "hardware"]),
    "benchmark": frozenset(["name", "start_from", "benchmark"]),
    "generate": frozenset(["name", "start_from", "generate", "rollout", "rewards", "hardware"]),
    "script": frozenset(["name", "start_from", "script", "hardware"]),
    "evaluate": frozenset(["name", "start_from", "evaluate", "hardware"]),
}
RESERVED = frozenset(["base", "tuned", "init", "train", "merge", "evaluate", "gate", "hardware"])
FOLDERS = frozenset(["environments", "events", "lock", "logs", "nodes", "prepared"])
MADE = re.compile(r"(?:evaluate|prepared|serve|answers|judge|code)-.+|.+-(?:answers|judge)-.+")
ASKS = frozenset(["evaluate", "benchmark"])  # kinds that a server can be asked by
NO_STAGE = frozenset(["base"])  # what start_from may name beside a stage before


class Part(NamedTuple):
    """One stage: the recipe as that stage sees it, and the tree with the places of its words.

    In a course of several, `own` is the stage's mapping, which stands at `path` of the whole. What was `wrong` and has
    been told is in neither recipe nor tree: nothing may be concluded from its absence.
    """

    name: str
    recipe: Recipe
    tree: Mapping
    own: Mapping | None = None
    path: Path = ()
    start_from: str | None = None
    parent_adapter: str | None = None
    wrong: tuple[Path, ...] = ()
    merge: str | Merge | None = None
    generate: Generate | None = None
    script: StageScript | None = None
    quantize: Quantize | None = None
    serve: Serve | None = None
    benchmark: Benchmark | None = None

    @property
    def kind(self) -> str:
        """The kind of the stage: a word of it that no training has says so."""
        said = {
            "merge": self.merge,
            "quantize": self.quantize,
            "serve": self.serve,
            "benchmark": self.benchmark,
            "generate": self.generate,
            "script": self.script,
        }
        own = next((name for name, section in said.items() if section is not None), None)
        if own is not None:
            return own
        return "evaluate" if self.own is not None and "evaluate" in self.own.entries else "train"


class Course(NamedTuple):
    """The whole recipe and its stages in order; a recipe that only evaluates has one part, without `train`."""

    recipe: Recipe
    tree: Mapping
    parts: tuple[Part, ...]

    @property
    def whole(self) -> Part:
        """The recipe itself, as what concerns all stages sees it."""
        return Part("", self.recipe, self.tree)

    def named(self, name: str) -> "Course":
        """Return the course under another name, such as that of a variant of it."""
        change = {"name": name}
        parts = tuple(part._replace(recipe=part.recipe.model_copy(update=change)) for part in self.parts)
        return Course(self.recipe.model_copy(update=change), self.tree, parts)


def bind_course(tree: Mapping) -> tuple[Course | None, list[Finding]]:
    """Validate a recipe with each of its stages. Returns it (None when its shape is wrong) and every finding.

    A misspelt key is told, and from then on read as the right one, so that what else is wrong is found in the same go.
    """
    told: dict[Span, Finding] = {}
    tree = _presets_written_out(tree)
    while True:
        course, findings = _bind_course(tree)
        guesses = {f.span: f for f in findings if f.code == "R001" and f.suggestion and f.span and f.span not in told}
        meant = respelt(tree, {span: str(f.suggestion) for span, f in guesses.items()}) if guesses else tree
        if meant is tree:
            return course, tidy([*told.values(), *findings])
        told |= guesses
        tree = meant


def _presets_written_out(tree: Mapping) -> Mapping:
    """Return a recipe in which every evaluation says itself what its preset does."""
    entries = dict(tree.entries)
    if isinstance(own := entries.get("evaluate"), Mapping):
        entries["evaluate"] = written_out(own)
    if isinstance(stages := entries.get("stages"), Items):
        nodes = [_presets_written_out(node) if isinstance(node, Mapping) else node for node in stages.nodes]
        entries["stages"] = Items(nodes, stages.span)
    return Mapping(entries, tree.keys, tree.span)


def _bind_course(tree: Mapping) -> tuple[Course | None, list[Finding]]:
    stages = tree.entries.get("stages")
    if not isinstance(stages, Items) or not stages.nodes:
        recipe, findings, wrong = bind(tree)
        if recipe is None:
            return None, findings
        tree = pruned(tree, wrong)
        return Course(recipe, tree, (Part("train", recipe, tree, wrong=wrong),)), findings
    # What a section lacks in one place, another may give: only the laid trees below tell what is missing.
    findings = bind(tree, may_lack=_in_a_section).findings
    whole, found, _ = bind(without(tree, {"stages", *INHERITED} - {"model", "hardware"}))
    findings += found
    parts: list[Part] = []
    shared = without(tree, {"stages", "evaluate"})
    for index, own in enumerate(stages.nodes):
        if not isinstance(own, Mapping):
            continue
        laid = merged(shared, without(own, HEAD))
        assert isinstance(laid, Mapping)
        recipe, found, _ = bind(laid)
        findings += found
        said = {word: getattr(own.entries.get(word), "value", None) for word in HEAD}
        if recipe is not None:
            path: Path = ("stages", index)
            there = [word for word in HEAD - {"name"} if word in own.entries]
            entries = laid.entries | {word: own.entries[word] for word in there}
            laid = Mapping(entries, laid.keys | {word: own.keys[word] for word in there}, laid.span)
            start, parent = said["start_from"], said["parent_adapter"]
            name, merge = str(said["name"]), _merge(own)
            rows, script = _section(own, "generate", Generate), _section(own, "script", StageScript)
            bits, server = _section(own, "quantize", Quantize), _section(own, "serve", Serve)
            kinds = (merge, rows, script, bits, server, _section(own, "benchmark", Benchmark))
            parts.append(Part(name, recipe, laid, own, path, start, parent, (), *kinds))
    if whole is None or len(parts) < len(stages.nodes) or any(finding.code != "R001" for finding in findings):
        return None, _once(findings)
    bad = list(_names(tree, parts))
    return (None if bad else Course(whole, tree, tuple(parts))), _once([*findings, *bad])


def _merge(own: Mapping) -> str | Merge | None:
    """Return what a stage says of a merge; nothing of what is not valid, which is told as the whole is bound."""
    node = own.entries.get("merge")
    if isinstance(node, Scalar):
        return node.value if isinstance(node.value, str) else None
    return _section(own, "merge", Merge)


def _section(own: Mapping, word: str, kind: type[S]) -> S | None:
    """Return what a stage says in a section of its own; nothing of what is not valid, which is told as the whole is bound."""
    node = own.entries.get(word)
    try:
        return kind.model_validate(plain(node)) if node is not None else None
    except ValidationError:
        return None


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings without those that a stage's laid tree repeats: the first names the full path."""
    first: dict[tuple[str, Span | None], Finding] = {}
    for finding in findings:
        first.setdefault((finding.code, finding.span), finding)
    return tidy(first.values())


def _in_a_section(path: Path) -> bool:
    below = path[2:] if path[:1] == ("stages",) else path
    return len(below) > 1 and below[0] in SHARED


def _names(tree: Mapping, parts: Iterable[Part]) -> Iterable[Finding]:
    """Check the names of stages: each once, none that means something else, each start a stage before."""
    known: list[str] = []
    models: list[str] = []  # those that leave a model
    servers: list[str] = []
    parts = tuple(parts)
    made = {f"{part.name}-{more}" for part in parts for more in ("merge", "stack", "gate", "checkpoints")}
    for part in parts:
        start = part.start_from.removesuffix(BEST) if part.start_from is not None else None
        there = [*models, *servers] if part.kind in ASKS else models
        taken = part.name in RESERVED | FOLDERS | made or MADE.fullmatch(part.name) is not None
        for word, wrong, message, advice in (
            ("name", taken, f'"{part.name}" is a reserved name', "choose another name"),
            ("name", part.name in known, f'two stages are called "{part.name}"', "give each a different name"),
            (
                "start_from",
                start is not None and start not in NO_STAGE.union(there),
                f'"{start}" {"leaves no model" if start in known else "is not a stage before this one"}',
                f"stages before it{' that do' if start in known else ''}: {', '.join(there) or 'none'}",
            ),
        ):
            if wrong:
                node = find(tree, (*part.path, word))
                meant = nearest(str(start), [*there, *NO_STAGE]) if word == "start_from" else None
                span = node.span if node else key_span(tree, part.path)
                yield Finding("R009", message, span, suggestion=meant, help=advice)
        known.append(part.name)
        own = part.own.entries if part.own is not None else {}
        leaves = part.kind not in KINDS or not own.keys() <= KINDS[part.kind]
        leaves |= part.quantize is not None
        leaves |= part.script is not None and part.script.makes in ("model", "adapter")
        models += [part.name] if leaves else []
        servers += [part.name] if part.serve is not None else []


def without(tree: Mapping, words: Iterable[str | int]) -> Mapping:
    """Return a mapping without some of its keys."""
    gone = set(words)
    entries = {key: node for key, node in tree.entries.items() if key not in gone}
    return Mapping(entries, {key: tree.keys[key] for key in entries}, tree.span)


def respelt(tree: Mapping, names: dict[Span, str]) -> Mapping:
    """Return a mapping in which the keys at some places have other names, where those are not taken; else itself."""
    entries: dict[str, Node] = {}
    keys: dict[str, Span] = {}
    for key, node in tree.entries.items():
        span = tree.keys[key]
        name = names.get(span, key)
        name = key if name in tree.entries or name in entries else name
        entries[name], keys[name] = _respelt(node, names), span
    same = entries.keys() == tree.entries.keys() and all(node is tree.entries[key] for key, node in entries.items())
    return tree if same else Mapping(entries, keys, tree.span)


def _respelt(node: Node, names: dict[Span, str]) -> Node:
    if isinstance(node, Mapping):
        return respelt(node, names)
    if isinstance(node, Items):
        nodes = [_respelt(inner, names) for inner in node.nodes]
        return node if all(a is b for a, b in zip(nodes, node.nodes, strict=True)) else Items(nodes, node.span)
    return node


def pruned(tree: Mapping, paths: Iterable[Path]) -> Mapping:
    """Return a mapping without the values at some paths."""
    for path in paths:
        if len(path) == 1:
            tree = without(tree, path)
        elif path and isinstance(inner := tree.entries.get(str(path[0])), Mapping):
            entries = {**tree.entries, str(path[0]): pruned(inner, [path[1:]])}
            tree = Mapping(entries, tree.keys, tree.span)
    return tree


def merged(below: "Node | None", above: "Node") -> "Node":
    """Lay one tree over another: mappings key by key, everything else replaced. Every value keeps its place."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    entries = dict(below.entries)
    for key, node in above.entries.items():
        entries[key] = merged(entries.get(key), node)
    return Mapping(entries, {**below.keys, **above.keys}, above.span)
