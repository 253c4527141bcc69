"""Which lines of which files each test runs, in its own process and in those that it starts (`scripts/mutants.py`)."""

import atexit
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def trace(roots: tuple[str, ...], ran: set[tuple[str, int]]) -> Callable:
    """Return a trace function that notes which lines of functions below `roots` run."""

    def line(frame: Any, event: str, _arg: object) -> Callable:
        if event == "line":
            ran.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame: Any, _event: str, _arg: object) -> Callable | None:
        code = frame.f_code
        of_function = code.co_flags & 1  # CO_OPTIMIZED
        return line if of_function and code.co_filename.startswith(roots) else None

    return call


def record_process(roots: tuple[str, ...]) -> None:
    """Leave the lines that this subprocess of a test runs in the folder of the test."""
    ran: set[tuple[str, int]] = set()
    left = Path(tempfile.mkstemp(dir=os.environ["RAN_LINES"])[1])
    atexit.register(lambda: left.write_text(json.dumps([*ran])))
    sys.settrace(trace(roots, ran))


class Recorder:
    """A plugin that keeps each test's seconds and, as the bits of a number by file, the lines that it ran."""

    def __init__(self, roots: Iterable[Path], folder: Path) -> None:
        self.folder, self.tests, self.failed = folder, {}, set()
        self.ran: set[tuple[str, int]] = set()
        below = tuple(f"{root}/" for root in roots)
        self.call = trace(below, self.ran)
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import ran_lines; del sys.path[0]"
        (folder / "sitecustomize.py").write_text(f"{code}; ran_lines.record_process({below!r})")

    def pytest_runtest_logstart(self) -> None:
        """Begin to note lines."""
        os.environ["RAN_LINES"] = tempfile.mkdtemp(dir=self.folder)
        self.ran.clear()
        self.began = time.monotonic()
        sys.settrace(self.call)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note which test fails."""
        self.failed |= {report.nodeid} if report.failed else set()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Keep what this process noted, and what subprocesses left."""
        sys.settrace(None)
        seconds = time.monotonic() - self.began
        for left in Path(os.environ["RAN_LINES"]).iterdir():
            with contextlib.suppress(ValueError):  # cut short where the process was killed or could not write
                self.ran.update(map(tuple, json.loads(left.read_text())))
        lines: dict[str, int] = {}
        for file, line in self.ran:
            name = os.path.relpath(file)
            lines[name] = lines.get(name, 0) | 1 << line
        self.tests[nodeid] = [seconds, lines]
