"""A run from start to end: what to do with each stage, the environments, then the stages in order."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import IO, Literal, NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.build import Build, Stage, load, preflight
from recipec.engine.checkpoints import checkpoints, free_name, last_complete, set_incomplete_aside
from recipec.engine.fingerprint import fingerprints
from recipec.engine.record import Past, Record, RunFolder, now, past_of
from recipec.engine.stage import attempt
from recipec.engine.ui import Ui, make_ui
from recipec.environments import EnvironmentFailure, EnvironmentInterrupted, ensure, info_of
from recipec.processes import Signals, alive, group_members, start_of, stop_group

DONE, FAILED, INTERRUPTED = 0, 3, 130
_LAST_WORDS = {
    DONE: "complete: results in {folder}, output of the tools in {folder}/logs; `recipe report {name}` shows the scores",
    FAILED: "failed; when the cause is mended, the same command continues from here; `recipe status {name}` tells more",
    INTERRUPTED: "interrupted; the same command continues from here",
}


class Decision(NamedTuple):
    """What a run does with a stage: skip it, run it, or first move its old output aside and then run it."""

    stage: Stage
    action: Literal["skip", "run", "renew"]
    past: Past
    why: str = ""


def run(
    build_dir: Path,
    runs_root: Path,
    *,
    fresh: bool = False,
    allow_edited: bool = False,
    ui: Ui | None = None,
    recipe: Path | None = None,
) -> int:
    """Run the stages of an emitted tree in the current folder; what becomes of it goes to `runs_root`/NAME.

    Returns 0 when every stage is complete, 3 when one failed, 130 when a signal ended it. Complete stages whose inputs
    did not change are skipped; a training continues from its last whole checkpoint. `fresh` moves the outputs of stages
    that changed or are unfinished aside (`STAGE.previous`, never deleted) and starts those stages anew; when nothing
    changed and all is complete, it does so with every stage. `recipe` is the recipe's file, for findings that show its
    lines. Raises RecipeError, before anything is started, when the run must not begin.
    """
    build = load(build_dir, recipe)
    if findings := preflight(build, allow_edited=allow_edited):
        raise RecipeError(findings)
    folder = RunFolder(runs_root / build.name)
    shown = ui if ui is not None else make_ui()
    try:
        return _run(build, folder, shown, fresh=fresh)
    except OSError as error:
        what, place = error.strerror or str(error), error.filename or folder.path
        advice = "make room or allow writing there; the same command continues from here"
        raise RecipeError([Finding("E012", f"cannot be written: {what}", help=advice, file=str(place))]) from None


def _run(build: Build, folder: RunFolder, shown: Ui, *, fresh: bool) -> int:
    folder.path.mkdir(parents=True, exist_ok=True)
    with _locked(folder), Signals() as signals:
        record = Record(folder.record)
        _end_leftovers(record, shown)
        prints = fingerprints(build, folder.hashes)
        decisions = decide(build, record, prints, fresh=fresh)
        _begin(build, folder, record)
        shown.start(build.name, [stage.id for stage in build.stages])
        try:
            code = _carry_out(build, folder, record, decisions, prints, shown, signals)
        finally:
            shown.stop()
        record.add({DONE: "run-finished", FAILED: "run-failed"}.get(code, "run-interrupted"), exit_code=code)
    shown.say(_LAST_WORDS[code].format(folder=folder.path, name=folder.path.name))
    return code


def decide(build: Build, record: Record, prints: dict[str, str], *, fresh: bool) -> list[Decision]:
    """Return what to do with each stage. Raises RecipeError when results of different recipes would be mixed."""
    lines = record.read()
    decisions: list[Decision] = []
    finished: dict[str, int] = {}
    mixed: list[Finding] = []
    for stage in build.stages:
        past = past_of(lines, stage.id)
        output = Path(stage.output)
        there = output.is_dir() and any(output.iterdir())
        same = past.fingerprint == prints[stage.id]
        inputs_done = all(past.finished_at > finished.get(earlier, 1 << 60) for earlier in stage.inputs)
        if same and there and past.state == "finished" and inputs_done:
            finished[stage.id] = past.finished_at
            decisions.append(Decision(stage, "skip", past, "unchanged since it was completed"))
        elif there and fresh:
            decisions.append(Decision(stage, "renew", past, "--fresh"))
        elif there and not same and checkpoints(output):
            mixed.append(_mixed(build, stage, past))
        elif there and not same:
            decisions.append(Decision(stage, "renew", past, "its recipe, data or inputs changed"))
        else:
            decisions.append(Decision(stage, "run", past))
    if mixed:
        raise RecipeError(mixed)
    if fresh and all(decision.action == "skip" for decision in decisions):
        return [decision._replace(action="renew", why="--fresh") for decision in decisions]
    return decisions


def _mixed(build: Build, stage: Stage, past: Past) -> Finding:
    if past.fingerprint is None:
        message = f"{stage.output} holds checkpoints that no recorded run of {stage.id} wrote"
    else:
        message = f"the recipe, its data or its pins changed since the checkpoints in {stage.output} were written"
    advice = f"pass --fresh: it moves them to {free_name(Path(stage.output), 'previous')} and starts {stage.id} anew"
    return Finding("E010", message, help=advice, file=str(build.folder))


def _begin(build: Build, folder: RunFolder, record: Record) -> None:
    """Keep the plan, and the recipe where it is at hand, beside the record, and say that the run started."""
    fresh = folder.plan.with_name(".plan.json.new")
    fresh.write_bytes(build.text)
    fresh.replace(folder.plan)
    if build.recipe is not None:
        folder.recipe.write_text(build.recipe.text, encoding="utf-8")
    else:
        folder.recipe.unlink(missing_ok=True)
    pins = {name: build.pins(name).read_text(encoding="utf-8").splitlines() for name in build.plan["environments"]}
    packages = {name: [line for line in lines if line and not line.startswith("#")] for name, lines in pins.items()}
    sha = build.plan["recipe"].get("sha256")
    build_dir = os.fspath(build.folder)
    record.add(
        "run-started",
        recipe_sha256=sha,
        build=build_dir,
        pid=os.getpid(),
        pid_started=start_of(os.getpid()),
        host=os.uname().nodename,
        packages=packages,
    )


def _carry_out(
    build: Build,
    folder: RunFolder,
    record: Record,
    decisions: list[Decision],
    prints: dict[str, str],
    ui: Ui,
    signals: Signals,
) -> int:
    todo = [decision for decision in decisions if decision.action != "skip"]
    for decision in decisions:
        if decision.action == "skip":
            record.add("stage-skipped", stage=decision.stage.id, fingerprint=prints[decision.stage.id])
            ui.stage(decision.stage.id, "skipped", decision.why)
    try:
        for name in dict.fromkeys(decision.stage.environment for decision in todo):
            _provide(build, folder, name, record, ui, signals)
    except EnvironmentInterrupted:
        return INTERRUPTED
    except EnvironmentFailure as error:
        record.add("environment-failed", message=str(error), error=list(error.lines))
        ui.say("\n".join([str(error), *(f"    {line}" for line in error.lines)]))
        if error.log is not None:
            ui.say(f"  the whole output: {error.log}")
        return FAILED
    for decision in todo:
        if signals.received:
            return INTERRUPTED
        stage, output = decision.stage, Path(decision.stage.output)
        if decision.action == "renew":
            aside = free_name(output, "previous")
            output.rename(aside)
            _set_events_aside(folder, stage)
            record.add("stage-set-aside", stage=stage.id, moved_to=str(aside), why=decision.why)
            ui.say(f"{stage.id}: {decision.why}; the old results are now {aside}")
        resume = _resume(stage, record, ui) if stage.resumable else None
        ended = attempt(
            build,
            folder,
            stage,
            record,
            ui,
            signals,
            fingerprint=prints[stage.id],
            number=decision.past.attempts + 1,
            resume=resume,
        )
        if ended.state == "interrupted":
            return INTERRUPTED
        if ended.state == "failed":
            return FAILED
    return DONE


def _set_events_aside(folder: RunFolder, stage: Stage) -> None:
    events = folder.events(stage.id)
    if events.exists():
        events.rename(free_name(events, "previous"))


def _resume(stage: Stage, record: Record, ui: Ui) -> Path | None:
    """Return the checkpoint to continue from, after moving half-written ones out of the trainer's sight."""
    output = Path(stage.output)
    for moved in set_incomplete_aside(output):
        record.add("checkpoint-set-aside", stage=stage.id, moved_to=str(moved))
        ui.say(f"{stage.id}: a half-written checkpoint is now {moved}")
    found = last_complete(output)
    if found is not None:
        ui.say(f"{stage.id}: continuing from {found}")
    return found


def _provide(build: Build, folder: RunFolder, name: str, record: Record, ui: Ui, signals: Signals) -> None:
    """Make an environment if need be, and link it where the stages look for it."""
    pins = build.pins(name)
    info = info_of(pins, build.plan["environments"][name])
    place = ensure(name, pins, info=info, progress=ui.say, signals=signals)
    folder.environments.mkdir(exist_ok=True)
    fresh, link = folder.environments / f".{name}.new", folder.environments / name
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(place)
    if link.is_dir() and not link.is_symlink():
        shutil.move(link, free_name(link, "previous"))
    fresh.replace(link)
    record.add("environment-ready", name=name, folder=str(place))


@contextlib.contextmanager
def _locked(folder: RunFolder) -> Generator[IO[str]]:
    with folder.lock.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            message = f'the run "{folder.path.name}" is already in progress ({holder})'
            advice = "wait for it, or give this recipe another name"
            raise RecipeError([Finding("E011", message, help=advice, file=str(folder.path))]) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, since {now()}\n")
        lock.flush()
        yield lock


def _end_leftovers(record: Record, ui: Ui) -> None:
    """End a stage that outlived a killed engine, so that no two trainers write one folder."""
    for row in reversed(record.read()):
        if row.get("event") == "stage-started":
            group, started = int(row["pid"]), row.get("pid_started")
            if group_members(group, started):
                ui.say(f"{row['stage']}: ending what is left of the killed run (process group {group})")
                stop_group(group, started, patience=0.0)
                record.add("leftovers-ended", stage=row["stage"], group=group)
            return


__all__ = ["DONE", "FAILED", "INTERRUPTED", "Decision", "alive", "decide", "run"]
