"""The stages of a run that are to be started: each behind those that it waits for, several at once where that was asked for.

The main thread decides and hears signals; each stage has a thread that starts and follows it. After a failure, a refusal or
a signal nothing more is started, and what runs is waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from recipec.engine.allotment import Allotment, Share
from recipec.engine.attempt import attempt, refuses
from recipec.engine.build import Build
from recipec.engine.checkpoints import free_name, last_complete, set_incomplete_aside
from recipec.engine.decision import Decision
from recipec.engine.display import Display
from recipec.engine.fingerprint import Key
from recipec.engine.record import Record, RunFolder
from recipec.engine.sharing import Sharing
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
    allotment: Allotment

    def carry_out(self, todo: Sequence[Decision], jobs: int) -> int:
        """Start stages, up to `jobs` at once, until all are complete or one is not; return the run's exit code."""
        waiting, codes = list(todo), set[int]()
        running: dict[Future[int], Decision] = {}
        with ThreadPoolExecutor(jobs) as threads:
            while waiting or running:
                if waiting and self.signals.received:
                    codes.add(INTERRUPTED)
                while (
                    not codes and len(running) < jobs and (found := self._next(waiting, running.values())) is not None
                ):
                    decision, share = found
                    waiting.remove(decision)
                    running[threads.submit(self._run, decision, share)] = decision
                if not running:
                    break
                for ended in wait(running, return_when=FIRST_COMPLETED).done:
                    stage = running.pop(ended).stage
                    self.allotment.give_back(stage)
                    if (error := ended.exception()) is not None:
                        self.display.stage(stage.name, "failed", str(error))
                    codes |= {ended.result()} - {DONE}  # raises the error, behind the end of the others
        return next((code for code in _WORST if code in codes), DONE)

    def _next(self, waiting: Sequence[Decision], running: Collection[Decision]) -> tuple[Decision, Share] | None:
        """Return the first stage that can be started now, with its share of the machine.

        One that is made from the same as one that runs waits for it, and takes what that makes.
        """
        ahead = {one.stage.name for one in (*waiting, *running)}
        made = {self.keys[one.stage.name].hash for one in running}
        for decision in waiting:
            stage = decision.stage
            if not ahead.isdisjoint(stage.after) or self.keys[stage.name].hash in made:
                continue
            if (share := self.allotment.take(stage)) is not None:
                return decision, share
        return None

    def _run(self, decision: Decision, share: Share) -> int:
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


__all__ = ["DONE", "FAILED", "INTERRUPTED", "PREEMPTED", "REFUSED", "Course"]
