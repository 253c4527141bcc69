"""Which line, rule or fact set a value: answered from `plan.json` alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from recipec.diagnostics import Finding, RecipeError
from recipec.manifest import Manifest
from recipec.suggest import nearest


class Answer(NamedTuple):
    """A value with its reason in words; `path` is its plan path, or that of the recipe where the plan has no place for it."""

    path: str
    value: Any
    because: str


def explain(manifest: Manifest, path: str) -> list[Answer]:
    """Return, for a recipe path, a plan path or an emitted `FILE:KEY`, each value with its reason.

    Raises RecipeError when nothing is known by that name.
    """
    known = [*manifest.because, *manifest.written]
    if ":" in path:
        name, _, key = path.partition(":")
        file = manifest.files.get(name)
        if file is None:
            raise _unknown(name, manifest.files, "emitted file")
        if key not in file.lines:
            raise _unknown(key, file.lines, f"key of {name}")
        reads = [one for read in file.lines[key].reads for one in known if _within(one, read)]
        return [_answer(manifest, read) for read in reads] or [Answer(path, None, "always so for this tool")]
    matches = [one for one in known if one == path or one.endswith("." + path) or _read(manifest, one, path)]
    if not matches:
        reads_ = {read for row in manifest.because.values() for read in row.reads}
        raise _unknown(path, reads_ | set(known), "value of this plan")
    return [_answer(manifest, one) for one in matches]


def _read(manifest: Manifest, known: str, path: str) -> bool:
    row = manifest.because.get(known)
    return any(_within(path, read) for read in (row.reads if row is not None else (known,)))


def _within(path: str, whole: str) -> bool:
    return path == whole or path.startswith((whole + ".", whole + "["))


def _unknown(word: str, names: Iterable[str], what: str) -> RecipeError:
    return RecipeError([Finding("X001", f'"{word}" is not a {what}', suggestion=nearest(word, names))])


def _answer(manifest: Manifest, path: str) -> Answer:
    row = manifest.because.get(path)
    if row is None:
        written = manifest.written[path]
        return Answer(path, written.value, f"recipe: {written.at}" + (f" ({written.why})" if written.why else ""))
    because = f"{row.origin}: {row.at or row.why}"
    if row.at and row.why:
        because += f" ({row.why})"
    if row.reads and not row.at:
        because += f" (read {', '.join(row.reads)})"
    return Answer(path, msgspec.to_builtins(manifest.value(path)), because)
