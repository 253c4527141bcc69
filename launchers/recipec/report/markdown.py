"""Reports as GitHub-flavoured Markdown, short enough for a comment on a pull request; details are folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from recipec.engine.progress import clock
from recipec.engine.status import usage_text
from recipec.plural import counted
from recipec.render.markdown import cell, code, inert
from recipec.report.words import (
    JUDGED,
    MANY,
    MEASURED,
    QUANTISED,
    chosen,
    count,
    declared_hardware,
    how_compared,
    judged_cells,
    judged_notes,
    machine_text,
    measured_cells,
    measured_note,
    measured_on,
    p_text,
    quantised_cells,
    score_json_text,
    settings_text,
    short,
)

LINES = 12  # of an error
MOST = 60  # rows of a folded table
SHORT = 300  # characters of a prompt or an answer


def report_markdown(data: Mapping[str, Any]) -> str:
    """Return the report of a run, from the contents that `report_data` returns."""
    lines = [f"## {inert(data['name'])}: {data['state']}", "", _line(data), ""]
    for stage in data["stages"]:
        if stage["state"] == "failed":
            lines += [f"**{inert(stage['stage'])} failed**: {inert(stage['reason'] or '')}", ""]
            lines += [*("    " + inert_line for inert_line in stage["error"][-LINES:]), ""] if stage["error"] else []
    if data["findings"]:
        lines += [f"- ⚠️ {one['code']}: {inert(one['message'])}" for one in data["findings"]] + [""]
    if data["scores"]:
        lines += [
            *_score_table(data["scores"], data["models"]),
            "",
            f"<sub>{inert(_note(data['scores'], data['models'][0]))}</sub>",
            "",
        ]
    lines += _trainings(data)
    lines += [line for one in data["checkpoints"] for line in _checkpoints(one)]
    lines += _quantised(data["quantised"])
    lines += _judged(data["judged"])
    lines += [line for one in data["benchmarks"] for line in _benchmark(one)]
    lines += _folded("Stages", _table(["stage", "by", "state", "time", "used"], map(_stage, data["stages"])))
    lines += _folded("Rows of data", _rows(data))
    lines += _folded("Answers side by side", _samples(data["samples"]))
    written = [row for row in data["decisions"] if row["origin"] in ("recipe", "command line")]
    shown = [(code(row["path"]), cell(row["value"]), cell(row["at"] or row["origin"])) for row in written]
    lines += _folded(
        f"What the recipe says ({len(written)} of {len(data['decisions'])} decisions)",
        _table(["value", "", "where"], shown),
    )
    lines += _folded("Versions and hashes", _versions(data))
    return "\n".join(lines).rstrip() + "\n"


def comparison_markdown(data: Mapping[str, Any]) -> str:
    """Return a comparison of runs, from the contents that `comparison_data` returns."""
    from recipec.report.comparison import difference_text

    names: list[str] = data["names"]
    lines = [f"## {inert(' · '.join(names))}", ""]
    shown = ((cell(run["name"]), run["state"], clock(run["seconds"]), _machines(run)) for run in data["runs"])
    lines += [*_table(["run", "state", "time", "ran on"], shown), ""]
    different = data["differences"]
    if len(names) > MANY:
        lines += _by_run(data)
    elif len(names) == 2:
        lines += [f"- {inert(difference_text(row, names))}" for row in different[:MOST]]
    else:
        values = ((code(row["path"]), *(cell(row["values"][n] or "–") for n in names)) for row in different[:MOST])
        lines += _table(["what is different", *map(cell, names)], values)
    lines += [f"- and {len(different) - MOST} more"] if len(different) > MOST and len(names) <= MANY else []
    lines += [] if different else ["Nothing differs: stages, values, data and packages are the same."]
    lines.append("")
    if data["scores"]:
        rows = [{**row, "task": f"{row['model']}: {row['task']}"} for row in data["scores"]]
        lines += _score_table(rows, names) if len(names) <= MANY else []
        lines += ["", f"<sub>{inert(_note(data['scores'], names[0]))}</sub>", ""]
    last = [row for chart in data["curves"] if chart["title"] == "Loss" for row in _last_losses(chart, names)]
    lines += [*_table(["last loss", *map(cell, names)], last), ""] if last else []
    return "\n".join(lines).rstrip() + "\n"


def _by_run(data: Mapping[str, Any]) -> list[str]:
    """Return a table with a row for each of many runs: what is different of it, and its scores."""
    different, scores = data["differences"][:MOST], data["scores"]
    titles = [f"{row['model']}: {row['task']} {row['metric']}" for row in scores]
    rows = (
        (cell(name), *(cell(row["values"][name] or "–") for row in different), *(_score(row, name) for row in scores))
        for name in data["names"]
    )
    return _table(["run", *(code(row["path"]) for row in different), *map(cell, titles)], rows)


def _line(data: Mapping[str, Any]) -> str:
    done = sum(stage["state"] == "complete" for stage in data["stages"])
    parts = [code(data["recipe"]["file"]), f"{done} of {counted(len(data['stages']), 'stage')} complete"]
    parts += [
        f"took {clock(data['seconds'])}",
        f"declared {inert(declared_hardware(data))}",
        f"ran on {_machines(data)}",
    ]
    return " · ".join(parts)


def _machines(data: Mapping[str, Any]) -> str:
    return "; ".join(cell(machine_text(one)) for one in data["machines"]) or "not recorded"


def _note(rows: Sequence[Mapping[str, Any]], first: str) -> str:
    compared = how_compared(rows)
    return "± is one standard error." + (f" Changes are against {first}. {compared}" if compared else "")


def _score_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    head = ["task", "metric", *map(cell, columns)]
    body = [(cell(row["task"]), cell(row["metric"]), *(_score(row, column) for column in columns)) for row in rows]
    return _table(head, body)


def _score(row: Mapping[str, Any], column: str) -> str:
    change = row["changes"].get(column)
    text = score_json_text(row["scores"].get(column))
    if change is None:
        return text
    mark = {True: " ✅", False: " ❌"}.get(change["improved"], "") if change["significant"] else ""
    chance = p_text(change["p"])
    return f"{text}<br>{score_json_text(change, True)}{f', {chance}' if chance else ''}{mark}"


def _trainings(data: Mapping[str, Any]) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for stage in data["stages"]:
        if stage["kind"] != "train":
            continue
        charts = [chart for chart in data["curves"] if chart["stage"] == stage["stage"] and chart["title"] == "Loss"]
        series = [one for chart in charts for one in chart["series"]]
        ends = [
            f"{'validation' if one['held_out'] else 'training'} {short(one['points'][0][1])} → {short(one['points'][-1][1])}"
            for one in series
            if one["points"]
        ]
        broken = sorted({step for one in series for step in one["not_finite"]})
        ends += [f"not finite at step {', '.join(map(str, broken[:3]))}"] if broken else []
        rows.append((cell(stage["stage"]), "<br>".join(ends) or "–", clock(stage["total_seconds"]), cell(usage_text(stage["usage"]) or "–")))  # fmt: skip
    return [*_table(["training", "loss", "time", "used"], rows), ""] if rows else []


def _checkpoints(one: Mapping[str, Any]) -> list[str]:
    """Return the scores of the checkpoints of one training."""
    best = one["best"]
    rows = (
        (
            f"{row['step']}{' (best)' if row['best'] else ''}",
            *(score_json_text(score) if score else "–" for score in row["scores"]),
        )
        for row in one["rows"]
    )
    said = f"The best checkpoint of {inert(one['of'])} is that of step {best['step']}, by {inert(best['task'])} {inert(best['metric'])}."
    gone = f" Deleted before they could be kept: {', '.join(map(str, one['missed']))}." if one["missed"] else ""
    return [said + gone, "", *_table(["step", *map(cell, one["columns"])], rows), ""]


def _quantised(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return what became of weights in fewer bits."""
    if not rows:
        return []
    shown = (tuple(map(cell, quantised_cells(one))) for one in rows)
    return [*_table(list(QUANTISED), shown), "", f"<sub>{inert(measured_on(rows))}</sub>", ""]


def _judged(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return who judged, and how far to believe it."""
    if not rows:
        return []
    shown = (tuple(map(cell, cells)) for one in rows for cells in judged_cells(one))
    notes = "<br>".join(inert(note) for one in rows for note in judged_notes(one))
    return [*_table(list(JUDGED), shown), "", f"<sub>{notes}</sub>", ""]


def _benchmark(one: Mapping[str, Any]) -> list[str]:
    """Return how fast a server answered, by which settings."""
    lines = [f"Speed of {inert(one['of'])}: {inert(chosen(one))}", ""]
    lost = [(cell(settings_text(row["point"])), cell(row["why"])) for row in one["settings"] if row["why"]]
    lost += [(cell(settings_text(row["point"])), cell(f"left out: {row['why']}")) for row in one["left_out"]]
    lines += (
        _folded(
            f"Other settings of {one['of']}",
            _table(["settings", "what they reached, or why they did not count"], lost[:MOST]),
        )
        if lost
        else []
    )
    shown = [tuple(map(cell, measured_cells(row))) for row in one["rows"][:MOST]]
    more = [f"and {len(one['rows']) - MOST} more"] if len(one["rows"]) > MOST else []
    table = [*_table(list(MEASURED), shown), "", f"<sub>{inert(measured_note(one))}</sub>", *more]
    return [*lines, *_folded(f"All measurements of {one['of']}", table)]


def _stage(stage: Mapping[str, Any]) -> tuple[str, ...]:
    attempts = f", {stage['attempts']} attempts" if stage["attempts"] > 1 else ""
    by = f"{stage['system']} {stage['release']}"
    used = usage_text(stage["usage"]) or "–"
    return cell(stage["stage"]), cell(by), stage["state"] + attempts, clock(stage["total_seconds"]), cell(used)


def _rows(data: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if data["trained_rows"]:
        shown = [
            (
                cell(row["stage"]),
                "<br>".join(f"{cell(one['source'])} ({count(one['rows'])})" for one in row["sources"]),
                *(count(row[word]) for word in ("given", "held_out", "left_out")),
            )
            for row in data["trained_rows"]
        ]
        lines += _table(
            ["training", "sources (rows)", "given to the trainer", "held out", "left out by the tool"], shown
        )
    for row in data["made_rows"]:
        counts = ", ".join(f"{what} {number:,}" for what, number in row["counts"].items())
        lines += ["", f"Made by {code(row['stage'])}: {inert(counts)}"]
    return lines


def _samples(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    for task in samples[:3]:
        models = task["models"]
        shown = [
            (
                cell(_cut(row["prompt"])),
                cell(_cut(row["target"])),
                *(cell(_cut(row["answers"][m]["text"]) or "–") for m in models),
            )
            for row in task["rows"][:2]
        ]
        lines += ["", f"**{inert(task['task'])}**", "", *_table(["prompt", "expected", *map(cell, models)], shown)]
    return lines


def _versions(data: Mapping[str, Any]) -> list[str]:
    lines = ["- " + ", ".join(f"{inert(name)} {inert(version)}" for name, version in data["versions"].items())]
    lines.append(f"- {code(data['recipe']['file'])} sha256 {code(data['recipe']['sha256'])}")
    read = [file for file in data["files"] if file["what"] == "read"]
    return lines + [f"- {code(file['file'])} sha256 {code(file['sha256'])}" for file in read[:MOST]]


def _last_losses(chart: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for held_out in (False, True):
        last = {s["run"]: s["points"][-1][1] for s in chart["series"] if s["held_out"] == held_out and s["points"]}
        if last:
            kind = "validation" if held_out else "training"
            yield f"{cell(chart['stage'])}, {kind}", *(short(last[name]) if name in last else "–" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    body = [f"| {' | '.join(row)} |" for row in rows]
    more = [f"| and {len(body) - MOST} more |"] if len(body) > MOST else []
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *body[:MOST], *more] if body else []


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>", ""] if lines else []


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else f"{line[:SHORT]} …"
