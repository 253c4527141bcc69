"""How fast a server answered by each of its settings, as the stage that measured it has written it."""

from __future__ import annotations

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
    `share` percent of the requests did not exceed; None where there are none. `settings` are the points with what each held.
    """
    found, body = read_object(Path(stage.output) / FILE), stage.body
    if found is None:
        return None
    limits: dict[str, Any] = found.get("slo") or {}
    share = limits.get("percentile", MEDIAN)
    best: dict[str, Any] | None = found.get("best")
    rows = [_row(one, share) for one in found["measurements"]]
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
        "rows": rows,
        "fronts": found["fronts"],
    }


def _row(one: dict[str, Any], share: int) -> dict[str, Any]:
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
        "problem": one["problem"],
    }
