"""Rehearses recipes one after another, and prints what came of each: `python benchmarks/rehearse_all.py [RECIPE …]`.

Without a name, all that are shipped. They run as `recipe run RECIPE --rehearse` does, in the environments of the tests
(`scripts/tool_environment.py`: those of `recipe run`, but for a tool whose Python is too new for this machine's torch).
`--write` keeps the results in `benchmarks/rehearsals.json`, from which the table in `docs/rehearsal.md` is made.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from tool_environment import tool_environment  # noqa: E402

from recipec import rehearsal  # noqa: E402
from recipec.diagnostics import RecipeError  # noqa: E402
from recipec.engine import Choice, runner  # noqa: E402
from recipec.run_command import Overrides  # noqa: E402

RESULTS = ROOT / "benchmarks" / "rehearsals.json"


def shipped() -> list[Path]:
    """Return the recipes that are shipped."""
    return sorted((ROOT / "recipes").glob("*.yaml"))


@contextmanager
def environments_of_the_tests() -> Iterator[None]:
    """Take the environments that the tests ask tools in."""
    before = runner.ensure, rehearsal.ensure
    taken: Any = lambda name, *_rest, **_more: tool_environment(name)  # noqa: E731
    runner.ensure = rehearsal.ensure = taken
    try:
        yield
    finally:
        runner.ensure, rehearsal.ensure = before


def rehearsed(
    recipe: Path,
    place: Path,
    settings: tuple[str, ...] = (),
    *,
    select: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Rehearse one recipe from a folder; return what came of it, as `--json` prints it."""
    os.chdir(place)
    for name in ("recipes", "data"):
        if not (place / name).exists() and (ROOT / name).exists():
            (place / name).symlink_to(ROOT / name)
    began, choice = time.monotonic(), Choice(select=select, exclude=exclude)
    file = str(recipe.relative_to(ROOT)) if recipe.is_relative_to(ROOT) else str(recipe)
    try:
        with environments_of_the_tests():
            found = rehearsal.rehearse(file, Overrides(settings), Path("build"), Path("runs"), choice=choice, say=print)
    except RecipeError as error:
        return {"error": [f"{one.code} {one.message}" for one in error.findings], "exit_code": 1}
    except rehearsal.NotRehearsed as error:
        return {"error": [str(error), *error.lines], "exit_code": 3}
    return rehearsal.as_json(found) | {"seconds": round(time.monotonic() - began, 1)}


def main() -> int:
    """Rehearse what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipes", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true", help="keep the results")
    parser.add_argument("--place", type=Path, help="folder to work in (default: a new one)")
    options = parser.parse_args()
    place = options.place or Path(tempfile.mkdtemp(prefix="rehearse-"))
    place.mkdir(parents=True, exist_ok=True)
    worst = 0
    for recipe in [path.resolve() for path in options.recipes] or shipped():
        print(f"==== {recipe.stem}", flush=True)
        found = rehearsed(recipe, place)
        code = found["exit_code"]
        print(json.dumps({key: found.get(key) for key in ("ended", "seconds", "exit_code", "error")}), flush=True)
        worst = max(worst, code or 0)
        kept = ("ended", "seconds", "exit_code", "error")
        if options.write:
            rows: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
            rows[recipe.stem] = {key: found[key] for key in kept if key in found}
            RESULTS.write_text(json.dumps(rows, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"results in {place}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
