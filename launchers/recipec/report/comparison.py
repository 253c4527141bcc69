"""Several runs side by side: what was decided differently, their curves, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.standing import Reason, What
from recipec.engine.status import read_run
from recipec.manifest import Manifest
from recipec.references import leaves
from recipec.report.data import FORMAT, discreet, models_of, report_data
from recipec.report.decisions import of_the_machine, shown
from recipec.report.scores import Evaluated, read_scores
from recipec.secrets import named_in

_REASONS: dict[str, What] = {"file": "file", "package": "pin"}
_NAMES = ("track.run_name", "track.group")  # of a stage: what only names a run


def comparison_data(runs: Mapping[str, Path]) -> dict[str, Any]:
    """Return a comparison of runs by the names that they have in it; the first is what the others are compared with.

    Raises RecipeError where there is no run in one of the folders, or fewer than two are named.
    """
    if len(runs) < 2:
        message = "two different runs are needed for a comparison"
        raise RecipeError([Finding("U003", message, file="command line")])
    reports = {name: report_data(folder) for name, folder in runs.items()}
    manifests = {name: read_run(folder)[2] for name, folder in runs.items()}
    data = {
        "format": FORMAT,
        "names": list(runs),
        "runs": [_about(name, report) for name, report in reports.items()],
        "differences": list(_differences(reports, manifests)),
        "curves": _overlaid(reports),
        "scores": _scores(manifests),
    }
    known = tuple(dict.fromkeys(one for report in reports.values() for one in named_in(report["recipe"]["text"] or "")))
    return discreet(data, known)


def _about(name: str, report: Mapping[str, Any]) -> dict[str, Any]:
    stages = [
        {word: stage[word] for word in ("stage", "state", "total_seconds", "usage")} for stage in report["stages"]
    ]
    same = ("state", "started", "ended", "seconds", "machines")
    recipe = {word: report["recipe"][word] for word in ("file", "sha256")}
    return {"name": name, **{word: report[word] for word in same}, "stages": stages, "recipe": recipe}


def _differences(
    reports: Mapping[str, Mapping[str, Any]], manifests: Mapping[str, Manifest]
) -> Iterator[dict[str, Any]]:
    """Yield what is not the same in all runs: stages, decided values, the bytes of what they read, and packages."""
    stages = {name: [stage.name for stage in one.plan.stages] for name, one in manifests.items()}
    yield from _unlike("stages", {"": {name: ", ".join(found) for name, found in stages.items()}})
    common = [stage for stage in next(iter(stages.values())) if all(stage in found for found in stages.values())]
    yield from _unlike("value", _by_path({name: _values(one, common) for name, one in manifests.items()}))
    read = {
        name: {file["file"]: file["sha256"] for file in report["files"] if file["what"] == "read"}
        for name, report in reports.items()
    }
    yield from _unlike("file", _by_path(read))
    pins = {
        name: {
            line.partition("==")[0]: line.partition("==")[2] for lines in report["packages"].values() for line in lines
        }
        for name, report in reports.items()
    }
    yield from _unlike("package", _by_path(pins))


def _by_path(found: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str | None]]:
    paths = dict.fromkeys(path for values in found.values() for path in values)
    return {path: {name: values.get(path) for name, values in found.items()} for path in paths}


def _unlike(what: str, found: Mapping[str, Mapping[str, str | None]]) -> Iterator[dict[str, Any]]:
    for path, values in found.items():
        if len(set(values.values())) > 1:
            yield {"what": what, "path": path or what, "values": dict(values)}


def difference_text(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return a difference of two runs in the words of `recipe why`."""
    old, new = (row["values"][name] for name in names)
    return Reason(_REASONS.get(row["what"], "value"), row["path"], old, new).text()


def _values(manifest: Manifest, stages: Sequence[str]) -> dict[str, str]:
    """Return every value of some stages and of the hardware as text; the run's own folder is the same in each."""
    roots: list[tuple[str, Any]] = [("hardware", manifest.plan.hardware)]
    roots += [(stage.name, stage.body) for stage in manifest.plan.stages if stage.name in stages]
    own, found = f"runs/{manifest.recipe.name}", dict[str, str]()
    for root, body in roots:
        for path, value in leaves(body, root):
            if path.removeprefix(f"{root}.") not in _NAMES and not of_the_machine(manifest, path, value):
                found[path] = shown(path, msgspec.to_builtins(value)).replace(own, "runs/…")
    return found


def _overlaid(reports: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the charts that more than one run has, with the series of each."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, report in reports.items():
        for chart in report["curves"]:
            series = [{"run": name, **one} for one in chart["series"]]
            found.setdefault((chart["stage"], chart["title"]), []).extend(series)
    return [
        {"stage": stage, "title": title, "series": series}
        for (stage, title), series in found.items()
        if len({one["run"] for one in series}) > 1
    ]


def _scores(manifests: Mapping[str, Manifest]) -> list[dict[str, Any]]:
    """Return the scores of each model that more than one run evaluated, those of the runs side by side."""
    folders = {name: {one.model: one.folder for one in models_of(manifest)} for name, manifest in manifests.items()}
    models = dict.fromkeys(model for of in folders.values() for model in of)
    found: list[dict[str, Any]] = []
    for model in models:
        runs = [Evaluated(name, of[model]) for name, of in folders.items() if model in of]
        if len(runs) > 1:
            found += [{"model": model, **row.as_json()} for row in read_scores(runs)]
    return found
