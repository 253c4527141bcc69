"""How a target is written down: a table from the plan to a tool's keys, and what reading it observes.

One-to-one rows (`same`, `named`) are data that serve both directions; `made` rows are functions of a stage.
What a row reads of the stage is recorded, which gives the provenance of each key, and finds plan values that
a target cannot express.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

from recipec.facts import version
from recipec.plan import TrainStage


class Omit:
    """Returned by a row that has nothing to say for this stage."""


OMIT = Omit()


class Unsupported(Exception):
    """The target cannot express the value at this plan path."""

    def __init__(self, path: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.path, self.message, self.advice = path, message, advice


class Reader:
    """A stage seen through a recorder: attributes read as usual, and each leaf that is read is noted."""

    __slots__ = ("_path", "_reads", "_value")

    def __init__(self, value: Any, path: str, reads: list[str]) -> None:
        self._value, self._path, self._reads = value, path, reads

    def __getattr__(self, name: str) -> Any:
        path = f"{self._path}.{name}" if self._path else name
        return self._see(getattr(self._value, name), path)

    def _see(self, value: Any, path: str) -> Any:
        if hasattr(value, "_fields"):
            return Reader(value, path, self._reads)
        if isinstance(value, tuple) and value and hasattr(value[0], "_fields"):
            return tuple(Reader(item, f"{path}.{index}", self._reads) for index, item in enumerate(value))
        self._reads.append(path)
        return value


class Row(NamedTuple):
    """One key of a tool. `path` and `names` for one-to-one rows, `make` for computed ones; `why` is for the reader.

    `since` and `until` name the first release that has the key, and the first that has it no longer.
    """

    key: str
    path: str | None = None
    names: Mapping[Any, Any] | None = None
    make: Callable[[Any], Any] | None = None
    why: str = ""
    since: str = ""
    until: str = ""

    def at(self, *, since: str = "", until: str = "") -> Self:
        """Return the row for these releases only."""
        return self._replace(since=since, until=until)

    def has(self, release: str) -> bool:
        """Return whether a release has this key."""
        after = not self.since or version(release) >= version(self.since)
        return after and (not self.until or version(release) < version(self.until))


def same(key: str, path: str) -> Row:
    """The tool's key holds the plan's value as it is; a None is left out."""
    return Row(key, path)


def named(key: str, path: str, names: Mapping[Any, Any]) -> Row:
    """The tool has its own names for the plan's values; a value without a name cannot be expressed."""
    return Row(key, path, names)


def made(key: str, make: Callable[[Any], Any], why: str = "") -> Row:
    """The tool's key is computed from the stage; OMIT leaves it out."""
    return Row(key, None, None, make, why)


class Refusal(NamedTuple):
    """What a target cannot express, or does another way: the plan path to blame, what, and what to do.

    `when_said`: it is told only to a person who wrote the value, since nobody else counts on it.
    """

    path: str
    message: str
    advice: str
    when_said: bool = False


class Sheet(NamedTuple):
    """One file to fill from a table. `contract` names the part of the tool's contract that judges it; in a `python`
    file, whose text is `template`, each group of keys (`GROUP.key`) is judged by the part of the group's name. In an
    `arguments` file, a script, `template` is the command that takes them."""

    file: str
    rows: tuple[Row, ...]
    tool: str
    release: str
    contract: str
    kind: Literal["yaml", "json", "python", "arguments"] = "yaml"
    template: str = ""


def _nothing(_stage: TrainStage) -> dict[str, str]:
    return {}


def _none(_stage: TrainStage) -> list[Refusal]:
    return []


class Trainer(NamedTuple):
    """A system that trains, as its module declares it in `TRAINER`. What its functions read of a stage is observed.

    `methods`, `adapters` and `strategies` are what it can do. `sheets` are its files, `commands` the lines of its
    `run.sh`, `variables` their environment, `files` go beside them as they are. `differences` are where its training
    is not what the plan says; they become warnings. `one_process` says why it starts only one process on a CPU,
    `lm_eval` whether its environment evaluates and merges too, and `holds` what that has of what is added to others.
    """

    name: str
    methods: frozenset[str]
    adapters: frozenset[str]
    strategies: frozenset[str]
    sheets: Callable[[TrainStage], list[Sheet]]
    commands: Callable[[TrainStage], list[str]]
    variables: Callable[[TrainStage], dict[str, str]] = _nothing
    files: Callable[[TrainStage], dict[str, str]] = _nothing
    differences: Callable[[TrainStage], list[Refusal]] = _none
    one_process: str = ""
    lm_eval: bool = False
    holds: frozenset[str] = frozenset()


class Entry(NamedTuple):
    """An emitted top-level key: its value, the plan paths that were read for it, and why."""

    value: Any
    reads: tuple[str, ...]
    why: str = ""


@dataclass
class Document:
    """One emitted file of a tool. `contract` names the tool, its release and the part of the contract that judges it."""

    file: str
    kind: str
    tool: str
    release: str
    contract: str
    entries: dict[str, Entry]
    template: str = ""
    raw: dict[str, Any] = field(default_factory=dict)  # overrides that were laid over the entries

    def key(self, word: str) -> str:
        """Return the key that a word of `overrides` means; in a Python file a plain word belongs to its main group."""
        return f"{self.contract}.{word}" if self.kind == "python" and "." not in word else word

    def word(self, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """Return the path below `overrides` at which someone wrote a key of the document: the reverse of `key`."""
        if self.kind != "python":
            return path
        own = path[:1] == (self.contract,) and path[1] in self.raw
        return path[1:] if own else (f"{path[0]}.{path[1]}", *path[2:])

    def values(self) -> dict[str, Any]:
        """Return the document as the tool will read it; that of a Python file by group."""
        if self.kind != "python":
            return {key: entry.value for key, entry in self.entries.items()}
        groups: dict[str, Any] = {}
        for key, entry in self.entries.items():
            group, _, name = key.partition(".")
            groups.setdefault(group, {})[name] = entry.value
        return groups


def fill(rows: Iterable[Row], stage: Any, release: str) -> tuple[dict[str, Entry], list[Refusal]]:
    """Apply a table to a stage. A later row of the same key wins over an omitted one, never over an emitted one."""
    entries: dict[str, Entry] = {}
    refusals: list[Refusal] = []
    for row in (row for row in rows if row.has(release)):
        reads: list[str] = []
        reader = Reader(stage, "", reads)
        try:
            value = _value(row, reader)
        except Unsupported as refused:
            refusals.append(Refusal(refused.path, refused.message, refused.advice))
            continue
        if value is None or value is OMIT:
            if reads:  # looked at, and rightly left out: that too is a use of the value
                entries.setdefault(f"\0{row.key}", Entry(OMIT, tuple(dict.fromkeys(reads))))
            continue
        assert row.key not in entries, f"two rows emit {row.key}"
        entries[row.key] = Entry(value, tuple(dict.fromkeys(reads)), row.why)
    return entries, refusals


def _value(row: Row, reader: Reader) -> Any:
    if row.make is not None:
        return row.make(reader)
    assert row.path is not None
    value: Any = reader
    for step in row.path.split("."):
        value = getattr(value, step) if value is not None else None
    if row.names is None or value is None:
        return list(value) if isinstance(value, tuple) else value
    if value not in row.names:
        known = ", ".join(str(name) for name in row.names)
        raise Unsupported(row.path, f"{value} is not among what this tool can do", f"it can do: {known}")
    return row.names[value]


def split_reads(entries: dict[str, Entry]) -> tuple[dict[str, Entry], set[str]]:
    """Separate what is emitted from what was only looked at; return both the entries and every path read."""
    seen = {path for entry in entries.values() for path in entry.reads}
    return {key: entry for key, entry in entries.items() if not key.startswith("\0")}, seen
