"""One stage's process: its output goes to the log, its progress to the screen, our signals to it."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from recipec.engine.record import json_lines

_NOISE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ESCALATION = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class Stage:
    """Runs `bash script` in a process group of its own and follows it to its end."""

    def __init__(self, stage: str, script: Path, log: Path, events: Path, environment: dict[str, str]) -> None:
        self.name, self.log, self.events = stage, log, events
        self.signals = 0
        log.parent.mkdir(parents=True, exist_ok=True)
        events.parent.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            ["bash", str(script)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def follow(self, show: Any) -> int:
        """Wait for the end and return the exit code; `show` is told of progress. Signals are passed on."""
        old = {
            number: signal.signal(number, self._pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        assert self.process.stdout is not None
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        try:
            with self.log.open("ab") as log:
                log.write(f"=== {self.name} started {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
                open_ = True
                while open_:
                    for _key, _mask in selector.select(timeout=0.5):
                        data = os.read(self.process.stdout.fileno(), 65536)
                        log.write(data)
                        log.flush()
                        open_ = bool(data)
                    show.progress(self.name, self._newest())
                    if self.process.poll() is not None and not selector.select(timeout=0):
                        break
            return self.process.wait()
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _frame: object) -> None:
        step = ESCALATION[min(self.signals, len(ESCALATION) - 1)]
        self.signals += 1
        try:
            os.killpg(self.process.pid, signal.Signals(number) if self.signals == 1 else step)
        except ProcessLookupError:
            return

    def _newest(self) -> dict[str, Any] | None:
        newest: dict[str, Any] = {}
        for event in json_lines(self.events):
            newest.update({k: v for k, v in event.items() if k != "values"})
            newest.update({k: v for k, v in event.get("values", {}).items() if k in ("loss", "eval_loss")})
            if event["event"] == "begin":
                newest["began"], newest["first"] = event["time"], event["step"]
        return newest or None


class Show:
    """Progress for people: one line that is redrawn in a terminal, a plain line now and then elsewhere."""

    def __init__(self, every: float = 10.0) -> None:
        self.terminal = sys.stdout.isatty()
        self.every, self.last = every, 0.0
        self._live: Any = None

    def say(self, text: str) -> None:
        """Print a line."""
        self.clear()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def clear(self) -> None:
        """Take the progress line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def progress(self, stage: str, newest: dict[str, Any] | None) -> None:
        """Show how far a training stage is."""
        now = time.monotonic()
        if newest is None or now - self.last < (0.5 if self.terminal else self.every):
            return
        self.last = now
        text = progress_line(stage, newest, time.time())
        if not self.terminal:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            return
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(Text(text), transient=True)
            self._live.start()
        self._live.update(Text(text))


def progress_line(stage: str, newest: dict[str, Any], now: float) -> str:
    """Return `10-train  step 40/296  loss 0.91  2.3 steps/s  ETA 1m51s`."""
    step, total = newest["step"], newest["total"]
    parts = [stage, f"step {step}/{total}"]
    if "loss" in newest:
        parts.append(f"loss {newest['loss']:.4g}")
    done = step - newest.get("first", 0)
    if done > 0 and newest.get("event") != "end":
        speed = done / max(1e-9, newest["time"] - newest.get("began", newest["time"] - 1))
        left = int((total - step) / speed) if speed else 0
        parts += [f"{speed:.2f} steps/s", f"ETA {left // 60}m{left % 60:02d}s"]
    return "  ".join(parts)


def last_error(log: Path, lines: int = 12) -> str:
    """Return the end of what a failed tool said: from its last exception on, without progress bars."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 60000))
        text = _NOISE.sub("", stream.read().decode("utf-8", "replace"))
    text = text[text.rfind("=== ") :] if "=== " in text else text
    kept = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    kept = [line for line in kept if line and "%|" not in line and not set(line) <= set("─━═╭╮╰╯│^~ -")]
    raised = [i for i, line in enumerate(kept) if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    if raised:
        kept = kept[max(0, raised[-1] - 2) :]
        return "\n".join(kept[:lines])
    return "\n".join(kept[-lines:])
