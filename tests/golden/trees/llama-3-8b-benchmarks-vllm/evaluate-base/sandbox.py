"""Runs a program in a sandbox with its tests behind it, and says what became of it. Needs nothing but Python and bubblewrap.

The sandbox has no network, no process but the program's own, no file but Python's, read-only, and a scratch folder in memory.
Time, memory, threads, open files and what is written are limited; calls of the kernel that a program of a benchmark has no need
of are refused. A program counts as passed only if its tests came to their end: how it exits and what it prints says nothing.
What no harness can see is a program that reads its own process to learn what that end looks like, or that makes its own
values equal to everything, for the tests run where the program does.
"""

from __future__ import annotations

import json
import math
import os
import platform
import secrets
import select
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SCRATCH = "/scratch"
PASSED, FAILED, LATE = "passed", "failed", "timed out"
STARTING = 30  # seconds in which an interpreter must have started
ENOUGH = 65536  # bytes that are read of what a program reports
FILES, THREADS = 64, 32  # open files, and processes and threads together
USERS = 1_900_000_000  # where there is a real root: the first of the users that programs run as, one for each at a time

# What runs inside: it is Python's own `-c`, and gets the program on its standard input, and behind it what it must report when
# the program has come to its end. While the program runs, that stands in no variable and in no object that could be looked up.
INSIDE = r"""
def main():
    import json, os, resource, sys
    read, write, leave, run, report = os.read, os.write, os._exit, exec, 0
    def taken(size):
        data = b""
        while len(data) < size:
            more = read(0, size - len(data))
            if not more:
                leave(1)
            data += more
        return data
    def closed():
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.close(nothing)
    task = json.loads(taken(int(taken(20))))
    report = task["report"]
    for name, most in task["limits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (most, most))
    if task["user"] is not None:
        os.setgroups([])
        os.setresgid(*[task["user"]] * 3)
        os.setresuid(*[task["user"]] * 3)
    write(report, task["started"].encode())
    text = task["program"]
    try:
        write(report, [taken(32), closed(), run(compile(text, "program.py", "exec"), {})][0])
    except BaseException as error:
        try:
            said = f"{type(error).__name__}: {error}"[:400]
        except BaseException:
            said = "an error that cannot be printed"
        write(report, said.encode("utf-8", "replace"))
        leave(1)
    leave(0)
main()
"""

# Calls of the kernel that are refused: those that reach other processes, mounts, memory that is not counted, devices, keys.
REFUSED_CALLS = {
    "x86_64": (
        "fork=57 vfork=58 ptrace=101 process_vm_readv=310 process_vm_writev=311 kcmp=312 process_madvise=440 unshare=272 setns=308 mount=165 "
        "umount2=166 pivot_root=155 chroot=161 open_tree=428 move_mount=429 fsopen=430 fsconfig=431 fsmount=432 fspick=433 "
        "mount_setattr=442 name_to_handle_at=303 open_by_handle_at=304 add_key=248 request_key=249 keyctl=250 bpf=321 "
        "perf_event_open=298 userfaultfd=323 io_uring_setup=425 io_uring_enter=426 io_uring_register=427 memfd_create=319 "
        "memfd_secret=447 shmget=29 shmat=30 semget=64 msgget=68 mq_open=240 pidfd_send_signal=424 pidfd_open=434 "
        "pidfd_getfd=438 kexec_load=246 kexec_file_load=320 init_module=175 finit_module=313 personality=135 syslog=103 "
        "reboot=169 swapon=167 swapoff=168 acct=163 quotactl=179 settimeofday=164 clock_settime=227 adjtimex=159 iopl=172 "
        "ioperm=173 modify_ldt=154 fanotify_init=300"
    ),
    "aarch64": (
        "ptrace=117 process_vm_readv=270 process_vm_writev=271 kcmp=272 process_madvise=440 unshare=97 setns=268 mount=40 umount2=39 "
        "pivot_root=41 chroot=51 open_tree=428 move_mount=429 fsopen=430 fsconfig=431 fsmount=432 fspick=433 "
        "mount_setattr=442 name_to_handle_at=264 open_by_handle_at=265 add_key=217 request_key=218 keyctl=219 bpf=280 "
        "perf_event_open=241 userfaultfd=282 io_uring_setup=425 io_uring_enter=426 io_uring_register=427 memfd_create=279 "
        "memfd_secret=447 shmget=194 shmat=196 semget=190 msgget=186 mq_open=180 pidfd_send_signal=424 pidfd_open=434 "
        "pidfd_getfd=438 kexec_load=104 kexec_file_load=294 init_module=105 finit_module=273 personality=92 syslog=116 "
        "reboot=142 swapon=224 swapoff=225 acct=89 quotactl=60 settimeofday=170 clock_settime=112 adjtimex=171 "
        "fanotify_init=262"
    ),
}
MACHINES = {"x86_64": (0xC000003E, 56, 41), "aarch64": (0xC00000B7, 220, 198)}  # its number, clone, socket
CLONE3, CLONE_THREAD = 435, 0x10000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
FAMILIES = (1, 2, 10)  # sockets of this machine and of the internet, of which there is none inside


class Broken(Exception):
    """A sandbox that cannot be made here, or that does not hold; the text says why."""


class Limits(NamedTuple):
    """What a program may use: seconds of time, GiB of memory, MiB of its scratch folder."""

    seconds: float
    memory_gib: float
    file_mib: int

    def as_resources(self) -> dict[str, int]:
        """Return the limits by their names in Python's `resource`, in seconds, bytes and counts."""
        return {
            "RLIMIT_CPU": math.ceil(self.seconds) + 1,
            "RLIMIT_AS": int(self.memory_gib * 1024**3),
            "RLIMIT_FSIZE": self.file_mib * 1024**2,
            "RLIMIT_NOFILE": FILES,
            "RLIMIT_NPROC": THREADS,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
        }


class Outcome(NamedTuple):
    """What became of a program: passed, failed or timed out, and the error that it ended with."""

    verdict: str
    why: str = ""


def filter_of_calls(machine: str) -> bytes:
    """Return the filter of the kernel's calls for a machine (`uname -m`), as the instructions of seccomp's classic BPF.

    Threads may be started, processes may not. Raises Broken for a machine whose calls are not known.
    """
    if machine not in MACHINES:
        raise Broken(f"the calls of a kernel on {machine} are not known to it")
    number, clone, socket = MACHINES[machine]
    code: list[tuple[int, int, int, int]] = []
    load, equal, at_least, bits, end = 0x20, 0x15, 0x35, 0x45, 0x06
    no = {error: 0x00050000 | error for error in (EPERM, ENOSYS, EAFNOSUPPORT)}
    code += [(load, 0, 0, 4), (equal, 1, 0, number), (end, 0, 0, 0x80000000), (load, 0, 0, 0)]
    code += [(at_least, 0, 1, 0x40000000), (end, 0, 0, no[EPERM])]  # the other way of numbering calls
    code += [(equal, 0, 1, CLONE3), (end, 0, 0, no[ENOSYS])]  # whose flags a filter cannot see; clone is taken then
    for word in REFUSED_CALLS[machine].split():
        code += [(equal, 0, 1, int(word.partition("=")[2])), (end, 0, 0, no[EPERM])]
    code += [(equal, 0, 4, clone), (load, 0, 0, 16), (bits, 1, 0, CLONE_THREAD), (end, 0, 0, no[EPERM])]
    code += [(end, 0, 0, 0x7FFF0000)]
    known = [(equal, len(FAMILIES) - index, 0, family) for index, family in enumerate(FAMILIES)]
    code += [(equal, 0, len(FAMILIES) + 2, socket), (load, 0, 0, 16), *known, (end, 0, 0, no[EAFNOSUPPORT])]
    code += [(end, 0, 0, 0x7FFF0000)]
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def real_root() -> bool:
    """Return whether this is the root of the machine, whom no limit of processes holds: programs run as another user then."""
    with suppress(OSError):
        return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    return False


def of_python() -> list[str]:
    """Return the folders that the interpreter needs beside /usr. Raises Broken where one of them holds what is private."""
    found = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, sysconfig.get_path("purelib")]
    found.append(str(Path(sys.executable).resolve().parent.parent))
    every = sorted({path for one in found for path in (str(Path(one).absolute()), str(Path(one).resolve()))}, key=len)
    kept: list[str] = []
    for path in every:
        if not any(is_within(path, one) for one in ("/usr", *kept)):
            kept.append(path)
    homes = {str(one.resolve()) for one in (Path("~").expanduser(), Path.cwd())}
    for path in kept:
        if path == "/" or any(is_within(home, path) for home in homes):
            raise Broken(f"the folder of its interpreter, {path}, holds more than Python: programs would read it")
    return kept


def is_within(path: str, folder: str) -> bool:
    """Return whether a path is a folder or below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def sandbox(limits: Limits, calls: int) -> list[str]:
    """Return the words that start a program in a sandbox; `calls` is the open file with the filter of calls.

    Raises Broken where there is no bubblewrap.
    """
    tool = shutil.which("bwrap")
    if tool is None:
        raise Broken("there is no bubblewrap (bwrap) here: install the package bubblewrap")
    words = [tool, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if real_root():
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    words += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if Path(name).is_symlink():
            words += ["--symlink", str(Path(name).readlink()), name]
        elif Path(name).is_dir():
            words += ["--ro-bind", name, name]
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"):
        words += ["--ro-bind-try", name, name]
    words += ["--perms", "0755", "--dir", "/dev"]
    for name in ("null", "zero", "random", "urandom"):
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for path in of_python():
        above = [str(one) for one in reversed(Path(path).parents) if str(one) != "/"]
        words += [
            word for one in above for word in ("--perms", "0755", "--dir", one)
        ]  # which the program's user may enter
        words += ["--ro-bind", path, path]
    words += ["--perms", "0777", "--size", str(limits.file_mib * 1024**2), "--tmpfs", SCRATCH, "--chdir", SCRATCH]
    return [*words, "--remount-ro", "/", "--seccomp", str(calls)]


def variables(scratch: str) -> dict[str, str]:
    """Return all that a program's environment has. Hashes of texts are the same in every run."""
    few = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "MALLOC_ARENA_MAX",
    )  # so that memory is the program's
    threads = dict.fromkeys(few, "1")
    python = {"PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {"PATH": "/usr/bin:/bin", "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8", **threads, **python}


def run_program(program: str, limits: Limits, *, boxed: bool = True, slot: int = 0) -> Outcome:
    """Run a program with its tests behind it and return what became of it. Raises Broken where it could not be started.

    `boxed`: in a sandbox; else as a process of this user. `slot` tells programs apart that run at the same time.
    """
    scratch = tempfile.mkdtemp(prefix="run_code-") if not boxed else None
    read, report = os.pipe()
    opened = [report]
    try:
        words = []
        if boxed:
            calls = open_filter()
            opened.append(calls)
            words = sandbox(limits, calls)
        process = subprocess.Popen(
            [*words, sys.executable, "-c", INSIDE],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=opened,
            cwd=scratch or "/",
            env=variables(SCRATCH if boxed else scratch or ""),
            start_new_session=True,
        )
        while opened:
            os.close(opened.pop())
        return watched(process, read, program, limits, report, USERS + slot if boxed and real_root() else None, boxed)
    finally:
        for one in (*opened, read):
            os.close(one)
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def open_filter() -> int:
    """Return an open file, without a name, that holds the filter of calls."""
    with tempfile.TemporaryFile() as file:
        file.write(filter_of_calls(platform.machine()))
        file.flush()
        file.seek(0)
        return os.dup(file.fileno())


def watched(
    process: subprocess.Popen, read: int, program: str, limits: Limits, report: int, user: int | None, boxed: bool
) -> Outcome:
    """Hand a program to its process, and wait for its end, or for the end of its time."""
    started, done = secrets.token_hex(16), secrets.token_hex(16)
    resources = limits.as_resources()
    if not boxed:  # of a user who has many more
        del resources["RLIMIT_NPROC"]
    task = {"program": program, "started": started, "report": report, "user": user, "limits": resources}
    handed = json.dumps(task).encode("ascii")  # with escapes for what is no Unicode, so that any text goes through
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(b"%20d%b%b" % (len(handed), handed, done.encode()))
            process.stdin.close()
        told = heard(read, started.encode(), done.encode(), limits.seconds)
    finally:
        with suppress(ProcessLookupError):  # with the first process of a sandbox, all of it ends
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        said = b""
        if select.select([process.stderr], [], [], 0)[0]:
            said = os.read(process.stderr.fileno(), 4096)
        process.stderr.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
    if told is None:
        why = said.decode("utf-8", "replace").strip() or f"nothing started in {STARTING} seconds"
        raise Broken(f"a program could not be started: {why}")
    return told


def heard(read: int, started: bytes, done: bytes, seconds: float) -> Outcome | None:
    """Return what the process of a program reports; None where it ended, or was late, before the program had started."""
    data, until, began = b"", time.monotonic() + STARTING, False
    while True:
        if not began and data.startswith(started):
            began, until = True, time.monotonic() + seconds
        if began and done in data:
            return Outcome(PASSED)
        left = until - time.monotonic()
        if left <= 0 or not select.select([read], [], [], left)[0]:
            return Outcome(LATE, f"after {seconds:g} seconds") if began else None
        more = os.read(read, ENOUGH)
        data += more
        if len(data) > ENOUGH:
            return Outcome(FAILED, "wrote into the pipe of its harness") if began else None
        if not more:
            why = data[len(started) :].decode("utf-8", "replace").strip()
            return Outcome(FAILED, why or "ended before its tests did") if began else None


# What a sandbox must not let through, as programs that pass where it does.
PROBES = {
    "reach the network": "import socket\ns = socket.socket()\ns.settimeout(1)\ns.connect(('1.1.1.1', 53))",
    "write outside its scratch folder": "open('/usr/escaped', 'w')",
    "write to the root": "open('/escaped', 'w')",
    "start processes": "import os\nos.fork()",
    "see the home of a user": "import os\nassert any(os.path.isdir(p) and os.listdir(p) for p in ('/home', '/root'))",
    "see other processes": "import os\nassert os.getppid() > 1",
}


def check(limits: Limits) -> None:
    """Raise Broken unless programs run here in a sandbox, to their ends, and some that try to get out do not."""
    for program, verdict in (("import json\nassert json.loads('[1]') == [1]", PASSED), ("assert 1 == 2", FAILED)):
        found = run_program(program, limits)
        if found.verdict != verdict:
            raise Broken(f"a program that must have {verdict} {found.verdict} ({found.why})")
    homes = [one for one in ("/home", "/root") if any(is_within(path, one) for path in of_python())]
    for what, program in PROBES.items():
        if homes and what.startswith("see the home"):  # which the folders of Python stand in: nothing else may
            program = f"import os\nallowed = {of_python()!r}\nassert any(not any(a.startswith(os.path.join(p, x)) for a in allowed) for p in {homes!r} for x in os.listdir(p))"
        if run_program(program, limits).verdict == PASSED:
            raise Broken(f"a program in the sandbox can {what}")
