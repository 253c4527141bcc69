"""A reward function of the user, checked by its source alone: nothing of it is run."""

import ast
from functools import lru_cache
from typing import NamedTuple

from recipec.regular_file import read_regular
from recipec.suggest import nearest

PASSED = ("completions", "prompts", "answers")  # lists of text, one for each completion


class Trouble(NamedTuple):
    """What is wrong with the function: whether the file or the name is to blame, what, and what to do."""

    word: str
    message: str
    advice: str
    suggestion: str | None = None


def trouble(path: str, name: str) -> Trouble | None:
    """Return what would fail when the function is called; None when it is fine, or the file is not here to be read."""
    try:
        source = read_regular(path).decode()
    except OSError:
        return None  # a run looks again, where the file must be
    except ValueError:
        return Trouble("path", f"{path} is not UTF-8", "save it as UTF-8")
    return _trouble_of(path, name, source)


@lru_cache(maxsize=16)
def _trouble_of(path: str, name: str, source: str) -> Trouble | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", None) or str(error)
        return Trouble("path", f"{path}:{line} is not valid Python: {reason}", "correct the file")
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if name not in found and _bound_otherwise(tree) & {name, "*"}:
        return None  # imported, or made by a call: what it takes is not to be seen here
    if name not in found:
        there = f"it defines {', '.join(found)}" if found else "it defines no function"
        return Trouble("function", f"{path} has no function {name}", there, nearest(name, list(found)))
    return _signature(path, found[name])


def _bound_otherwise(tree: ast.Module) -> set[str]:
    """Return the names that a module binds by imports, assignments and conditional definitions; `*` for any name."""
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.ClassDef):
            names.add(statement.name)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.alias):
                names.add(node.asname or node.name.partition(".")[0])
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.FunctionDef):
                names.add(node.name)
    return names


def _signature(path: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Trouble | None:
    where = f"{path}:{node.lineno}"
    shape = f"write `def {node.name}(completions, prompts, answers) -> list[float]`"
    if isinstance(node, ast.AsyncFunctionDef):
        return Trouble("function", f"{where}: {node.name} is asynchronous", shape)
    given = node.args
    taken = [a.arg for a in (*given.args, *given.kwonlyargs)]
    if given.kwarg is None:
        lacks = [name for name in PASSED if name not in taken]
        if lacks:
            return Trouble("function", f"{where}: {node.name} does not take {', '.join(lacks)}", shape)
    optional = {a.arg for a in given.args[len(given.args) - len(given.defaults) :]}
    optional |= {a.arg for a, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is not None}
    more = [
        name for name in [*(a.arg for a in given.posonlyargs), *taken] if name not in PASSED and name not in optional
    ]
    if more:
        return Trouble("function", f"{where}: {node.name} wants {', '.join(more)}, which is never passed", shape)
    return None
