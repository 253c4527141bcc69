"""Plant small changes of behaviour and count how many the tests notice: `python scripts/mutants.py [TESTS…]`.

A seeded sample is drawn from what `changes.py` finds. Each change runs in a fork of this process, which has imported
what others wrote and nothing of ours, on the tests that ran the changed lines when they were recorded (once for each
state of the code), the quickest first. The changed file lies in a folder of its own that comes first on `sys.path` and
PYTHONPATH, so that subprocesses have it too; the checkout is left alone. A test that hangs has noticed. A test that
takes long or hangs must notice twice, for a busy machine fails such tests too; and without a change, in the end, what has
noticed must pass. The exit code is 1 when too few changes are noticed.

Why not a tool that exists: mutmut 3 changes only the bodies of functions, and much behaviour is in tables at the top of
modules here; it calls the modules of `schema/` `schema.recipec.…`, so it finds no test for them; it draws no sample.
cosmic-ray draws none either, writes each change into the checkout, and runs all the same tests for each.
"""

import argparse
import ast
import contextlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from changes import Change, changes
from ran_lines import Record, fork, recorded

FILES = (
    "compiler/recipec/decide/**/*.py",
    "compiler/recipec/kinds/**/*.py",
    "compiler/recipec/systems/**/*.py",
    "compiler/recipec/rules/**/*.py",
    "compiler/recipec/emission.py",
    "schema/recipec/bind.py",
    "schema/recipec/compose.py",
    "compiler/recipec/output.py",
    "launchers/recipec/engine/**/*.py",
)
PRELOADED = ("pytest", "hypothesis", "jinja2", "libcst", "pydantic", "rich.console", "ruamel.yaml")
SHORT = 0.2  # CPU seconds of a test that waits for nothing, so that its failure is no chance
FIRST = 15  # tests that are collected and run before the others, since most changes need no more


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


class Chooser:
    """Says which tests may notice a change: those that ran its lines.

    For what runs at import, those that ran a line of the file or of one that imports it; for what nobody imports (it is
    emitted, or a program of its own), those that read it.
    """

    def __init__(
        self, record: Record, imports: dict[str, int], roots: list[Path], seconds: float, whole: tuple[str, ...]
    ) -> None:
        self.record, self.imports, self.limit, self.whole = record, imports, seconds, whole
        self.imported: dict[str, set[str]] = {}
        files = [
            *(file for root in roots for file in root.rglob("*.py")),
            *map(Path, {t.partition("::")[0] for t in record}),
        ]
        for file in files:
            found = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ImportFrom)]
            names = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
            self.imported[os.path.relpath(file)] = names | {str(node.module) for node in found}

    def tests(self, change: Change, noticed: Counter[str]) -> tuple[list[str], int]:
        """Return tests that together take no longer than the limit, and how many there are.

        First those that have `noticed` most changes of the file, then the quickest. Half of the time is for tests that
        hold whole outputs: each is slow, and notices much.
        """
        module = ".".join(Path(change.file).with_suffix("").parts[1:]).removesuffix(".__init__")
        users = [file for file, names in self.imported.items() if module in names]
        lines = sum(1 << line for line in change.lines or ())
        if users and lines and not lines & self.imports.get(change.file, 0):
            wanted = {change.file: lines}
        else:
            wanted = dict.fromkeys(users, -2) | {change.file: -2 if users else -1}  # bit 0: read
        touch = {
            test for test, (_, ran) in self.record.items() if any(ran.get(file, 0) & wanted[file] for file in wanted)
        }
        if not users:  # a program of its own may run where nothing notes it, beside a test that was seen to run it
            modules = {test.partition("::")[0] for test in touch}
            touch = {test for test in self.record if test.partition("::")[0] in modules}
        found = [(-noticed[test], self.record[test][0], test) for test in touch]
        chosen: list[tuple[int, float, str]] = []
        left = dict.fromkeys((True, False), self.limit / 2)
        for one in sorted(found):
            whole = one[2].startswith(self.whole)
            left[whole] -= one[1]
            if left[whole] > 0 or not chosen:
                chosen.append(one)
        return [test for _, _, test in chosen], len(found)


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
    """Tests that run on a change in a child. When it has ended, `noticed` names the one that failed, if one did.

    `by_chance` says whether a busy machine may have failed it.
    `others` are the tests that are left to run where this repeats the one that failed, and it may have been by chance.
    """

    def __init__(self, roots: list[Path], change: Change, tests: list[str], others: list[str] | None = None) -> None:
        self.change, self.tests, self.others, self.noticed, self.by_chance = change, tests, others, "", False
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
            self.by_chance = not ended or usual > SHORT
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


def run_all(waiting: deque[Callable[[], Trial]], workers: int, has_ended: Callable[[Trial], bool]) -> Iterator[Trial]:
    """Run trials, so many at once; yield each when it has ended, after which more may wait."""
    running: list[Trial] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(waiting.popleft()())
            time.sleep(0.02)
            for trial in [trial for trial in running if has_ended(trial)]:
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
    parser.add_argument("--whole", nargs="+", default=["tests/golden"], help="where tests hold whole outputs")
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-least", type=float, default=85.0, help="percent that have to be noticed")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="of CPU time for one change, in tests while they are recorded"
    )
    parser.add_argument(
        "--patience", type=float, default=20.0, help="seconds a test may take beyond ten times what it took"
    )
    parser.add_argument("--all", action="store_true", help="print what was noticed too, with the test that did")
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
    record, imports = recorded(roots, options.tests, files)
    chooser = Chooser(record, imports, roots, options.seconds, tuple(options.whole))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # by way of what ends the children
    for name in PRELOADED:
        importlib.import_module(name)
    noticed: dict[str, Counter[str]] = {change.file: Counter() for change in sample}

    def first(change: Change) -> Trial:
        return Trial(roots, change, chooser.tests(change, noticed[change.file])[0])

    def has_ended(trial: Trial) -> bool:
        return trial.has_ended(record, options.patience)

    ended: list[tuple[Change, str]] = []
    waiting = deque(partial(first, change) for change in sample)
    for trial in run_all(waiting, options.workers, has_ended):
        if trial.noticed and trial.by_chance and trial.others is None:
            others = [test for test in trial.tests if test != trial.noticed]
            again = [trial.noticed] if trial.noticed in record else trial.tests
            waiting.appendleft(partial(Trial, roots, trial.change, again, others))
        elif trial.others and not trial.noticed:
            waiting.appendleft(partial(Trial, roots, trial.change, trial.others))
        else:
            by = [trial.noticed] if trial.noticed in record else trial.tests[:1] if trial.noticed else []
            noticed[trial.change.file].update(by)
            ended.append((trial.change, trial.noticed))
            some, every_one = chooser.tests(trial.change, noticed[trial.change.file])
            ran = f"{len(some)} of {every_one} tests" if some else "no test runs it"
            if options.all or not trial.noticed:
                print(f"{trial.change.told()}  ({trial.change.kind}; {trial.noticed or ran})", flush=True)
            sys.stderr.write(f"\r{len(ended)} of {len(sample)} ")
    sys.stderr.write("\n")
    report("by folder", [(str(Path(change.file).parent), bool(by)) for change, by in ended])
    report("by kind", [(change.kind, bool(by)) for change, by in ended])
    percent = 100 * sum(bool(by) for _, by in ended) / max(1, len(ended))
    print(f"\n{percent:.1f} % of {len(ended)} changes noticed (out of {len(every)} possible, seed {options.seed})")
    unchanged = {change.file: change._replace(end=change.begin, text="") for change in sample}
    controls = deque(partial(Trial, roots, unchanged[file], list(by)) for file, by in noticed.items() if by)
    wrong = [trial for trial in run_all(controls, options.workers, has_ended) if trial.noticed]
    for trial in wrong:
        print(f"worth nothing: without a change of {trial.change.file} {trial.noticed} fails too")
    return 2 if wrong else 0 if percent >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
