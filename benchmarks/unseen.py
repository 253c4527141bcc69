"""How many mistakes `recipe check` finds that nobody who wrote its rules had seen, and how often it is wrong about right recipes.

`python benchmarks/unseen.py` judges the recipes of unseen/ and of each further list in it anew, prints the rates, and writes them into
docs/comparison.md beside those of the first run. first_run.json of a list holds what was found then, before any of its recipes was
looked at by whoever writes rules: it never changes. What was missed is mended afterwards, so that today's rates are a regression
list's; new mistakes need a new list.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from recipec.cli import main as recipe

HERE = Path(__file__).resolve().parent / "unseen"
PAGE = HERE.parent.parent / "docs" / "comparison.md"
DATES = {
    "first": "27 November 2026",
    "second": "27 November 2026",
    "third": "28 November 2026",
    "fourth": "28 November 2026",
    "fifth": "28 November 2026",
    "sixth": "28 November 2026",
    "seventh": "28 November 2026",
    "eighth": "28 November 2026",
    "ninth": "28 November 2026",
    "tenth": "28 November 2026",
}
LISTS = {name: HERE if name == "first" else HERE / name for name in DATES}
MISTAKES = ("found on the right line", "found elsewhere", "missed", "traceback")
RIGHT = ("silent", "warning", "doubtful", "false error")


def checked(path: Path) -> list[dict[str, Any]] | None:
    """Return what `recipe check` finds in a recipe of the list; None where it ends in a traceback."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(io.StringIO()):
            recipe(["check", str(path), "--json"])
        return list(json.loads(shown.getvalue())["findings"])
    except Exception:
        return None


def outcome(path: Path, lines: list[int]) -> str:
    """Return what became of a recipe: whether its mistake was found at its line, or a right one was left in peace."""
    found = checked(path)
    if found is None:
        return "traceback"
    told = [one for one in found if one["severity"] in ("error", "warning")]
    if not lines:
        errors = any(one["severity"] == "error" for one in told)
        return "false error" if errors else "warning" if told else "silent"
    if any(one["line"] in lines for one in told):
        return "found on the right line"
    return "found elsewhere" if any(one["code"] != "T003" for one in told) else "missed"


def marks(name: str) -> tuple[str, str]:
    """Return what a list's rates stand between in the page."""
    return f"<!-- unseen {name}: begin -->\n", f"<!-- unseen {name}: end -->\n"


def judged(place: Path) -> dict[str, str]:
    """Return what becomes of every recipe of a list today, but for those that their author withdrew."""
    first = json.loads((place / "first_run.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        if (place / "make_data.py").exists():
            subprocess.run([sys.executable, str(place / "make_data.py"), folder], check=True)
        before = Path.cwd()
        os.chdir(folder)  # where the paths of the recipes start
        try:
            return {
                name: outcome(place / name, row.get("lines", []))
                for name, row in first.items()
                if "withdrawn" not in row
            }
        finally:
            os.chdir(before)


def table(name: str, today: dict[str, str]) -> str:
    """Return the rates of the first run and of today, and what is missed or alarmed by today."""
    place = LISTS[name]
    rows = json.loads((place / "first_run.json").read_text(encoding="utf-8"))
    first = {name: row["first"] for name, row in rows.items() if "withdrawn" not in row}
    lines = [f"| | first run, {DATES[name]} | today, after mending |", "|---|---|---|"]
    for part, outcomes in (("mistakes", MISTAKES), ("good", RIGHT)):
        then, now = (Counter(o for n, o in one.items() if n.startswith(part)) for one in (first, today))
        total = then.total()
        what = f"{total} mistakes" if part == "mistakes" else f"{total} right recipes"
        lines += [f"| **{what}** | | |"]
        lines += [f"| {one} | {_share(then[one], total)} | {_share(now[one], total)} |" for one in outcomes]
    lines += ["", "What `recipe check` still misses, or says elsewhere:", ""]
    left = [name for name, one in today.items() if name.startswith("mistakes") and one != MISTAKES[0]]
    lines += [f"- {wrong(place / name)} ({today[name]})" for name in left] or ["- nothing of this list"]
    return "\n".join(lines) + "\n"


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.0%})"


def wrong(path: Path) -> str:
    """Return what a mistake is, as its first line says."""
    line = path.read_text(encoding="utf-8").partition("\n")[0]
    return re.sub(r"^# (?:wrong: |MISTAKE \(lines? [0-9, ]+\): )?| \(lines? [0-9, ]+\)$", "", line)


def main() -> int:
    """Judge, print, and write the page."""
    for name, place in LISTS.items():
        text = table(name, judged(place))
        print(text)
        page = PAGE.read_text(encoding="utf-8")
        begin, end = marks(name)
        start = page.index(begin) + len(begin)
        PAGE.write_text(page[:start] + text + page[page.index(end) :], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
