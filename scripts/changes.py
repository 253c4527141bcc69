"""Small changes of behaviour that a file of Python can be given, each an edit of its text (`scripts/mutants.py`).

Not changed are what is said to people (docstrings, f-strings, text with blanks), what only a type checker reads, and
imports. Left out is, too, what would be no program: a name's first assignment dropped, a tuple too short to unpack.
"""

import ast
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

SWAPPED = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"), ast.And: ("and", "or"), ast.Or: ("or", "and"), ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"), ast.Mult: ("*", "//"), ast.FloorDiv: ("//", "*"), ast.Div: ("/", "*"),
}  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
ASSIGNED = (ast.Assign, ast.AnnAssign)
DROPPED = (*ASSIGNED, ast.AugAssign, ast.Expr, ast.Raise, ast.Continue, ast.Break, ast.Delete)
HOLDERS = (ast.Dict, ast.Subscript, ast.Compare, ast.MatchValue, ast.Tuple, ast.List, ast.Set)
TRUTHS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)  # what else a branch may ask has an operator to change
KEPT = (ast.Import, ast.ImportFrom, ast.Assert, ast.JoinedStr)  # an f-string is a message; asserts are for mypy
KEPT_FIELDS = frozenset(["annotation", "returns", "decorator_list", "bases", "type_params"])
KEPT_TEXT = re.compile(rb"__\w+__ =|log(ger|ging)?\.|if TYPE_CHECKING|(Literal|Callable|tuple|list|dict|type)\[")

Edit = tuple[str, int, int, str]  # a kind, and which bytes become what


class Change(NamedTuple):
    """Bytes `begin` to `end` of a file become `text`. `lines` are those that run it, None where an import does."""

    file: str
    kind: str
    begin: int
    end: int
    text: str
    function: str
    lines: range | None

    def made(self) -> bytes:
        """Return the changed source."""
        source = Path(self.file).read_bytes()
        return source[: self.begin] + self.text.encode() + source[self.end :]

    def is_program(self) -> bool:
        """Return whether Python takes the changed source."""
        try:
            compile(self.made(), self.file, "exec")
        except SyntaxError:
            return False
        return True

    def told(self) -> str:
        """Return the place, and the change in its line."""
        source = Path(self.file).read_bytes()
        before, old = source[: self.begin].decode(), " ".join(source[self.begin : self.end].decode().split())
        rest = source[self.end :].partition(b"\n")[0].decode()
        new = f"{{+{self.text}+}}" if self.text else ""
        line = " ".join(f"{before.rpartition(chr(10))[2]}[-{old[:100]}-]{new}{rest}".split())
        return f"{self.file}:{before.count(chr(10)) + 1} in {self.function}: {line}"


def changes(file: str) -> Iterator[Change]:
    """Yield every change of a file; some of them give no valid program."""
    source = Path(file).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def at(node: Any) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def visit(node: ast.AST, above: list[Any]) -> Iterator[Change]:
        placed = hasattr(node, "lineno")
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or isinstance(node, KEPT) or (placed and KEPT_TEXT.match(source[slice(*at(node))])):
            return
        inside = [outer for outer in above if isinstance(outer, (*FUNCTIONS, ast.ClassDef))]
        if placed:
            around: Any = next((outer for outer in [node, *reversed(above)] if isinstance(outer, ast.stmt)), node)
            around = node if hasattr(around, "body") or isinstance(around, ast.Match) else around
            called = bool(inside) and not isinstance(inside[-1], ast.ClassDef)
            lines = range(around.lineno, around.end_lineno + 1) if called else None
            name = ".".join(getattr(outer, "name", "lambda") for outer in inside) or "module"
            yield from (Change(file, *edit, name, lines) for edit in edits(node, above, at, source))
        for field, value in ast.iter_fields(node):
            outside = isinstance(node, FUNCTIONS) and field == "args"  # defaults are made where the function is
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, ast.AST) and field not in KEPT_FIELDS:
                    yield from visit(inner, above if outside else [*above, node])

    return visit(ast.parse(source), [])


def edits(node: Any, above: list[Any], at: Callable, source: bytes) -> Iterator[Edit]:
    """Yield what may be changed about a node itself."""
    begin, end = at(node)
    text, outer = source[begin:end].decode(), above[-1]
    match node:
        case ast.Compare():
            for (left, right), operator in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
                yield swap(operator, at(left)[1], at(right)[0], source)
        case ast.BoolOp():
            yield from (swap(node.op, at(left)[1], at(right)[0], source) for left, right in pairwise(node.values))
        case ast.UnaryOp(op=ast.Not()):
            yield "not", begin, begin + len("not "), ""
        case ast.BinOp(left=left, right=right) | ast.AugAssign(target=left, value=right):
            if type(node.op) in SWAPPED and not set(text) & set("\"'[{"):  # no sum of texts or lists
                yield swap(node.op, at(left)[1], at(right)[0], source)
        case ast.Constant(value=bool()):
            yield "True/False", begin, end, str(not node.value)
        case ast.Constant(value=int() | float()):
            beside = [node.value + step for step in (1, -1)]
            yield from (("number", begin, end, str(value)) for value in beside if value != node.value)  # as of 1e300
        case ast.Constant(value=str()):
            held = isinstance(outer, HOLDERS) or (isinstance(outer, ast.Call) and node in outer.args)
            if held and re.fullmatch(r"""(["'])[^\\"'\s]+\1""", text):  # what has blanks is said to people
                yield "string", begin, end, f"{text[:-1]}x{text[-1]}"
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
            yield "default of get", *at(default), "None"
        case ast.Call(args=[first, second, *_]) if not isinstance(first, ast.Starred) and not isinstance(
            second, ast.Starred
        ):
            (first_at, first_end), (second_at, second_end) = at(first), at(second)
            one, two = source[first_at:first_end], source[second_at:second_end]
            if one != two and type(first) is type(second):  # else a mistake of types, which mypy finds
                between = source[first_end:second_at]
                yield "arguments", first_at, second_end, (two + between + one).decode()
        case ast.Return(value=value):
            if not isinstance(outer, FUNCTIONS):
                yield "early return", begin, end, "pass"
            if value is not None and not (isinstance(value, ast.Constant) and not value.value):
                yield "return value", *at(value), "None"
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if isinstance(test, TRUTHS):
            before, after = at(test)
            yield "branch", before, after, f"not {source[before:after].decode()}"
        case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()) | ast.Set():
            yield from drops(node, outer, [at(element) for element in node.elts])
        case ast.Dict() if None not in node.keys:
            pairs = zip(node.keys, node.values, strict=True)
            yield from drops(node, outer, [(at(key)[0], at(value)[1]) for key, value in pairs])
    functions = [one for one in above if isinstance(one, FUNCTIONS)]
    if isinstance(node, DROPPED) and functions and not binds(node, functions[-1]):
        yield "statement", begin, end, "pass"


def swap(operator: ast.AST, begin: int, end: int, source: bytes) -> Edit:
    """Return the change of the operator that stands between two operands to its neighbour."""
    old, new = SWAPPED[type(operator)]
    found = re.search(re.escape(old).replace(r"\ ", r"\s+").encode(), source[begin:end])
    assert found is not None
    return "operator", begin + found.start(), begin + found.end(), new


def drops(node: ast.AST, outer: ast.AST, spans: list[tuple[int, int]]) -> Iterator[Edit]:
    """Yield the change of a literal to one without an element, for each that nothing unpacks."""
    is_tuple = isinstance(node, ast.Tuple)
    unpacked = isinstance(outer, ast.Assign) and isinstance(outer.targets[0], ast.Tuple)
    if is_tuple and (unpacked or isinstance(outer, (ast.Return, ast.Yield, ast.Subscript))):
        return
    for (begin, _), (after, _) in pairwise(spans):
        if len(spans) > 2 or not is_tuple:
            yield "element", begin, after, ""
    if spans:
        before = spans[-2][1] if len(spans) > 1 else spans[0][0]
        yield "element", before, spans[-1][1], "," if is_tuple else ""


def binds(node: Any, function: Any) -> bool:
    """Return whether a statement gives a name its first value, without which what follows is no program."""
    stored = [n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    earlier = {n.id for n in stored if n.lineno < node.lineno}
    earlier |= {n.arg for n in ast.walk(function.args) if isinstance(n, ast.arg)}
    return isinstance(node, ASSIGNED) and any(n.id not in earlier for n in ast.walk(node) if n in stored)
