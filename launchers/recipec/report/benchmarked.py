"""How fast a server answered by each of its settings, as the stage that measured it has written it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from recipec.json_files import read_object
from recipec.kinds.benchmark import FILE
from recipec.plan import Stage

TIMES = {"first_token_ms": "first token", "between_tokens_ms": "between tokens"}
MEDIAN = 50  # the percentile that is shown where no limits were set


def of_benchmark(stage: Stage[Any]) -> dict[str, Any] | None:
    """Return what was measured of a server, JSON-ready; None where the stage has not run.

    `rows` are the measurements: tokens written and requests answered in a second, and for each of TIMES the milliseconds that
    `share` percent of the requests did not exceed; None where there are none. `unbeaten` are those times in which nothing of its
    workload wrote more as soon. What kept all measurements of a point from being made is one row, of no load. `settings` are the points with
    why each was not chosen, which is empty for the best.
    """
    found, body = read_object(Path(stage.output) / FILE), stage.body
    if found is None:
        return None
    limits: dict[str, Any] = found.get("slo") or {}
    share = limits.get("percentile", MEDIAN)
    best: dict[str, Any] | None = found.get("best")
    unbeaten = _unbeaten(found["fronts"])
    rows = [_row(one, share, unbeaten.get((one["point"], one["load"]), [])) for one in found["measurements"]]
    lost = {one["point"]: one["why"] for one in found["others"]}
    return {
        "stage": stage.name,
        "of": body.server.stage,
        "tool": f"{stage.system} {stage.release}",
        "share": share,
        "limits": {word: limits.get(word) for word in TIMES},
        "best": best,
        "settings": [{"point": one["name"], "why": lost.get(one["name"], "")} for one in found["points"]],
        "left_out": [{"point": one.name, "why": one.why} for one in body.left_out],
        "rows": list(_once(rows)),
        "fronts": found["fronts"],
    }


def _unbeaten(fronts: dict[str, dict[str, list[list[str]]]]) -> dict[tuple[str, str], list[str]]:
    """Return in which of the times a measurement, by its point and load, is on the front of its workload."""
    found: dict[tuple[str, str], list[str]] = {}
    for front in fronts.values():
        for word in TIMES:
            for point, load in front[word]:
                found.setdefault((point, load), []).append(word)
    return found


def _once(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows, those of a point that have all one problem as one."""
    for _, each in groupby(rows, key=lambda row: row["point"]):
        own = list(each)
        if len(own) > 1 and own[0]["problem"] and len({row["problem"] for row in own}) == 1:
            yield {**own[0], "load": None}
        else:
            yield from own


def _row(one: dict[str, Any], share: int, unbeaten: list[str]) -> dict[str, Any]:
    times: dict[str, dict[str, float | None]] = {word: one.get(word) or {} for word in TIMES}
    told = {word: times[word].get(str(share)) for word in TIMES}
    speeds = {
        word: one.get(word) for word in ("output_tokens_per_second", "requests_per_second", "completed", "failed")
    }
    return {
        "point": one["point"],
        "load": one["load"],
        "workload": one["workload"],
        **speeds,
        **told,
        "unbeaten": unbeaten,
        "problem": one["problem"],
    }
