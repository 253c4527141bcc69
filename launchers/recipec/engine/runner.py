"""A run from start to end: create the environments, run the stages that it was decided to run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.allotment import Allotment
from recipec.engine.build import Build, load, preflight, spread
from recipec.engine.checkpoints import free_name
from recipec.engine.course import DONE, FAILED, INTERRUPTED, PREEMPTED, REFUSED, Course, Work, carry_out
from recipec.engine.decision import Decision, decide, graph_of
from recipec.engine.display import Display, display_for
from recipec.engine.fingerprint import keys
from recipec.engine.machine import Machine, elsewhere, gpus, machine
from recipec.engine.record import Record, RunFolder, now
from recipec.engine.selection import Choice, Chosen, choose
from recipec.engine.sharing import Siblings
from recipec.engine.standing import standings
from recipec.environments import EnvironmentFailure, EnvironmentInterrupted, ensure, read_pins
from recipec.json_files import write_whole
from recipec.launch import nodes
from recipec.processes import Signals, group_members, start_of, stop_group

_CLOSING_LINES = {
    DONE: "complete: results in {folder}, output of the tools in {folder}/logs; `recipe report {name}` shows the scores",
    FAILED: "failed; fix the cause and run the same command again to continue from here; `recipe status {name}` shows more",
    REFUSED: "ended: the scores are not what the recipe requires; `recipe report {name}` shows them",
    PREEMPTED: "stopped by {signal}; run the same command again to continue from here",
    INTERRUPTED: "interrupted; run the same command again to continue from here",
}


def run(
    build_dir: Path,
    runs_root: Path,
    *,
    fresh: bool = False,
    allow_edited: bool = False,
    display: Display | None = None,
    recipe: Path | None = None,
    choice: Choice = Choice(),  # noqa: B008  # it is frozen
    told: Sequence[Finding] = (),
    resume_anyway: bool = False,
    stall: float | None = None,
    jobs: int = 1,
) -> int:
    """Run the stages of an emitted tree in the current folder; logs and results go to `runs_root`/NAME.

    Returns 0 when every chosen stage is complete, 3 when one failed, 4 when scores are not what the recipe requires, 130 when
    SIGINT stopped the run, and 75 when SIGTERM or SIGUSR1 did: whoever started it should start it again. Complete stages
    whose inputs did not change are skipped; a training resumes from its last complete checkpoint. With `fresh`, the outputs
    of changed or unfinished stages are moved aside (to `STAGE.previous`, never deleted) and those stages start over; when
    everything is complete and unchanged, all stages do. `recipe` is the recipe's file, so that findings can show its
    lines; `choice` says which stages run, and which run anew; `told` are the warnings and notes of its compilation, which are
    recorded. With `resume_anyway`, a training whose recipe, data or machine has changed goes on from its checkpoints. A tool
    without progress for `stall` seconds is ended. Up to `jobs` stages that do not wait for one another run at once, as far
    as the declared hardware allows. Raises RecipeError, before anything is started, when the run must not begin.
    """
    asked = Asked(build_dir, display if display is not None else display_for(), allow_edited)
    codes: list[int | RecipeError] = []
    limits = Limits(fresh, resume_anyway, stall, jobs)
    run_several([asked], runs_root, recipe, choice, told, limits, Siblings(()), lambda _asked, code: codes.append(code))
    [code] = codes
    if isinstance(code, RecipeError):
        raise code
    return code


class Asked(NamedTuple):
    """A tree that is to be run, what shows its run, and whether its files may have been edited."""

    build: Path
    display: Display
    allow_edited: bool = False


def run_several(
    trees: Iterable[Asked],
    runs_root: Path,
    recipe: Path | None,
    choice: Choice,
    told: Sequence[Finding],
    limits: Limits,
    siblings: Siblings,
    end: Callable[[Asked, int | RecipeError], None],
) -> None:
    """Run trees of one recipe, each as `run` does, with up to `limits.jobs` stages at once in all of them.

    What one of the `siblings` has made of the same is taken. A tree begins where those before it leave room, and none behind a
    signal. `end` is told how the run of each ended: by its exit code, or by the RecipeError because of which it did not begin
    or go on.
    """
    begun: dict[int, tuple[Asked, _Begun]] = {}
    with Signals() as signals:
        here = machine()
        allotment = Allotment(limits.jobs, len(here["gpus"]))

        def works() -> Iterator[Work]:
            for asked in trees:
                try:
                    build = load(asked.build, recipe)
                    chosen = choose(graph_of(build), choice)
                    if findings := preflight(build, allow_edited=asked.allow_edited, only=chosen.selected):
                        raise RecipeError(findings)
                    folder = RunFolder(runs_root / build.name)
                    with _written(folder):
                        apart = elsewhere(build.manifest.plan, [gpu["name"] for gpu in here["gpus"]], choice.only)
                        about = About(here, told, apart)
                        one = _begin(build, folder, asked.display, chosen, about, siblings, limits, signals, allotment)
                except RecipeError as error:
                    end(asked, error)
                else:
                    begun[id(one.work)] = asked, one
                    yield one.work

        def ended(work: Work) -> None:
            asked, one = begun.pop(id(work))
            try:
                with _written(one.work.course.folder):
                    code = one.end()
            except RecipeError as error:
                end(asked, error)
            else:
                end(asked, code)

        try:
            carry_out(works(), limits.jobs, signals, allotment, ended)
        finally:  # of a fault of ours
            for _asked, one in begun.values():
                one.held.close()


@contextlib.contextmanager
def _written(folder: RunFolder) -> Generator[None]:
    """Say what cannot be written as a finding."""
    try:
        yield
    except OSError as error:
        what, place = error.strerror or str(error), error.filename or folder.path
        advice = "free some space or allow writing there, then run the same command again to continue"
        raise RecipeError([Finding("E012", f"cannot be written: {what}", help=advice, file=str(place))]) from None


def foresee(
    build: Build, runs_root: Path, choice: Choice, *, fresh: bool = False, resume_anyway: bool = False
) -> list[Decision]:
    """Return what `run` would do with each stage; nothing is started or written. Raises RecipeError, as `run` does."""
    chosen = choose(graph_of(build), choice)
    if findings := preflight(build, allow_edited=True, only=chosen.selected):
        raise RecipeError(findings)
    folder = RunFolder(runs_root / build.name)
    lines = Record(folder.record).read()
    standing = standings(build, folder, lines, keys(build, folder.hashes, save=False))
    if any(one.state == "running" for one in standing.values()):
        raise RecipeError([_in_progress(folder, "a stage of it is running")])
    apart = elsewhere(build.manifest.plan, [gpu["name"] for gpu in gpus()], choice.only)
    return decide(build, standing, chosen, fresh=fresh, resume_anyway=resume_anyway, elsewhere=apart)


class About(NamedTuple):
    """What a run begins with: the machine that it is on, what its compilation told, and the stages of other machines."""

    machine: Machine
    told: Sequence[Finding]
    elsewhere: dict[str, str]


class Limits(NamedTuple):
    """How a run goes on from what is there, after how many seconds a tool without progress is ended, and how many run at once."""

    fresh: bool
    resume_anyway: bool
    stall: float | None
    jobs: int


class _Begun(NamedTuple):
    """A run that has begun: what there is to do, what it left aside, and what it holds until it ends."""

    work: Work
    left: list[str]
    waited: list[str]
    signals: Signals
    held: contextlib.ExitStack
    giving_up: contextlib.ExitStack

    def end(self) -> int:
        """Record and say how it ended; return its exit code. Raises what ended it that is no ending of a stage."""
        course, code = self.work.course, self.work.code
        name, folder, display = course.build.name, course.folder, course.display
        with self.held:
            if self.work.error is not None:
                raise self.work.error
            if code == INTERRUPTED and self.signals.received and self.signals.received[0] != signal.SIGINT:
                code = PREEMPTED
            display.stop()
            event = {DONE: "run-finished", FAILED: "run-failed", REFUSED: "run-failed"}.get(code, "run-interrupted")
            course.record.add(event, exit_code=code, **self._left())
            if code == DONE:
                self.giving_up.pop_all()
            if self.left and code == DONE:
                display.say(f"not selected, and not complete: {', '.join(self.left)}")
            if self.waited and code == DONE:
                display.say(
                    f"left for another machine: {', '.join(self.waited)}; run the same command there, in this folder"
                )
            by = signal.Signals(self.signals.received[0]).name if self.signals.received else ""
            display.say(_CLOSING_LINES[code].format(folder=folder.path, name=name, signal=by))
        return code

    def _left(self) -> dict[str, list[str]]:
        """Return what the record says of stages that were not complete, and not run."""
        return {key: names for key, names in (("left", self.left), ("elsewhere", self.waited)) if names}


def _begin(
    build: Build,
    folder: RunFolder,
    display: Display,
    chosen: Chosen,
    about: About,
    siblings: Siblings,
    limits: Limits,
    signals: Signals,
    allotment: Allotment,
) -> _Begun:
    """Begin a run: nobody else has its folder, it is decided what runs, and the environments of that are there."""
    folder.path.mkdir(parents=True, exist_ok=True)
    plan, held = build.manifest.plan, contextlib.ExitStack()
    try:
        held.enter_context(_locked(folder))
        giving_up = held.enter_context(contextlib.ExitStack())
        several = spread(build)
        if several:  # what ends here without success, in whatever way, ends on the other nodes too
            giving_up.callback(nodes.give_up, plan)
        record = Record(folder.record)
        _end_leftovers(record, display)
        found = keys(build, folder.hashes)
        standing = standings(build, folder, record.read(), found)
        anew, anyway = limits.fresh, limits.resume_anyway
        decisions = decide(build, standing, chosen, fresh=anew, resume_anyway=anyway, elsewhere=about.elsewhere)
        sharing = siblings.sharing(decisions, found, anew=limits.fresh or bool(chosen.forced))
        left = [one.stage.name for one in decisions if one.action == "leave" and not standing[one.stage.name].done]
        waited = [one.stage.name for one in decisions if one.action == "wait"]
        _record_start(build, folder, record, about)
        held.callback(display.stop)
        display.start(build.name, [stage.name for stage in build.stages])
        if limits.jobs > 1 and any(stage.resources.nodes > 1 for stage in build.stages):
            display.say("a plan of several nodes: its stages run one after the other, whatever --jobs says")
        skipped = [one.stage.name for one in decisions if not one.runs] if several else []
        held.enter_context(nodes.passed(plan, skipped))
        allotment.add(plan)
        course = Course(build, folder, record, found, display, signals, limits.stall, sharing)
        return _Begun(_work(course, decisions), left, waited, signals, held, giving_up)
    except BaseException:
        held.close()
        raise


def _record_start(build: Build, folder: RunFolder, record: Record, about: About) -> None:
    """Copy the plan, and the recipe if there is one, into the run's folder, and record that the run started."""
    write_whole(folder.plan, build.text)
    if build.recipe is not None:
        folder.recipe.write_text(build.recipe.text, encoding="utf-8")
    else:
        folder.recipe.unlink(missing_ok=True)
    packages = {name: read_pins(build.pins(name)).lines for name in build.manifest.environments}
    record.add(
        "run-started",
        recipe_sha256=build.manifest.recipe.sha256,
        build=os.fspath(build.folder),
        pid=os.getpid(),
        pid_started=start_of(os.getpid()),
        host=os.uname().nodename,
        machine=about.machine,
        packages=packages,
        findings=[finding.as_json() for finding in about.told],
    )


def _work(course: Course, decisions: list[Decision]) -> Work:
    """Say what is not run, make the environments of the rest, and return what is to be run."""
    record, display = course.record, course.display
    todo = [decision for decision in decisions if decision.runs]
    for decision in decisions:
        if decision.action == "skip":
            record.add("stage-skipped", stage=decision.stage.name, fingerprint=course.keys[decision.stage.name].hash)
        if not decision.runs:
            display.stage(decision.stage.name, "skipped", decision.why)
    made = (decision.stage for decision in todo if not course.sharing.can_take(decision.stage))
    work = Work(course, todo)
    try:
        for name in dict.fromkeys(stage.environment for stage in made):
            _provide(course.build, course.folder, name, record, display, course.signals)
    except EnvironmentInterrupted:
        work.codes.add(INTERRUPTED)
    except EnvironmentFailure as error:
        record.add("environment-failed", message=str(error), error=list(error.lines))
        display.say("\n".join([str(error), *(f"    {line}" for line in error.lines)]))
        if error.log is not None:
            display.say(f"  full output: {error.log}")
        work.codes.add(FAILED)
    return work


def _provide(build: Build, folder: RunFolder, name: str, record: Record, display: Display, signals: Signals) -> None:
    """Create an environment if it is missing, and link it where the stages look for it."""
    place = ensure(name, build.pins(name), progress=display.say, signals=signals)
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
            raise RecipeError([_in_progress(folder, lock.read().strip() or "another process")]) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, since {now()}\n")
        lock.flush()
        yield lock


def _in_progress(folder: RunFolder, holder: str) -> Finding:
    message = f'the run "{folder.path.name}" is already in progress ({holder})'
    advice = "wait for it to end, or give this recipe another name"
    return Finding("E011", message, help=advice, file=str(folder.path))


def _end_leftovers(record: Record, display: Display) -> None:
    """End stages that are still running after their engine was killed, so that no two trainers write to one folder.

    These are the stages of the last run whose end it did not record; and the one that it started last, for an end is recorded
    also of a tool that withstood all signals.
    """
    left: dict[str, dict[str, Any]] = {}
    last: dict[str, Any] | None = None
    for row in record.read():
        match row.get("event"):
            case "run-started":
                left.clear()  # what there was has been ended
            case "stage-started":
                left[row["stage"]] = last = row
            case "stage-finished" | "stage-failed" | "stage-interrupted":
                left.pop(row["stage"], None)
            case _:
                pass
    if last is not None:
        left.setdefault(last["stage"], last)
    for stage, row in left.items():
        group, started = int(row["pid"]), row.get("pid_started")
        if group_members(group, started):
            display.say(f"{stage}: ending processes of the killed run (process group {group})")
            stop_group(group, started, patience=0.0)
            record.add("leftovers-ended", stage=stage, group=group)


__all__ = ["DONE", "FAILED", "INTERRUPTED", "PREEMPTED", "REFUSED", "foresee", "run"]
