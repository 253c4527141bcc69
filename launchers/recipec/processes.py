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
ASKED = (
    1800.0  # seconds that a training has to save and stop after it was asked to; whoever asked may have less patience
)
DUMPING = 2.0  # seconds in which a tool can tell where it stands, before it is ended because it stands still
ENDING = 20.0  # seconds between a termination and a kill
LEFTOVERS = 10.0  # seconds that the other processes of a child's group have to end by themselves

PROC = Path("/proc/self/stat").exists()  # without it (not on Linux), `ps` is used

_WATCHER = Path(__file__).with_name("watcher.py")
_GROUP = "RECIPE_GROUP"  # the variable by which those are found that leave the group, as the workers of torchrun do
# Waits for a line on standard input, then becomes the command; ends at once when standard input closes without a line.
_GATE = ("bash", "--posix", "-c", f'read -r _ && {_GROUP}=$$ && export {_GROUP} && exec "$@" < /dev/null', "bash")
_CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
DUMP = signal.SIGUSR2  # those who catch it tell where they stand


class Signals:
    """While active, collects SIGINT, SIGTERM and SIGUSR1 in `received` instead of letting them end the process.

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
                [sys.executable, "-I", "-S", str(_WATCHER), str(self.pid), self.started or "", str(ENDING)],
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
        ask: Callable[[], bool] = lambda: False,
        stalled: Callable[[], bool] = lambda: False,
        saving: float = SAVING,
        ending: float = ENDING,
        asked_for: float = ASKED,
    ) -> int:
        """Wait for the command to end and return its exit code (negative: the signal that killed it).

        `tick` is called several times a second. On the first signal in `signals`, `ask` may ask the command in another way
        to save and stop; where it returns False, and for later signals, they are sent to the whole group, and `passed_on`
        is called with each. When the group has not ended `asked_for` (asked), `saving` (SIGINT) or `ending` seconds later,
        or when another signal arrives, SIGTERM follows, then SIGKILL. When `stalled`, the group tells where it stands, and
        is ended.
        """
        seen = 0
        strongest = 0
        stopped = False
        deadline: float | None = None
        try:
            while True:
                try:
                    code = self._process.wait(TICK)
                    break
                except subprocess.TimeoutExpired:
                    pass
                tick()
                if not stopped and stalled():
                    stopped = True
                    self._stop_where_it_stands(ending)
                    continue
                late = deadline is not None and time.monotonic() > deadline
                if len(signals.received) > seen or late:
                    asked = signals.received[-1] if len(signals.received) > seen else 0
                    seen = len(signals.received)
                    if not strongest and ask():
                        strongest, deadline = signal.SIGUSR1, time.monotonic() + asked_for
                        continue
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

    def _stop_where_it_stands(self, ending: float) -> None:
        """Let those who can tell where they stand, then end the group."""
        telling = [pid for pid in group_members(self.pid, self.started) if _catches(pid, DUMP)]
        for pid in telling:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, DUMP)
        if telling:
            time.sleep(DUMPING)
        stop_group(self.pid, self.started, patience=0.0, ending=ending)

    def _signal(self, number: int) -> None:
        _send(self.pid, self.started, number)

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
        return signal.SIGTERM if asked == signal.SIGUSR1 else asked
    return signal.SIGTERM if strongest in (signal.SIGINT, signal.SIGUSR1) else signal.SIGKILL


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
    """Return the running processes of a group, and those that its members started in other groups.

    For its leader, `start_of(group)` returned `started`.
    """
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
        if fields[0] in ("Z", "X") or int(fields[19]) < int(tick):
            continue
        if int(fields[2]) == group or _started_by(entry, group):
            found.append(int(entry.name))
    return found


def _started_by(entry: Path, group: int) -> bool:
    try:
        return f"{_GROUP}={group}".encode() in (entry / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another person's
        return False


def _catches(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal; without /proc, none is known to."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    held = next((line.split()[1] for line in text.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(held, 16) >> (number - 1) & 1)


def _send(group: int, started: str | None, number: int) -> None:
    """Send a signal to a group. Who has left the group is told by those who started them, but for what ends all."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
    for pid in group_members(group, started) if number in (signal.SIGTERM, signal.SIGKILL) else ():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) != group:
                os.kill(pid, number)


def stop_group(group: int, started: str | None, *, patience: float, ending: float = ENDING) -> bool:
    """End a group: wait `patience` seconds, then send SIGTERM, then after `ending` seconds SIGKILL.

    Returns whether any process had to be ended.
    """
    if _gone(group, started, patience):
        return False
    for number, seconds in ((signal.SIGTERM, ending), (signal.SIGKILL, ending)):
        _send(group, started, number)
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


__all__ = ["DUMP", "Child", "Signals", "alive", "group_members", "start_of", "stop_group"]
