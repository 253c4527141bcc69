"""One attempt of one stage: run its script, log and follow its output, decide whether it succeeded."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recipec.engine.allotment import NOTHING, Share
from recipec.engine.build import Build, spread
from recipec.engine.checkpoints import last_complete, step_of
from recipec.engine.display import Display
from recipec.engine.failure import LOG_TAIL, ErrorText, blame, error_text, stack_text
from recipec.engine.progress import ProgressReader, clock, copies_of
from recipec.engine.record import Layout, Record, RunFolder, now
from recipec.engine.signs_of_life import LOOKS, QUIET, SignsOfLife, in_words
from recipec.kinds import REGISTRY as KINDS
from recipec.kinds import kind
from recipec.plan import ModelOutput, Output, RowsOutput, Stage
from recipec.processes import Child, Signals
from recipec.systems.registry import REGISTRY, system
from recipec.tail import last_bytes

FULL = 32 << 20  # bytes that are free on a disk that counts as full
HOOK = Path(__file__).parent / "hook"
# With traps: bash would run the next command of a script when a tool handles an interrupt and exits with 0.
_RUN_SCRIPT = 'trap "exit 130" INT; trap "exit 143" TERM; trap "exit 129" HUP; . "$0"'
PREEMPTED = (signal.SIGTERM, signal.SIGUSR1)  # as schedulers send them: to be continued, by whoever starts it again
_SIGNAL_NAMES = {
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "termination",
    signal.SIGKILL: "kill",
}
_SIGKILL_CAUSES = ": by hand, or because memory ran out (the kernel's log, dmesg, names what it killed)"
_NOT_PASSED_ON = (
    "VIRTUAL_ENV",
    "PYTHONHOME",
    "RECIPE_RESUME_FROM",
    "RECIPE_EVENTS",
    "RECIPE_STOP",
    "RECIPE_ENVIRONMENTS",
)


class AttemptResult(NamedTuple):
    """How an attempt ended."""

    state: Literal["finished", "failed", "interrupted"]
    exit_code: int
    seconds: float


def variables_of(
    run: RunFolder, stage: Stage[Any], resume: Path | None, base: Mapping[str, str], share: Share = NOTHING
) -> dict[str, str]:
    """Return the environment variables for a stage's script."""
    found = {name: value for name, value in base.items() if name not in _NOT_PASSED_ON} | share.variables()
    found["PYTHONPATH"] = os.pathsep.join(part for part in (str(HOOK), base.get("PYTHONPATH", "")) if part)
    found["PYTHONUNBUFFERED"] = "1"
    found["RECIPE_EVENTS"] = str(run.events(stage.name).absolute())
    found["RECIPE_STOP"] = str(run.stop(stage.name).absolute())
    found["RECIPE_ENVIRONMENTS"] = str(run.environments.absolute())
    if resume is not None:
        found["RECIPE_RESUME_FROM"] = str(resume)
    return found


def attempt(
    build: Build,
    run: RunFolder,
    stage: Stage[Any],
    record: Record,
    display: Display,
    signals: Signals,
    *,
    fingerprint: str,
    number: int,
    resume: Path | None,
    changed: bool = False,
    stall: float | None = None,
    share: Share = NOTHING,
) -> AttemptResult:
    """Run a stage once, record how it ended and, when it failed, show why.

    `changed`: the checkpoint that it resumes from was made from something else. After `stall` seconds without a sign of
    life it is ended. `share` is what it has of the machine.
    """
    log, events = run.log(stage.name), run.events(stage.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    events.parent.mkdir(parents=True, exist_ok=True)
    origin = f", resuming from {resume}" if resume else ""
    about_it = f"attempt {number}{origin}" if number > 1 or resume else stage.system
    display.stage(stage.name, "running", ", ".join(filter(None, [about_it, share.text()])))
    began = time.monotonic()
    with log.open("ab") as output:
        output.write(f"==== {stage.name}, attempt {number}, {now()}{origin} ====\n".encode())
        output.flush()
        begin = output.tell()
        reader = ProgressReader(events, log, copies_of(stage))
        stop = run.stop(stage.name)
        stop.unlink(missing_ok=True)
        signs = SignsOfLife((events, log, Path(stage.output)))
        told: list[float] = []
        asked: list[bool] = []
        command = ["bash", "-c", _RUN_SCRIPT, str(build.script(stage))]
        with Child(command, output=output, variables=variables_of(run, stage, resume, os.environ, share)) as child:
            record.add(
                "stage-started",
                stage=stage.name,
                attempt=number,
                fingerprint=fingerprint,
                pid=child.pid,
                pid_started=child.started,
                resumed_from=str(resume) if resume else None,
                layout=Layout.of(stage),
                **share.as_json(),
            )

            def passed_on(signum: int) -> None:
                asked.clear()
                name = _SIGNAL_NAMES.get(signal.Signals(signum), str(signum))
                again = " (press Ctrl-C again to stop it now)" if signum == signal.SIGINT else ""
                display.say(f"{name} sent to {stage.name}; waiting for it to stop{again}")

            def ask() -> bool:
                """Ask a training that Hugging Face's Trainer does; others know signals alone."""
                reader.read()
                if not reader.began or reader.ended or spread(build):  # other nodes have no hook
                    return False
                stop.touch()
                asked.append(True)
                again = "press Ctrl-C again" if signals.received[-1] == signal.SIGINT else "send another signal"
                display.say(f"{stage.name} is asked to save a checkpoint and to stop ({again} to stop it without)")
                return True

            def stalled() -> bool:
                quiet = signs.quiet(LOOKS if stall is None else min(LOOKS, stall / 4))
                if stall is not None and quiet >= stall:
                    told.append(quiet)
                    display.say(f"{stage.name}: no progress for {in_words(stall)}; it is ended")
                    return True
                if stall is None and quiet >= QUIET and not told:
                    told.append(quiet)
                    display.say(
                        f"{stage.name}: no progress for {in_words(QUIET)}; with --stall TIME, a run ends such a tool"
                    )
                return False

            code = child.wait(
                signals, lambda: display.progress(stage.name, reader.read()), passed_on, ask=ask, stalled=stalled
            )
        stop.unlink(missing_ok=True)
        output.write(f"==== exit {code} after {time.monotonic() - began:.1f} s ====\n".encode())
    seconds = round(time.monotonic() - began, 1)
    last = reader.read()
    about = {"stage": stage.name, "attempt": number, "exit_code": code, "seconds": seconds}
    about |= {"step": last.step, "total": last.total, "loss": last.loss}
    about |= {"usage": reader.usage()} if reader.began else {}
    begun_at = step_of(resume) if resume is not None and changed else None
    reason = (
        stood_still if (stood_still := _standstill(reader, stall, told)) else _reason(stage, reader, code, begun_at)
    )
    if signals.received and not (asked and reason is None and not reader.saved):  # it may have been at its end already
        saved = last_complete(Path(stage.output)) if reader.saved else None
        more = {"saved": str(saved)} if saved else {}
        record.add("stage-interrupted", **about, signal=signal.Signals(signals.received[0]).name, **more)
        display.stage(stage.name, "interrupted", f"after {clock(seconds)}" + (f", saved as {saved}" if saved else ""))
        return AttemptResult("interrupted", code, seconds)
    if reason is None:
        record.add("stage-finished", **about, fingerprint=fingerprint)
        result = f", step {last.step}/{last.total}, loss {last.loss:.4g}" if last.loss is not None else ""
        display.stage(stage.name, "complete", clock(seconds) + result)
        return AttemptResult("finished", code, seconds)
    text = last_bytes(log, LOG_TAIL, begin).decode("utf-8", "replace").rpartition("==== exit ")[0]
    error = (stack_text(text) if stood_still else None) or error_text(text)
    reason += _full_disk(stage, log)
    culprits = blame(build, stage, error)
    record.add("stage-failed", **about, reason=reason, error=list(error.lines), blame=[c._asdict() for c in culprits])
    display.stage(stage.name, "failed", reason)
    see = (f"  see {culprit.where}: {culprit.path} (emitted as {culprit.emitted})" for culprit in culprits)
    display.say("\n".join([failure_text(stage, reason, error, log), *see]))
    return AttemptResult("failed", code, seconds)


def _standstill(reader: ProgressReader, stall: float | None, told: list[float]) -> str | None:
    """Return the reason of an attempt that was ended because it stood still; None for another."""
    if stall is None or not told:
        return None
    last = reader.progress
    place = f" at step {last.step} of {last.total}" if last.step is not None else ""
    return f"no progress for {in_words(stall)}{place}"


def _full_disk(stage: Stage[Any], log: Path) -> str:
    """Return what to add to a reason where a disk that the stage writes to is full, whether or not it says so."""
    temporary = os.environ.get("TMPDIR", "/tmp")  # asked how full it is, never written to
    for place in dict.fromkeys((stage.output, os.fspath(log.parent), temporary)):
        there = Path(place).absolute()
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        if free < FULL:
            return f"; the disk is full: {free / 1e6:.0f} MB are free at {place}"
    return ""


def _reason(stage: Stage[Any], reader: ProgressReader, code: int, begun_at: int | None) -> str | None:
    """Return why an attempt failed; None when it succeeded. Some tools exit with 0 without doing their work.

    `begun_at` is the step of a checkpoint that was made from something else, from which it should have gone on.
    """
    number = -code if code < 0 else code - 128  # the script's shell was killed, or a tool that it ran
    if number in set(signal.Signals):
        return f"killed by {signal.Signals(number).name}" + (_SIGKILL_CAUSES if number == signal.SIGKILL else "")
    if refuses(stage, code):
        return "what is required does not hold"
    if code:
        return f"exit code {code}"
    if stage.kind == "train" and not reader.began and not _own_loop(stage):
        return "exit code 0, but training never started"
    if reader.began and not reader.ended:
        return f"exit code 0, but it stopped at step {reader.progress.step} of {reader.progress.total}"
    if begun_at is not None and reader.began and (reader.progress.step or 0) <= begun_at:
        return f"exit code 0, but nothing was trained: its last step was step {begun_at}, and that has its checkpoint"
    output = Path(stage.output)  # declared in the recipe: what was promised, beside the exit code
    if not output.is_dir() or not any(output.iterdir()):
        return f"exit code 0, but {stage.output} is empty or missing"
    lost = [place for one in stage.outputs if (place := _config(stage, one)) and not Path(place).is_file()]
    lost += [one.place for one in stage.outputs if isinstance(one, RowsOutput) and not Path(one.place).is_file()]
    if lost:
        return f"exit code 0, but {lost[0]} is missing"
    return None


def _config(stage: Stage[Any], output: Output) -> str | None:
    """Return the file without which nothing can load the model that a program of the user was said to make."""
    own = stage.kind != "train" and stage.system in REGISTRY and system(stage.system).own_program
    if not own or not isinstance(output, ModelOutput):
        return None
    return f"{output.place}/{'config.json' if output.adapter is None else 'adapter_config.json'}"


def refuses(stage: Stage[Any], code: int) -> bool:
    """Return whether an exit code says that a stage did its work, and that the course must not go on."""
    return stage.kind in KINDS and kind(stage.kind).refusal == code


def _own_loop(stage: Stage[Any]) -> bool:
    """Return whether a training may have no events: only Hugging Face's Trainer writes them."""
    return stage.system in REGISTRY and system(stage.system).own_loop


def failure_text(stage: Stage[Any], reason: str, error: ErrorText, log: Path) -> str:
    """Return what to show of a failed stage."""
    lines = [f"{stage.system} failed in {stage.name} ({reason}). Its last output:"]
    lines += [f"    {line[:300]}" for line in error.lines] or ["    (none)"]
    lines.append(f"  full output: {log}")
    return "\n".join(lines)
