"""Three laws of the language, judged for one base recipe.

- Another value is never dropped in silence: a file that some tool reads changes, or a finding names the value.
- A value that is written out as what it is anyway brings no error and no warning, and changes no file.
- What a finding advises is not taken back by the next one.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

from advice import Change, changes, node_of, spelt
from bases import located, texts, wrong
from meaning import changed
from words import CALLED, Leaf, leaves, others

from recipec.diagnostics import Finding
from recipec.pipeline import Compiled, compile_tree
from recipec.plan import Origin, Resources
from recipec.plan import leaf as at
from recipec.source import Mapping, Path, dotted, find, plain, with_value

LAID = "laid in"  # the name of the text that a value stands in
Kind = Literal["dropped", "elsewhere", "default", "circle"]


class Fault(NamedTuple):
    """One law broken: which, at which leaf of which base, and how."""

    kind: Kind
    base: str
    leaf: str
    what: str


def laid(tree: Mapping, path: Path, value: Any, name: str = LAID) -> Mapping:
    """Return the recipe with a value at a path, which stands in a text of its own."""
    node = node_of(value, name)
    made = with_value(tree, path, node, node.span)
    assert isinstance(made, Mapping)
    return made


class Judge:
    """The laws for one base. What it has compiled it keeps."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree = located(name)
        self.recipe: Any = plain(self.tree)
        self.faults: list[Fault] = []
        self.judged: set[tuple[str, str]] = set()  # fault and leaf
        self._references: dict[tuple[Path, ...], tuple[Mapping, Compiled]] = {}
        self._advised: set[tuple[str, str, str | None]] = set()

    def leaves(self, thirds: Collection[int] = range(3)) -> dict[str, Leaf]:
        """Return every leaf by its dotted path, or those alone whose number modulo 3 is one of `thirds`."""
        found = {dotted(leaf.path): leaf for leaf in leaves(self.recipe)}
        return {path: leaf for number, (path, leaf) in enumerate(found.items()) if number % 3 in thirds}

    def judge(self, chosen: Iterable[Leaf]) -> list[Fault]:
        """Return how some leaves break the laws."""
        for leaf in chosen:
            self._leaf(leaf)
        return self.faults

    def _reference(self, leaf: Leaf) -> tuple[Mapping, Compiled]:
        """Return the base with the sections that a leaf needs."""
        key = tuple(path for path, _ in leaf.within)
        if key not in self._references:
            tree = self.tree
            for path, given in leaf.within:
                tree = laid(tree, path, given)
            self._references[key] = tree, compile_tree(tree)
        return self._references[key]

    def _leaf(self, leaf: Leaf) -> None:
        before, reference = self._reference(leaf)
        if not reference.files and leaf.within:
            self._refused(leaf, reference)
            return
        place = dotted(leaf.path)
        self.judged |= {("dropped", place), ("elsewhere", place)}
        now = self._now(leaf, reference)
        again = 0  # values that the plan says are in force anyway, of which there can be one
        for value in others(leaf, now, self.name):
            tree = laid(before, leaf.path, value)
            made = compile_tree(tree)
            new = _new(reference.findings, made.findings)
            unfit = [finding for finding in new if finding.code.startswith("R00") and finding.code != "R009"]
            assert not unfit, f"{place} cannot be {value!r}: give words.py a value that the language takes"
            self.advise(tree, made, new)
            if not made.files:
                if not any(_names(finding, leaf.path, value) for finding in new):
                    told = "; ".join(f"{finding.code} {finding.message}" for finding in new)
                    self._fault("elsewhere", place, f"{now!r} → {value!r}: {told}")
                break
            told = [*new, *_new(made.findings, reference.findings)]  # also: no longer told
            if (
                changed(reference.files, made.files)
                or _asked(reference) != _asked(made)
                or any(_names(finding, leaf.path) for finding in told)
            ):
                break
            again += now is None and _in_force_already(reference, made, place)
            if again != 1:
                self._fault("dropped", place, f"{now!r} → {value!r}")
                break
        if not leaf.said and not leaf.within and now not in (None, [], {}, ""):
            self._default(leaf, now, before, reference)

    def _refused(self, leaf: Leaf, reference: Compiled) -> None:
        """A section that cannot be here at all says so of itself, for all its words."""
        base = compile_tree(self.tree)
        new = _new(base.findings, reference.findings)
        path = leaf.within[-1][0]
        self.judged.add(("elsewhere", dotted(path)))
        if not any(_names(finding, inner) for finding in new for inner, _ in leaf.within):
            told = "; ".join(f"{finding.code} {finding.message}" for finding in new)
            self._fault("elsewhere", dotted(path), f"absent → {leaf.within[-1][1]!r}: {told}")

    def _default(self, leaf: Leaf, now: Any, before: Mapping, reference: Compiled) -> None:
        tree = laid(before, leaf.path, now)
        made = compile_tree(tree)
        known = {(finding.code, finding.message) for finding in reference.findings}  # told of each place that says it
        new = [finding for finding in made.findings if (finding.code, finding.message) not in known]
        self.judged.add(("default", dotted(leaf.path)))
        self.advise(tree, made, new)
        told = "; ".join(f"{finding.code} {finding.message}" for finding in new if finding.severity != "note")
        if told:
            self._fault("default", dotted(leaf.path), f"{now!r}: {told}")
        elif names := changed(reference.files, made.files):
            self._fault("default", dotted(leaf.path), f"{now!r} changes {', '.join(names)}")

    def _now(self, leaf: Leaf, reference: Compiled) -> Any:
        """Return the value in force: what the recipe says for this leaf, else the default; None where it is not known."""
        stage, path = "train", leaf.path
        if path[0] == "stages" and len(path) > 2:
            stage, path = str(self.recipe["stages"][path[1]]["name"]), path[2:]
            inherited = find(self.tree, path)
            if not leaf.said and inherited is not None and "merge" not in self.recipe["stages"][leaf.path[1]]:
                return plain(inherited)
        if leaf.now is not None:
            return leaf.now
        value = _decided(path, stage, _plan(reference))
        # what an earlier stage leaves somewhere has no name of its own that a recipe could say
        return None if isinstance(value, str) and _made(reference, value) else value

    def advise(self, tree: Mapping, made: Compiled, findings: Iterable[Finding]) -> None:
        """Judge the advice of findings that were not met before."""
        fresh = [one for one in findings if (one.code, one.message, one.help) not in self._advised]
        self._advised.update((one.code, one.message, one.help) for one in fresh)
        for circle in circles(tree, made, fresh):
            self._fault("circle", dotted(circle.change.path), circle.told())

    def _fault(self, kind: Kind, leaf: str, what: str) -> None:
        fault = Fault(kind, self.name, leaf, what)
        if not any(one[:3] == fault[:3] for one in self.faults):
            self.faults.append(fault)


def judged_whole(name: str, thirds: Collection[int] = range(3)) -> tuple[list[Fault], set[tuple[str, str]]]:
    """Return every fault of a base, and where the first two laws were judged: fault and leaf.

    `thirds` are those of the leaves (see `Judge.leaves`). Advice is judged wherever it is given; of a wrong recipe, only that is.
    """
    judge = Judge(name)
    if name not in wrong():
        return judge.judge(judge.leaves(thirds).values()), judge.judged
    compiled = compile_tree(judge.tree)
    judge.advise(judge.tree, compiled, compiled.findings)
    return judge.faults, set()


class Circle(NamedTuple):
    """Advice that is taken back by the finding that comes of it."""

    finding: Finding
    change: Change
    answer: Finding
    back: Change

    def told(self) -> str:
        """Return both advices with what was done for them."""
        there = f"{self.finding.code} “{self.change.words}”: {spelt(self.change)}"
        return f"{there}; then {self.answer.code} “{self.back.words}”: {spelt(self.back)}"


def circles(tree: Mapping, made: Compiled, findings: Iterable[Finding]) -> Iterator[Circle]:
    """Do what each finding about a recipe says, and yield the advices that the next finding takes back."""
    for finding in findings:
        for change in changes(tree, finding):
            after = change.applied(tree)
            if after is None:
                continue
            for answer in _new(made.findings, compile_tree(after).findings):
                back = next((one for one in changes(after, answer) if one.reverses(change, tree)), None)
                if back is not None:
                    yield Circle(finding, change, answer, back)


def _new(before: Iterable[Finding], after: Iterable[Finding]) -> list[Finding]:
    """Return the findings that were not there, wherever they point."""
    known = Counter((finding.code, finding.message) for finding in before)
    found = []
    for finding in after:
        if known[finding.code, finding.message]:
            known[finding.code, finding.message] -= 1
        else:
            found.append(finding)
    return found


def _names(finding: Finding, path: Path, value: Any = None) -> bool:
    """Return whether a finding stands at a value that was laid in, or names its path.

    An error, with which nothing is emitted, may stand at the other one of two that contradict each other; then it names
    the last word of the path, what that gives, or the value.
    """
    if finding.span is not None and finding.span.source.name == LAID:
        return True
    text = f"{finding.message} {finding.help} {finding.suggestion}"
    own = path[2:] if path[0] == "stages" else path
    word = next(str(step) for step in reversed(path) if isinstance(step, str))
    names = [dotted(path), dotted(own)]
    if finding.severity == "error":
        names += [word, *CALLED.get(word, ()), *([value] if isinstance(value, str) else [])]
    return any(re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])", text, re.IGNORECASE) for name in names)


class Row(NamedTuple):
    """A leaf of the plan."""

    value: Any
    origin: Origin


def _asked(compiled: Compiled) -> list[Resources]:
    """Return what a run asks of the machine for each stage."""
    return [stage.resources for stage in compiled.resolved.plan.stages] if compiled.resolved is not None else []


def _made(compiled: Compiled, place: str) -> bool:
    """Return whether a stage of the plan makes what stands at a place."""
    return compiled.resolved is not None and compiled.resolved.plan.maker(place) is not None


def _plan(compiled: Compiled) -> dict[str, Row]:
    if not compiled.files or compiled.resolved is None:
        return {}
    bodies: dict[str, Any] = {stage.name: stage.body for stage in compiled.resolved.plan.stages}
    bodies["hardware"] = compiled.resolved.plan.hardware
    found = {}
    for path, origin in compiled.resolved.origins.items():
        root, _, rest = path.partition(".")
        found[path] = Row(_worded(at(bodies[root], rest)), origin)
    return found


def _worded(value: Any) -> Any:
    return [_worded(one) for one in value] if isinstance(value, tuple) else value


def _in_force_already(reference: Compiled, made: Compiled, place: str) -> bool:
    """Return whether the value that was laid in is the one that was in force, as the plan tells it."""
    before, after = _plan(reference), _plan(made)
    there = [name for name, row in after.items() if place in row.origin.reads and name in before]
    return any(before[name].value == after[name].value for name in there)


def _decided(path: Path, stage: str, plan: dict[str, Row]) -> Any:
    """Return what a stage's plan has where neither recipe nor language say anything; None where that is not known."""
    if "columns" in path:
        columns = plan.get(f"{stage}.{'.'.join(map(str, path[:-1]))}")
        return columns.value.get(path[-1]) if columns is not None else None
    unit = plan.get(f"{stage}.length.unit")
    if path in (("train", "epochs"), ("train", "steps")) and unit is not None and unit.value != path[1]:
        return None
    root, _, rest = _places().get(dotted(path), "").partition(".")
    first = "evaluate-.*" if root.startswith("evaluate-") else re.escape(stage if root == "train" else root)
    name = rf"{first}\." + re.escape(rest).replace(r"\.0\.", r"\.\d+\.")
    found = [row.value for path, row in plan.items() if re.fullmatch(name, path)]
    return found[0] if found and all(value == found[0] for value in found) else None


@cache
def _places() -> dict[str, str]:
    """Return the leaf of the plan that holds each leaf of the language as it is, as recipes that say much show it."""
    found = {"train.batch_size": "train.batch.total"}
    for name in (name for name in texts() if name.startswith("said-")):
        compiled = compile_tree(located(name))
        for path, row in _plan(compiled).items():
            reads = row.origin.reads
            if row.origin.kind == "recipe" and len(reads) == 1:
                found.setdefault(reads[0], path)
    return found
