"""One attempt of one stage: its script runs, its output is kept and followed, its end is judged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from recipec.engine.build import Build, Stage
from recipec.engine.failure import READ, ErrorText, blame, error_text
from recipec.engine.progress import Follower, clock
from recipec.engine.record import Record, RunFolder, now
from recipec.engine.ui import Ui
from recipec.processes import Child, Signals
from recipec.tail import last_bytes

HOOK = Path(__file__).parent / "hook"
# A trap, since bash goes on with the next command of a script when a tool has taken an interrupt and exited with 0.
_START = 'trap "exit 130" INT; trap "exit 143" TERM; trap "exit 129" HUP; . "$0"'
_NAMES = {signal.SIGINT: "interrupt", signal.SIGTERM: "termination", signal.SIGHUP: "hang-up", signal.SIGKILL: "kill"}
_KILLED = ", by hand or for want of memory: the kernel's log (dmesg) names what it ended"
_HIDDEN = ("VIRTUAL_ENV", "PYTHONHOME", "RECIPE_RESUME_FROM", "RECIPE_EVENTS", "RECIPE_ENVIRONMENTS")


class Ended(NamedTuple):
    """How an attempt ended."""

    state: Literal["finished", "failed", "interrupted"]
    exit_code: int
    seconds: float


def variables_of(run: RunFolder, stage: Stage, resume: Path | None, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a stage's script."""
    found = {name: value for name, value in base.items() if name not in _HIDDEN}
    found["PYTHONPATH"] = os.pathsep.join(part for part in (str(HOOK), base.get("PYTHONPATH", "")) if part)
    found["PYTHONUNBUFFERED"] = "1"
    found["RECIPE_EVENTS"] = str(run.events(stage.id).absolute())
    found["RECIPE_ENVIRONMENTS"] = str(run.environments.absolute())
    if resume is not None:
        found["RECIPE_RESUME_FROM"] = str(resume)
    return found


def attempt(
    build: Build,
    run: RunFolder,
    stage: Stage,
    record: Record,
    ui: Ui,
    signals: Signals,
    *,
    fingerprint: str,
    number: int,
    resume: Path | None,
) -> Ended:
    """Run a stage once, record how it went, show why when it failed."""
    log, events = run.log(stage.id), run.events(stage.id)
    log.parent.mkdir(parents=True, exist_ok=True)
    events.parent.mkdir(parents=True, exist_ok=True)
    origin = f", continuing from {resume}" if resume else ""
    ui.stage(stage.id, "running", f"attempt {number}{origin}" if number > 1 or resume else stage.tool)
    began = time.monotonic()
    with log.open("ab") as output:
        output.write(f"==== {stage.id}, attempt {number}, {now()}{origin} ====\n".encode())
        output.flush()
        begin = output.tell()
        follower = Follower(events, log, stage.steps)
        command = ["bash", "-c", _START, str(build.folder / stage.script)]
        with Child(command, output=output, variables=variables_of(run, stage, resume, os.environ)) as child:
            record.add(
                "stage-started",
                stage=stage.id,
                attempt=number,
                fingerprint=fingerprint,
                pid=child.pid,
                pid_started=child.started,
                resumed_from=str(resume) if resume else None,
            )

            def passed_on(signum: int) -> None:
                name = _NAMES.get(signal.Signals(signum), str(signum))
                again = " (Ctrl-C again ends it now)" if signum == signal.SIGINT else ""
                ui.say(f"{name} passed on to {stage.id}; waiting for it to stop{again}")

            code = child.wait(signals, lambda: ui.progress(stage.id, follower.look()), passed_on)
        output.write(f"==== exit {code} after {time.monotonic() - began:.1f} s ====\n".encode())
    seconds = round(time.monotonic() - began, 1)
    last = follower.look()
    about = {"stage": stage.id, "attempt": number, "exit_code": code, "seconds": seconds}
    about |= {"step": last.step, "total": last.total, "loss": last.loss}
    if signals.received:
        record.add("stage-interrupted", **about, signal=signal.Signals(signals.received[0]).name)
        ui.stage(stage.id, "interrupted", f"after {clock(seconds)}")
        return Ended("interrupted", code, seconds)
    reason = _reason(stage, follower, code)
    if reason is None:
        record.add("stage-finished", **about, fingerprint=fingerprint)
        result = f", step {last.step}/{last.total}, loss {last.loss:.4g}" if last.loss is not None else ""
        ui.stage(stage.id, "complete", clock(seconds) + result)
        return Ended("finished", code, seconds)
    error = error_text(last_bytes(log, READ, begin).decode("utf-8", "replace").rpartition("==== exit ")[0])
    culprits = blame(build, stage, error)
    record.add("stage-failed", **about, reason=reason, error=list(error.lines), blame=[c._asdict() for c in culprits])
    ui.stage(stage.id, "failed", reason)
    ui.say(failure_text(stage, reason, error, log))
    for culprit in culprits:
        ui.say(f"  see {culprit.where}: {culprit.path} (became {culprit.emitted})")
    return Ended("failed", code, seconds)


def _reason(stage: Stage, follower: Follower, code: int) -> str | None:
    """Return why an attempt did not do its work; None when it did. Some tools exit with 0 all the same."""
    number = -code if code < 0 else code - 128  # the script's shell, or a tool in it that the shell tells of
    if number in set(signal.Signals):
        return f"killed by {signal.Signals(number).name}" + (_KILLED if number == signal.SIGKILL else "")
    if code:
        return f"exit code {code}"
    if stage.kind == "train" and not follower.began:
        return "exit code 0, but it never began to train"
    if follower.began and not follower.ended:
        return f"exit code 0, but it stopped at step {follower.progress.step} of {follower.progress.total}"
    output = Path(stage.output)
    if not output.is_dir() or not any(output.iterdir()):
        return f"exit code 0, but there is nothing in {stage.output}"
    return None


def failure_text(stage: Stage, reason: str, error: ErrorText, log: Path) -> str:
    """Return what a person reads when a stage failed."""
    lines = [f"{stage.tool or stage.id} failed in {stage.id} ({reason}). The last it said:"]
    lines += [f"    {line[:300]}" for line in error.lines] or ["    (nothing)"]
    lines.append(f"  the whole output: {log}")
    return "\n".join(lines)
