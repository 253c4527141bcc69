"""The state of a run, from its record and from the processes that are really running."""

from __future__ import annotations

import time
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from recipec.diagnostics import Finding, RecipeError
from recipec.engine import build
from recipec.engine.checkpoints import last_complete
from recipec.engine.progress import Progress, ProgressReader, clock, copies_of, gib
from recipec.engine.record import Record, RunFolder, history_of
from recipec.manifest import Manifest
from recipec.plan import Stage
from recipec.processes import alive, group_members
from recipec.terminal import Shown

GONE = "stopped (process gone)"
_STATES = {"finished": "complete", "failed": "failed", "interrupted": "interrupted", None: "waiting"}


class StageStatus(TypedDict):
    """The state of one stage; what is not known is None. `status` lists the states."""

    stage: str
    state: str
    attempts: int
    seconds: float | None  # of the last attempt that ended
    exit_code: int | None
    step: int | None
    total: int | None
    reason: str | None  # why it failed
    loss: NotRequired[float | str | None]  # the last one of an attempt that has not ended; text for NaN and infinity
    now: NotRequired[dict[str, Any]]  # of an attempt that has not ended: what `Progress` knows
    usage: NotRequired[dict[str, Any]]  # of a training that ended: peak memory in bytes, tokens per second
    stale: NotRequired[str | None]  # the first reason why it is complete but stale
    despite: NotRequired[list[str]]  # changes under which it went on from its checkpoints, as was asked for
    checkpoint: str | None  # the one that the next attempt continues from
    log: str | None


class RunStatus(TypedDict):
    """The state of a run and its stages. Times are UTC, ISO 8601."""

    name: str
    state: str
    started: str | None
    ended: str | None
    pid: int | None
    folder: str
    stages: list[StageStatus]
    note: NotRequired[str | None]  # what could not be judged


Readers = dict[str, ProgressReader]  # of the events of stages, for who asks again and again


def status(run_dir: Path, readers: Readers | None = None) -> RunStatus:
    """Return the state of a run and its stages, as JSON-ready data. `readers` are kept, and go on from where they were.

    States: waiting, running, complete, failed, interrupted, `partly complete` for a run of some stages only, and `stopped (process gone)` for what was killed and could
    not record it. Raises RecipeError when there is no run in the folder, or one of another version.
    """
    folder, lines, manifest = read_run(run_dir)
    begin = next((n for n in reversed(range(len(lines))) if lines[n]["event"] == "run-started"), None)
    start, after = (lines[begin], lines[begin:]) if begin is not None else (None, [])
    end = next((row for row in after if row["event"] in ("run-finished", "run-failed", "run-interrupted")), None)
    living = start is not None and end is None and alive(int(start["pid"]), start.get("pid_started"))
    kept = readers if readers is not None else {}
    stages = [_stage(folder, lines, stage, kept, living=living) for stage in manifest.plan.stages]
    if end is not None:
        done = "partly complete" if end.get("left") or end.get("elsewhere") else "complete"
        state = {"run-finished": done, "run-failed": "failed"}.get(end["event"], "interrupted")
    else:
        state = "waiting" if start is None else "running" if living else GONE
    return {
        "name": manifest.recipe.name,
        "state": state,
        "started": start["time"] if start else None,
        "ended": end["time"] if end else None,
        "pid": start["pid"] if start and living else None,
        "folder": str(run_dir),
        "stages": stages,
    }


def _stage(
    folder: RunFolder, lines: list[dict[str, Any]], stage: Stage[Any], readers: Readers, *, living: bool
) -> StageStatus:
    history = history_of(lines, stage.name)
    last = history.last
    checkpoint = last_complete(Path(stage.output)) if stage.resumable else None
    log = folder.log(stage.name)
    found: StageStatus = {
        "stage": stage.name,
        "state": _STATES.get(history.state, "running"),
        "attempts": history.attempts,
        "seconds": last.get("seconds"),
        "exit_code": last.get("exit_code"),
        "step": last.get("step"),
        "total": last.get("total"),
        "reason": last.get("reason"),
        "checkpoint": str(checkpoint) if checkpoint else None,
        "log": str(log) if log.exists() else None,
    }
    if history.despite:
        found["despite"] = list(history.despite)
    if history.state == "started":
        here = living or bool(group_members(int(last["pid"]), last.get("pid_started")))
        found["state"] = "running" if here else GONE
        reader = readers.setdefault(
            stage.name, ProgressReader(folder.events(stage.name), log, copies_of(stage), whole=True)
        )
        progress = reader.read()
        if progress.step is not None:
            found["step"], found["total"], found["loss"] = progress.step, progress.total, reader.loss
            found["now"] = {name: value for name, value in progress._asdict().items() if value not in (None, "")}
    elif usage := last.get("usage"):
        found["usage"] = usage
    return found


def status_text(found: RunStatus) -> str:
    """Return a status as text."""
    head = f"{found['name']}: {found['state']}"
    if found["pid"]:
        head += f" (process {found['pid']})"
    lines = [head + (f", started {found['started']}" if found["started"] else "")]
    width = max((len(row["stage"]) for row in found["stages"]), default=0)
    for row in found["stages"]:
        stale = row.get("stale")
        parts = [f"stale: {stale}" if stale else row["state"]]
        if row["step"] is not None and row["state"] != "complete":
            parts.append(f"step {row['step']}/{row['total']}")
        if now := row.get("now"):
            progress = Progress(**now)
            left = f"{clock(progress.eta)} left" if progress.eta is not None and row["state"] == "running" else ""
            parts += [text for text in (progress.learning(), progress.pace(), left) if text]
        if row["seconds"] is not None:
            parts.append(clock(row["seconds"]))
        if usage := usage_text(row.get("usage")):
            parts.append(usage)
        if row["reason"]:
            parts.append(row["reason"])
        if row["checkpoint"] and row["state"] not in ("complete", "running"):
            parts.append(f"resumes from {row['checkpoint']}")
        lines.append(f"  {row['stage']:<{width}}  {', '.join(parts)}")
        lines += [f"  {'':<{width}}  went on although this changed: {one}" for one in row.get("despite", ())]
    if note := found.get("note"):
        lines.append(f"note: {note}")
    return "\n".join(lines)


def usage_text(usage: Mapping[str, Any] | None) -> str:
    """Return as text what a training used, as its record has it."""
    if usage is None:
        return ""
    tokens: dict[str, Any] | None = usage.get("tokens")
    memory: dict[str, int] = usage.get("memory") or {}
    parts = [f"{tokens['per_second']:,.0f} tokens/s"] if tokens else []
    parts += [f"{gib(memory['reserved'])} of GPU memory" if "reserved" in memory else ""]
    parts += [f"{gib(memory['resident'])} of memory" if "resident" in memory else ""]
    return ", ".join(part for part in parts if part)


def logs(run_dir: Path, stage: str | None = None, *, follow: bool = False) -> Iterator[str]:
    """Yield the output of a run's stages (or of one) in order; with `follow`, also new output until the run ends.

    Colours are left out, and other control characters spelled out.

    Raises RecipeError when there is no such run or stage.
    """
    folder, _lines, manifest = read_run(run_dir)
    names = [one.name for one in manifest.plan.stages]
    if stage is not None and stage not in names:
        from recipec.suggest import nearest

        message = f'there is no stage "{stage}"; there are {", ".join(names)}'
        raise RecipeError([Finding("E021", message, suggestion=nearest(stage, names), file=str(run_dir))])
    read = {name: _Log(folder.log(name)) for name in (names if stage is None else [stage])}
    return _follow(folder, read, follow=follow)


class _Log:
    """The output of a stage as text that drives no terminal, in pieces; what is cut between two reads is put together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._shown = Shown()

    def more(self) -> Iterator[str]:
        """Yield what was written since the last call."""
        while self._path.exists():
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                chunk = stream.read(1 << 16)
            self._offset += len(chunk)
            if not chunk:
                return
            yield self._shown(self._decoder.decode(chunk))

    def rest(self) -> str:
        """Return what was kept back for a next piece, when there is none."""
        return self._shown(self._decoder.decode(b"", final=True), last=True)


def _follow(folder: RunFolder, read: dict[str, _Log], *, follow: bool) -> Iterator[str]:
    while True:
        running = follow and status(folder.path)["state"] == "running"
        for log in read.values():
            yield from log.more()
            if not running and (rest := log.rest()):
                yield rest
        if not running:
            return
        time.sleep(0.3)


def read_run(run_dir: Path) -> tuple[RunFolder, list[dict[str, Any]], Manifest]:
    """Return the folder of a run, the lines of its record, and its plan. Raises RecipeError, as `status` does."""
    folder = RunFolder(run_dir)
    if not folder.plan.is_file():
        message = f'there is no run "{run_dir.name}"'
        raise RecipeError([Finding("E020", message, help="start it with `recipe run`", file=str(run_dir))])
    return folder, Record(folder.record).read(), build.read(folder.plan, "run the recipe again")[0]


__all__ = ["GONE", "Readers", "logs", "read_run", "status", "status_text", "usage_text"]
