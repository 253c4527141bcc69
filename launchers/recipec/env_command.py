"""What `recipe env list|create|verify|remove` do; `cli.py` prints the results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict

from recipec.diagnostics import Finding, RecipeError
from recipec.environments import (
    ensure,
    environments_folder,
    is_locked,
    list_environments,
    pins_of,
    remove,
    size_of,
)
from recipec.environments.verify import verify
from recipec.facts import ADDED, FOLDER
from recipec.suggest import nearest
from recipec.terminal import shown


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # a closed terminal ends no installation
        sys.stderr.write(shown(line) + "\n")


class OnDisk(TypedDict):
    """An environment on disk, as `recipe env list` shows it."""

    name: str
    tool: str
    release: str
    state: Literal["complete", "being created", "incomplete"]
    bytes: int
    made: str | None  # UTC, ISO 8601
    folder: str


class Created(TypedDict):
    """An environment that was created, or existed already."""

    name: str
    folder: str


class Removed(TypedDict):
    """The folders that were removed."""

    removed: list[str]


class Verified(TypedDict):
    """An environment, and what is wrong with it, one line each."""

    name: str
    folder: str
    ok: bool
    wrong: list[str]
    unhashed: list[str] | None  # packages that were installed without a look at their hashes; None: all


def run_action(action: str, names: list[str]) -> tuple[Sequence[Mapping[str, object]], str]:
    """Run `recipe env ACTION NAME…`; return the result as data and as text.

    Raises RecipeError for an unknown name, EnvironmentFailure, EnvironmentInterrupted.
    """
    if action == "list":
        listed = list_rows()
        return listed, table(listed)
    if action == "create":
        created = [create(name, _say) for name in names]
        return created, "\n".join(f"{row['name']}: {row['folder']}" for row in created)
    if action == "remove":
        removed = [remove_all(name) for name in names]
        return removed, "\n".join(f"removed {folder}" for row in removed for folder in row["removed"])
    verified = check(names)
    reports = [[f"{row['name']}: {_verdict(row)}", *row["wrong"]] for row in verified]
    return verified, "\n".join("\n  ".join(lines) for lines in reports)


def shipped() -> dict[str, str]:
    """Return the pins of every environment that this release of recipec ships, by name."""
    files = sorted((FOLDER / "environments").glob("*.txt"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files if file.stem not in ADDED}


def list_rows() -> list[OnDisk]:
    """Return the environments on disk, by name."""
    found: list[OnDisk] = []
    for one in list_environments():
        tool, _, release = one.name.partition("-")
        state: Literal["complete", "being created", "incomplete"]
        state = "complete" if one.complete else "being created" if is_locked(one.folder) else "incomplete"
        found.append(
            {
                "name": one.name,
                "tool": tool,
                "release": release,
                "state": state,
                "bytes": size_of(one.folder),
                "made": one.made,
                "folder": str(one.folder),
            }
        )
    return found


def create(name: str, say: Callable[[str], None]) -> Created:
    """Create an environment from its shipped pins. Raises RecipeError, and what `environments.ensure` raises."""
    known = shipped()
    if name not in known:
        message = f'there are no pins for "{name}", only for {", ".join(known)}'
        raise RecipeError(
            [Finding("E030", message, suggestion=nearest(name, list(known)), file=str(environments_folder()))]
        )
    return {"name": name, "folder": str(ensure(name, known[name], say))}


def check(names: list[str]) -> list[Verified]:
    """Return for each environment (default: all) what is wrong with it. Raises RecipeError for an unknown name."""
    found = list_environments()
    for name in names:
        if not any(name in (one.name, one.folder.name) for one in found):
            raise _unknown(name)
    known = shipped()
    results: list[Verified] = []
    for one in found:
        if names and one.name not in names and one.folder.name not in names:
            continue
        pins = pins_of(one.folder, known)
        if not one.complete:
            wrong = ["its creation did not finish: the next run, or `recipe env create`, starts it over"]
        elif pins is None:
            wrong = ["it does not say which pins it was created from: remove it, then create it again"]
        else:
            wrong = verify(one.folder, pins, one.records)
        unhashed = list(one.unhashed) if pins is not None and pins.hashes else None
        results.append(
            {"name": one.name, "folder": str(one.folder), "ok": not wrong, "wrong": wrong, "unhashed": unhashed}
        )
    return results


def remove_all(name: str) -> Removed:
    """Remove all environments with a name. Raises RecipeError when there is none."""
    removed = remove(name)
    if not removed:
        raise _unknown(name)
    return {"removed": [str(folder) for folder in removed]}


def table(found: list[OnDisk]) -> str:
    """Return the environments as a table."""
    if not found:
        return f"no environments in {environments_folder()}"
    width = max(len(row["name"]) for row in found)
    return "\n".join(
        f"{row['name']:<{width}}  {row['state']:<13}  {row['bytes'] / 1e9:6.2f} GB  {row['made'] or '-':<20}  {row['folder']}"
        for row in found
    )


def _verdict(row: Verified) -> str:
    if not row["ok"]:
        return "differs from its pins"
    if row["unhashed"] is None:
        return (
            "contains exactly its pins, installed from pins without hashes: remove and create it to have them compared"
        )
    if row["unhashed"]:
        return f"contains exactly its pins; the hashes of {', '.join(row['unhashed'])} were not compared"
    return "contains exactly its pins, every file as its package brought it"


def _unknown(name: str) -> RecipeError:
    have = sorted({one.name for one in list_environments()})
    message = f'there is no environment "{name}"' + (f"; there are {', '.join(have)}" if have else "")
    return RecipeError([Finding("E031", message, suggestion=nearest(name, have), file=str(environments_folder()))])
