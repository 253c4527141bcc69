"""Small readings of a concrete syntax tree: its dotted names and its calls."""

from collections.abc import Iterator, Sequence

import libcst as cst


def dotted(node: cst.CSTNode | None) -> str:
    """Return `a.b.c` of a name with attributes; "" of anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr.value}" if base else ""
    return ""


def last(name: str) -> str:
    """Return the last part of a dotted name."""
    return name.rpartition(".")[2]


def calls(node: cst.CSTNode) -> Iterator[cst.Call]:
    """Yield every call in a node, outermost first."""
    if isinstance(node, cst.Call):
        yield node
    for child in node.children:
        yield from calls(child)


def names(node: cst.CSTNode) -> set[str]:
    """Return every plain name in a node; of `a.b` only `a`, of `f(x=y)` not `x`."""
    if isinstance(node, cst.Name):
        return {node.value}
    if isinstance(node, cst.Attribute):
        return names(node.value)
    if isinstance(node, cst.Arg):
        return names(node.value)
    return {name for child in node.children for name in names(child)}


def paths(node: cst.CSTNode) -> set[str]:
    """Return every name in a node with its attributes, as `self.model.head`; of `f(x=y)` not `x`."""
    if dotted(node):
        return {dotted(node)}
    if isinstance(node, cst.Attribute):
        return paths(node.value)
    if isinstance(node, cst.Arg):
        return paths(node.value)
    return {path for child in node.children for path in paths(child)}


def trained(arguments: Sequence[cst.CSTNode]) -> list[str]:
    """Return the names X of every `X.parameters()` and `X.named_parameters()` in an optimiser's arguments."""
    found = [
        dotted(call.func.value)
        for argument in arguments
        for call in calls(argument)
        if isinstance(call.func, cst.Attribute) and call.func.attr.value in ("parameters", "named_parameters")
    ]
    return list(dict.fromkeys(name for name in found if name))


def opens_to_write(call: cst.Call) -> bool:
    """Return whether a call is `open(…, "w")`, or the like of a path."""
    if dotted(call.func) != "open" and getattr(getattr(call.func, "attr", None), "value", "") != "open":
        return False
    modes = [a.value.value for a in call.args if isinstance(a.value, cst.SimpleString)]
    return any(mode.strip("\"'").strip("bt+") in ("w", "a", "x") for mode in modes)
