"""Child processes, each in its own process group: they get our signals, are killed if they ignore them, end with us.

Every tool is started here, so that none keeps running when recipec ends, and none is killed before it could save.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

TICK = 0.2  # seconds between checks on a child
SAVING = 120.0  # seconds that a tool has to save and stop after an interrupt
ENDING = 20.0  # seconds between a termination and a kill
LEFTOVERS = 10.0  # seconds that the other processes of a child's group have to end by themselves

PROC = Path("/proc/self/stat").exists()  # without it (not on Linux), `ps` is used

_WATCHER = Path(__file__).with_name("watcher.py")
# Waits for a line on standard input, then becomes the command; ends at once when standard input closes without a line.
_GATE = ("bash", "--posix", "-c", 'read -r _ && exec "$@" < /dev/null', "bash")
_CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While active, collects SIGINT and SIGTERM in `received` instead of letting them end the process.

    SIGHUP is taken and ends nothing, as under nohup: a terminal was closed, or the connection to it was lost, which says
    nothing about the work. Does nothing outside the main thread.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _CAUGHT:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._ignore if number == signal.SIGHUP else self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # the signature of a handler
        self.received.append(number)

    def _ignore(self, number: int, frame: FrameType | None) -> None:
        """Do nothing; a handler, unlike SIG_IGN, is not inherited by what is started."""


class Child:
    """A command in its own session. If this process dies before the command ends, a watcher ends the command's group.

    The command starts only after its watcher, so it never runs unwatched. As a context manager, it leaves nothing
    running, even when something fails between the start and `wait`.
    """

    def __init__(
        self, command: Sequence[str], *, output: IO[bytes], variables: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [*_GATE, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(variables),
            cwd=folder,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.started = start_of(self.pid)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as gate:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WATCHER), str(self.pid), str(ENDING)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            gate.write(b"go\n")

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dismiss_watcher()

    def wait(
        self,
        signals: Signals,
        tick: Callable[[], None],
        passed_on: Callable[[int], None],
        *,
        saving: float = SAVING,
        ending: float = ENDING,
    ) -> int:
        """Wait for the command to end and return its exit code (negative: the signal that killed it).

        `tick` is called several times a second. Signals in `signals` are sent to the whole group, and `passed_on` is
        called with each. When the group has not ended `saving` (SIGINT) or `ending` seconds later, or when another
        signal arrives, SIGTERM follows, then SIGKILL.
        """
        seen = 0
        strongest = 0
        deadline: float | None = None
        try:
            while True:
                try:
                    code = self._process.wait(TICK)
                    break
                except subprocess.TimeoutExpired:
                    pass
                tick()
                late = deadline is not None and time.monotonic() > deadline
                if len(signals.received) > seen or late:
                    asked = signals.received[-1] if len(signals.received) > seen else 0
                    seen = len(signals.received)
                    number = _next(strongest, asked)
                    strongest = number
                    deadline = time.monotonic() + (saving if number == signal.SIGINT else ending)
                    self._signal(number)
                    passed_on(number)
            tick()
            stop_group(self.pid, self.started, patience=LEFTOVERS)
        finally:
            self._dismiss_watcher()
        return code

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _dismiss_watcher(self) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        pipe = self._watcher.stdin
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(b"done")
                pipe.close()
        self._watcher.wait()


def _next(strongest: int, asked: int) -> int:
    """Return the signal to send after `strongest` was sent and `asked` arrived (0: only time has passed)."""
    if not strongest:
        return asked
    return signal.SIGTERM if strongest == signal.SIGINT else signal.SIGKILL


def start_of(pid: int) -> str | None:
    """Return what distinguishes a process from a later one with the same pid; None when there is no such process."""
    try:
        return f"{_boot()}-{_stat(pid)[19]}"
    except OSError:
        return _start_by_ps(pid)


def alive(pid: int, started: str | None) -> bool:
    """Return whether the process `pid` is running and is still the one for which `start_of` returned `started`."""
    if started is None or start_of(pid) != started:
        return False
    try:
        return not PROC or _stat(pid)[0] not in ("Z", "X")
    except OSError:
        return False


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]


def _stat(pid: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on (the name before it may contain anything)."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()


def _start_by_ps(pid: int) -> str | None:
    if PROC:
        return None
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def group_members(group: int, started: str | None) -> list[int]:
    """Return the running processes of a group; for its leader, `start_of(group)` returned `started`."""
    if not PROC:
        return [group] if alive(group, started) else []
    boot, _, tick = (started or "").partition("-")
    if boot != _boot():
        return []
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = _stat(entry.name)
        except OSError:
            continue
        if fields[0] not in ("Z", "X") and int(fields[2]) == group and int(fields[19]) >= int(tick):
            found.append(int(entry.name))
    return found


def stop_group(group: int, started: str | None, *, patience: float, ending: float = ENDING) -> bool:
    """End a group: wait `patience` seconds, then send SIGTERM, then after `ending` seconds SIGKILL.

    Returns whether any process had to be ended.
    """
    if _gone(group, started, patience):
        return False
    for number, seconds in ((signal.SIGTERM, ending), (signal.SIGKILL, ending)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
        if _gone(group, started, seconds):
            break
    return True


def _gone(group: int, started: str | None, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while group_members(group, started):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


__all__ = ["Child", "Signals", "alive", "group_members", "start_of", "stop_group"]
