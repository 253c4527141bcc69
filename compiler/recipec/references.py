"""`${plan:…}` and `${file:…}` in the arguments of a user's own script: what they may name, and how values are written."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_REFERENCE = re.compile(r"\$\{([^}:]*):?([^}]*)\}")


class Reference(NamedTuple):
    """One `${kind:name}` and where it stands in its text."""

    kind: str
    name: str
    start: int
    end: int


def references(value: Any) -> list[Reference]:
    """Return the references in an argument's value; a value that is no text has none."""
    if not isinstance(value, str):
        return []
    return [Reference(m[1], m[2], m.start(), m.end()) for m in _REFERENCE.finditer(value)]


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every single value of a plan below `path`, by its dotted path."""
    if hasattr(value, "_fields"):
        for name in value._fields:
            yield from leaves(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}.{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    else:
        yield path, value


def text(value: Any) -> str:
    """Return a value as a command line holds it. Whole floats lose `.0`, so that an option of type int takes them."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
