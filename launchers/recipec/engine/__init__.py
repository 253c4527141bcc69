"""The run engine: stages in order, from where an earlier run stopped, with a true record of what happened."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.process import Show, Stage, last_error
from recipec.engine.record import Record, complete_checkpoint, fingerprint, free
from recipec.environments import EnvironmentFailure, ensure

DONE, FAILED, INTERRUPTED = 0, 3, 130
HOOK = Path(__file__).parent / "hook"


def run(build: Path, runs: Path, *, fresh: bool = False) -> int:
    """Run what was compiled into `build`; return 0, 3 for a failed stage or environment, 130 when interrupted.

    Raises RecipeError when the run cannot begin: data is missing, another run of this name is going on, or its
    earlier results were made from something else.
    """
    manifest = json.loads((build / "plan.json").read_text(encoding="utf-8"))
    folder = runs / manifest["recipe"]["name"]
    _preflight(manifest)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            message = f"{folder} is in use by process {lock.read().strip() or 'unknown'}"
            raise RecipeError([Finding("X010", message, help="wait for it, or stop it")]) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return _stages(build, folder, manifest, fresh=fresh)


def _preflight(manifest: dict[str, Any]) -> None:
    findings = []
    for name in manifest["data"]:
        if not Path(name).is_file():
            at = next((row["at"] for row in manifest["values"].values() if row["value"] == name and row["at"]), "")
            advice = "paths of a recipe start at the folder you run in"
            findings.append(
                Finding("X011", f"no such data file: {name}" + (f" ({at})" if at else ""), help=advice, file=name)
            )
    if findings:
        raise RecipeError(findings)


def _stages(build: Path, folder: Path, manifest: dict[str, Any], *, fresh: bool) -> int:
    record, show = Record(folder), Show()
    show.say(f"run {manifest['recipe']['name']}: {len(manifest['stages'])} stages; record in {folder}")
    record.add("run", recipe=manifest["recipe"], pid=os.getpid())
    environments = folder / "environments"
    environments.mkdir(exist_ok=True)
    try:
        for name, entry in manifest["environments"].items():
            made = ensure(name, (build / entry["file"]).read_text(encoding="utf-8"), show.say)
            link = environments / name
            if link.is_symlink():
                link.unlink()
            link.symlink_to(made)
    except EnvironmentFailure as failure:
        show.say(str(failure))
        record.add("environment failed", message=str(failure))
        return FAILED
    except KeyboardInterrupt:
        record.add("interrupted", stage=None)
        return INTERRUPTED
    known: dict[str, str] = {}
    for stage in manifest["stages"]:
        known[stage["id"]] = fingerprint(build, manifest, stage, known)
        code = _stage(build, folder, manifest, stage, known[stage["id"]], record, show, fresh=fresh)
        if code != DONE:
            return code
    record.add("done")
    show.say("all stages are complete")
    return DONE


def _stage(
    build: Path,
    folder: Path,
    manifest: dict[str, Any],
    stage: dict[str, Any],
    key: str,
    record: Record,
    show: Show,
    *,
    fresh: bool,
) -> int:
    name, output = stage["id"], Path(stage["output"])
    last = record.last(name)
    same = last is not None and last.get("fingerprint") == key
    if same and last is not None and last["event"] == "finished" and output.exists() and not fresh:
        show.say(f"{name}: already complete")
        return DONE
    environment = {
        "RECIPE_ENVIRONMENTS": str((folder / "environments").resolve()),
        "RECIPE_EVENTS": str((folder / "events" / f"{name}.jsonl").resolve()),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH")))),
    }
    if output.exists() and (fresh or not same or not stage.get("resumable")):
        aside = free(output.with_name(output.name + ".previous"))
        output.rename(aside)
        show.say(f"{name}: earlier results are set aside in {aside}")
    elif output.exists() and (checkpoint := complete_checkpoint(output)):
        environment["RECIPE_RESUME_FROM"] = str(checkpoint)
        show.say(f"{name}: going on from {checkpoint}")
    events = folder / "events" / f"{name}.jsonl"
    if "RECIPE_RESUME_FROM" not in environment and events.exists():
        events.unlink()
    log = folder / "logs" / f"{name}.log"
    record.add(
        "started", stage=name, fingerprint=key, resumed_from=environment.get("RECIPE_RESUME_FROM"), pid=os.getpid()
    )
    show.say(f"{name}: started; log in {log}")
    began = time.monotonic()
    process = Stage(name, build / stage["script"], log, events, environment)
    code = process.follow(show)
    seconds = round(time.monotonic() - began, 1)
    show.clear()
    if process.signals:  # Axolotl saves and exits 0 on SIGINT: the code alone would call that complete
        record.add("interrupted", stage=name, fingerprint=key, code=code, seconds=seconds)
        show.say(f"{name}: interrupted after {seconds} s; run again to go on")
        return INTERRUPTED
    if code:
        record.add("failed", stage=name, fingerprint=key, code=code, seconds=seconds)
        why = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
        error = last_error(log)
        show.say(f"{name}: {why} after {seconds} s. Its last words:\n\n{error}\n\nwhole log: {log}")
        for line in blame(manifest, error):
            show.say(line)
        return FAILED
    record.add("finished", stage=name, fingerprint=key, seconds=seconds)
    show.say(f"{name}: complete after {seconds} s")
    return DONE


def blame(manifest: dict[str, Any], error: str) -> list[str]:
    """Return the recipe lines whose value, or whose emitted key, the error text names."""
    found: dict[str, str] = {}
    for path, row in manifest["values"].items():
        if row["at"] and isinstance(row["value"], str) and len(row["value"]) > 5 and row["value"] in error:
            found.setdefault(row["at"], path)
    for entry in manifest["files"].values():
        for key, line in entry["lines"].items():
            if len(key) > 5 and f"{key}" in error.replace("'", " ").replace('"', " ").replace("`", " ").split():
                for read in line["reads"]:
                    row = manifest["values"].get(read)
                    if row and row["at"]:
                        found.setdefault(row["at"], read)
    return [f"the error names {path}, set at {at}" for at, path in sorted(found.items())]


def status(folder: Path) -> dict[str, Any]:
    """Return what is known of a run, from its record alone. Raises RecipeError when there is none."""
    events = Record(folder).events()
    if not events:
        raise RecipeError([Finding("X012", f"no run is recorded in {folder}", help="start one with `recipe run`")])
    stages: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("stage"):
            state = {"started": "running", "finished": "complete"}.get(event["event"], event["event"])
            stages[event["stage"]] = {
                "stage": event["stage"],
                "state": state,
                "seconds": event.get("seconds"),
                "pid": event.get("pid"),
            }
    for row in stages.values():
        pid = row.pop("pid")
        if row["state"] == "running" and not _is_running(folder, pid):
            row["state"] = "stopped: its process is gone"
    return {"recipe": next(e["recipe"] for e in events if e["event"] == "run"), "stages": list(stages.values())}


def _is_running(folder: Path, pid: int | None) -> bool:
    """Return whether the lock of the run is still held; the system frees it with its holder, however that ends."""
    del pid
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def logs(folder: Path, stage: str | None) -> Iterator[str]:
    """Yield the logs of a run, or of one stage. Raises RecipeError when there is none."""
    paths = sorted((folder / "logs").glob("*.log"))
    chosen = [path for path in paths if stage in (None, path.stem)]
    if not chosen:
        known = ", ".join(path.stem for path in paths)
        raise RecipeError(
            [
                Finding(
                    "X013", "there is no such log", help=f"stages with a log: {known}" if known else "nothing has run"
                )
            ]
        )
    for path in chosen:
        yield path.read_text(encoding="utf-8", errors="replace")
