"""`${plan:…}` and `${file:…}` in the arguments of a user's own script, `${env:…}` in the environment of a run.

What they may name, where they may stand, and how values are written. `${var:…}` is gone by then (`compose`).
"""

import re
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from typing import TypeAlias

from recipec.diagnostics import Finding
from recipec.plan import Record, fields
from recipec.source import Mapping, Scalar, dotted, find
from recipec.source import leaves as tree_leaves

# What a plan consists of, down to its single values.
PlanValue: TypeAlias = "str | int | float | bool | None | Record | tuple[PlanValue, ...] | AnyMapping[str, PlanValue]"

KINDS = ("env", "file", "plan", "var")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\$\{([^}:]*):?([^}]*)\}")
# What a shell would expand; names of its variables are upper case, and `$` in a password or a pattern is its own.
_SHELL = re.compile(r"(?<![\\$\w])\$(?:\{([A-Z_][A-Z0-9_]*)\}|([A-Z_][A-Z0-9_]*)\b)|^~(?=/)")
_FREE = frozenset(
    ["description", "pattern", "target_pattern", "special_tokens"]
)  # texts in which these mean themselves


class Reference(Record, frozen=True):
    """One `${kind:name}` and where it stands in its text."""

    kind: str
    name: str
    start: int
    end: int


def references(value: object) -> list[Reference]:
    """Return the references in an argument's value; a value that is no text has none."""
    if not isinstance(value, str):
        return []
    return [Reference(m[1], m[2], m.start(), m.end()) for m in _REFERENCE.finditer(value)]


def leaves(value: PlanValue, path: str) -> Iterator[tuple[str, PlanValue]]:
    """Yield every single value of a plan below `path`, by its dotted path."""
    if names := fields(value):
        for name in names:
            yield from leaves(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}.{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    else:
        yield path, value


def text(value: object) -> str:
    """Return a value as a command line holds it. Whole floats lose `.0`, so that an option of type int takes them."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def misplaced(tree: Mapping) -> list[Finding]:
    """Name references that stand where nothing would expand them: the tools take them as they are written.

    The arguments of a script are checked with what they ask for, by `decide.script`.
    """
    found: list[Finding] = []
    for path, node in tree_leaves(tree):
        if (
            not isinstance(node, Scalar)
            or not isinstance(node.value, str)
            or not ("$" in node.value or "~" in node.value)
        ):
            continue
        below = path[2:] if path[0] == "stages" else path
        if _FREE.isdisjoint(map(str, below)) and (told := _of_a_shell(node.value, below)):
            message, suggestion, advice = told
            found.append(Finding("S049", f"{dotted(path)}: {message}", node.span, suggestion, advice))
            continue
        if below[:2] == ("script", "arguments"):
            continue
        for reference in references(node.value):
            if told := _misplaced(reference, path, tree):
                message, suggestion, advice = told
                found.append(Finding("S049", f"{dotted(path)}: {message}", node.span, suggestion, advice))
    return found


def is_shell_variable(text: str) -> bool:
    """Return whether a text is one variable of a shell and nothing else: `$NAME` or `${NAME}`."""
    found = _SHELL.fullmatch(text)
    return found is not None and bool(found[1] or found[2])


def _of_a_shell(text: str, below: tuple[str | int, ...]) -> tuple[str, str | None, str] | None:
    """Return what to tell of a text that a shell would expand: every value is passed on as it is written."""
    found = _SHELL.search(text)
    environment = below[:2] == ("launch", "environment") and len(below) == 3
    if found is None:
        return None
    name = found[1] or found[2]
    message = f"{found[0]} is not expanded: no shell reads it"
    if environment:
        if name:
            return (
                message,
                _SHELL.sub(_as_reference, text),
                f"write ${{env:{name}}}, which is read where the run starts",
            )
        return message, "${env:HOME}" + text[1:], "write ${env:HOME}, or the path itself"
    return message, None, f"write the value itself, or ${{var:{name.lower()}}} with --var" if name else "write it out"


def _as_reference(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    return f"${{env:{name}}}" if name else found[0]


def _misplaced(reference: Reference, path: tuple[str | int, ...], tree: Mapping) -> tuple[str, str | None, str] | None:
    whole = f"${{{reference.kind}:{reference.name}}}"
    if reference.kind in ("plan", "file"):
        return f"{whole} is known in script.arguments only", None, "write the value itself"
    if reference.kind != "env":
        from recipec.suggest import nearest

        swapped = (kind for kind in KINDS if sorted(kind) == sorted(reference.kind))  # two letters of three in common
        close = (nearest(reference.kind, KINDS) or next(swapped, None)) if reference.kind.isalpha() else None
        known = "references are ${var:NAME}, and ${env:NAME} in launch.environment"
        return (f"{whole} is not a valid reference", f"${{{close}:{reference.name}}}", known) if close else None
    if path[:2] != ("launch", "environment") or len(path) != 3:
        where = "only a script can read the environment when it runs: nothing here would"
        advice = f"set {reference.name} where you run it, or write it in launch.environment"
        return f"{whole} would be taken as it is written", None, f"{where}; {advice}"
    if not _VARIABLE_NAME.fullmatch(reference.name):
        return f'"{reference.name}" is not a valid name of an environment variable', None, "write ${env:HF_TOKEN}"
    own = find(tree, (*path[:2], reference.name))
    if own is not None and (path[2] != reference.name or getattr(own, "value", None) != whole):
        return f"launch.environment itself sets {reference.name}", None, "write the value, or drop one of the two"
    return None
