"""The compiler for programs: check a recipe, plan it, or compile it. `docs/api.md` has an example.

Everything else may change between releases; what these functions return is described by the records of `recipec.plan` and
`recipec.manifest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple

from recipec import manifest, output, pipeline
from recipec.diagnostics import Finding, RecipeError, errors
from recipec.manifest import Manifest
from recipec.plan import Plan


class Compiled(NamedTuple):
    """A compiled recipe.

    `files` are the texts of the emitted files by their paths in the tree, `findings` warnings and notes. `plan` is what was
    decided, `manifest` the same with the reason of every value. `folder` is where the tree was written, None where it
    was not.
    """

    files: dict[str, str]
    findings: list[Finding]
    plan: Plan
    manifest: Manifest
    folder: Path | None


def check(
    path: str | PathLike[str],
    *,
    settings: Sequence[str] = (),
    profiles: Sequence[str] = (),
    variables: Sequence[str] = (),
) -> list[Finding]:
    """Return everything that there is to say of a recipe, errors, warnings and notes in the order of their places.

    `settings` are `a.b=c`, `profiles` names, `variables` `a=c`, as on the command line. Data paths start at the current
    folder. Never raises RecipeError: a file that cannot be read is a finding too.
    """
    return pipeline.compile_file(fspath(path), settings, profiles, variables).told


def plan(
    path: str | PathLike[str],
    *,
    settings: Sequence[str] = (),
    profiles: Sequence[str] = (),
    variables: Sequence[str] = (),
) -> Plan:
    """Return what will happen, fully decided. Arguments are those of `check`.

    Raises RecipeError with all findings when there are errors among them.
    """
    return compile(path, settings=settings, profiles=profiles, variables=variables).plan


def compile(
    path: str | PathLike[str],
    out: str | PathLike[str] | None = None,
    *,
    settings: Sequence[str] = (),
    profiles: Sequence[str] = (),
    variables: Sequence[str] = (),
) -> Compiled:
    """Compile a recipe and, with `out`, write the emitted tree to `out`/NAME. Other arguments are those of `check`.

    Nothing is written when there are errors, and never over files of somebody else. Raises RecipeError with all findings
    when there are errors among them, or when the tree cannot be written.
    """
    found = pipeline.compile_file(fspath(path), settings, profiles, variables)
    if errors(found.findings):
        raise RecipeError(found.findings)
    told = manifest.read(found.files[manifest.FILE])
    folder = Path(out) / found.name if out is not None else None
    if folder is not None:
        output.write(folder, found.files)
    return Compiled(found.files, found.told, told.plan, told, folder)


__all__ = ["Compiled", "Finding", "Manifest", "Plan", "RecipeError", "check", "compile", "plan"]
