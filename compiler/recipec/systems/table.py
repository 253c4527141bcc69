"""How a system's files are written down: tables of rows from plan paths to a tool's keys, and checks beside them.

A row says which plan paths it reads, and is given their values and nothing else; so what is declared is what is used.
Most rows are data of a few kinds, which `read_back` reads in the other direction: a tool's file to plan values. What a
system cannot do, or does another way, is a check of its own (`refuses`, `differs`), never a row of some other key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, overload

from msgspec.structs import astuple

from recipec.facts import is_between
from recipec.plan import Record, fields
from recipec.source import is_list, is_mapping, is_tuple
from recipec.systems.check import Limitation, Of1, Of2, Of3, Of4, OfAny, Only, Unsupported, Values, weighed


class Stand:
    """Stands for what is no value: `OMIT` leaves a key out, `NULL` writes a null where that means something else."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


OMIT, NULL = Stand("OMIT"), Stand("NULL")
_MAY_BE_SECTIONS: tuple[type[Any], ...] = (Record, tuple)  # nearly no value is of them, so that one question is enough


def flattened(stage: Any) -> dict[str, Any]:
    """Return the value at every plan path below a stage: of each section, each item of a tuple of records, each leaf.

    With `*` for an item, a path has the values of all items.
    """
    found: dict[str, Any] = {}
    _flatten(stage, "", found)
    return found


def _flatten(record: Any, prefix: str, found: dict[str, Any]) -> None:
    for name, value in zip(fields(record), astuple(record), strict=True):
        path = prefix + name
        found[path] = value
        if not isinstance(value, _MAY_BE_SECTIONS):
            continue
        if isinstance(value, Record):
            _flatten(value, path + ".", found)
        elif is_tuple(value) and value and isinstance(value[0], Record):
            for index, item in enumerate(value):
                found[f"{path}.{index}"] = item
                _flatten(item, f"{path}.{index}.", found)
            for field in fields(value[0]):
                found[f"{path}.*.{field}"] = tuple(getattr(item, field) for item in value)


class Row(Record, frozen=True):
    """One key of a tool, or a few that one plan value decides together.

    `say` makes their values (one; with several keys, as many) of the values at `paths`; OMIT leaves a key out. A path
    has `*` for every item of a tuple of records: its value is a tuple, one for each (None where there is none). `back`,
    which rows of data have, makes plan values by path of the tool's values (OMIT for a key that is not there). The row
    is there only where all of `only` hold, for releases from `since` on and before `until`; `why` is for the reader.
    Its keys stand in the mapping at the keys `inside`, each within the one before it; at the top where there are none.
    `adds`: it is a list, to which raw values are added. `yields`: a raw value may take its place, whatever decides that it
    is there.
    """

    keys: tuple[str, ...]
    paths: tuple[str, ...]
    say: Callable[..., Any]
    back: Callable[..., dict[str, Any]] | None = None
    only: tuple[Only, ...] = ()
    why: str = ""
    since: str = ""
    until: str = ""
    inside: tuple[str, ...] = ()
    adds: bool = False
    yields: bool = False

    @property
    def key(self) -> str:
        """The first key."""
        return self.keys[0]

    def at(self, *, since: str = "", until: str = "") -> Self:
        """Return the row for these releases only."""
        return self.replaced(since=since, until=until)

    def when(self, path: str, *values: Any) -> Self:
        """Return the row for stages whose value at `path` is one of `values`; of none given: is there and not empty."""
        return self.replaced(only=(*self.only, Only(path, frozenset(values) if values else None)))

    def unless(self, path: str, *values: Any) -> Self:
        """Return the row for stages whose value at `path` is none of `values`; of none given: is absent or empty."""
        return self.replaced(only=(*self.only, Only(path, frozenset(values) if values else None, negate=True)))

    def saying(self, say: Callable[[Any], Any]) -> Self:
        """Return the row of one path that makes something else of its value; what it reads back stays."""
        return self.replaced(say=say)

    def called(self, *keys: str) -> Self:
        """Return the row with other keys: what another tool calls the same."""
        return self.replaced(keys=keys)

    def grouped(self, group: str) -> Self:
        """Return the row of a keyword argument in a call: its keys below `group`."""
        if self.inside:
            return self.replaced(inside=(f"{group}.{self.inside[0]}", *self.inside[1:]))
        return self.replaced(keys=tuple(f"{group}.{key}" for key in self.keys))

    def because(self, why: str) -> Self:
        """Return the row with a remark for the reader."""
        return self.replaced(why=why)

    def has(self, release: str) -> bool:
        """Return whether a release has this key."""
        return is_between(release, self.since, self.until)


def _as_list(value: Any) -> Any:
    return OMIT if value is None else list(value) if is_tuple(value) else value


def _as_tuple(value: Any) -> Any:
    return tuple(value) if is_list(value) else value


def _listing(*values: Any) -> list[Any]:
    return list(values)


def _says_nothing(_value: Any) -> dict[str, Any]:
    return {}


# Rows of data: each reads both ways.


def same(key: str, path: str, why: str = "") -> Row:
    """The key holds the plan's value as it is; None leaves it out."""
    return made(key, _as_list, path, back=lambda value: {} if value is OMIT else {path: _as_tuple(value)}, why=why)


def nonzero(key: str, path: str, why: str = "") -> Row:
    """The key holds the plan's value; None, 0, False and what is empty leave it out."""
    return same(key, path, why).saying(lambda value: _as_list(value) if value else OMIT)


def flag(key: str, path: str, why: str = "") -> Row:
    """The key is true where the plan's value is; else it is left out."""

    def back(value: Any) -> dict[str, Any]:
        return {} if value is OMIT else {path: bool(value)}

    return made(key, lambda value: True if value else OMIT, path, back=back, why=why)


def number(key: str, path: str, why: str = "") -> Row:
    """The key holds the plan's value where that is a number; a word in its place (`all`, `task`) leaves it out."""
    return same(key, path, why).saying(lambda value: value if isinstance(value, int | float) else OMIT)


def present(key: str, path: str, value: Any = True, why: str = "") -> Row:
    """The key holds `value` where the plan has something at `path` (a section, a name); else it is left out."""
    return made(key, lambda there: OMIT if there is None else value, path, back=_says_nothing, why=why)


def constant(key: str, value: Any, why: str = "") -> Row:
    """The key always holds this value: of the plan it says nothing."""
    return Row((key,), (), lambda: value, _says_nothing, why=why)


def named(key: str, path: str, names: Mapping[Any, Any], why: str = "") -> Row:
    """The tool has its own names for the plan's values; a value without a name cannot be expressed (T001)."""

    def say(value: Any) -> Any:
        if value is None:
            return OMIT
        if value not in names:
            known = ", ".join(str(name) for name in names)
            raise Unsupported(path, f"{value} is not supported by this tool", f"supported: {known}")
        return names[value]

    return Row((key,), (path,), say, _inverse(path, names), why=why)


def choice(key: str, path: str, names: Mapping[Any, Any], other: Any = OMIT, why: str = "") -> Row:
    """The key holds a value of the tool's for some of the plan's values, and `other` for all the rest."""
    return made(key, lambda value: names.get(value, other), path, back=_inverse(path, names, other), why=why)


def _inverse(path: str, names: Mapping[Any, Any], other: Any = OMIT) -> Callable[[Any], dict[str, Any]]:
    """Return how names are read back: a name that several values share, or that `other` is too, says nothing."""
    every = list(names.values())
    backward = {_hashable(name): value for value, name in names.items() if every.count(name) == 1 and name is not OMIT}
    if other is not OMIT:
        backward.pop(_hashable(other), None)
    return lambda value: {path: backward[_hashable(value)]} if _hashable(value) in backward else {}


def _hashable(value: Any) -> Any:
    return tuple(value) if is_list(value) else str(value) if is_mapping(value) else value


def renamed(key: str, path: str, names: Mapping[Any, Any], why: str = "") -> Row:
    """The key holds the plan's value as it is, but for those that the tool has a word of its own for (or OMIT)."""
    backward = _inverse(path, names)

    def back(value: Any) -> dict[str, Any]:
        return {} if value is OMIT else backward(value) or {path: _as_tuple(value)}

    return made(key, lambda value: _as_list(names.get(value, value)), path, back=back, why=why)


def whole(key: str, path: str, message: str, why: str = "") -> Row:
    """The tool takes whole numbers only; a fraction cannot be expressed, as `message` says."""

    def say(value: float | None) -> Any:
        if value is None:
            return OMIT
        if value != int(value):
            raise Unsupported(path, message, "round it")
        return int(value)

    return made(key, say, path, back=lambda value: {} if value is OMIT else {path: float(value)}, why=why)


def joined(key: str, path: str, names: Mapping[str, str] | None = None, separator: str = ",", why: str = "") -> Row:
    """A list as one text; `names` are the tool's own words for a list of a single word (`all` for all-linear)."""
    own = dict(names or {})
    words = {name: word for word, name in own.items()}

    def say(value: tuple[str, ...] | None) -> Any:
        if not value:
            return OMIT
        return own[value[0]] if len(value) == 1 and value[0] in own else separator.join(value)

    def back(value: Any) -> dict[str, Any]:
        if value is OMIT:
            return {}
        return {path: (words[value],) if value in words else tuple(str(value).split(separator))}

    return Row((key,), (path,), say, back, why=why)


def listed(key: str, path: str, names: Mapping[str, Any] | None = None, why: str = "") -> Row:
    """A list as a list; `names` are the tool's own values for a list of a single word, OMIT to leave it out."""
    own = dict(names or {})
    words = {_hashable(name): word for word, name in own.items() if name is not OMIT}

    def say(value: tuple[str, ...] | None) -> Any:
        if not value:
            return OMIT
        return own[value[0]] if len(value) == 1 and value[0] in own else list(value)

    def back(value: Any) -> dict[str, Any]:
        if value is OMIT:
            return {}
        if is_list(value):
            return {path: tuple(value)}
        return {path: (words[_hashable(value)],)} if _hashable(value) in words else {}

    return Row((key,), (path,), say, back, why=why)


def per_unit(strategy: str, steps: str, path: str, why: str = "") -> Row:
    """How often: `strategy` is steps, epoch or no, `steps` the number of them, or below 1 a fraction of all."""

    def say(every: Any) -> Any:
        return ("steps", every) if isinstance(every, int | float) else ({"epoch": "epoch", "never": "no"}[every], OMIT)

    def back(unit: Any, number: Any) -> dict[str, Any]:
        if unit == "steps" and number is not OMIT:
            return {path: number}
        return {path: {"epoch": "epoch", "no": "never"}[unit]} if unit in ("epoch", "no") else {}

    return Row((strategy, steps), (path,), say, back, why=why)


def by_unit(keys: Mapping[str, str], unit: str, amount: str, why: str = "") -> Row:
    """An amount under the key of its unit: `keys` map each unit to its key."""
    units = tuple(keys)

    def say(chosen: str, number: Any) -> Any:
        return tuple(number if one == chosen else OMIT for one in units)

    def back(*values: Any) -> dict[str, Any]:
        there = [(one, value) for one, value in zip(units, values, strict=True) if value is not OMIT]
        return {unit: there[0][0], amount: there[0][1]} if len(there) == 1 else {}

    return Row(tuple(keys.values()), (unit, amount), say, back, why=why)


def share_or_steps(share: str, steps: str, path: str, why: str = "") -> Row:
    """A length that is a share of all steps (a fraction) or a number of steps, each under its own key."""

    def say(value: float) -> Any:
        return (value, OMIT) if isinstance(value, float) else (OMIT, value)

    def back(fraction: Any, number: Any) -> dict[str, Any]:
        given = number if fraction is OMIT else float(fraction)
        return {} if given is OMIT else {path: given}

    return Row((share, steps), (path,), say, back, why=why)


def spread(path: str, keys: Mapping[str, str], why: str = "") -> Row:
    """Two or more words of a mapping, each under a key of its own; `keys` map the words to them."""

    def say(given: Mapping[str, Any] | None) -> Any:
        return tuple((given or {}).get(word, OMIT) for word in keys)

    def back(*values: Any) -> dict[str, Any]:
        there = {word: value for word, value in zip(keys, values, strict=True) if value is not OMIT}
        return {path: there} if there else {}

    return Row(tuple(keys.values()), (path,), say, back, why=why)


def gathered(key: str, *paths: str, why: str = "") -> Row:
    """The key holds a list with the plan's value at each of the paths."""

    def back(value: Any) -> dict[str, Any]:
        return dict(zip(paths, value, strict=True)) if is_list(value) and len(value) == len(paths) else {}

    return made(key, _listing, *paths, back=back, why=why)


def below(key: str, path: str, name: str, why: str = "") -> Row:
    """The key holds the folder of this name in the folder that the plan names."""

    def back(value: Any) -> dict[str, Any]:
        text = str(value)
        return {path: text.removesuffix(f"/{name}")} if text.endswith(f"/{name}") else {}

    return made(key, lambda folder: f"{folder}/{name}", path, back=back, why=why)


def within(key: str, *rows: Row) -> tuple[Row, ...]:
    """Return rows whose keys stand in the mapping that `key` holds; where none of them says anything, `key` is left out."""
    return tuple(row.replaced(inside=(key, *row.inside)) for row in rows)


def where(path: str, *values: Any, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return rows for stages whose value at `path` is one of `values`; of none given: is there and not empty."""
    return tuple(row.when(path, *values) for row in rows)


# Rows of code.


Back = Callable[[Any], dict[str, Any]] | None


@overload
def made(key: str, make: Of1, a: str, /, *, back: Back = ..., why: str = ...) -> Row: ...
@overload
def made(key: str, make: Of2, a: str, b: str, /, *, back: Back = ..., why: str = ...) -> Row: ...
@overload
def made(key: str, make: Of3, a: str, b: str, c: str, /, *, back: Back = ..., why: str = ...) -> Row: ...
@overload
def made(key: str, make: Of4, a: str, b: str, c: str, d: str, /, *, back: Back = ..., why: str = ...) -> Row: ...
@overload
def made(key: str, make: OfAny, /, *paths: str, back: Back = ..., why: str = ...) -> Row: ...
def made(key: str, make: Callable[..., Any], /, *paths: str, back: Back = None, why: str = "") -> Row:
    """The key is computed of the values at `paths`; OMIT leaves it out. Without `back` it does not read back."""
    return Row((key,), paths, make, back, why=why)


class Entry(Record, frozen=True):
    """An emitted top-level key: its value, the plan paths that were read for it, and why.

    `fixed` are the keys in a value that is a mapping which hold the same whatever the plan says; to a list that `adds`, raw
    values are added.
    """

    value: Any
    reads: tuple[str, ...]
    why: str = ""
    fixed: frozenset[str] = frozenset()
    adds: bool = False


class Filled(Record, frozen=True):
    """A table applied to a stage: what is emitted, every plan path that acted, and what cannot be expressed."""

    entries: dict[str, Entry]
    used: set[str]
    refusals: list[Limitation]


def fill(rows: Iterable[Row], values: Values, release: str) -> Filled:
    """Apply a table to the flattened values of a stage's body. Raises LookupError where two rows emit one key."""
    entries: dict[str, Entry] = {}
    nested: dict[str, list[str]] = {}  # what was read for each key that holds a mapping
    fixed: dict[str, set[str]] = {}  # the keys in it that read nothing
    used: set[str] = set()
    refusals: list[Limitation] = []
    get = values.get
    in_force: dict[tuple[Only, ...], bool] = {(): True}  # conditions that many rows share are asked once
    for row in rows:
        if (row.since or row.until) and not row.has(release):
            continue
        holds = in_force.get(row.only)
        if holds is None:
            holds, asked = weighed(row.only, values)
            in_force[row.only] = holds
            used.update(asked)
        if not holds:
            continue
        reads = row.paths
        used.update(reads)
        try:
            value = row.say(*map(get, reads))
        except Unsupported as refused:
            refusals.append(Limitation(refused.path, refused.message, refused.advice))
            continue
        if row.only:
            reads = (*reads, *(one.path for one in row.only if one.path not in reads))
        for key, one in ((row.keys[0], value),) if len(row.keys) == 1 else zip(row.keys, value, strict=True):
            if one is None or one is OMIT:
                continue
            one = None if one is NULL else one
            if row.inside:
                top = entries.setdefault(row.inside[0], Entry({}, ()))
                _put(top.value, (*row.inside, key), one)
                nested.setdefault(row.inside[0], []).extend(_leaves(reads, values))
                if not row.paths and len(row.inside) == 1:
                    fixed.setdefault(row.inside[0], set()).add(key)
            elif key in entries:
                raise LookupError(f"two rows emit {key}")
            else:
                read = () if row.yields else tuple(_leaves(reads, values))
                entries[key] = Entry(one, read, row.why, adds=row.adds)
    for key, paths in nested.items():
        reads = tuple(dict.fromkeys((*entries[key].reads, *paths)))
        entries[key] = entries[key].replaced(reads=reads, fixed=frozenset(fixed.get(key, ())))
    for path in [path for path in used if "*" in path]:
        used.remove(path)
        used.update(_items(path, values))
    return Filled(entries, used, refusals)


def idle(rows: Iterable[Row], values: Values, release: str) -> dict[str, set[str]]:
    """Return the plan paths of rows that are not there, each with the plan paths whose values keep a row away."""
    found: dict[str, set[str]] = {}
    for row in rows:
        failed = {one.path for one in row.only if not one.holds(values)} if row.has(release) else ()
        for path in row.paths if failed else ():
            found.setdefault(path, set()).update(failed)
    return found


def _items(path: str, values: Values) -> list[str]:
    """Return the path of each item for one with `*`."""
    items = values.get(path.partition(".*")[0]) or ()
    return [path.replace("*", str(index)) for index in range(len(items))]


def _leaves(paths: Iterable[str], values: Values) -> list[str]:
    """Return the paths of single values, and instead of a section those of the values in it: they have origins."""
    found: list[str] = []
    for path in paths:
        if "*" in path:
            for one in _items(path, values):
                _add_leaves(one, values.get(one), found)
        elif isinstance(value := values.get(path), _MAY_BE_SECTIONS):
            _add_leaves(path, value, found)
        else:
            found.append(path)
    return found


def _add_leaves(path: str, value: Any, found: list[str]) -> None:
    if isinstance(value, Record):
        for name in fields(value):
            inner = getattr(value, name)
            if inner is not None:
                _add_leaves(f"{path}.{name}", inner, found)
    elif is_tuple(value) and value and isinstance(value[0], Record):
        for index, item in enumerate(value):
            _add_leaves(f"{path}.{index}", item, found)
    else:
        found.append(path)


def _put(mapping: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    """Put a value into the mapping at its keys but the first; those on the way are made where they are not there."""
    for key in keys[1:-1]:
        mapping = mapping.setdefault(key, {})
    if keys[-1] in mapping:
        raise LookupError(f"two rows emit {'.'.join(keys)}")
    mapping[keys[-1]] = value
