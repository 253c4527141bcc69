"""Print the table of docs/rehearsal.md: each shipped recipe, what of it was rehearsed and how long it took.

    python scripts/rehearsal_table.py [--write]

What cannot be rehearsed is asked of the compiler, now; how stages ended is what `benchmarks/rehearse_all.py --write` recorded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from recipec.pipeline import compile_file
from recipec.rehearsal.swaps import swaps_of

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "rehearsals.json", ROOT / "docs" / "rehearsal.md"
MARK = "<!-- table: scripts/rehearsal_table.py -->\n"


def table() -> str:
    """Return the table, a row for each shipped recipe. Raises KeyError for one that was never rehearsed."""
    recorded: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = ["| recipe | rehearsed | seconds | not tried |", "|---|---|---|---|"]
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        found = compile_file(str(path))
        assert found.resolved is not None
        plan = found.resolved.plan
        swaps = swaps_of(str(path), plan, Path("runs"), (), (), ())
        ended = recorded[path.stem]["ended"]
        done = [name for name in swaps.stages if ended.get(name) == "done"]
        trained = {stage.name: f"{stage.system} {_how(stage)}" for stage in plan.stages if stage.kind == "train"}
        told = ", ".join(f"{name} ({trained[name]})" if name in trained else name for name in done) or "nothing"
        failed = [f"{name} **{ended.get(name, 'never')}**" for name in swaps.stages if name not in done]
        seconds = f"{recorded[path.stem]['seconds']:.0f}" if done else "–"
        cannot = "; ".join(dict.fromkeys(one.what for one in swaps.cannot)) or "–"
        rows.append(f"| `{path.stem}` | {', '.join([told, *failed])} | {seconds} | {cannot} |")
    return "\n".join(rows) + "\n"


def _how(stage: Any) -> str:
    body = stage.body
    return f"{body.method} {body.parallel.strategy}"


def page(text: str) -> str:
    """Return the page with the table as it is now."""
    before, mark, _ = text.partition(MARK)
    return before + mark + "\n" + table()


if __name__ == "__main__":
    text = page(PAGE.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text.partition(MARK)[2])
