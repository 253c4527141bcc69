"""Programs that a model wrote: what runs them lets nothing out, believes no program that says it passed, and counts right."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from math import comb
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from recipec.plan import ScoresOutput
from recipec.report.scores import evaluated, read_scores
from recipec.systems.scripts import check_scores

SCRIPTS = Path(check_scores.__file__).parent
sys.path.insert(0, str(SCRIPTS))  # where they are run, each stands beside the others

import run_code  # noqa: E402
import sandbox  # noqa: E402
from sandbox import FAILED, LATE, PASSED, Broken, Limits, Outcome, run_program  # noqa: E402

LIMITS = Limits(3, 1, 8)


def absent() -> str:
    """Why no sandbox can be made here; an empty text where one can."""
    try:
        sandbox.check(LIMITS)
    except Broken as error:
        return str(error)
    return ""


boxed = pytest.mark.skipif(bool(absent()), reason=f"no sandbox: {absent()}")

# Each passes where it gets out. `{secret}` is a file of this user, `{port}` one that listens here, `{home}` the user's home.
ESCAPES = {
    "network": "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)",
    "network-by-another-family": "import socket\nsocket.socket(40, socket.SOCK_STREAM)",  # to the host of a virtual machine
    "reading-the-home": "assert open({secret!r}).read()",
    "listing-the-home": "import os\nassert set(os.listdir({home!r})) - {kept!r}",
    "reading-passwords": "assert open('/etc/passwd').read()",
    "writing-outside": "open({beside!r}, 'w').write('x')",
    "writing-to-the-root": "open('/x', 'w').write('x')",
    "writing-to-python": "import os\nopen(os.__file__, 'a').write('x')",
    "writing-to-devices": "import os\nos.mkdir('/dev/shm')",
    "fork-bomb": "import os\nassert any(os.fork() is not None for _ in range(9))\nwhile True: os.fork()",
    "process-by-subprocess": "import subprocess\nsubprocess.run(['/bin/true'], check=True)",
    "process-by-spawn": "import os\nos.posix_spawn('/bin/true', ['true'], {{}})",
    "thread-bomb": "import threading, time\nfor _ in range(500): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
    "symlink": "import os\nos.symlink({secret!r}, 'link')\nassert open('link').read()",
    "symlink-to-write": "import os\nos.symlink({beside!r}, 'link')\nopen('link', 'w').write('x')",
    "ptrace": "import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0",
    "ptrace-by-memory": "import ctypes\nassert ctypes.CDLL(None).process_vm_readv(1, 0, 0, 0, 0, 0) == 0",
    "signal-to-the-parent": "import os\nos.kill(os.getppid(), 9)\nos.kill({pid}, 0)",
    "signal-to-all": "import os\nos.kill({pid}, 9)",
    "disk": "import os\nfor number in range(99): open(str(number), 'wb').write(bytes(2**20))",
    "one-large-file": "open('x', 'wb').write(bytes(64 * 2**20))",
    "sparse-file": "open('x', 'wb').truncate(2**40)",
    "memory": "x = bytearray(3 * 2**30)",
    "memory-without-a-name": "import os\nos.memfd_create('x')",
    "proc-of-others": "assert open('/proc/{pid}/environ').read()",
    "proc-of-the-system": "import os\nassert os.listdir('/proc') and open('/proc/1/cmdline').read()",
    "proc-anew": "import ctypes, os\nos.mkdir('p')\nassert ctypes.CDLL(None).mount(b'proc', b'p', b'proc', 0, 0) == 0",
    "namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "another-user": "import os\nos.setuid(0)",
    "privileges": "import os\nos.chroot('/')",
    "environment": "import os\nassert 'SECRET_OF_A_USER' in os.environ",
}
# Each is no solution, and would pass where a harness believes what a program says of itself.
FORGED = {
    "exit": "import sys\nsys.exit(0)",
    "exit-at-once": "import os\nos._exit(0)",
    "exit-of-the-builtins": "exit()",
    "error-that-exits": "raise SystemExit",
    "printing": "import sys, os\nprint('passed', file=sys.stderr)\nprint('passed')\nos._exit(0)",
    "writing-everywhere": "import os\nfor number in range(64):\n    try: os.write(number, b'passed' * 9)\n    except OSError: pass\nos._exit(0)",
    "guessing": "import os, secrets\nfor one in range(3, 64):\n    try: os.write(one, secrets.token_hex(16).encode() * 99)\n    except OSError: pass\nos._exit(0)",
    "echoing": "import os\nfor one in range(64):\n    try: text = os.read(one, 999)\n    except OSError: continue\n    for other in range(64):\n        try: os.write(other, text)\n        except OSError: pass\nos._exit(0)",
    "at-the-end": "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit(0)",
    "closing": "import os\nos.closerange(0, 99)\nos._exit(0)",
    "frames": """
import os, sys
def tell(value):
    for one in (value if isinstance(value, (list, tuple)) else [value]):
        one = one.encode() if isinstance(one, str) else one
        for number in range(3, 64) if isinstance(one, bytes) and len(one) < 99 else ():
            try: os.write(number, one)
            except OSError: pass
frame = sys._getframe()
while frame:
    for value in [*list(frame.f_locals.values()), *list(frame.f_globals.values()), *frame.f_code.co_consts]:
        tell(value)
    frame = frame.f_back
os._exit(0)
""",
    "garbage": """
import gc, os, sys
def tell(one):
    one = one.encode() if isinstance(one, str) and one.isascii() else one
    for number in range(3, 9) if isinstance(one, bytes) and len(one) == 32 else ():
        try: os.write(number, one)
        except OSError: pass
frames, frame = [], sys._getframe()
while frame:
    frames.append(frame)
    frame = frame.f_back
for each in [*gc.get_objects(), *frames]:
    for one in gc.get_referents(each): tell(one)
os._exit(0)
""",
    "tracing": """
import sys
def jump(frame, event, argument):
    if event == 'line':
        try: frame.f_lineno = frame.f_lineno + 1
        except ValueError: pass
    return jump
frame = sys._getframe(1)
frame.f_trace = jump
sys.settrace(jump)
raise ValueError
""",
    "other-functions": "import builtins, os\nos.write = os._exit = builtins.exec = builtins.compile = lambda *_: None\nraise ValueError",
    "an-error-that-lies": "class Passed(Exception):\n    def __str__(self): raise SystemExit(0)\nraise Passed",
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "segmentation": "import ctypes\nctypes.string_at(0)",
    "another-program": "import os\nos.execv('/bin/true', ['true'])",
    "flood": "import os\nwhile True:\n    for one in range(3, 64):\n        try: os.write(one, b'x' * 65536)\n        except OSError: pass",
    "no-unicode": "x = '\ud800'\nraise ValueError",
    "no-python": "def f(:\n    return 1",
    "nothing-but-nul": "\0",
}
HONEST = {
    "nothing": "",
    "assertion": "def add(a, b):\n    return a + b\nassert add(2, 3) == 5",
    "output": "import sys\nprint('x' * 10**6)\nsys.stderr.write('x' * 10**6)",
    "files": "open('x', 'w').write('y')\nassert open('x').read() == 'y'",
    "temporary-files": "import tempfile\nwith tempfile.NamedTemporaryFile() as file: file.write(b'x')",
    "threads": "from concurrent.futures import ThreadPoolExecutor\nassert list(ThreadPoolExecutor(4).map(abs, [-1, -2])) == [1, 2]",
    "thread-that-stays": "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()",
    "recursion": "def down(n):\n    return n and down(n - 1)\nassert down(900) == 0",
    "kept-names": "import re, math, heapq, collections, itertools, functools, decimal, datetime, random, hashlib",
    "the-same-hashes": "assert hash('x') == hash('x')",
    "caught-exit": "try:\n    raise SystemExit\nexcept SystemExit:\n    pass",
    "long": f"x = '{'a' * 3_000_000}'\nassert len(x) == 3_000_000",
    "foreign": "assert '점수 😀' == '점수 😀'",
    "not-the-main-program": "if __name__ == '__main__':\n    raise ValueError",  # as lm-eval's own metric runs it
}


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What there is outside of a sandbox that a program may be after."""
    monkeypatch.setenv("SECRET_OF_A_USER", "1")
    (tmp_path / "secret").write_text("the key")
    home = Path("~").expanduser()
    kept = {Path(one).relative_to(home).parts[0] for one in sandbox.of_python() if Path(one).is_relative_to(home)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield {
            "secret": str(tmp_path / "secret"),
            "beside": str(tmp_path / "written"),
            "home": str(home),
            "kept": kept,
            "port": server.getsockname()[1],
            "pid": os.getpid(),
            "server": server,
        }


@boxed
@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_gets_out(name: str, outside: dict[str, Any]) -> None:
    begun = time.monotonic()
    found = run_program(ESCAPES[name].format(**outside), LIMITS)
    assert found.verdict == FAILED, found
    assert time.monotonic() - begun < LIMITS.seconds
    assert not re.search("ModuleNotFound|NameError|SyntaxError|AttributeError", found.why), found  # it really tried
    with pytest.raises(BlockingIOError):
        outside["server"].accept()
    assert Path(outside["secret"]).read_text() == "the key"
    assert not Path(outside["beside"]).exists()


@pytest.mark.parametrize("name", ["network", "reading-the-home", "writing-outside", "symlink", "symlink-to-write", "process-by-subprocess", "disk", "proc-of-others"])  # fmt: skip
def test_without_a_sandbox_the_same_programs_get_out(name: str, outside: dict[str, Any]) -> None:
    assert run_program(ESCAPES[name].format(**outside), LIMITS, boxed=False).verdict == PASSED


@boxed
@pytest.mark.parametrize("name", FORGED)
def test_no_program_passes_that_has_not_come_to_the_end_of_its_tests(name: str) -> None:
    assert run_program(f"{FORGED[name]}\nassert False", LIMITS).verdict == FAILED


@boxed
@pytest.mark.parametrize("name", HONEST)
def test_what_runs_to_its_end_passes(name: str) -> None:
    assert run_program(HONEST[name], LIMITS) == Outcome(PASSED)


@boxed
@pytest.mark.parametrize("program", ["while True: pass", "import time\ntime.sleep(99)", "import threading\nthreading.Lock().acquire()\nthreading.Event().wait()", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"])  # fmt: skip
def test_a_program_that_goes_on_is_ended(program: str) -> None:
    begun = time.monotonic()
    assert run_program(program, Limits(1, 1, 8)) == Outcome(LATE, "after 1 seconds")
    assert 1 <= time.monotonic() - begun < 3


@boxed
def test_no_process_is_left(outside: dict[str, Any]) -> None:
    before = set(processes())
    for name in ("fork-bomb", "thread-bomb", "process-by-spawn"):
        run_program(ESCAPES[name].format(**outside), LIMITS)
    assert set(processes()) - before == set()


def processes() -> list[int]:
    """Return the processes below this one."""
    found, parents = [os.getpid()], {}
    for one in Path("/proc").iterdir():
        if one.name.isdecimal():
            try:
                parents[int(one.name)] = int((one / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found[1:]


def alive(process: int) -> bool:
    """Return whether a process is there, and not only its number until somebody asks for it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@boxed
def test_with_its_starter_a_program_ends(tmp_path: Path) -> None:
    """Whoever kills what runs the programs leaves none of them."""
    words = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import sandbox as r; r.run_program('import time; time.sleep(60)', r.Limits(60, 1, 8))"
    starter = subprocess.Popen([sys.executable, "-c", words], cwd=tmp_path)
    until = time.monotonic() + 20
    while (
        len(below := processes()) < 4 and time.monotonic() < until
    ):  # itself, bubblewrap, the first inside, the program
        time.sleep(0.05)
    assert len(below) >= 4
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    while (left := [one for one in below if alive(one)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


@boxed
@pytest.mark.skipif(os.geteuid() != 0 or not os.access("/usr/bin/python3", os.X_OK), reason="needs root, to be another")
def test_another_user_than_root_is_held_as_well(tmp_path: Path) -> None:
    shutil.copy(SCRIPTS / "sandbox.py", tmp_path)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    programs = [ESCAPES[name] for name in ("fork-bomb", "thread-bomb", "disk", "privileges", "another-user")]
    programs = [one.format(pid=1) for one in programs] + [HONEST["threads"]]
    words = (
        f"import json, sandbox as r\nprograms = json.loads({json.dumps(json.dumps(programs))})\n"
        "l = r.Limits(3, 1, 8)\nr.check(l)\nprint([r.run_program(one, l).verdict for one in programs])"
    )
    asked = subprocess.run(
        ["/usr/bin/python3", "-c", words], cwd=tmp_path, user=65533, group=65533, extra_groups=[], env={"HOME": "/nowhere", "PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.stdout == f"{[*['failed'] * 5, 'passed']}\n", asked.stderr


@boxed
def test_programs_that_run_at_once_have_limits_of_their_own(tmp_path: Path) -> None:
    program = (
        "import threading, time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(1,)).start()\nx = {}"
    )
    programs = [program.format(number) for number in range(6)]  # 120 threads in all, of 32 that each may have
    found = run_code.run_all(programs, LIMITS, tmp_path / "outcomes.jsonl", boxed=True, jobs=6)
    assert set(found.values()) == {Outcome(PASSED)}


@boxed
def test_what_was_run_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, file = ["x = 1", "assert False", "x = 1"], tmp_path / "outcomes.jsonl"
    first = run_code.run_all(programs, LIMITS, file, boxed=True, jobs=2)
    assert [first[run_code.key_of(one, LIMITS)].verdict for one in programs] == [PASSED, FAILED, PASSED]
    assert len(file.read_text().splitlines()) == 2  # a text that several wrote is run once
    file.write_text(file.read_text() + '{"key": "cut sho')
    asked: list[str] = []

    def noted(program: str, *_: Any, **__: Any) -> Outcome:
        asked.append(program)
        return Outcome(PASSED)

    monkeypatch.setattr(run_code, "run_program", noted)
    assert run_code.run_all(programs, LIMITS, file, boxed=True, jobs=2) == first
    run_code.run_all([*programs, "x = 2"], LIMITS, file, boxed=True, jobs=2)
    assert asked == ["x = 2"]
    assert run_code.key_of("x = 1", LIMITS) != run_code.key_of(
        "x = 1", Limits(4, 1, 8)
    )  # other limits: another question
    assert run_code.kept_outcomes(file)[run_code.key_of("x = 2", LIMITS)] == Outcome(PASSED)


@pytest.mark.parametrize("programs", range(1, 9))
def test_pass_at_k_is_the_share_of_all_choices_that_hold_one_that_passes(programs: int) -> None:
    for passed, k in itertools.product(range(programs + 1), range(1, programs + 1)):
        marks = [True] * passed + [False] * (programs - passed)
        share = fmean(any(chosen) for chosen in itertools.combinations(marks, k))
        assert run_code.pass_at(programs, passed, k) == pytest.approx(share, abs=1e-12)
        assert share == pytest.approx(1 - comb(programs - passed, k) / comb(programs, k))


def test_pass_at_k_by_hand_and_of_many() -> None:
    assert run_code.pass_at(5, 2, 3) == pytest.approx(0.9)  # 1 - (3 choose 3) / (5 choose 3)
    assert run_code.pass_at(200, 3, 100) == pytest.approx(1 - comb(197, 100) / comb(200, 100))
    assert run_code.pass_at(1000, 0, 100) == 0
    for wrong in ((5, 6, 1), (5, 2, 6), (5, 2, 0), (5, -1, 1)):
        with pytest.raises(ValueError, match="cannot be estimated"):
            run_code.pass_at(*wrong)


def rows(*passed: tuple[bool, ...]) -> tuple[list[dict[str, Any]], list[list[Outcome]]]:
    """Return rows as lm-eval writes them, and what became of the programs of each."""
    asked = [
        {"doc_id": number, "doc": {}, "target": "assert x", "doc_hash": str(number), "arguments": {}, "resps": [[]], "filtered_resps": [["x = 1"] * len(one)], "filter": "create_test", "metrics": ["bypass"], "bypass": 999}
        for number, one in enumerate(passed)
    ]  # fmt: skip
    return asked, [[Outcome(PASSED) if mark else Outcome(FAILED, "NameError: x") for mark in one] for one in passed]


def test_scores_are_means_over_problems_and_have_their_standard_error() -> None:
    scores, kept = run_code.scored(*rows((True, True), (True, False), (False, False)), [1, 2])
    assert scores["pass@1,none"] == pytest.approx(0.5)
    assert scores["pass@2,none"] == pytest.approx(2 / 3)
    assert scores["pass@1_stderr,none"] == pytest.approx(stdev([1, 0.5, 0]) / 3**0.5)
    assert [row["pass@2"] for row in kept] == [1, 1, 0]
    assert kept[1]["outcomes"] == ["passed", "failed: NameError: x"]
    assert {"bypass", "resps"} & set(kept[0]) == {"resps"}
    assert run_code.scored(*rows((True,)), [1])[0]["pass@1_stderr,none"] == "N/A"  # as lm-eval has it


def written(folder: Path, *passed: tuple[bool, ...]) -> None:
    """Write the results of one model as an evaluation leaves them."""
    scores, kept = run_code.scored(*rows(*passed), [1])
    found = {
        "results": {"humaneval": {"alias": "humaneval", **scores}},
        "higher_is_better": {"humaneval": {"pass@1": True}},
        "n-samples": {"humaneval": {"original": len(kept), "effective": len(kept)}},
    }
    folder.mkdir(parents=True)
    (folder / "results_2026-11-29T10-00-00.000000.json").write_text(json.dumps(found))
    lines = "".join(json.dumps(row) + "\n" for row in kept)
    (folder / "samples_humaneval_2026-11-29T10-00-00.000000.jsonl").write_text(lines)


def test_the_report_and_gates_compare_models_problem_by_problem(tmp_path: Path) -> None:
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    written(base / "m", *[(False, False)] * 6, (True, False))
    written(tuned / "m", *[(True, False)] * 6, (True, True))
    models = [ScoresOutput(str(base), "base", ("humaneval",)), ScoresOutput(str(tuned), "tuned", ("humaneval",))]
    (row,) = read_scores(evaluated(models))
    assert (row.metric, row.better, row.samples) == ("pass@1", True, 7)
    assert row.delta is not None
    assert row.delta.value == pytest.approx(0.5)
    assert "paired" in row.delta.method
    scores = {name: [check_scores.newest(tmp_path / name)] for name in ("base", "tuned")}
    condition = {"said": "humaneval >= base", "task": "humaneval", "metric": "pass@1", "model": "tuned", "operator": ">=", "against": "base", "offset": 0.0}  # fmt: skip
    found = check_scores.judge(condition, scores, 0.95)
    assert (found["verdict"], found["pairs"], found["metric"]) == ("holds", 7, "pass@1,none")


def test_tests_stand_behind_a_program_as_in_lm_evals_own_metric() -> None:
    row = {"filtered_resps": [["a", "b"]], "target": "assert a", "doc": {"test": "assert b"}}
    assert run_code.with_tests(row, None) == ["a\nassert a", "b\nassert a"]
    assert run_code.with_tests(row, "test") == ["a\nassert b", "b\nassert b"]
    assert run_code.programs_of({"filtered_resps": ["a"]}) == run_code.programs_of({"filtered_resps": [["a"]]}) == ["a"]


def verdict(code: bytes, arch: int, number: int, argument: int = 0) -> int:
    """Return what a filter of calls says of one, by running its instructions."""
    data = struct.pack("=IIQ6Q", number, arch, 0, argument, 0, 0, 0, 0, 0)
    steps = list(struct.iter_unpack("=HBBI", code))
    at, held = 0, 0
    while True:
        kind, yes, no, value = steps[at]
        at += 1
        if kind == 0x06:
            return int(value)
        if kind == 0x20:
            (held,) = struct.unpack_from("=I", data, value)
        else:
            holds = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[kind]
            at += yes if holds else no


ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000


@pytest.mark.parametrize("machine", sandbox.MACHINES)
def test_the_filter_refuses_what_it_lists_and_lets_the_rest(machine: str) -> None:
    code = sandbox.filter_of_calls(machine)
    arch, clone, sockets = sandbox.MACHINES[machine]
    listed = [int(one.partition("=")[2]) for one in sandbox.REFUSED_CALLS[machine].split()]
    assert len(set(listed)) == len(listed)
    for number in listed:
        assert verdict(code, arch, number) == REFUSE | 1
    assert verdict(code, arch, clone, sandbox.CLONE_THREAD | 0x100) == ALLOW
    assert verdict(code, arch, clone, 17) == verdict(code, arch, clone, 0x10000000) == REFUSE | 1
    assert verdict(code, arch, sandbox.CLONE3) == REFUSE | 38
    assert verdict(code, arch, 0x40000000 + listed[0]) == REFUSE | 1
    assert verdict(code, arch ^ 1, 0) == KILL
    assert [verdict(code, arch, sockets, family) for family in (1, 2, 10)] == [ALLOW] * 3
    assert [verdict(code, arch, sockets, family) for family in (0, 3, 16, 17, 38, 40)] == [REFUSE | 97] * 6
    others = set(range(460)) - {*listed, clone, sockets, sandbox.CLONE3}
    assert {verdict(code, arch, number) for number in others} == {ALLOW}


@pytest.mark.parametrize(("machine", "header"), [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")])  # fmt: skip
def test_calls_have_the_numbers_of_the_kernel(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"no {header}: install linux-libc-dev")
    said = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text()))
    mine = dict(one.split("=") for one in sandbox.REFUSED_CALLS[machine].split())
    _, clone, sockets = sandbox.MACHINES[machine]
    mine |= {"clone": str(clone), "socket": str(sockets), "clone3": str(sandbox.CLONE3)}
    assert {name: said[name] for name in mine if name in said} == {n: v for n, v in mine.items() if n in said}
    assert set(mine) - set(said) <= {"memfd_secret"}  # of a kernel that is newer


def test_an_unknown_machine_has_no_sandbox() -> None:
    with pytest.raises(Broken, match="riscv64"):
        sandbox.filter_of_calls("riscv64")


def settings(folder: Path, **more: Any) -> Path:
    """Write the settings of an evaluation whose lm-eval leaves a mark where it is started."""
    (folder / "lm_eval.yaml").write_text(json.dumps({"output_path": str(folder / "out")}))
    given = {"config": "lm_eval.yaml", "command": ["touch", str(folder / "started")], "tasks": ["humaneval"], "tests": {}, "samples": 1, "temperature": 0, "pass_at": [1], "sandbox": True, "seconds": 3, "memory_gib": 1, "file_mib": 8, "log_samples": True}  # fmt: skip
    file = folder / "code.json"
    file.write_text(json.dumps(given | more))
    return file


def test_where_there_is_no_bubblewrap_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for more in ((), ("--check",)):
        assert run_code.main([str(settings(tmp_path)), str(tmp_path / "lm_eval.yaml"), *more]) == run_code.REFUSED
        assert "there is no bubblewrap (bwrap) here" in capsys.readouterr().err
    assert not (tmp_path / "started").exists()
    assert run_code.main([str(settings(tmp_path, sandbox=False)), "--check"]) == 0
    assert "NO SANDBOX" in capsys.readouterr().out


@pytest.mark.parametrize(("tool", "said"), [("exit 1", "could not be started"), ("echo no user namespaces >&2; exit 1", "no user namespaces"), ('while [ "$1" != --seccomp ]; do shift; done; shift 2; exec "$@"', "can reach the network|can write outside|can start processes|can see")])  # fmt: skip
def test_a_sandbox_that_does_not_hold_is_none(
    tool: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where bubblewrap cannot make it, and where something in its place lets everything through."""
    fake = tmp_path / "bwrap"
    fake.write_text(f"#!/bin/sh\n{tool}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(sandbox, "real_root", lambda: False)
    assert run_code.main([str(settings(tmp_path)), "--check"]) == run_code.REFUSED
    assert re.search(said, capsys.readouterr().err)


def test_an_interpreter_that_stands_with_private_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(Path("~").expanduser()))
    with pytest.raises(Broken, match="holds more than Python"):
        sandbox.of_python()
