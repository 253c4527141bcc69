"""Ends a process group when the process that started it dies without writing `done` to our standard input.

Run as a program by its path (`watcher.py GROUP STARTED SECONDS`); needs only the standard library.
"""

import signal
import sys
from pathlib import Path


def main() -> None:
    """Wait until standard input closes; unless something was written to it, send SIGTERM, and SIGKILL after SECONDS."""
    group, started, seconds = int(sys.argv[1]), sys.argv[2] or None, float(sys.argv[3])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read():
        return
    sys.path.insert(0, str(Path(__file__).parent))
    from processes import stop_group  # type: ignore[import-not-found]  # beside this file; late, because it takes memory

    stop_group(group, started, patience=0.0, ending=seconds)


if __name__ == "__main__":
    main()
