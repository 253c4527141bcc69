"""What somebody else wrote, a template or a pattern, tried in a process of its own: it comes to an end, in bounded memory.

A loop of Jinja or a regular expression can be small and take years, and cannot be stopped from inside the process that
runs it.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

SECONDS = 2  # of the processor, beside what imports take; what is tried here takes a hundredth of it
WAIT = 60.0  # seconds: a machine may be busy
MEMORY = 1 << 30  # bytes of address space
LONGEST = 1 << 20  # characters of an answer
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from recipec.bounded import answer; answer()"


class Unbounded(Exception):
    """It took too long, or too much memory."""


def bounded(function: str, *arguments: Any) -> Any:
    """Return what a function, named as `module:function`, returns for arguments; all of them are as JSON has them.

    Raises Unbounded where it took too long or too much memory, or no process could be started for it.
    """
    import subprocess  # few recipes need it

    asked = json.dumps([function, arguments])
    command = [sys.executable, "-I", "-c", _START, json.dumps(sys.path)]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=WAIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unbounded(str(error)) from error
    if done.returncode != 0 or len(done.stdout) > LONGEST:
        raise Unbounded(done.stderr.strip().rpartition("\n")[2])
    return json.loads(done.stdout)


def answer() -> None:
    """Answer one question of `bounded`, in the process that it started."""
    import resource  # which only Unix has

    name, arguments = json.load(sys.stdin)
    module, _, function = name.partition(":")
    call = getattr(import_module(module), function)
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    json.dump(call(*arguments), sys.stdout)
