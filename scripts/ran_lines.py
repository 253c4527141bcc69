"""Which lines of which files each test runs, in its own process and in those that it starts (`scripts/mutants.py`)."""

import atexit
import contextlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

Line = tuple[str, int]  # a file and a number
Record = dict[str, tuple[float, dict[str, int]]]  # CPU seconds and lines of each test, as `Recorder` keeps them

PYTEST = ("-q", "-p", "no:cacheprovider", "-m", "not real and not conformance and not slow and not metamorphic")
PYTEST += ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # of plugins that are imported before the fork


def note(roots: tuple[str, ...], whole: frozenset[str], ran: set[Line], imports: set[Line]) -> Callable:
    """Return a trace function that notes which lines of functions below `roots` run; note as line 0 what is read.

    Of files that are not in `whole`, only the first line of a function is noted. What runs while a module is imported
    goes to `imports`: it runs once, whatever test is the first.
    """
    importing = 0

    def line(frame: Any, event: str, _arg: object) -> Callable:
        if event == "line":
            (imports if importing else ran).add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def module(_frame: Any, event: str, _arg: object) -> Callable:
        nonlocal importing
        importing -= event == "return"  # which an exception makes too
        return module

    def call(frame: Any, _event: str, _arg: object) -> Callable | None:
        nonlocal importing
        code = frame.f_code
        if not code.co_filename.startswith(roots):
            return None
        if code.co_name == "<module>":
            importing += 1
            return module
        if not code.co_flags & 1:  # CO_OPTIMIZED: the body of a class
            return None
        if code.co_filename in whole:
            return line
        (imports if importing else ran).add((code.co_filename, code.co_firstlineno))
        return None

    def read(event: str, arguments: tuple) -> None:
        if event == "open" and str(arguments[0]).startswith(roots):
            ran.add((str(arguments[0]), 0))

    sys.addaudithook(read)
    return call


def record_process(roots: tuple[str, ...], whole: list[str]) -> None:
    """Leave the lines that this subprocess of a test runs in the folder of the test."""
    ran: set[Line] = set()
    left = Path(tempfile.mkstemp(dir=os.environ["RAN_LINES"])[1])
    atexit.register(lambda: left.write_text(json.dumps([*ran])))
    sys.settrace(note(roots, frozenset(whole), ran, ran))


class Recorder:
    """A plugin that keeps each test's CPU seconds and, as the bits of a number by file, the lines that it ran.

    `imports` are the lines of functions that ran while modules were imported.
    """

    def __init__(self, roots: Iterable[Path], whole: Iterable[str], folder: Path) -> None:
        self.folder, self.tests, self.failed = folder, {}, set()
        self.ran: set[Line] = set()
        self.imports: set[Line] = set()
        below, lines = tuple(f"{root}/" for root in roots), [str(Path(file).absolute()) for file in whole]
        self.call = note(below, frozenset(lines), self.ran, self.imports)
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import ran_lines; del sys.path[0]"
        (folder / "sitecustomize.py").write_text(f"{code}; ran_lines.record_process({below!r}, {lines!r})")
        os.environ["RAN_LINES"] = str(folder)
        sys.settrace(self.call)  # what is collected imports most

    def pytest_runtest_logstart(self) -> None:
        """Begin to note lines."""
        os.environ["RAN_LINES"] = tempfile.mkdtemp(dir=self.folder)
        self.ran.clear()
        self.began = sum(os.times()[:4])
        sys.settrace(self.call)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note which test fails."""
        self.failed |= {report.nodeid} if report.failed else set()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Keep what this process noted, and what subprocesses left."""
        sys.settrace(None)
        seconds = sum(os.times()[:4]) - self.began  # with those of subprocesses; a busy machine makes them no more
        for left in Path(os.environ["RAN_LINES"]).iterdir():
            with contextlib.suppress(ValueError):  # cut short where the process was killed or could not write
                self.ran.update(map(tuple, json.loads(left.read_text())))
        self.tests[nodeid] = [seconds, bits(self.ran)]


def bits(ran: Iterable[Line]) -> dict[str, int]:
    """Return lines as the bits of a number by file."""
    lines: dict[str, int] = {}
    for file, line in ran:
        name = os.path.relpath(file)
        lines[name] = lines.get(name, 0) | 1 << line
    return lines


def fork(folder: Path, path: list[Path], run: Callable[[Callable], int]) -> int:
    """Let a child `run`, which is given pytest and returns the exit code; return the child's number.

    `path` comes before all else that the child and its subprocesses import; `folder` takes what it says and leaves.
    """
    if child := os.fork():
        return child
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.path[:1] = [str(place) for place in path]  # in the place of the folder of this script
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[: len(path)])
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "examples")
        with (folder / "said").open("wb") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        import pytest

        options = [*PYTEST, f"--basetemp={folder / 'tmp'}"]
        code = run(lambda words, plugin: pytest.main([*options, *words], [plugin]))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def recorded(roots: list[Path], tests: list[str], whole: Iterable[str]) -> tuple[Record, dict[str, int]]:
    """Return what `Recorder` keeps of the tests that pass, and of imports; of each line in the files `whole`.

    A file of tests is recorded anew when it has changed, and all are when anything else below `roots` or `tests` has.
    """
    files = {file for top in [*roots, *map(Path, tests)] for file in [top, *top.rglob("*")] if file.is_file()}
    own = {str(file): sha256(file.read_bytes()).hexdigest() for file in sorted(files) if file.suffix != ".pyc"}
    modules = {file: mark for file, mark in own.items() if Path(file).match("test_*.py")}
    others = [Path(__file__).read_text(), *sorted(whole), *(mark for file, mark in own.items() if file not in modules)]
    shared = sha256(repr(others).encode()).hexdigest()[:16]
    kept = Path(f".pytest_cache/mutants-{shared}.json")
    held: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"": {}}
    missing = [file for file, mark in modules.items() if held.get(file, {}).get("mark") != mark]
    if missing:
        sys.stderr.write("recording which test runs which lines…\n")
        kept.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)

            def run(pytest: Callable) -> int:
                recorder = Recorder(roots, whole, folder)
                code = pytest(missing, recorder)
                if code not in (0, 1, 5):  # passed, failed, none of them chosen
                    return code
                for file in missing:
                    held[file] = {"mark": modules[file], "tests": {}, "failed": {}}
                for test, about in recorder.tests.items():
                    row = held[test.partition("::")[0]]
                    row["failed" if test in recorder.failed else "tests"] |= {test: about}
                for file, lines in bits(recorder.imports).items():
                    held[""][file] = held[""].get(file, 0) | lines
                kept.write_text(json.dumps(held))
                return 0

            _, status = os.waitpid(fork(folder, [folder, *roots], run), 0)
            if status:
                sys.exit((folder / "said").read_text())
        held = json.loads(kept.read_text())
    sys.stderr.writelines(f"left out, for it fails without a change: {t}\n" for f in modules for t in held[f]["failed"])
    return {test: about for file in modules for test, about in held[file]["tests"].items()}, held[""]
