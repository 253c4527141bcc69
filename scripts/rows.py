"""Counts the rows of every system's tables, and those that are data: that read a tool's file back into plan values.

    python scripts/rows.py

A row counts once, whatever files and stages it appears in. What is looked at: for every trainer, each of its methods,
releases and strategies, with LoRA and without, and the stages that make, merge and evaluate models.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "schema"), str(ROOT / "compiler")]

from recipec.course import bind_course  # noqa: E402
from recipec.decide.decision import decide  # noqa: E402
from recipec.facts import releases  # noqa: E402
from recipec.kinds.train.methods import METHODS  # noqa: E402
from recipec.plan import Stage  # noqa: E402
from recipec.source import Mapping, Source  # noqa: E402
from recipec.systems.document import Sheet  # noqa: E402
from recipec.systems.registry import doing, system  # noqa: E402
from recipec.systems.table import Row  # noqa: E402
from recipec.yaml_reader import read_text  # noqa: E402

WHOLE_COURSE = """\
recipe: 1
name: course
model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4}}
adapter: {merge: true}
data: {train: [{path: a.jsonl, format: text}]}
train: {learning_rate: 1e-4, method: pretrain}
evaluate: {tasks: [gsm8k]}
hardware: {gpu: a100-80gb}
"""


class Case(NamedTuple):
    """A stage of a recipe that was decided in memory; `name` says of which."""

    name: str
    stage: Stage[Any]


def recipe(name: str, method: str, *, lora: bool, strategy: str = "single", release: str = "", more: str = "") -> str:
    """Return a small recipe of one training. Trainer, method and strategy need not go together."""
    formats = METHODS[method].formats
    columns = ", columns: {answer: answer}" if METHODS[method].online else ""
    lines = [
        "recipe: 1",
        "name: one",
        f"trainer: {name}",
        "model: {base: org/model}",
        f"data: {{train: [{{path: a.jsonl, format: {formats[0]}{columns}}}]}}",
        f"train: {{learning_rate: {'1e-4' if lora else '1e-5'}, method: {method}{', batch_size: 8' * METHODS[method].online}}}",
        f"hardware: {{gpu: a100-80gb{', per_node: 2' * (strategy != 'single')}}}",
        f"parallel: {{strategy: {strategy}}}",
        *["adapter: {rank: 8}"] * lora,
        *[f"versions: {{{name}: {release}}}"] * bool(release),
        *["rewards: [{type: exact}]"] * METHODS[method].online,
        *["script: {path: train.py, arguments: {output: '${plan:train.output}'}}"] * (name == "script"),
    ]
    return "\n".join([*lines, more]) + "\n"


def decided(name: str, text: str) -> Iterator[Case]:
    """Yield the stages of a recipe. Raises ValueError when there is no plan of it."""
    tree = read_text(Source(name, text))
    course, findings = bind_course(tree) if isinstance(tree, Mapping) else (None, [])
    if course is None or any(part.wrong for part in course.parts):
        raise ValueError(f"{name}: {'; '.join(finding.message for finding in findings)}")
    for stage in decide(course).resolved.plan.stages:
        yield Case(name, stage)


def trainings(*, strategies: bool) -> Iterator[Case]:
    """Yield a training for each trainer, method and release, in full and with LoRA; of each strategy, or of one."""
    for name in doing("train"):
        can = system(name).can
        kinds = sorted(can["parallel.strategy"]) if strategies else ["single"]
        for method in (method for method in METHODS if method in can["method"]):
            for strategy in kinds:
                for lora in (False, True)[: 1 + ("lora" in can["adapter.type"])]:
                    for release in releases(name) or ("",):
                        text = recipe(name, method, lora=lora, strategy=strategy, release=release)
                        what = ["lora" if lora else "full", *[strategy] * strategies, release]
                        yield from decided("-".join([name, method, *what]).strip("-"), text)


def sheets(case: Case) -> list[Sheet]:
    """Return the files of a stage, each with its table."""
    stage = case.stage
    return system(stage.system).sheets(stage.body, stage.environment)


def identity(row: Row) -> Any:
    """Return what tells one row from another, also where a table is made anew for each stage or grouped by a call."""

    def code(function: Callable[..., Any] | None) -> Any:
        return None if function is None else getattr(function, "__code__", function)

    own = tuple(key.rpartition(".")[2] for key in row.keys)
    return row.replaced(keys=own, say=code(row.say), back=code(row.back))


def counts() -> dict[str, tuple[int, int]]:
    """Return for each tool how many rows it has, and how many of them read back."""
    rows: dict[str, dict[Any, Row]] = {}
    for case in [*trainings(strategies=True), *decided("course", WHOLE_COURSE)]:
        for sheet in sheets(case):
            rows.setdefault(sheet.tool, {}).update((identity(row), row) for row in sheet.rows)
    return {tool: (len(own), sum(row.back is not None for row in own.values())) for tool, own in rows.items()}


def table() -> str:
    """Return the counts as text, a system on a line, and their sum."""
    found = counts()
    whole = tuple(map(sum, zip(*found.values(), strict=True)))
    lines = [f"{'system':14} {'rows':>5} {'read back':>10} {'share':>6}"]
    lines += [
        f"{name:14} {rows:5} {back:10} {back / rows:6.0%}" for name, (rows, back) in [*found.items(), ("total", whole)]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
