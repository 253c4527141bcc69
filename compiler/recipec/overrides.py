"""Raw overrides merged over what is emitted, and every emitted file held against its tool's contract."""

from collections.abc import Iterator, Sequence
from typing import Any

from recipec import contracts
from recipec.contracts import Contract, DocumentPath, Problem
from recipec.course import Course
from recipec.diagnostics import Finding
from recipec.plan import Resolved, Stage, leaf
from recipec.source import Mapping, Span, beginning, dotted, find, is_list, is_mapping, key_span, split_path
from recipec.systems.document import Document
from recipec.systems.table import Entry

NOTHING = (None, False, 0, -1)  # values with which a key says nothing: that it is not set


def first_span(tree: Mapping, reads: Sequence[str]) -> Span:
    """Return where the first of some recipe paths stands that is written; the start of the recipe if none is."""
    for path in reads:
        steps = split_path(path)
        node = find(tree, steps)
        if node is not None:
            span = key_span(tree, steps) if isinstance(node, Mapping) else node.span
            if span is not None:
                return span
    return beginning(tree)


def lay_over(course: Course, document: Document, findings: list[Finding]) -> None:
    """Lay the raw keys of a document's tool over it; what the recipe decides already is a finding."""
    tree = course.tree
    raw: dict[str, Any] = getattr(course.recipe.overrides, document.tool, {})
    if not raw or not document.raw_keys:
        return
    document.raw = raw
    ours = _decided_keys(document)
    for word, value in raw.items():
        key = document.key(word)
        findings.extend(_other_ways(tree, document, word, value, ours))
        entry = document.entries.get(key)
        base = ("overrides", document.tool, word)
        if entry is None:
            document.entries[key] = Entry(value, (dotted(base),), "override")
        elif is_mapping(entry.value) and is_mapping(value):
            merged = dict(entry.value)
            for inner, item in value.items():
                decided = inner in merged and entry.reads and inner not in entry.fixed
                if decided and not _same(merged[inner], item):
                    findings.append(_decided(tree, (*base, inner), document, f"{key}.{inner}"))
                merged[inner] = item
            document.entries[key] = Entry(merged, (*entry.reads, dotted(base)), "with overrides")
        elif entry.adds and is_list(value):
            both = [*entry.value, *(one for one in value if one not in entry.value)]
            document.entries[key] = entry.replaced(value=both, reads=(*entry.reads, dotted(base)))
        elif _same(entry.value, value):
            continue
        elif entry.reads:
            findings.append(_decided(tree, base, document, key))
        else:
            document.entries[key] = Entry(value, (dotted(base),), "override")


def _decided_keys(document: Document) -> set[str]:
    """Return the keys that the plan decides, without the name of their group, those in a mapping with a dot."""
    found = set[str]()
    for key, entry in document.entries.items():
        name = key.removeprefix(f"{document.contract}.") if document.kind == "python" else key
        if entry.reads:
            found.add(name)
            if is_mapping(entry.value):
                found.update(f"{name}.{inner}" for inner in entry.value if inner not in entry.fixed)
    return found


def _other_ways(tree: Mapping, document: Document, word: str, value: Any, ours: set[str]) -> Iterator[Finding]:
    """Yield where a raw key, or one in its mapping, says in another way what the plan decides by another key."""
    name = word.removeprefix(f"{document.contract}.") if document.kind == "python" else word
    said: dict[tuple[str, ...], tuple[str, Any]] = {(word,): (name, value)}
    if is_mapping(value):
        said |= {(word, str(inner)): (f"{name}.{inner}", item) for inner, item in value.items()}
    for steps, (key, one) in said.items():
        for group in document.alike if one not in NOTHING else ():
            other = sorted(group.keys & ours - {key}) if key in group.keys and key not in ours else []
            if other:
                message = (
                    f"{document.file}: {key} says in another way what {other[0]} says, which is decided by the recipe"
                )
                span = key_span(tree, ("overrides", document.tool, *steps))
                yield Finding("T010", message, span, help=f"set {group.words} instead")


def _same(ours: Any, raw: Any) -> bool:
    """Return whether a raw value says what is emitted anyway; true is no 1."""
    return bool(ours == raw) and isinstance(ours, bool) is isinstance(raw, bool)


def _decided(tree: Mapping, path: tuple[str | int, ...], document: Document, key: str) -> Finding:
    message = f"{document.file}: {key} is decided by the recipe; two sources would disagree"
    return Finding("T010", message, key_span(tree, path), help="set it with the keys of the recipe instead")


def contract_findings(tree: Mapping, stage: Stage[Any], resolved: Resolved, document: Document) -> Iterator[Finding]:
    """Yield what a document's contract has against it; it stands in a raw override, or was made of the recipe."""
    for part, values, contract in _parts(document):
        group = (part,) if document.kind == "python" else ()
        for problem in contract.check(part, values):
            yield _wrong(tree, stage, resolved, document, problem._replace(path=(*group, *problem.path)))
        for old in contract.deprecated(part, values) if document.raw else ():
            yield from _old(tree, document, old._replace(path=(*group, *old.path)))


def _parts(document: Document) -> Iterator[tuple[str, Any, Contract]]:
    """Yield the parts of a document that a contract checks: the whole, or each group of a Python file."""
    if document.kind != "python" and not document.contract:
        return
    contract = contracts.load(document.tool, document.release)
    if document.kind != "python":
        yield document.contract, document.values(), contract
    else:
        yield from ((group, values, contract) for group, values in document.values().items())


def _wrong(tree: Mapping, stage: Stage[Any], resolved: Resolved, document: Document, problem: Problem) -> Finding:
    path = ("overrides", document.tool, *document.word(problem.path))
    node = find(tree, path)
    message = f"{document.tool} {document.release}: {dotted(problem.path)}: {problem.message}"
    if node is None:
        entry, below = _entry(document, problem.path)
        reads = _made_of(stage, resolved, entry, _at(entry.value, below))
        advice = f"it is made of {', '.join(reads) or 'nothing in the recipe'}; choose what the tool accepts"
        return Finding("T022", message, first_span(tree, reads), problem.suggestion, advice)
    span = key_span(tree, path) if problem.on == "key" else node.span
    code = "T020" if problem.on == "key" else "T021"
    return Finding(code, message, span, problem.suggestion, "the tool itself may ignore it without a message")


def _old(tree: Mapping, document: Document, old: Problem) -> Iterator[Finding]:
    """Yield what is to be said of a key that is about to go, where it or its successor is raw.

    What we emit ourselves is known to be read; but of an old and a new name of one thing, one wins without a message.
    """

    def raw(key: DocumentPath) -> DocumentPath:
        return ("overrides", document.tool, *document.word(key))

    span = key_span(tree, raw(old.path))
    if old.suggestion:
        new = (*old.path[:-1], old.suggestion)
        if any({old.path[-1], old.suggestion} <= group.keys for group in document.alike):
            return  # told already
        both = old.suggestion in _at(document.values(), old.path[:-1])
        if both and (find(tree, raw(new)) is None) is not (span is None):
            ours, theirs = (new, old.path) if span is not None else (old.path, new)
            yield _decided(tree, raw(theirs), document, ".".join(str(step) for step in ours))
            return
    if span is not None:
        message = f"{document.tool} {document.release}: {dotted(old.path)}: {old.message}"
        advice = "this release still reads it, a later one may not"
        yield Finding("T023", message, span, old.suggestion, advice, "warning")


def _entry(document: Document, path: Sequence[str | int]) -> tuple[Entry, Sequence[str | int]]:
    """Return the entry that a path of a problem starts with, and the path below its value."""
    depth = 2 if document.kind == "python" else 1
    return document.entries[".".join(str(step) for step in path[:depth])], path[depth:]


def _made_of(stage: Stage[Any], resolved: Resolved, entry: Entry, value: Any) -> tuple[str, ...]:
    """Return the recipe paths that an emitted value was made of: those that hold it as it is, or else all."""
    origins = {path: origin for path in entry.reads if (origin := resolved.origins.get(f"{stage.name}.{path}"))}
    same = [path for path in origins if leaf(stage.body, path) == value]
    return tuple(dict.fromkeys(read for path in same or origins for read in origins[path].reads))


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value
