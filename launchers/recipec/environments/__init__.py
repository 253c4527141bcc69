"""Tool environments: created on demand from exact pins, cached by the hash of the pins, never half there.

Each has a folder in `$RECIPEC_HOME/environments` (default `~/.cache/recipec/environments`), with a marker that is
written last. After a kill, creation starts over; downloads stay in the cache of uv or pip.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from recipec.environments.install import TORCH, UNHASHED, Pins, find_uv, install_steps, torch_build, unhashed
from recipec.environments.pip_settings import read_pip_settings
from recipec.environments.pythons import Python, find_python, what_to_install
from recipec.environments.records import canonical, records
from recipec.json_files import read_object
from recipec.plural import counted
from recipec.processes import Child, Signals
from recipec.secrets import hidden
from recipec.tail import Tail, last_bytes

MARKER = ".complete"
FAILURE_LINES = 15  # lines shown of a failed installation
_URL_SECRET = re.compile(r"//[^/@\s]+@")
# What uv and pip say of a file with another hash, in one line; the name of its package comes behind.
_OTHER_FILE = re.compile(
    r"(?:Hash mismatch for `|no trusted hash was provided for: `|no hashes were provided or computed for: |"
    r"DO NOT MATCH THE HASHES .*? tampered with them\. )([\w.-]+)"
)


class EnvironmentFailure(Exception):
    """An environment could not be created; `lines` are the installer's last lines, `log` has its whole output."""

    def __init__(self, message: str, lines: tuple[str, ...] = (), log: Path | None = None) -> None:
        super().__init__(message)
        self.lines = lines
        self.log = log


class EnvironmentInterrupted(Exception):
    """A signal stopped the creation of an environment; `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by signal {number}")
        self.number = number


class _Marker(NamedTuple):
    """The contents of an environment's marker; what an older release of recipec did not write is None."""

    name: str | None = None
    made: str | None = None  # UTC, ISO 8601
    pins: tuple[str, ...] | None = None  # the lines of their text
    records: Mapping[str, str] | None = None  # SHA-256 of the RECORD of each package, as it was installed
    unhashed: tuple[str, ...] = ()  # packages whose hashes were not compared


class Environment(NamedTuple):
    """One environment on disk."""

    name: str
    folder: Path
    complete: bool
    made: str | None  # UTC, ISO 8601
    records: Mapping[str, str] | None = None  # SHA-256 of the RECORD of each package, as it was installed
    unhashed: tuple[str, ...] = ()  # packages whose hashes were not compared


def environments_folder() -> Path:
    """Return the folder that contains all environments."""
    return Path(os.environ.get("RECIPEC_HOME") or Path.home() / ".cache" / "recipec").absolute() / "environments"


def read_pins(pins: Path | str) -> Pins:
    """Return the pins in a file, or in a text. Raises OSError when the file cannot be read."""
    return Pins.read(pins if isinstance(pins, str) else pins.read_text(encoding="utf-8"))


def folder_of(name: str, pins: Path | str) -> Path:
    """Return the folder of an environment. Its name depends on the pins, Python, the processor and the torch build.

    `pins` is their file or their text; comments in it do not matter. Raises OSError when the file cannot be read.
    """
    read = read_pins(pins)
    # The words in it may never change: environments on disk would no longer be found.
    hashed = [
        *sorted(read.lines),
        "late",
        *read.unisolated,
        f"python {_version(read)}",
    ]
    hashed += [sys.platform, platform.machine()]
    hashed += ["remove", *read.remove] if read.remove else []
    if read.version("torch"):
        hashed.append(torch_build(os.environ))
    return environments_folder() / f"{name}-{hashlib.sha256(chr(10).join(hashed).encode()).hexdigest()[:16]}"


def _version(pins: Pins) -> str:
    """Return the Python that an environment is made with here; where none is found, the one its pins were made for."""
    found = find_python(pins.pythons)
    return found.version if found else pins.pythons[0]


def is_complete(folder: Path) -> bool:
    """Return whether an environment was created completely."""
    return (folder / MARKER).is_file() and (folder / "bin" / "python").exists()


def announcement(name: str, pins: Pins) -> str:
    """Return the line that says what it costs to create an environment."""
    parts = [counted(len(pins.lines), "package")]
    if pins.download_gb is not None:
        parts.append(f"about {pins.download_gb:g} GB to download")
    if pins.disk_gb is not None:
        parts.append(f"{pins.disk_gb:g} GB on disk")
    if pins.version("torch") and sys.platform == "linux" and torch_build(os.environ) == "default":
        parts.append("not counting torch's GPU libraries")
    if pins.minutes is not None:
        parts.append(f"about {counted(pins.minutes, 'minute')}")
    return f"creating environment {name}: {', '.join(parts)}; created once, kept in {environments_folder()}"


def ensure(
    name: str,
    pins: Path | str,
    progress: Callable[[str], None],
    *,
    installer: Literal["auto", "uv", "pip"] = "auto",
    signals: Signals | None = None,
) -> Path:
    """Return the folder of the environment with these pins; create it first if it is missing.

    `pins` is their file or their text; `progress` is called with lines to show. Two processes that need the same environment create it once. Raises EnvironmentFailure with the
    installer's last lines, EnvironmentInterrupted after a signal, OSError when the pins cannot be read.
    """
    text = pins if isinstance(pins, str) else pins.read_text(encoding="utf-8")
    read = read_pins(text)
    folder = folder_of(name, text)
    if is_complete(folder):
        return folder
    python = find_python(read.pythons)
    if python is None:
        raise EnvironmentFailure(f"environment {name}: {what_to_install(read.pythons)}")
    with contextlib.ExitStack() as stack:
        caught = signals if signals is not None else stack.enter_context(Signals())
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(folder, progress, caught))
            if is_complete(folder):
                return folder
            progress(announcement(name, read))
            loose = unhashed(read, os.environ)
            if loose:
                progress(f"{UNHASHED}: the hashes of {_some(loose)} are not compared")
            began = time.monotonic()
            uv = None if installer == "pip" else find_uv()
            if installer == "uv" and uv is None:
                raise EnvironmentFailure("uv is not installed")
            _make(folder, read, python, uv, progress, caught)
            _mark(folder, name, text, python, "uv" if uv else "pip", loose)
        except OSError as error:
            raise EnvironmentFailure(f"environment {name}: {error.strerror or error}: {error.filename}") from None
    progress(f"environment {name} is ready after {time.monotonic() - began:.0f} s")
    return folder


def list_environments() -> list[Environment]:
    """Return the environments on disk, complete or not, ordered by name."""
    found: list[Environment] = []
    for folder in sorted(environments_folder().iterdir()) if environments_folder().is_dir() else []:
        if folder.is_dir():
            marker = _read_marker(folder) or _Marker()
            name = marker.name or folder.name.rpartition("-")[0]
            found.append(Environment(name, folder, is_complete(folder), marker.made, marker.records, marker.unhashed))
    return found


def _read_marker(folder: Path) -> _Marker | None:
    held = read_object(folder / MARKER)
    if held is None:
        return None
    pins: list[str] | None = held.get("pins")
    return _Marker(
        held.get("name"),
        held.get("made"),
        None if pins is None else tuple(pins),
        held.get("records"),
        tuple(held.get("unhashed", ())),
    )


def pins_of(folder: Path, shipped: Mapping[str, str]) -> Pins | None:
    """Return the pins an environment was created from: those in its marker, else the shipped ones if they match it.

    A marker that an older release of recipec wrote holds no directives: those are the shipped ones'.
    """
    marker = _read_marker(folder)
    if marker is None:
        return None
    held = None if marker.pins is None else Pins.read("\n".join(marker.pins))
    text = shipped.get(marker.name or "")
    if (held is None or not held.hashes) and marker.name and text and folder_of(marker.name, text) == folder:
        return Pins.read(text)._replace(hashes={})
    return held


def size_of(folder: Path) -> int:
    """Return the bytes that a folder takes on its disk."""
    total = os.lstat(folder).st_blocks
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(place, name)).st_blocks  # noqa: PTH118  # tens of thousands of files
    return total * 512


def is_locked(folder: Path) -> bool:
    """Return whether a process is creating or removing an environment."""
    try:
        with folder.with_name(folder.name + ".lock").open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def remove(name: str) -> list[Path]:
    """Remove the environments called `name` (or the one folder of that name); return the removed folders."""
    removed: list[Path] = []
    for found in list_environments():
        if name not in (found.name, found.folder.name):
            continue
        with Signals() as signals, _locked(found.folder, lambda _line: None, signals):
            (found.folder / MARKER).unlink(missing_ok=True)
            shutil.rmtree(found.folder)
            for beside in found.folder.parent.glob(found.folder.name + ".*"):
                if beside.suffix != ".lock":  # another process may be waiting for it
                    beside.unlink(missing_ok=True)
        removed.append(found.folder)
    return removed


@contextlib.contextmanager
def _locked(folder: Path, progress: Callable[[str], None], signals: Signals) -> Generator[None]:
    with folder.with_name(folder.name + ".lock").open("a+", encoding="utf-8") as lock:
        waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    lock.seek(0)
                    progress(
                        f"waiting for process {lock.read().strip() or '?'}, which is creating or removing {folder.name}"
                    )
                    waiting = True
                if signals.received:
                    raise EnvironmentInterrupted(signals.received[-1]) from None
                time.sleep(0.2)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _make(
    folder: Path, pins: Pins, python: Python, uv: str | None, progress: Callable[[str], None], signals: Signals
) -> None:
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    todo, files = install_steps(folder, pins, read_pip_settings(variables), variables, uv, python)
    if folder.exists():  # left by a kill: an installer takes a half-installed package for a complete one
        shutil.rmtree(folder)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    log = folder.with_name(folder.name + ".log")
    with log.open("wb") as output:
        for step in todo:
            output.write(f"$ {_URL_SECRET.sub('//***@', ' '.join(step.command))}\n".encode())
            output.flush()
            follow = _InstallerOutput(log, progress)
            child = Child(step.command, output=output, variables=variables | step.variables)
            code = child.wait(signals, follow, lambda _number: progress("stopping the installation"), saving=5.0)
            if signals.received:
                raise EnvironmentInterrupted(signals.received[-1])
            if code:
                _fail(folder, step.command, log, follow.begin, pins)
    for path in files:
        path.unlink()


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 3 else counted(len(names), "package")


def _fail(folder: Path, command: list[str], log: Path, begin: int, pins: Pins) -> None:
    text = hidden(last_bytes(log, 1 << 16, begin).decode("utf-8", "replace"))  # an index may be named with a password
    lines = tuple(line.rstrip() for line in text.splitlines() if line.strip())[-FAILURE_LINES:]
    what = "uv" if command[0].endswith("uv") else "python"
    message = f"{what} could not create the environment {folder.name}"
    if any("download.pytorch.org" in line for line in lines):
        message += f" (this machine has no GPU, so torch's CPU build was requested; set {TORCH}=default for your index's default build)"
    other = _OTHER_FILE.search(" ".join(text.split()))  # uv wraps its lines
    if other:
        package = canonical(other[1])
        pin = next((line for line in (*pins.lines, *pins.cuda) if line.startswith(f"{package}==")), package)
        message += (
            f": what the index has as {pin} is none of the files whose SHA-256 the pins name. It was changed on its way, "
            f"or the index has a build of its own: if you trust that, set {UNHASHED}={package}"
        )
    raise EnvironmentFailure(message, lines, log)


def _mark(folder: Path, name: str, text: str, python: Python, installer: str, loose: tuple[str, ...]) -> None:
    pins = Pins.read(text)
    marker = {
        "name": name,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": python.version,
        "installer": installer,
        "packages": len(pins.lines),
        "pins": text.splitlines(),
        "records": records(folder),
        "unhashed": list(loose),
    }
    fresh = folder / (MARKER + ".new")
    with fresh.open("w", encoding="utf-8") as stream:
        json.dump(marker, stream)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(folder / MARKER)


class _InstallerOutput:
    """Shows an installer's last line, at most every five seconds; after thirty silent seconds, says that it still runs."""

    def __init__(self, log: Path, progress: Callable[[str], None]) -> None:
        self._tail = Tail.at_end(log)
        self.begin = self._tail.offset
        self._progress = progress
        self._shown = time.monotonic()

    def __call__(self) -> None:
        waited = time.monotonic() - self._shown
        if waited < 5:
            return
        lines = [text for line in self._tail.lines() if (text := line.decode("utf-8", "replace").strip())]
        if lines or waited >= 30:
            self._progress(f"  … {lines[-1][:100]}" if lines else "  … still installing")
            self._shown = time.monotonic()


__all__ = [
    "Environment",
    "EnvironmentFailure",
    "EnvironmentInterrupted",
    "announcement",
    "ensure",
    "environments_folder",
    "folder_of",
    "is_complete",
    "is_locked",
    "list_environments",
    "pins_of",
    "remove",
    "size_of",
]
