"""Writes docs/methods.md: what each trainer declares it can do, and what the test suite has to show for it.

    python scripts/methods_table.py > docs/methods.md

A method counts as *trained* where a recipe below tests/real does it (each of them really trains in the suite), as
*accepted* where only a recipe whose files the tool's own code judges does it. What a trainer declares and no recipe of
the suite does raises an error: there is no cell for a promise.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "schema"), str(ROOT / "compiler")]

from recipec.course import bind_course  # noqa: E402
from recipec.decide.decision import decide  # noqa: E402
from recipec.diagnostics import RecipeError  # noqa: E402
from recipec.facts import releases  # noqa: E402
from recipec.kinds.train.methods import METHODS  # noqa: E402
from recipec.kinds.train.records import Train  # noqa: E402
from recipec.source import Mapping  # noqa: E402
from recipec.systems.registry import doing, system  # noqa: E402
from recipec.yaml_reader import read_file  # noqa: E402

TRAINED, ACCEPTED = "trained", "accepted"
NAMES = {
    "axolotl": "Axolotl",
    "trl": "TRL",
    "llamafactory": "LLaMA-Factory",
    "unsloth": "Unsloth",
    "openrlhf": "OpenRLHF",
}


def stages(folder: Path) -> Iterator[Train]:
    """Yield the trainings of every recipe below a folder."""
    for path in sorted(folder.rglob("*.yaml")):
        try:
            tree = read_file(str(path))
        except RecipeError:
            continue
        if not isinstance(tree, Mapping) or "recipe" not in tree.entries:
            continue
        course, _findings = bind_course(tree)
        if course is not None:
            yield from (stage.body for stage in decide(course).resolved.plan.of_kind("train"))


def shown() -> dict[tuple[str, str], str]:
    """Return what the suite has to show for each trainer and method."""
    found = {
        (stage.trainer, stage.method): ACCEPTED
        for folder in ("recipes", "tests/conformance")
        for stage in stages(ROOT / folder)
    }
    return found | {(stage.trainer, stage.method): TRAINED for stage in stages(ROOT / "tests" / "real")}


def page() -> str:
    """Return the page. Raises ValueError when a trainer declares a method for which there is nothing to show."""
    systems = [system(name) for name in doing("train") if name in NAMES]
    evidence = shown()
    lines = [
        "# What each trainer can do",
        "",
        "Made by `make generated` from what the trainers declare (`SYSTEM` of each module in `compiler/recipec/systems/`)",
        "and from the recipes of the test suite. **trained**: the suite really trains a tiny model with it, on a CPU, from",
        "the emitted files. **accepted**: the tool's own code judges the emitted files, at the pinned release.",
        "",
        f"| method | {' | '.join(NAMES[one.name] for one in systems)} |",
        "|---|" + "---|" * len(systems),
    ]
    for method in METHODS:
        cells = []
        for one in systems:
            if method not in one.can["method"]:
                cells.append("")
                continue
            if (one.name, method) not in evidence:
                raise ValueError(f"{one.name} declares {method}, but no recipe of the suite does it")
            cells.append(evidence[one.name, method])
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    rows = (
        ("releases", lambda one: ", ".join(releases(one.name))),
        ("adapters", lambda one: ", ".join(sorted(one.can["adapter.type"]))),
        ("sharding", lambda one: ", ".join(sorted(one.can["parallel.strategy"]))),
    )
    lines += [f"| {name} | {' | '.join(say(one) for one in systems)} |" for name, say in rows]
    lines += [
        "",
        "`trainer: script` runs a training script of your own, whatever its method.",
        "",
        "A recipe that asks a trainer for what it cannot do is refused with the line, and with the trainers that can.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
