"""The contents of a report, from the files of a run; JSON-ready."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from recipec.engine.record import Record, RunFolder
from recipec.engine.status import status
from recipec.json_files import read_lines
from recipec.plural import counted
from recipec.report.scores import ScoreRow, read_scores

PACKAGES = ("axolotl", "torch", "transformers", "trl", "peft", "accelerate", "deepspeed", "datasets", "lm-eval")


class Fact(NamedTuple):
    """One row of the table about the plan; `source` is the place in the recipe that sets the value, or the reason for it."""

    name: str
    value: str
    source: str


Values = Mapping[str, Mapping[str, Any]]


def report_data(run_dir: Path) -> dict[str, Any]:
    """Return the report of a run. Raises RecipeError when there is no run in the folder."""
    found = status(run_dir)
    folder = RunFolder(run_dir)
    plan = json.loads(folder.plan.read_text(encoding="utf-8"))
    lines = Record(folder.record).read()
    training = next((row for row in plan["stages"] if row["kind"] == "train"), None)
    train, evaluation = losses(folder.events(training["id"])) if training else ([], [])
    recipe = folder.recipe.read_text(encoding="utf-8") if folder.recipe.exists() else None
    rows = rows_of(plan)
    return {
        "name": found["name"],
        "state": found["state"],
        "started": found["started"],
        "ended": found["ended"],
        "stages": [stage | {"total_seconds": _seconds(lines, stage["stage"])} for stage in found["stages"]],
        "facts": [fact._asdict() for fact in facts(plan.get("values", {}))],
        "loss": {"train": train, "evaluation": evaluation},
        "models": list(dict.fromkeys(name for row in rows for name in row.scores)),
        "scores": [
            {
                "task": row.task,
                "metric": row.metric,
                "scores": {name: score._asdict() for name, score in row.scores.items()},
                "delta": row.delta._asdict() if row.delta else None,
                "improved": row.improved,
                "higher_is_better": row.better,
                "samples": row.samples,
            }
            for row in rows
        ],
        "versions": versions(lines, plan),
        "recipe": {"file": plan["recipe"]["file"], "sha256": plan["recipe"]["sha256"], "text": recipe},
    }


def score_rows(run_dir: Path) -> list[ScoreRow]:
    """Return the scores of a run's evaluations. Raises RecipeError when there is no run in the folder."""
    status(run_dir)
    return rows_of(json.loads(RunFolder(run_dir).plan.read_text(encoding="utf-8")))


def rows_of(plan: Mapping[str, Any]) -> list[ScoreRow]:
    """Return the scores of every evaluation stage of a plan, from the stages' output folders."""
    return [
        row
        for stage in plan["stages"]
        if stage["kind"] == "evaluate"
        for row in read_scores(Path(stage["output"]), stage.get("models", ["base", "tuned"]))
    ]


def losses(events: Path) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return (step, loss) of training and of validation; steps that a resumed attempt repeated count once."""
    train: dict[int, float] = {}
    evaluation: dict[int, float] = {}
    for row in read_lines(events):
        step = row.get("step")
        if not isinstance(step, int):
            continue
        if row.get("event") == "begin":
            train = {at: loss for at, loss in train.items() if at <= step}
            evaluation = {at: loss for at, loss in evaluation.items() if at <= step}
        loss = row.get("loss")
        if isinstance(loss, int | float) and row.get("event") in ("log", "eval"):
            (train if row["event"] == "log" else evaluation)[step] = float(loss)
    return sorted(train.items()), sorted(evaluation.items())


def _seconds(lines: list[dict[str, Any]], stage: str) -> float:
    ends = ("stage-finished", "stage-failed", "stage-interrupted")
    total = 0.0
    for row in lines:
        if row.get("stage") == stage:
            if row.get("event") == "stage-set-aside":
                total = 0.0
            elif row.get("event") in ends:
                total += float(row.get("seconds") or 0.0)
    return round(total, 1)


def versions(lines: list[dict[str, Any]], plan: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions of the tools and of the most important packages, as pinned."""
    found = {stage["tool"]: stage["release"] for stage in plan["stages"] if stage.get("release")}
    starts = [row for row in lines if row.get("event") == "run-started"]
    packages: dict[str, list[str]] = starts[-1].get("packages", {}) if starts else {}
    pinned = {line.partition("==")[0]: line.partition("==")[2] for pins in packages.values() for line in pins}
    found |= {name: pinned[name] for name in PACKAGES if name in pinned}
    if "lm-eval" in found:
        found.pop("lm_eval", None)
    return {name: found[name] for name in sorted(found, key=lambda name: [*PACKAGES, name].index(name))}


def facts(values: Values) -> list[Fact]:
    """Return the most important values of a plan, each with its source."""
    found: list[Fact] = []
    for name, paths, show in _FACTS:
        held = [values[path] for path in paths if path in values]
        if len(held) < len(paths) or held[0].get("value") in (None, False):
            continue
        first = next((row for row in held if row.get("at")), held[0])
        source = first.get("at") or first.get("why") or first.get("from", "")
        found.append(Fact(name, show(*(row.get("value") for row in held)), str(source)))
    return found


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_plain, cast("list[object]", value)))
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _part(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, float) and value < 1 else f"{_plain(value)}"


def _upper(text: str) -> str:
    return text.upper()


def _length(amount: float, unit: str) -> str:
    return f"{_plain(amount)} {unit}"


def _batch(total: int, micro: int, accumulation: int, processes: int) -> str:
    factors = f"{micro} micro × {accumulation} accumulation × {counted(processes, 'process')}"
    return f"{counted(total, 'sequence')} = {factors}"


def _learning_rate(rate: float, scheduler: str, warmup: float) -> str:
    return f"{rate:g}, {scheduler}, warm-up {_part(warmup)}"


def _hardware(gpu: str, per_node: int, nodes: int) -> str:
    return "CPU" if gpu == "none" else f"{gpu} × {per_node} × {counted(nodes, 'node')}"


_INIT = tuple(f"init.model.{name}" for name in ("family", "layers", "hidden_size", "heads", "vocab_size"))
# Name of the fact, plan paths, and what makes their values one text; a fact whose first value is absent is left out.
_FACTS: tuple[tuple[str, tuple[str, ...], Callable[..., str]], ...] = (
    ("From scratch", _INIT, "{}, {} layers, hidden {}, {} heads, vocabulary {:,}".format),
    ("Model", ("train.model.path",), _plain),
    ("Method", ("train.method",), _upper),
    (
        "Adapter",
        ("train.adapter.type", "train.adapter.rank", "train.adapter.alpha"),
        "{}, rank {}, alpha {:g}".format,
    ),
    ("Longest sequence", ("train.model.max_length",), "{:,} tokens".format),
    ("Training data", ("train.data.train.0.path", "train.data.train.0.format"), "{} ({})".format),
    ("Training data", ("train.data.train.0.hub", "train.data.train.0.format"), "{} ({})".format),
    ("Held out", ("train.data.holdout",), _part),
    ("Length", ("train.length.amount", "train.length.unit"), _length),
    (
        "Batch",
        ("train.batch.total", "train.batch.micro", "train.batch.accumulation", "train.batch.data_parallel"),
        _batch,
    ),
    (
        "Learning rate",
        ("train.optimizer.learning_rate", "train.optimizer.scheduler", "train.optimizer.warmup"),
        _learning_rate,
    ),
    ("Optimiser", ("train.optimizer.name",), _plain),
    ("Precision", ("train.numerics.precision", "train.model.load_in"), "{}, weights in {}".format),
    ("Hardware", ("hardware.gpu", "hardware.per_node", "hardware.nodes"), _hardware),
    ("Sharding", ("train.parallel.strategy",), _plain),
    ("Evaluation", ("evaluate.tasks",), _plain),
    ("Seed", ("train.seed",), str),
)
