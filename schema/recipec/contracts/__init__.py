"""What each tool's files may hold, by tool and release; the data is extracted from the real packages by `scripts/contracts`.

A node says: `type` (names below), `choices` and `patterns` (the only values of the types they have; the only texts),
`ge gt le lt`, `keys` (a closed mapping), `values` (the other keys of an open one), `items`, `default`, `doc`,
`deprecated` (read, but on its way out), `removed` (refused, or read by nothing any more), `ref` (another document's node),
`when` (the first case that holds replaces `ref`: `key` of the `root`, of the value itself (`here`) or of the mapping it
stands in (`up`) is `in` a list), `needs` (dropped unless a list in the root names one of `any`), and `opens` (unknown keys
may be right once a list in the root names something not `known`: a plugin of the user). A contract with
`whole_floats` takes 5e8 for an integer.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Node = dict[str, Any]
DocumentPath = tuple[str | int, ...]

DATA = Path(__file__).parent / "data"
OWN_PLUGINS = (
    "recipe_plugins"  # the module of plugins that is emitted beside a configuration: they read no keys of their own
)
SHOWN = 8  # names that a message lists before it stops

_WORDS = {
    "str": "text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "map": "a mapping",
    "null": "null",
}
_PLAIN: dict[type, str] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    type(None): "null",
    dict: "map",
    list: "list",
}
_ANY: Node = {"type": ["any"]}


class Problem(NamedTuple):
    """One thing a tool would refuse or drop: where, whether the key or its value is wrong, and the nearest right name."""

    path: DocumentPath
    on: Literal["key", "value"]
    message: str
    suggestion: str | None = None


class Contract:
    """The documents that one release of a tool reads."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.tool: str = data["tool"]
        self.release: str = data["release"]
        self.source: str = data["source"]
        self._documents: dict[str, Node] = data["documents"]
        self._whole_floats: bool = data.get("whole_floats", False)

    @property
    def documents(self) -> tuple[str, ...]:
        """The names of the documents, sorted."""
        return tuple(sorted(self._documents))

    def check(self, document: str, value: object) -> list[Problem]:
        """Return what is wrong with a document, sorted by place. Raises LookupError for an unknown document."""
        walk = _Walk(self._documents, value, whole_floats=self._whole_floats)
        walk.judge(self._root(document), value, (), None)
        return sorted(walk.problems, key=_place)

    def deprecated(self, document: str, value: object) -> list[Problem]:
        """Return the keys in a document that still work but are on their way out, each with its successor if one is named."""
        walk = _Walk(self._documents, value, whole_floats=self._whole_floats)
        walk.judge(self._root(document), value, (), None)
        return sorted(walk.old, key=_place)

    def node(self, document: str, path: Iterable[str | int]) -> Node | None:
        """Return the node at a path (any integer stands for every list element), or None where the tool reads nothing."""
        found: Node | None = self._root(document)
        for step in path:
            found = _below(found, step)
            if found is None:
                return None
            if "ref" in found:
                found = self._documents[found["ref"]]
        return found

    def _root(self, document: str) -> Node:
        try:
            return self._documents[document]
        except KeyError:
            raise LookupError(
                f"{self.tool} {self.release} has no document {document!r}, only {', '.join(self.documents)}"
            ) from None


def releases(tool: str) -> list[str]:
    """Return the releases of a tool for which there is a contract, the oldest first."""
    found = [path.stem.removeprefix(f"{tool}-") for path in DATA.glob(f"{tool}-*.json")]
    return sorted(found, key=lambda release: [(part.isdigit(), part.zfill(8)) for part in release.split(".")])


class Tasks:
    """The names of tasks, groups and tags that one release of lm-eval knows, kept as the text that they were listed in."""

    def __init__(self, text: str) -> None:
        self._text = f"\n{text}"

    def __contains__(self, name: str) -> bool:
        return f"\n{name}\n" in self._text or f"\n{name}\t" in self._text

    def _said(self, name: str) -> list[str]:
        """Return what stands behind a name."""
        _, found, rest = self._text.partition(f"\n{name}\t")
        return rest.partition("\n")[0].split("\t") if found else []

    def runs_code(self, name: str) -> bool:
        """Return whether a task, or one of a group or tag, runs code that the model wrote."""
        return "code" in self._said(name)

    def most_examples(self, name: str) -> int | None:
        """Return how many worked examples a task, or every one of a group or tag, can be given; None where it is not known.

        0: it is always asked without any. Another number: it brings these itself, and fails where more are asked for.
        """
        said = [word.partition("=")[2] for word in self._said(name) if word.startswith("shots")]
        return int(said[0]) if said else None

    def names(self) -> list[str]:
        """Return every name, sorted."""
        return [line.partition("\t")[0] for line in self._text.splitlines() if line]


@cache
def tasks(release: str) -> Tasks:
    """Return the tasks of a release of lm-eval, read once. Raises LookupError where there is no list of it."""
    path = DATA / f"lm_eval-{release}.tasks"
    try:
        return Tasks(path.read_text(encoding="utf-8"))
    except OSError:
        raise LookupError(f"no list of the tasks of lm-eval {release}") from None


@cache
def load(tool: str, release: str) -> Contract:
    """Return a tool's contract, read once. Raises LookupError, naming the releases there are, if there is none."""
    path = DATA / f"{tool}-{release}.json"
    try:
        text = path.read_bytes()
    except OSError:
        known = releases(tool)
        told = f"there is {', '.join(known)}" if known else "and none of any other release"
        raise LookupError(f"no contract of {tool} {release}; {told}") from None
    return Contract(json.loads(text))


class _Walk:
    """One pass over a document, collecting problems."""

    def __init__(self, documents: dict[str, Node], root: object, *, whole_floats: bool) -> None:
        self.documents = documents
        self.whole_floats = whole_floats
        self.root: Mapping[object, object] = root if _is_mapping(root) else {}
        self.problems: list[Problem] = []
        self.old: list[Problem] = []

    def judge(self, node: Node, value: object, path: DocumentPath, up: Mapping[object, object] | None) -> None:
        """Check a value against its node."""
        if "ref" in node or "when" in node:
            node = self._chosen(node, value, up)
        types = node["type"]
        if "any" in types:
            return
        name = _PLAIN.get(type(value)) or kind(value)
        if (
            name == "float"
            and isinstance(value, float)
            and "float" not in types
            and self.whole_floats
            and value.is_integer()
        ):
            name = "int"
        if name not in types and not (name == "int" and "float" in types):
            self._wrong(path, f"expected {_expected(node)}, found {shown(value)}", _spelt(node, value))
        elif name == "map":
            self._mapping(node, cast("Mapping[object, object]", value), path)
        elif name == "list":
            value = cast("Sequence[object]", value)
            if (child := node.get("items")) is not None:
                for index, item in enumerate(value):
                    self.judge(child, item, (*path, index), up)
        elif ("choices" in node or "patterns" in node) and not _chosen(node, value, name):
            self._wrong(path, f"expected {_expected(node)}, found {shown(value)}", _spelt(node, value))
        elif isinstance(value, int | float) and name != "bool" and (limit := _outside(node, value)):
            self._wrong(path, f"expected {limit}, found {value!r}", None)

    def _mapping(self, node: Node, value: Mapping[object, object], path: DocumentPath) -> None:
        keys: dict[str, Node] = node.get("keys", {})
        rest: Node | None = node.get("values", None if "keys" in node else _ANY)
        if rest is None and "opens" in node and self._opened(node["opens"]):
            rest = _ANY
        for key, item in value.items():
            child = keys.get(key) if isinstance(key, str) else None
            where: DocumentPath = (*path, key if isinstance(key, str | int) else str(key))
            if child is None:
                if rest is None:
                    self._unknown(keys, key, where)
                else:
                    self.judge(rest, item, where, value)
                continue
            if "removed" in child:
                self.problems.append(Problem(where, "key", f'"{key}" is no longer read: {child["removed"]}'))
                continue
            if "deprecated" in child:
                note = child["deprecated"]
                self.old.append(Problem(where, "key", f'"{key}" is deprecated: {note}', _successor(note, keys, key)))
            if "needs" in child and not self._listed(child["needs"]):
                self._unmet(child["needs"], key, where)
            self.judge(child, item, where, value)

    def _chosen(self, node: Node, value: object, up: Mapping[object, object] | None) -> Node:
        here: Mapping[object, object] = value if _is_mapping(value) else {}
        for case in node.get("when", ()):
            at = {"root": self.root, "here": here, "up": up or {}}[case["at"]]
            if at.get(case["key"]) in case["in"]:
                return self.documents[case["ref"]]
        return self.documents[node["ref"]] if "ref" in node else node

    def _list(self, key: str) -> list[object]:
        found = self.root.get(key)
        return list(found) if _is_sequence(found) and not isinstance(found, str | bytes) else []

    def _opened(self, opens: Node) -> bool:
        named = [item for item in self._list(opens["key"]) if isinstance(item, str)]
        return any(item not in opens["known"] and not item.startswith(f"{OWN_PLUGINS}.") for item in named)

    def _listed(self, needs: Node) -> bool:
        return any(item in needs["any"] for item in self._list(needs["key"]))

    def _unmet(self, needs: Node, key: object, where: DocumentPath) -> None:
        self.problems.append(
            Problem(where, "key", f'"{key}" is dropped unless `{needs["key"]}` names {needs["any"][0]}')
        )

    def _unknown(self, keys: dict[str, Node], key: object, where: DocumentPath) -> None:
        from recipec.suggest import nearest  # only a mistake pays for it

        known = [name for name, child in keys.items() if "removed" not in child and "deprecated" not in child]
        message = f'unknown key "{key}"'
        if 0 < len(known) <= SHOWN:
            message += f"; there is {', '.join(sorted(known))}"
        self.problems.append(Problem(where, "key", message, nearest(str(key), known)))

    def _wrong(self, path: DocumentPath, message: str, suggestion: str | None) -> None:
        self.problems.append(Problem(path, "value", message, suggestion))


def _is_mapping(value: object) -> "TypeIs[Mapping[object, object]]":
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> "TypeIs[Sequence[object]]":
    return isinstance(value, Sequence)


def kind(value: object) -> str:
    """Return the contract's name of a value's type; of anything that no file can hold, the name of its class."""
    name = _PLAIN.get(type(value))
    if name is not None:
        return name
    if _is_mapping(value):
        return "map"
    if _is_sequence(value) and not isinstance(value, str | bytes):
        return "list"
    return next((word for base, word in _PLAIN.items() if isinstance(value, base)), type(value).__name__)


def shown(value: object) -> str:
    """Return a value as a message shows it: short, and on one line."""
    name = kind(value)
    if name in ("map", "list", "null"):
        return _WORDS[name]
    text = json.dumps(value, ensure_ascii=False) if name in _WORDS else name
    return text if len(text) <= 60 else text[:59] + "…"


def _below(node: Node | None, step: str | int) -> Node | None:
    if node is None:
        return None
    if isinstance(step, int):
        found: Node | None = node.get("items", node.get("values"))
        return found
    found = node.get("keys", {}).get(step)
    if found is None and ("values" in node or ("keys" not in node and "map" in node["type"])):
        found = node.get("values", _ANY)
    return found


def _chosen(node: Node, value: object, name: str) -> bool:
    choices: list[object] = node.get("choices", [])
    if name == "str" and value in choices:
        return True
    patterns: list[str] = node.get("patterns", []) if name == "str" else []
    limited = [choice for choice in choices if kind(choice) == name]
    if value in limited or not (limited or patterns):
        return True
    if not patterns:
        return False
    import re  # only an unusual value pays for it

    return any(re.fullmatch(pattern, str(value)) for pattern in patterns)


def _outside(node: Node, value: float) -> str | None:
    if "ge" in node and value < node["ge"]:
        return f"at least {node['ge']}"
    if "gt" in node and value <= node["gt"]:
        return f"more than {node['gt']}"
    if "le" in node and value > node["le"]:
        return f"at most {node['le']}"
    if "lt" in node and value >= node["lt"]:
        return f"less than {node['lt']}"
    return None


def _expected(node: Node) -> str:
    choices: list[object] = node.get("choices", [])
    limited = {kind(choice) for choice in choices}
    words = [
        word
        for name in node["type"]
        if name not in limited and not (name == "str" and "patterns" in node)
        for word in (("true", "false") if name == "bool" else (_WORDS[name],))
    ]
    names = [shown(choice) for choice in choices[:SHOWN]]
    if len(choices) > SHOWN:
        names.append(f"{len(choices) - SHOWN} more")
    parts = [*names, *words] or ["a text of another form"]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _spelt(node: Node, value: object) -> str | None:
    names = [choice for choice in node.get("choices", []) if isinstance(choice, str)]
    if not names or not isinstance(value, str):
        return None
    from recipec.suggest import nearest  # only a mistake pays for it

    return nearest(value, names)


def _successor(note: str, keys: Mapping[str, Node], old: object) -> str | None:
    """Return the one key beside a deprecated one that its note names, but not for a part of its value (`key={…}`)."""
    import re  # only an old key pays for it

    named = {word for word in re.findall(r"\b\w+\b(?!=)", note) if "_" in word and word in keys and word != old}
    return named.pop() if len(named) == 1 else None


def _place(problem: Problem) -> tuple[Any, ...]:
    steps = tuple((0, step, "") if isinstance(step, int) else (1, 0, step) for step in problem.path)
    return steps, problem.on, problem.message
