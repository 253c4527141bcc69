"""The contents of a report, from the files of a run; JSON-ready, and without any secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from recipec.engine.fingerprint import Key
from recipec.engine.record import RunFolder
from recipec.engine.status import read_run, status
from recipec.kinds import kind
from recipec.manifest import Manifest
from recipec.plan import ScoresOutput, Stage
from recipec.report.benchmarked import of_benchmark
from recipec.report.checkpoints import of_checkpoints
from recipec.report.curves import curves
from recipec.report.decisions import decisions
from recipec.report.facts import facts, versions
from recipec.report.judged import of_judged
from recipec.report.quantised import of_quantised
from recipec.report.rows import made_rows, trained_rows
from recipec.report.samples import side_by_side
from recipec.report.scores import Evaluated, KeptAnswers, ScoreRow, evaluated, read_scores
from recipec.secrets import hidden, named_in

FORMAT = 2  # of what `recipe report --json` prints
_ENDS = {"stage-finished": "complete", "stage-failed": "failed", "stage-interrupted": "interrupted"}


def report_data(run_dir: Path) -> dict[str, Any]:
    """Return the report of a run. Raises RecipeError when there is no run in the folder."""
    found = status(run_dir)
    folder, lines, manifest = read_run(run_dir)
    recipe = folder.recipe.read_text(encoding="utf-8") if folder.recipe.exists() else None
    models = models_of(manifest)
    rows = read_scores(models)
    stages: list[dict[str, Any]] = [
        {"usage": None, **state, **_about(folder, lines, stage)}
        for state, stage in zip(found["stages"], manifest.plan.stages, strict=True)
    ]
    starts = [row for row in lines if row.get("event") == "run-started"]
    last: dict[str, Any] = starts[-1] if starts else {}
    data: dict[str, Any] = {
        "format": FORMAT,
        "name": found["name"],
        "description": manifest.plan.description,
        "state": found["state"],
        "started": starts[0]["time"] if starts else None,
        "ended": found["ended"],
        "seconds": _took(one for stage in stages for one in stage["history"]),
        "machines": machines(lines),
        "findings": last.get("findings"),
        "stages": stages,
        "facts": [fact._asdict() for fact in facts(manifest)],
        "curves": [
            {"stage": stage.name, **chart}
            for stage in manifest.plan.of_kind("train")
            for chart in curves(folder.events(stage.name))
        ],
        "checkpoints": [
            one for stage in manifest.plan.of_kind("checkpoints") if (one := of_checkpoints(stage)) is not None
        ],
        "quantised": [one for stage in manifest.plan.of_kind("quantize") if (one := of_quantised(stage)) is not None],
        "judged": [one for stage in manifest.plan.of_kind("judge") if (one := of_judged(stage)) is not None],
        "benchmarks": [one for stage in manifest.plan.of_kind("benchmark") if (one := of_benchmark(stage)) is not None],
        "models": list(dict.fromkeys(name for row in rows for name in row.scores)),
        "scores": [row.as_json() for row in rows],
        "samples": samples(models, rows),
        "trained_rows": [trained_rows(folder, stage) for stage in manifest.plan.of_kind("train")],
        "made_rows": [row for stage in manifest.plan.stages if (row := made_rows(stage)) is not None],
        "decisions": decisions(manifest),
        "versions": versions(lines, manifest),
        "packages": last.get("packages") or {},
        "files": files(folder, manifest),
        "recipe": {"file": manifest.recipe.file, "sha256": manifest.recipe.sha256, "text": recipe},
    }
    return discreet(data, named_in(recipe or ""))


def discreet(data: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Return data with every secret in its texts made unreadable: by its shape, or because it is known."""
    return {hidden(key, known): _discreet(value, known) for key, value in data.items()}


def _discreet(value: Any, known: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return hidden(value, known)
    if isinstance(value, dict):
        return discreet(cast("dict[str, Any]", value), known)
    return [_discreet(one, known) for one in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


def models_of(manifest: Manifest) -> list[Evaluated]:
    """Return the models that the stages of a run evaluate, and where their results lie."""
    outputs = (output for stage in manifest.plan.stages for output in stage.outputs)
    return evaluated(output for output in outputs if isinstance(output, ScoresOutput))


def score_rows(run_dir: Path) -> list[ScoreRow]:
    """Return the scores of a run's evaluations. Raises RecipeError when there is no run in the folder."""
    return read_scores(models_of(read_run(run_dir)[2]))


def samples(models: list[Evaluated], scores: list[ScoreRow]) -> list[dict[str, Any]]:
    """Return a few answers of each task, those of all models side by side."""
    kept = KeptAnswers(models)
    found: list[dict[str, Any]] = []
    for task in dict.fromkeys(row.task for row in scores):
        answers = {one.model: rows for one in models for rows in list(kept.of(one.model, task).values())[:1]}
        if (shown := side_by_side(task, answers)) is not None:
            found.append(shown)
    return found


def machines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the machines that a run ran on, each once, the last one last."""
    found: dict[str, dict[str, Any]] = {}
    for row in lines:
        if row.get("event") == "run-started" and (host := row.get("host")):
            found.pop(host, None)
            found[host] = row.get("machine") or {"host": host}
    return list(found.values())


def _about(folder: RunFolder, lines: list[dict[str, Any]], stage: Stage[Any]) -> dict[str, Any]:
    """Return what a report says of a stage beside its state."""
    attempts = list(_attempts(lines, stage.name))
    return {
        "kind": stage.kind,
        "system": stage.system,
        "release": stage.release,
        "does": kind(stage.kind).sentence(stage),
        "after": list(stage.after),
        "on": {"device": stage.resources.device, "nodes": stage.resources.nodes, "per_node": stage.resources.per_node},
        "total_seconds": round(sum(one["seconds"] or 0.0 for one in attempts), 1),
        "history": attempts,
        "error": attempts[-1].pop("error", []) if attempts else [],
        "fingerprint": key.hash if (key := Key.read(folder.key(stage.name))) is not None else None,
    }


def _took(attempts: Iterable[dict[str, Any]]) -> float:
    """Return for how long any stage ran: what ran at once counts once. When each started is known to the second."""
    total, end = 0.0, 0.0
    for one in sorted(attempts, key=lambda one: str(one["started"])):
        began, seconds = datetime.fromisoformat(one["started"]).timestamp(), one["seconds"] or 0.0
        total += seconds if began > end - 1 else max(0.0, began + seconds - end)
        end = max(end, began + seconds)
    return round(total, 1)


def _attempts(lines: list[dict[str, Any]], stage: str) -> Iterator[dict[str, Any]]:
    """Yield the attempts that led to what a stage left: none of those whose results were set aside."""
    found: list[dict[str, Any]] = []
    for row in lines:
        if row.get("stage") != stage:
            continue
        event = row.get("event")
        if event == "stage-set-aside":
            found = []
        elif event == "stage-started":
            resumed = row.get("resumed_from")
            found.append(
                {"started": row.get("time"), "state": "stopped", "seconds": None, "reason": None, "resumed": resumed}
            )
        elif event in _ENDS and found:
            found[-1] |= {"state": _ENDS[event], "seconds": row.get("seconds"), "reason": row.get("reason")}
            found[-1] |= {"error": row.get("error") or []}
    for one in found[:-1]:
        one.pop("error", None)
    yield from found


def files(folder: RunFolder, manifest: Manifest) -> list[dict[str, str]]:
    """Return the hashes of what the stages read, as they were when each started, and of the emitted files."""
    found: dict[str, str] = {}
    for stage in manifest.plan.stages:
        key = Key.read(folder.key(stage.name))
        found |= key.files if key is not None else {}
    emitted: Mapping[str, Any] = manifest.files
    read = [{"file": name, "sha256": held, "what": "read"} for name, held in sorted(found.items())]
    return read + [{"file": name, "sha256": file.sha256, "what": "emitted"} for name, file in sorted(emitted.items())]
