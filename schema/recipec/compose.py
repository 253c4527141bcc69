"""Several files, profiles, settings and variables to one flat located tree, before it is bound.

Layers are laid one over another, and every value keeps the place where it was written: the files that `extends` names
(each once, before the file that names it), the file itself, the chosen profiles, the settings of the command line.
Then `${var:NAME}` is replaced. Nothing here knows what a recipe may say beyond these words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import is_
from typing import NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.source import (
    Items,
    Mapping,
    Node,
    Path,
    Scalar,
    Source,
    Span,
    beginning,
    by_name,
    dotted,
    find,
    leaves,
    split_path,
    visible,
    with_value,
)
from recipec.yaml_reader import MAX_VALUES, read_text, read_utf8

MAX_FILES = 64  # that one recipe consists of
MAX_TEXT = 1_000_000  # characters that variables may make of one value
_VARIABLE = re.compile(r"\$\{var:([^}]*)\}")


class Composed(NamedTuple):
    """A recipe in one tree, and what it is made of.

    `layers` are its files in the order in which they are laid, the file itself last; `through` says for each other
    file where it is named; `notes` say at a value's place which variables are in it; `chosen` are the mappings of the
    profiles that were merged over it, `others` the tree that each of the other profiles would make, `trees` what each
    layer holds before anything is laid over it.
    """

    tree: Mapping
    layers: tuple[Source, ...]
    through: dict[Source, Span]
    notes: dict[Span, str]
    variables: dict[str, Scalar]
    chosen: tuple[tuple[str, Mapping], ...]
    others: dict[str, Mapping]
    trees: tuple[Mapping, ...]

    @property
    def profiles(self) -> tuple[str, ...]:
        """Return the names of the chosen profiles, in order."""
        return tuple(dict.fromkeys(name for name, _ in self.chosen))

    def told(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return findings, those in a file that is extended with the way to it."""
        return [_with_way(finding, self.through) for finding in findings]


def compose(
    path: str,
    settings: Sequence[str] = (),
    profiles: Sequence[str] = (),
    variables: Sequence[str] = (),
    text: str | None = None,
    rehearsal: Sequence[str] = (),
) -> Composed:
    """Read a recipe with all that it extends, and lay chosen profiles, settings `a.b=c` and variables `a=c` over it.

    With `text`, that is taken for what the file holds. What a `rehearsal` swaps is laid over all of it, as settings are.

    Raises RecipeError with every finding: files that are missing, no YAML or circular, profiles and variables that
    nobody has or uses, and whatever deletes or adds to what is not there.
    """
    reading = _Reading()
    tree = reading.file(path, text=text)
    if not isinstance(tree, Mapping):
        raise no_mapping(tree)
    findings = reading.findings
    flat = Mapping({}, {}, tree.span)
    for index, layer in enumerate(reading.layers):
        flat = _laid(flat, without_words(layer), findings, first=index == 0)
    known = _profiles(reading.layers, findings)
    rest = [name for name in known if name not in profiles]
    others = {name: _chosen(flat, known[name], []) for name in rest}
    for name in rest:
        _chosen(flat, known[name], findings)
    for name in profiles:
        flat = _chosen(flat, known[name], findings) if name in known else flat
    findings += _unknown_profiles(profiles, known)
    below: Node = flat
    for setting in settings:
        below = set_value(below, setting)
    for setting in rehearsal:
        below = set_value(below, setting, "--rehearse")
    assert isinstance(below, Mapping)
    flat, defined = _defined(below, variables, findings)
    findings += _unused(defined, (*reading.layers, flat))
    notes: dict[Span, str] = {}
    flat = _with_variables(flat, defined, notes, findings)
    for name, other in others.items():
        mine, own = _defined(other, (), [])
        others[name] = _with_variables(mine, own, {}, findings)
    if findings:
        raise RecipeError([_with_way(finding, reading.through) for finding in findings])
    sources = tuple(layer.span.source for layer in reading.layers)
    chosen = tuple((name, node) for name in profiles for node in known[name])
    return Composed(flat, sources, reading.through, notes, defined, chosen, others, tuple(reading.layers))


def no_mapping(tree: Node) -> RecipeError:
    """Return the error of a file that holds a list or a single value."""
    message = "a recipe is a mapping of keys and values"
    return RecipeError([Finding("S019", message, beginning(tree), help="start with `recipe: 1`")])


def without_words(tree: Mapping) -> Mapping:
    """Return a file's tree without `extends` and `profiles`."""
    entries = {key: node for key, node in tree.entries.items() if key not in ("extends", "profiles")}
    return Mapping(entries, {key: tree.keys[key] for key in entries}, tree.span)


def _with_way(finding: Finding, through: dict[Source, Span]) -> Finding:
    span = through.get(finding.span.source) if finding.span else None
    if span is None:
        return finding
    way = f"extended by {span.source.name}:{span.line}"
    return finding._replace(help=f"{finding.help}; {way}" if finding.help else way)


class _Reading:
    """The files of a recipe as they are read: each once, those that a file extends before it."""

    def __init__(self) -> None:
        self.layers: list[Mapping] = []
        self.through: dict[Source, Span] = {}
        self.findings: list[Finding] = []
        self.open: dict[str, str] = {}
        self.done: set[str] = set()
        self.values = 0

    def file(self, path: str, label: str | None = None, said: Span | None = None, text: str | None = None) -> Node:
        """Read a file with its parents. Raises RecipeError for what cannot be read, at `said` where that names it."""
        real = os.path.realpath(path)
        if real in self.open:
            way = " → ".join([*list(self.open.values())[list(self.open).index(real) :], path])
            raise self._refused("S042", f"the files extend one another: {way}", said, "take one of these lines out")
        if len(self.open) + len(self.done) >= MAX_FILES:
            raise self._refused("S043", f"more than {MAX_FILES} files in one recipe", said, "extend fewer files")
        try:
            source = Source(path, read_utf8(path) if text is None else text, label)
        except RecipeError as error:
            if said is None or error.findings[0].span is not None:
                raise
            wrong = error.findings[0]
            message = f"{visible(path)}: {wrong.message}"
            raise RecipeError([Finding("S041", message, said, wrong.suggestion, wrong.help)]) from None
        if said is not None:
            self.through[source] = said
        try:
            tree = read_text(source)
        except RecipeError as error:
            raise RecipeError([_with_way(finding, self.through) for finding in error.findings]) from None
        self.values += tree.size
        if self.values > MAX_VALUES:
            message = f"more than {MAX_VALUES:,} values with all the files it extends"
            raise self._refused("S043", message, said, "extend fewer files")
        if not isinstance(tree, Mapping):
            if said is not None:
                message = f"{visible(path)} is not a mapping of keys and values"
                raise self._refused("S041", message, said, "a file to extend holds keys of a recipe")
            return tree
        self.open[real] = path
        for parent in self._parents(tree):
            beside = os.path.join(os.path.dirname(path), str(parent.value))  # noqa: PTH118, PTH120  # lexical, as typed
            below = os.path.join(os.path.dirname(source.label), str(parent.value))  # noqa: PTH118, PTH120
            short = str(parent.value).rsplit("/", 1)[-1] if os.path.isabs(str(parent.value)) else below  # noqa: PTH117
            if os.path.realpath(beside) not in self.done:
                self.file(os.path.normpath(beside), visible(os.path.normpath(short)), parent.span)
        del self.open[real]
        self.done.add(real)
        self.layers.append(tree)
        return tree

    def _refused(self, code: str, message: str, said: Span | None, advice: str) -> RecipeError:
        return RecipeError([_with_way(Finding(code, message, said, help=advice), self.through)])

    def _parents(self, tree: Mapping) -> Iterator[Scalar]:
        said = tree.entries.get("extends")
        for node in said.nodes if isinstance(said, Items) else [said] if said is not None else []:
            if isinstance(node, Scalar) and isinstance(node.value, str) and node.value and "\0" not in node.value:
                yield node
            else:
                advice = "write `extends: base.yaml`, or a list of files; paths start at the folder of this file"
                span = node.span if isinstance(node, Scalar) and node.text else tree.keys["extends"]
                self.findings.append(Finding("S040", "extends names files", span, help=advice))


def _laid(
    below: Mapping | None, above: Mapping, findings: list[Finding], *, first: bool = False, path: Path = ()
) -> Mapping:
    """Lay a mapping over another: mappings key by key, `null` deletes, `key+` adds to a list, all else replaces.

    In the `first` layer there is nothing to delete: null says nothing there, as in any recipe.
    """
    entries = dict(below.entries) if below is not None else {}
    keys = dict(below.keys) if below is not None else {}
    for key, node in above.entries.items():
        here = (*path, key)
        if key.endswith("+") and len(key) > 1:
            _add(entries, keys, key, node, above, findings, path)
        elif isinstance(node, Mapping):
            old = entries.get(key)
            entries[key] = _laid(old if isinstance(old, Mapping) else None, node, findings, first=first, path=here)
            keys[key] = above.keys[key]
        elif isinstance(node, Scalar) and node.value is None and not first:
            if key not in entries:
                findings.append(_deletes_nothing(here, above.keys[key], entries))
                continue
            del entries[key], keys[key]
        else:
            entries[key], keys[key] = node, above.keys[key]
    return Mapping(entries, keys, above.span)


def _deletes_nothing(path: Path, span: Span, names: Iterable[str]) -> Finding:
    from recipec.suggest import nearest

    message = f"{dotted(path)} is deleted here, but no earlier file sets it"
    return Finding(
        "S044", message, span, nearest(str(path[-1]), names), "null deletes an earlier value; remove this key"
    )


def _add(
    entries: dict[str, Node],
    keys: dict[str, Span],
    key: str,
    node: Node,
    above: Mapping,
    findings: list[Finding],
    path: Path,
) -> None:
    word, span = key[:-1], above.keys[key]
    old, name = entries.get(word), dotted((*path, word))
    if word in above.entries:
        advice = f"`{word}` replaces the list, `{word}+` adds to it; keep one of them"
        findings.append(Finding("S045", f"both {name} and {name}+ are written here", span, help=advice))
    elif not isinstance(node, Items):
        findings.append(
            Finding("S045", f"{name}+ adds to a list, so it takes a list", span, help=f"write {word}+: […]")
        )
    elif not isinstance(old, Items):
        from recipec.suggest import nearest

        what = "is not a list" if old is not None else "is not set by an earlier file"
        lists = [known for known, inner in entries.items() if isinstance(inner, Items)]
        close = f"{found}+" if (found := nearest(word, lists)) else None
        advice = f"write `{word}:` to set it here"
        findings.append(Finding("S045", f"{name}+ adds to nothing: {name} {what}", span, close, advice))
    else:
        entries[word], keys[word] = Items([*old.nodes, *node.nodes], node.span), span


def _profiles(layers: Iterable[Mapping], findings: list[Finding]) -> dict[str, list[Mapping]]:
    """Return what each profile merges over the recipe: the mappings of that name, in the order of the files."""
    known: dict[str, list[Mapping]] = {}
    for layer in layers:
        said = layer.entries.get("profiles")
        if said is None or (isinstance(said, Scalar) and said.value is None):
            continue
        if not isinstance(said, Mapping):
            advice = "write `profiles: {debug: {train: {steps: 10}}}`"
            findings.append(Finding("S046", "profiles maps names to words of the recipe", layer.keys["profiles"], help=advice))  # fmt: skip
            continue
        for name, node in said.entries.items():
            if not isinstance(node, Mapping):
                advice = f"write `{name}: {{train: {{steps: 10}}}}`"
                findings.append(Finding("S046", f"the profile {name} is not a mapping of recipe keys", said.keys[name], help=advice))  # fmt: skip
                continue
            for word in ("recipe", "extends", "profiles"):
                if word in node.entries:
                    message = f"a profile cannot hold `{word}`"
                    findings.append(Finding("S046", message, node.keys[word], help="write it at the top of the file"))
            known.setdefault(name, []).append(node)
    return known


def _chosen(flat: Mapping, profile: Iterable[Mapping], findings: list[Finding]) -> Mapping:
    for layer in profile:
        laid = _laid(flat, without_words(layer), findings)
        flat = Mapping(laid.entries, laid.keys, flat.span)
    return flat


def _unknown_profiles(chosen: Iterable[str], known: Iterable[str]) -> Iterator[Finding]:
    from recipec.suggest import nearest

    names = list(known)
    for name in dict.fromkeys(chosen):
        if name not in names:
            there = f"profiles of this recipe: {', '.join(names) or 'none'}"
            span = _whole("--profile", name)
            yield Finding("S046", f'the recipe has no profile "{visible(name)}"', span, nearest(name, names), there)


def _whole(option: str, text: str) -> Span:
    return Span(Source(option, text, option), 1, 1, 1, max(2, len(text) + 1))


def read_setting(setting: str, option: str = "--set") -> tuple[Path, Node]:
    """Return the path and the located value of `a.b=c`, which the person wrote behind `option`. Raises RecipeError."""
    path_text, equals, _ = setting.partition("=")
    whole = _whole(option, setting)
    try:
        path = split_path(path_text)
        if not equals:
            raise ValueError
    except ValueError:
        example = f"write {option} train.epochs=3" if option.startswith("--") else "write train.epochs=3"
        raise RecipeError([Finding("S030", "expected a path and a value", whole, help=example)]) from None
    return path, read_text(whole.source, first_column=len(path_text) + 2)


def set_value(tree: Node, setting: str, option: str = "--set") -> Node:
    """Lay one `a.b=c` of the command line over a tree: null deletes, `a.b+=[c]` adds to a list. Raises RecipeError."""
    path, value = read_setting(setting, option)
    path_text, _, _ = setting.partition("=")
    whole = value.span._replace(line=1, column=1, end_line=1, end_column=max(2, len(setting) + 1))
    if path[0] in ("extends", "profiles"):
        advice = "write it in the file; --profile NAME chooses a profile"
        raise RecipeError([Finding("S031", f"{path[0]} cannot be set from outside", whole, help=advice)])
    key = value.span._replace(line=1, column=1, end_line=1, end_column=len(path_text) + 1)
    return laid_value(tree, path_text, value, key, whole)


def laid_value(tree: Node, path_text: str, value: Node, key: Span, whole: Span) -> Node:
    """Lay a value over a tree at a dotted path: null deletes, `a.b+` adds to a list, `stages.dpo` is a stage by its name.

    `key` is where the path is written, `whole` where both are. Raises RecipeError.
    """
    path = by_name(tree, split_path(path_text))
    last, parent = path[-1], find(tree, path[:-1])
    findings: list[Finding] = []
    if isinstance(last, str) and last.endswith("+") and len(last) > 1:
        around = parent if isinstance(parent, Mapping) else Mapping({}, {}, key)
        layer = Mapping({last: value}, {last: key}, key)
        value = _laid(around, layer, findings, path=path[:-1]).entries.get(last[:-1], value)
        path = (*path[:-1], last[:-1])
    elif isinstance(value, Scalar) and value.value is None and find(tree, path) is None:
        findings.append(_deletes_nothing(path, key, parent.entries if isinstance(parent, Mapping) else ()))
    if findings:
        raise RecipeError(findings)
    try:
        if isinstance(value, Scalar) and value.value is None:
            return _deleted(tree, path)
        return with_value(tree, path, value, key)
    except LookupError as step:
        message = f"the recipe has no place for {path_text}"
        raise RecipeError([Finding("S031", message, whole, help=f"there is nothing at the step {step}")]) from None


def _deleted(tree: Node, path: Path) -> Node:
    """Return a copy of a tree without what stands at a path."""
    step, rest = path[0], path[1:]
    if isinstance(tree, Mapping):
        name = str(step)
        entries = {key: node for key, node in tree.entries.items() if rest or key != name}
        if rest:
            entries[name] = _deleted(entries[name], rest)
        return Mapping(entries, {key: tree.keys[key] for key in entries}, tree.span)
    assert isinstance(tree, Items)
    index = int(step)
    inner = [_deleted(tree.nodes[index], rest)] if rest else []
    return Items([*tree.nodes[:index], *inner, *tree.nodes[index + 1 :]], tree.span)


def _named(node: Node) -> list[str]:
    value = node.value if isinstance(node, Scalar) else None
    return _VARIABLE.findall(value) if isinstance(value, str) and "${var:" in value else []


def _defined(tree: Mapping, settings: Sequence[str], findings: list[Finding]) -> tuple[Mapping, dict[str, Scalar]]:
    """Return a tree without `variables`, and those, with what the command line says of them."""
    said = tree.entries.get("variables")
    entries = {key: node for key, node in tree.entries.items() if key != "variables"}
    rest = Mapping(entries, {key: tree.keys[key] for key in entries}, tree.span)
    known: dict[str, Scalar] = {}
    if not isinstance(said, Mapping):
        if said is not None and getattr(said, "value", 0) is not None:
            advice = "write `variables: {size: 7b}`"
            findings.append(Finding("S047", "variables maps names to values", tree.keys["variables"], help=advice))
        said = Mapping({}, {}, tree.span)
    for name, node in said.entries.items():
        if not isinstance(node, Scalar) or node.value is None or _named(node):
            message = (
                f"the variable {name} is not a single value" if not _named(node) else "a variable cannot name another"
            )
            advice = "write text, a number, true or false"
            place = node.span if isinstance(node, Scalar) else said.keys[name]
            findings.append(Finding("S047", message, place, help=advice))
        else:
            known[name] = node
    for setting in settings:
        name, equals, text = setting.partition("=")
        whole = _whole("--var", setting)
        if not equals:
            findings.append(Finding("S030", "expected a name and a value", whole, help="write --var size=13b"))
        elif name not in known:
            findings.append(_undefined(name, whole._replace(end_column=max(2, len(name) + 1)), known))
        else:
            value = read_text(whole.source, first_column=len(name) + 2)
            if isinstance(value, Scalar) and value.value is not None and "${" not in text:
                known[name] = value
            else:
                advice = "write text, a number, true or false"
                findings.append(Finding("S047", f"the variable {name} is not a single value", whole, help=advice))
    return rest, known


def _unused(defined: dict[str, Scalar], trees: Iterable[Mapping]) -> Iterator[Finding]:
    if not defined:
        return
    used = {name for tree in trees for _, node in leaves(tree) for name in _named(node)}
    for name, node in defined.items():
        if name not in used:
            advice = f"use it as ${{var:{name}}}, or drop it"
            yield Finding("S048", f'nothing uses the variable "{name}"', node.span, help=advice)


def _undefined(name: str, span: Span, known: Iterable[str]) -> Finding:
    from recipec.suggest import nearest

    names = list(known)
    there = f"variables of this recipe: {', '.join(names) or 'none'}"
    return Finding("S047", f'the recipe has no variable "{visible(name)}"', span, nearest(name, names), there)


def _with_variables(
    tree: Mapping, known: dict[str, Scalar], notes: dict[Span, str], findings: list[Finding]
) -> Mapping:
    """Return a tree with every `${var:NAME}` replaced; a value that is nothing else takes the variable's type."""
    made: dict[int, Node] = {}  # what an alias stands for is made once

    def walk(node: Node) -> Node:
        if isinstance(node, Scalar):
            return _filled(node, known, notes, findings) if _named(node) else node
        if id(node) not in made:
            if isinstance(node, Items):
                nodes = [walk(inner) for inner in node.nodes]
                made[id(node)] = node if all(map(is_, nodes, node.nodes)) else Items(nodes, node.span)
            else:
                for key in node.entries:
                    if "${var:" in key:
                        advice = "write the key out; variables can only be used in values"
                        findings.append(Finding("S047", "a key cannot hold a variable", node.keys[key], help=advice))
                entries = {key: walk(inner) for key, inner in node.entries.items()}
                same = all(map(is_, entries.values(), node.entries.values()))
                made[id(node)] = node if same else Mapping(entries, node.keys, node.span)
        return made[id(node)]

    changed = walk(tree)
    assert isinstance(changed, Mapping)
    return changed


def _filled(node: Scalar, known: dict[str, Scalar], notes: dict[Span, str], findings: list[Finding]) -> Scalar:
    text = str(node.value)
    names = _named(node)
    unknown = [name for name in names if name not in known]
    if unknown:
        findings += [_undefined(name, node.span, known) for name in dict.fromkeys(unknown)]
        return node
    length = len(text) + sum(len(known[name].text) for name in names)
    if length > MAX_TEXT:
        message = f"variables make this text longer than {MAX_TEXT:,} characters"
        findings.append(Finding("S047", message, node.span, help="use fewer of them"))
        return node
    notes[node.span] = ", ".join(f"{name} by {_place(known[name])}" for name in dict.fromkeys(names))
    if _VARIABLE.fullmatch(text):
        whole = known[names[0]]
        return Scalar(whole.value, node.span, whole.text)
    filled = _VARIABLE.sub(lambda found: known[found[1]].text, text)
    return Scalar(filled, node.span, filled)


def _place(node: Scalar) -> str:
    option = node.span.source.label
    return f"{option} {visible(node.span.source.text)}" if option.startswith("--") else node.span.label()
