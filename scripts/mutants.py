"""Plant small changes of behaviour and count how many the tests notice: `python scripts/mutants.py [TESTS…]`.

A seeded sample is drawn from what `changes.py` finds. Each change runs in a fork of this process, which has imported
what others wrote and nothing of ours, on the tests that ran the changed lines when they were recorded (once for each
state of the code), the quickest first. The changed file lies in a folder of its own that comes first on `sys.path` and
PYTHONPATH, so that subprocesses have it too; the checkout is left alone. A test that hangs has noticed. In the end the
tests that noticed something run without a change, and must pass. The exit code is 1 when too few changes are noticed.

Why not a tool that exists: mutmut 3 changes only the bodies of functions, and much behaviour is in tables at the top of
modules here; it calls the modules of `schema/` `schema.recipec.…`, so it finds no test for them; it draws no sample.
cosmic-ray draws none either, writes each change into the checkout, and runs all the same tests for each.
"""

import argparse
import ast
import contextlib
import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from changes import Change, changes
from ran_lines import Recorder

FILES = (
    "compiler/recipec/resolve/**/*.py",
    "compiler/recipec/targets/**/*.py",
    "compiler/recipec/rules/**/*.py",
    "schema/recipec/bind.py",
    "schema/recipec/compose.py",
    "compiler/recipec/output.py",
    "launchers/recipec/engine/**/*.py",
)
Record = dict[str, tuple[float, dict[str, int]]]  # what `Recorder` keeps of each test

PRELOADED = ("pytest", "hypothesis", "jinja2", "libcst", "pydantic", "rich.console", "ruamel.yaml")
PYTEST = ("-q", "-p", "no:cacheprovider", "-m", "not real and not conformance")
FIRST = 40  # tests that are collected and run before the others, since most changes need no more


class Chosen:
    """A plugin that keeps the wanted tests in their order, and tells through a pipe which one begins."""

    def __init__(self, wanted: list[str], pipe: int) -> None:
        self.place, self.pipe = {test: place for place, test in enumerate(wanted)}, pipe

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Choose."""
        items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell."""
        os.write(self.pipe, f"{nodeid}\n".encode())


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


def recorded(roots: list[Path], tests: list[str]) -> Record:
    """Return what `Recorder` keeps of the tests that pass, recorded anew where the code or a test has changed."""
    files = {file for top in [*roots, *map(Path, tests)] for file in [top, *top.rglob("*")] if file.is_file()}
    parts = [(str(file), file.read_bytes()) for file in sorted(files) if file.suffix != ".pyc"]
    kept = Path(f".pytest_cache/mutants-{hashlib.sha256(repr([tests, parts]).encode()).hexdigest()[:16]}.json")
    if not kept.exists():
        sys.stderr.write("recording which test runs which lines…\n")
        kept.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)

            def run(pytest: Callable) -> int:
                recorder = Recorder(roots, folder)
                code = pytest(tests, recorder)
                kept.write_text(json.dumps([recorder.tests, [*recorder.failed]])) if code in (0, 1) else None
                return 0 if code == 1 else code  # 1: some failed, and are left out

            _, status = os.waitpid(fork(folder, [folder, *roots], run), 0)
            if status:
                sys.exit((folder / "said").read_text())
    found, failed = json.loads(kept.read_text())
    sys.stderr.writelines(f"left out, for it fails without a change: {test}\n" for test in failed)
    return {test: about for test, about in found.items() if test not in failed}


class Chooser:
    """Says which tests may notice a change: those that ran its lines or, for what an import runs, a user of its file."""

    def __init__(self, record: Record, roots: list[Path], seconds: float) -> None:
        self.record, self.limit = record, seconds
        self.imported: dict[str, set[str]] = {}
        for root in roots:
            for file in root.rglob("*.py"):
                found = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ImportFrom)]
                names = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
                self.imported[os.path.relpath(file)] = names | {str(node.module) for node in found}

    def tests(self, change: Change) -> tuple[list[str], int]:
        """Return tests that together take no longer than the limit, the quickest first, and how many there are."""
        if change.lines is not None:
            wanted = {change.file: sum(1 << line for line in change.lines)}
        else:
            module = ".".join(Path(change.file).with_suffix("").parts[1:]).removesuffix(".__init__")
            users = [file for file, names in self.imported.items() if module in names]
            wanted = dict.fromkeys([change.file, *users], -1)
        found = [(seconds, test) for test, (seconds, ran) in self.record.items() if any(ran.get(f, 0) & wanted[f] for f in wanted)]  # fmt: skip
        chosen: list[str] = []
        total = 0.0
        for seconds, test in sorted(found):
            total += seconds
            if total < self.limit or not chosen:
                chosen.append(test)
        return chosen, len(found)


def lay(file: str, text: bytes, folder: Path) -> None:
    """Write a changed file below `folder`, beside links to its neighbours, as far up as its package goes."""
    root, *parts = Path(file).parts
    here, there, in_package = folder, Path(root).absolute(), False
    here.mkdir()
    for part in parts:
        in_package = in_package or (there / "__init__.py").exists()
        for near in there.iterdir() if in_package else ():
            if near.name not in (part, "__pycache__"):
                (here / near.name).symlink_to(near)
        here, there = here / part, there / part
        if there.is_dir():
            here.mkdir()
    here.write_bytes(text)


class Trial:
    """Tests that run on a change in a child. When it has ended, `noticed` names the one that failed, if one did."""

    def __init__(self, change: Change, tests: list[str], roots: list[Path]) -> None:
        self.change, self.noticed = change, ""
        self.test, self.since = "", time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        lay(change.file, change.made(), self.folder / "source")
        self.pipe, pipe = os.pipe()
        os.set_blocking(self.pipe, False)

        def run(pytest: Callable) -> int:
            for part in (tests[:FIRST], tests[FIRST:]):
                files = dict.fromkeys(test.partition("::")[0] for test in part)
                code = pytest(["-x", "--hypothesis-seed=0", *files], Chosen(part, pipe)) if part else 0
                if code not in (0, 5):  # 5: the change has left none of these tests
                    return code
            return 0

        self.child = fork(self.folder, [self.folder / "source", *roots], run)
        os.close(pipe)

    def has_ended(self, record: Record, patience: float) -> bool:
        """Look at the child; end it where a test takes so many seconds beside ten times what it took before."""
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self.pipe, 1 << 16):
                self.test, self.since = said.decode().splitlines()[-1], time.monotonic()
        ended, status = os.waitpid(self.child, os.WNOHANG)
        usual = record[self.test][0] if self.test else 0.0
        if not ended and time.monotonic() - self.since < patience + 10 * usual:
            return False
        if not ended or status:
            self.noticed = self.test or "the import"
        self.end(running=not ended)
        return True

    def end(self, *, running: bool) -> None:
        """End what still runs, and leave nothing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child, signal.SIGKILL)
        if running:
            os.waitpid(self.child, 0)
        os.close(self.pipe)
        shutil.rmtree(self.folder, ignore_errors=True)


def run_all(starts: Iterable[Callable[[], Trial]], workers: int, ended: Callable[[Trial], bool]) -> Iterator[Trial]:
    """Run trials, so many at once; yield each when it has ended."""
    waiting, running = iter(starts), list[Trial]()
    try:
        while True:
            while len(running) < workers and (start := next(waiting, None)):
                running.append(start())
            if not running:
                return
            time.sleep(0.02)
            for trial in [trial for trial in running if ended(trial)]:
                running.remove(trial)
                yield trial
    finally:
        for trial in running:
            trial.end(running=True)


def report(title: str, outcomes: list[tuple[str, bool]]) -> None:
    """Print how many changes were noticed, by the first of each pair."""
    total, noticed = Counter(key for key, _ in outcomes), Counter(key for key, by in outcomes if by)
    print(f"\n{title}")
    for key in sorted(total):
        print(f"  {key:<40} {noticed[key]:>4} of {total[key]:>4} noticed")


def main() -> int:
    """Plant the sample, and print what no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=["tests"], help="files and folders of tests")
    parser.add_argument("--files", nargs="+", default=FILES, help="globs of what is changed")
    parser.add_argument("--roots", nargs="+", default=["schema", "compiler", "launchers"], help="where imports start")
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-least", type=float, default=85.0, help="percent that have to be noticed")
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests for one change at most")
    parser.add_argument("--patience", type=float, default=20.0, help="seconds a test may take beyond what it took")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    roots = [Path(root).absolute() for root in options.roots]
    files: set[str] = set()
    for glob in options.files:
        found = {str(path) for path in Path().glob(glob)}
        if not found:
            parser.error(f"there is no file {glob}")
        files |= found
    every = [change for file in sorted(files) for change in changes(file)]
    Random(options.seed).shuffle(every)
    sample = list(islice((change for change in every if change.is_program()), options.sample))
    record = recorded(roots, options.tests)
    chooser = Chooser(record, roots, options.seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # by way of what ends the children
    for name in PRELOADED:
        importlib.import_module(name)
    noticed: Counter[tuple[str, str]] = Counter()

    def start(change: Change) -> Trial:
        tests = sorted(chooser.tests(change)[0], key=lambda test: -noticed[change.file, test])
        return Trial(change, tests, roots)

    def has_ended(trial: Trial) -> bool:
        return trial.has_ended(record, options.patience)

    ended: list[tuple[Change, str]] = []
    for trial in run_all((partial(start, change) for change in sample), options.workers, has_ended):
        noticed[trial.change.file, trial.noticed] += 1
        ended.append((trial.change, trial.noticed))
        sys.stderr.write(f"\r{len(ended)} of {len(sample)}, {sum(not by for _, by in ended)} not noticed ")
    sys.stderr.write("\n")
    for change, _ in sorted((one for one in ended if not one[1]), key=lambda one: (one[0].file, one[0].begin)):
        some, all_ = chooser.tests(change)
        ran = f"{len(some)} of {all_} tests" if all_ else "no test runs it"
        print(f"{change.told()}  ({change.kind}; {ran})")
    report("by folder", [(str(Path(change.file).parent), bool(by)) for change, by in ended])
    report("by kind", [(change.kind, bool(by)) for change, by in ended])
    percent = 100 * sum(bool(by) for _, by in ended) / max(1, len(ended))
    print(f"\n{percent:.1f} % of {len(ended)} changes noticed (out of {len(every)} possible, seed {options.seed})")
    noticing = sorted({test for _, test in noticed if test in record})
    no_change = sample[0]._replace(end=sample[0].begin, text="")
    for control in run_all([partial(Trial, no_change, noticing, roots)], 1, has_ended):
        if control.noticed:
            print(f"worth nothing: {control.noticed} fails without a change")
            return 2
    return 0 if percent >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
