"""What is true of a run now, told from its record and from the processes that are really there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.checkpoints import last_complete
from recipec.engine.progress import clock
from recipec.engine.record import Record, RunFolder, json_lines, past_of
from recipec.processes import alive, group_members

GONE = "stopped (process gone)"
_STATES = {"finished": "complete", "failed": "failed", "interrupted": "interrupted", None: "waiting"}


def status(run_dir: Path) -> dict[str, Any]:
    """Return the state of a run and its stages, as JSON-ready data.

    States: waiting, running, complete, failed, interrupted, and `stopped (process gone)` for what was killed without a
    word. Raises RecipeError when there is no run in the folder.
    """
    folder, lines, plan = _read(run_dir)
    place = max((place for place, row in enumerate(lines) if row["event"] == "run-started"), default=len(lines))
    after = lines[place:]
    start = after[0] if after else None
    end = next((row for row in after if row["event"] in ("run-finished", "run-failed", "run-interrupted")), None)
    living = start is not None and end is None and alive(int(start["pid"]), start.get("pid_started"))
    stages = [_stage(folder, lines, row, living=living) for row in plan.get("stages", [])]
    if end is not None:
        state = {"run-finished": "complete", "run-failed": "failed"}.get(end["event"], "interrupted")
    else:
        state = "waiting" if start is None else "running" if living else GONE
    return {
        "name": plan["recipe"]["name"],
        "state": state,
        "started": start["time"] if start else None,
        "ended": end["time"] if end else None,
        "pid": start["pid"] if start and living else None,
        "folder": str(run_dir),
        "stages": stages,
    }


def _stage(folder: RunFolder, lines: list[dict[str, Any]], row: dict[str, Any], *, living: bool) -> dict[str, Any]:
    past = past_of(lines, row["id"])
    last = past.last
    found: dict[str, Any] = {"stage": row["id"], "state": _STATES.get(past.state, "running"), "attempts": past.attempts}
    found |= {"seconds": last.get("seconds"), "exit_code": last.get("exit_code")}
    found |= {"step": last.get("step"), "total": last.get("total"), "reason": last.get("reason")}
    if past.state == "started":
        here = living or bool(group_members(int(last["pid"]), last.get("pid_started")))
        found["state"] = "running" if here else GONE
        events = [event for event in json_lines(folder.events(row["id"])) if "step" in event]
        if events:
            found |= {"step": events[-1]["step"], "total": events[-1].get("total")}
            losses = [event["loss"] for event in events if event.get("event") == "log"]
            found["loss"] = losses[-1] if losses else None
    checkpoint = last_complete(Path(row["output"])) if row.get("resumable") else None
    found["checkpoint"] = str(checkpoint) if checkpoint else None
    log = folder.log(row["id"])
    found["log"] = str(log) if log.exists() else None
    return found


def status_text(found: dict[str, Any]) -> str:
    """Return `status` as lines for a person."""
    head = f"{found['name']}: {found['state']}"
    if found["pid"]:
        head += f" (process {found['pid']})"
    lines = [head + (f", started {found['started']}" if found["started"] else "")]
    width = max((len(row["stage"]) for row in found["stages"]), default=0)
    for row in found["stages"]:
        parts = [row["state"]]
        if row["step"] is not None and row["state"] != "complete":
            parts.append(f"step {row['step']}/{row['total']}")
        if row["seconds"] is not None:
            parts.append(clock(row["seconds"]))
        if row["reason"]:
            parts.append(row["reason"])
        if row["checkpoint"] and row["state"] not in ("complete", "running"):
            parts.append(f"continues from {row['checkpoint']}")
        lines.append(f"  {row['stage']:<{width}}  {', '.join(parts)}")
    return "\n".join(lines)


def logs(run_dir: Path, stage: str | None = None, *, follow: bool = False) -> Iterator[str]:
    """Yield the output of a run's stages (or of one) in order; with `follow`, what comes, until the run ends.

    Raises RecipeError when there is no such run or stage.
    """
    folder, _lines, plan = _read(run_dir)
    names = [row["id"] for row in plan.get("stages", [])]
    if stage is not None and stage not in names:
        from recipec.suggest import nearest

        message = f'there is no stage "{stage}"; there are {", ".join(names)}'
        raise RecipeError([Finding("E021", message, suggestion=nearest(stage, names), file=str(run_dir))])
    offsets = dict.fromkeys(names if stage is None else [stage], 0)
    return _follow(folder, offsets, follow=follow)


def _follow(folder: RunFolder, offsets: dict[str, int], *, follow: bool) -> Iterator[str]:
    while True:
        running = follow and status(folder.path)["state"] == "running"
        for name in offsets:
            path = folder.log(name)
            while path.exists():
                with path.open("rb") as stream:
                    stream.seek(offsets[name])
                    chunk = stream.read(1 << 16)
                offsets[name] += len(chunk)
                if not chunk:
                    break
                yield chunk.decode("utf-8", "replace")
        if not running:
            return
        time.sleep(0.3)


def _read(run_dir: Path) -> tuple[RunFolder, list[dict[str, Any]], dict[str, Any]]:
    folder = RunFolder(run_dir)
    lines = Record(folder.record).read()
    try:
        plan = json.loads(folder.plan.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        message = f'there is no run "{run_dir.name}"'
        raise RecipeError([Finding("E020", message, help="start it with `recipe run`", file=str(run_dir))]) from None
    return folder, lines, plan


__all__ = ["GONE", "logs", "status", "status_text"]
