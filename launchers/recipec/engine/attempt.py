"""One attempt of one stage: run its script, log and follow its output, decide whether it succeeded."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recipec.engine.build import Build
from recipec.engine.display import Display
from recipec.engine.failure import LOG_TAIL, ErrorText, blame, error_text
from recipec.engine.progress import ProgressReader, clock, copies_of
from recipec.engine.record import Record, RunFolder, now
from recipec.plan import RowsOutput, Stage
from recipec.processes import Child, Signals
from recipec.systems.registry import REGISTRY, system
from recipec.tail import last_bytes

HOOK = Path(__file__).parent / "hook"
# With traps: bash would run the next command of a script when a tool handles an interrupt and exits with 0.
_RUN_SCRIPT = 'trap "exit 130" INT; trap "exit 143" TERM; trap "exit 129" HUP; . "$0"'
_SIGNAL_NAMES = {
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "termination",
    signal.SIGKILL: "kill",
}
_SIGKILL_CAUSES = ": by hand, or because memory ran out (the kernel's log, dmesg, names what it killed)"
_NOT_PASSED_ON = ("VIRTUAL_ENV", "PYTHONHOME", "RECIPE_RESUME_FROM", "RECIPE_EVENTS", "RECIPE_ENVIRONMENTS")


class AttemptResult(NamedTuple):
    """How an attempt ended."""

    state: Literal["finished", "failed", "interrupted"]
    exit_code: int
    seconds: float


def variables_of(run: RunFolder, stage: Stage[Any], resume: Path | None, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for a stage's script."""
    found = {name: value for name, value in base.items() if name not in _NOT_PASSED_ON}
    found["PYTHONPATH"] = os.pathsep.join(part for part in (str(HOOK), base.get("PYTHONPATH", "")) if part)
    found["PYTHONUNBUFFERED"] = "1"
    found["RECIPE_EVENTS"] = str(run.events(stage.name).absolute())
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
) -> AttemptResult:
    """Run a stage once, record how it ended and, when it failed, show why."""
    log, events = run.log(stage.name), run.events(stage.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    events.parent.mkdir(parents=True, exist_ok=True)
    origin = f", resuming from {resume}" if resume else ""
    display.stage(stage.name, "running", f"attempt {number}{origin}" if number > 1 or resume else stage.system)
    began = time.monotonic()
    with log.open("ab") as output:
        output.write(f"==== {stage.name}, attempt {number}, {now()}{origin} ====\n".encode())
        output.flush()
        begin = output.tell()
        reader = ProgressReader(events, log, copies_of(stage))
        command = ["bash", "-c", _RUN_SCRIPT, str(build.script(stage))]
        with Child(command, output=output, variables=variables_of(run, stage, resume, os.environ)) as child:
            record.add(
                "stage-started",
                stage=stage.name,
                attempt=number,
                fingerprint=fingerprint,
                pid=child.pid,
                pid_started=child.started,
                resumed_from=str(resume) if resume else None,
            )

            def passed_on(signum: int) -> None:
                name = _SIGNAL_NAMES.get(signal.Signals(signum), str(signum))
                again = " (press Ctrl-C again to stop it now)" if signum == signal.SIGINT else ""
                display.say(f"{name} sent to {stage.name}; waiting for it to stop{again}")

            code = child.wait(signals, lambda: display.progress(stage.name, reader.read()), passed_on)
        output.write(f"==== exit {code} after {time.monotonic() - began:.1f} s ====\n".encode())
    seconds = round(time.monotonic() - began, 1)
    last = reader.read()
    about = {"stage": stage.name, "attempt": number, "exit_code": code, "seconds": seconds}
    about |= {"step": last.step, "total": last.total, "loss": last.loss}
    about |= {"usage": reader.usage()} if reader.began else {}
    if signals.received:
        record.add("stage-interrupted", **about, signal=signal.Signals(signals.received[0]).name)
        display.stage(stage.name, "interrupted", f"after {clock(seconds)}")
        return AttemptResult("interrupted", code, seconds)
    reason = _reason(stage, reader, code)
    if reason is None:
        record.add("stage-finished", **about, fingerprint=fingerprint)
        result = f", step {last.step}/{last.total}, loss {last.loss:.4g}" if last.loss is not None else ""
        display.stage(stage.name, "complete", clock(seconds) + result)
        return AttemptResult("finished", code, seconds)
    error = error_text(last_bytes(log, LOG_TAIL, begin).decode("utf-8", "replace").rpartition("==== exit ")[0])
    culprits = blame(build, stage, error)
    record.add("stage-failed", **about, reason=reason, error=list(error.lines), blame=[c._asdict() for c in culprits])
    display.stage(stage.name, "failed", reason)
    display.say(failure_text(stage, reason, error, log))
    for culprit in culprits:
        display.say(f"  see {culprit.where}: {culprit.path} (emitted as {culprit.emitted})")
    return AttemptResult("failed", code, seconds)


def _reason(stage: Stage[Any], reader: ProgressReader, code: int) -> str | None:
    """Return why an attempt failed; None when it succeeded. Some tools exit with 0 without doing their work."""
    number = -code if code < 0 else code - 128  # the script's shell was killed, or a tool that it ran
    if number in set(signal.Signals):
        return f"killed by {signal.Signals(number).name}" + (_SIGKILL_CAUSES if number == signal.SIGKILL else "")
    if code:
        return f"exit code {code}"
    if stage.kind == "train" and not reader.began and not _own_loop(stage):
        return "exit code 0, but training never started"
    if reader.began and not reader.ended:
        return f"exit code 0, but it stopped at step {reader.progress.step} of {reader.progress.total}"
    output = Path(stage.output)  # declared in the recipe: what was promised, beside the exit code
    if not output.is_dir() or not any(output.iterdir()):
        return f"exit code 0, but {stage.output} is empty or missing"
    lost = [one.place for one in stage.outputs if isinstance(one, RowsOutput) and not Path(one.place).is_file()]
    if lost:
        return f"exit code 0, but {lost[0]} is missing"
    return None


def _own_loop(stage: Stage[Any]) -> bool:
    """Return whether a training may have no events: only Hugging Face's Trainer writes them."""
    return stage.system in REGISTRY and system(stage.system).own_loop


def failure_text(stage: Stage[Any], reason: str, error: ErrorText, log: Path) -> str:
    """Return what to show of a failed stage."""
    lines = [f"{stage.system} failed in {stage.name} ({reason}). Its last output:"]
    lines += [f"    {line[:300]}" for line in error.lines] or ["    (none)"]
    lines.append(f"  full output: {log}")
    return "\n".join(lines)
