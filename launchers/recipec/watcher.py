"""Ends a process group when the process that started it dies without writing `done` to our standard input.

Run as a program by its path (`watcher.py GROUP SECONDS`); needs only the standard library.
"""

import contextlib
import os
import signal
import sys
import time


def main() -> None:
    """Wait until standard input closes; unless something was written to it, send SIGTERM, and SIGKILL after SECONDS."""
    group, seconds = int(sys.argv[1]), float(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read():
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
