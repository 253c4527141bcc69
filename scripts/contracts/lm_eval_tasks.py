"""List the names that lm-eval knows: tasks, groups and tags, a line each, and behind a name what is known of it.

`code`: it runs what the model wrote. `shots=0`: it has no worked examples, whatever is asked for. `shots<=8`: it brings so many
of its own, and fails where more are asked for.
"""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import common


class Known(NamedTuple):
    """What one name says itself: the names that it stands for, each with its own number of examples, and of a task the rest.

    `shots` is the number of worked examples that its file sets, `most` how many of its own it has; None where it has none.
    """

    below: list[tuple[str, int | None]]
    code: bool
    shots: int | None
    most: int | None


def index() -> dict[str, Known]:
    """Return what each name says."""
    tasks = import_module("lm_eval.tasks")
    found: dict[str, Known] = {}
    for name, entry in tasks.TaskManager().task_index.items():
        if isinstance(entry, dict):  # until 0.4.11
            path, below = entry["yaml_path"], entry.get("task")
            config = {} if path == -1 else import_module("lm_eval.utils").load_yaml_config(path, mode="simple")
            below = below if isinstance(below, list) else config.get("task") if entry["type"] == "group" else []
        else:
            path, config = entry.yaml_path, entry.cfg or {}
            below = sorted(entry.tags) if entry.kind.name == "TAG" else config.get("task") if "group" in config else []
        samples = (config.get("fewshot_config") or {}).get("samples")
        most = examples(Path(path).parent, samples) if samples is not None else None
        found[name] = Known(list(names(below)), config.get("unsafe_code") is True, config.get("num_fewshot"), most)
    return found


def examples(folder: Path, samples: Any) -> int | None:
    """Return how many worked examples a task brings: a list, or a function that returns one; None where they are not counted.

    The function is read, not called: most of them stand beside imports of packages that are not installed.
    """
    if isinstance(samples, list):
        return len(samples)
    named = getattr(
        samples, "value", samples
    )  # a node of YAML until 0.4.11, then a path with the function's name behind it
    if not isinstance(named, str):
        return None
    module, _, function = named.rpartition("/")[2].rpartition(".")
    file = folder / f"{module}.py"
    for node in ast.parse(file.read_text(encoding="utf-8")).body if file.exists() else []:
        if isinstance(node, ast.FunctionDef) and node.name == function and isinstance(node.body[-1], ast.Return):
            value = node.body[-1].value
            return len(value.elts) if isinstance(value, ast.List) else None
    return None


def names(below: Any, shots: int | None = None) -> Iterator[tuple[str, int | None]]:
    """Yield the names in what a group lists: texts, and mappings that hold a name or a list of their own."""
    if isinstance(below, str):
        yield below, shots
    for one in below if isinstance(below, list) else []:
        if isinstance(one, dict):
            yield from names(one.get("task"), one.get("num_fewshot", shots))
        else:
            yield from names(one, shots)


def runs_code(name: str, known: dict[str, Known], above: frozenset[str] = frozenset()) -> bool:
    """Return whether a name, or one that it stands for, runs code that the model wrote."""
    one = known.get(name)
    return one is not None and (
        one.code or any(runs_code(below, known, above | {name}) for below, _ in one.below if below not in above)
    )


def leaves(
    name: str, known: dict[str, Known], shots: int | None = None, above: frozenset[str] = frozenset()
) -> Iterator[tuple[int | None, int | None]]:
    """Yield of each task that a name stands for how many examples it sets, and the most that it has."""
    one = known.get(name)
    if one is None:
        yield None, None
    elif not one.below:
        yield one.shots if shots is None else shots, one.most
    else:
        for below, own in one.below:
            if below not in above:
                yield from leaves(below, known, own if own is not None else shots, above | {name})


def line(name: str, known: dict[str, Known]) -> str:
    """Return the line of a name."""
    tasks = list(leaves(name, known))
    words = ["code"] if runs_code(name, known) else []
    most = [size for shots, size in tasks if size is not None and shots != 0]
    if tasks and all(shots == 0 for shots, _ in tasks):
        words.append("shots=0")
    elif most:
        words.append(f"shots<={min(most)}")
    return "\t".join([name, *words]) + "\n"


def main() -> None:
    """Write the list to the path given on the command line, or print it."""
    with contextlib.redirect_stdout(sys.stderr):  # the tools talk on standard output
        known = index()
        text = "".join(line(name, known) for name in sorted(known))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


assert common.installed("lm_eval")  # the extractors' folder is off the path from here on

if __name__ == "__main__":
    main()
