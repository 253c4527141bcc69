"""The stages of runs that are to be started: each behind those that it waits for, several at once where that was asked for.

The main thread decides and hears signals; each stage has a thread that starts and follows it. After a failure or a refusal
nothing more of that run is started, after a signal nothing at all, and what runs is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from recipec.engine.allotment import NOTHING, Allotment, Share
from recipec.engine.attempt import attempt, refuses
from recipec.engine.build import Build
from recipec.engine.checkpoints import free_name, last_complete, set_incomplete_aside
from recipec.engine.decision import Decision
from recipec.engine.display import Display
from recipec.engine.fingerprint import Key
from recipec.engine.record import Record, RunFolder
from recipec.engine.sharing import Sharing
from recipec.kinds import kind
from recipec.plan import Stage
from recipec.processes import Signals

DONE, FAILED, REFUSED, PREEMPTED, INTERRUPTED = 0, 3, 4, 75, 130  # 75 is EX_TEMPFAIL of sysexits.h: start it again
# How a run ends whose stages ended in several ways: what another start does not cure comes first.
_WORST = (FAILED, REFUSED, INTERRUPTED)
SKIPS = (
    "the trainer skips as many batches as it had taken: where rows, batch or processes changed, some rows come again,"
    " or not at all"
)


class Course(NamedTuple):
    """What the stages of one run have in common."""

    build: Build
    folder: RunFolder
    record: Record
    keys: dict[str, Key]
    display: Display
    signals: Signals
    stall: float | None
    sharing: Sharing

    def run(self, decision: Decision, share: Share) -> int:
        """Make the results of a stage, or take them from a sibling; return how the run would end with it."""
        stage, name, keys = decision.stage, decision.stage.name, self.keys
        record, display, sharing = self.record, self.display, self.sharing
        if decision.action == "renew":
            output = Path(stage.output)
            aside = free_name(output, "previous")
            output.rename(aside)
            _set_events_aside(self.folder, stage)
            record.add("stage-set-aside", stage=name, moved_to=str(aside), why=decision.why)
            display.say(f"{name}: {decision.why}; its earlier results are now in {aside}")
            if not decision.anew:
                _keep(stage, aside)
        keys[name].write(self.folder.key(name))
        if (taken := sharing.take(self.folder, stage)) is not None:
            record.add("stage-taken", stage=name, fingerprint=keys[name].hash, taken_from=taken)
            display.stage(name, "skipped", f"taken from {taken}")
            return DONE
        if (where := sharing.failed_in(stage)) is not None:
            reason = f"it failed in {where}, and would be made from the same here"
            record.add("stage-failed", stage=name, attempt=decision.history.attempts, reason=reason)
            display.stage(name, "failed", reason)
            return FAILED
        resume = _resume(stage, record, display) if stage.resumable else None
        if decision.despite:
            record.add("stage-resumed-anyway", stage=name, checkpoint=str(resume), changes=decision.despite)
            changes = (f"    {one}" for one in decision.despite)
            display.say("\n".join([f"{name}: goes on although this changed:", *changes, f"    {SKIPS}"]))
        ended = attempt(
            self.build,
            self.folder,
            stage,
            record,
            display,
            self.signals,
            fingerprint=keys[name].hash,
            number=decision.history.attempts + 1,
            resume=resume,
            changed=bool(decision.despite),
            stall=self.stall,
            share=share,
        )
        if ended.state == "interrupted":
            return INTERRUPTED
        if ended.state == "failed":
            sharing.failed(self.folder, stage)
            return REFUSED if refuses(stage, ended.exit_code) else FAILED
        sharing.made(self.folder, stage)
        return DONE


class Work:
    """What there is to do of one run: its stages that wait and those that run, the exit codes of those that ended without success.

    `error` is what ended it that is no ending of a stage.
    """

    def __init__(self, course: Course, todo: Sequence[Decision]) -> None:
        self.course = course
        self.waiting, self.running = list(todo), list[Decision]()
        self.codes = set[int]()
        self.error: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs, and nothing more is to be started."""
        return not self.running and (not self.waiting or self._stopped)

    @property
    def code(self) -> int:
        """The exit code of the run."""
        return next((code for code in _WORST if code in self.codes), DONE)

    @property
    def _stopped(self) -> bool:
        return bool(self.codes) or self.error is not None

    def startable(self) -> Iterator[tuple[Decision, str]]:
        """Yield the stages that wait for no other, in order, each with the hash of what it is made from."""
        ahead = {one.stage.name for one in (*self.waiting, *self.running)}
        for decision in () if self._stopped else self.waiting:
            if ahead.isdisjoint(decision.stage.after):
                yield decision, self.course.keys[decision.stage.name].hash

    def made(self) -> set[str]:
        """Return the hashes of what is being made."""
        return {self.course.keys[one.stage.name].hash for one in self.running}

    def begin(self, decision: Decision) -> None:
        """Take note that a stage runs."""
        self.waiting.remove(decision)
        self.running.append(decision)

    def take_back(self, decision: Decision, ended: Future[int]) -> None:
        """Take note of how a stage ended."""
        self.running.remove(decision)
        error = ended.exception()
        if error is not None:
            self.error = self.error or error
            self.course.display.stage(decision.stage.name, "failed", str(error))
        elif ended.result() != DONE:
            self.codes.add(ended.result())


def carry_out(
    works: Iterable[Work], jobs: int, signals: Signals, allotment: Allotment, end: Callable[[Work], None]
) -> None:
    """Start the stages of some runs, up to `jobs` at once, until all have ended; `end` is told of each run that has.

    A run is taken from `works` where those before it leave room, but for the first none behind a signal. Of two stages that are made from
    the same, the second waits, and takes what the first makes.
    """
    coming = iter(works)
    begun = [work for work in (next(coming, None),) if work is not None]  # also where a signal was faster
    running: dict[Future[int], tuple[Work, Decision]] = {}
    with ThreadPoolExecutor(jobs) as threads:
        while True:
            if signals.received:
                coming = iter(())
                for work in begun:
                    work.codes |= {INTERRUPTED} if work.waiting else set()
            for work in [one for one in begun if one.ended]:
                begun.remove(work)
                end(work)
            if len(running) < jobs and (found := _next(begun, allotment)) is not None:
                work, decision, share = found
                work.begin(decision)
                running[threads.submit(work.course.run, decision, share)] = work, decision
            elif len(running) < jobs and (more := next(coming, None)) is not None:
                begun.append(more)
            elif running:
                for ended in wait(running, return_when=FIRST_COMPLETED).done:
                    work, decision = running.pop(ended)
                    allotment.give_back(decision.stage)
                    work.take_back(decision, ended)
            else:
                return


def _next(begun: Sequence[Work], allotment: Allotment) -> tuple[Work, Decision, Share] | None:
    """Return the first stage that can be started now, with its share of the machine; one that is only taken needs none."""
    made = {hash for work in begun for hash in work.made()}
    for work in begun:
        for decision, hash in work.startable():
            if hash in made:
                continue
            taken = work.course.sharing.can_take(decision.stage)
            if (share := NOTHING if taken else allotment.take(decision.stage)) is not None:
                return work, decision, share
    return None


def _keep(stage: Stage[Any], aside: Path) -> None:
    """Move back what is found again by what it was asked for, whatever else has changed."""
    for name in kind(stage.kind).keeps:
        if (aside / name).exists():
            Path(stage.output).mkdir(exist_ok=True)
            (aside / name).rename(Path(stage.output) / name)


def _set_events_aside(folder: RunFolder, stage: Stage[Any]) -> None:
    events = folder.events(stage.name)
    if events.exists():
        events.rename(free_name(events, "previous"))


def _resume(stage: Stage[Any], record: Record, display: Display) -> Path | None:
    """Return the checkpoint to resume from, after moving incomplete ones to where the trainer does not see them."""
    output = Path(stage.output)
    for moved in set_incomplete_aside(output):
        record.add("checkpoint-set-aside", stage=stage.name, moved_to=str(moved))
        display.say(f"{stage.name}: an incomplete checkpoint is now {moved}")
    found = last_complete(output)
    if found is not None:
        display.say(f"{stage.name}: resuming from {found}")
    return found


__all__ = ["DONE", "FAILED", "INTERRUPTED", "PREEMPTED", "REFUSED", "Course", "Work", "carry_out"]
