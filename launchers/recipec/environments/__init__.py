"""Tool environments: made from exact pins on demand, cached by the hash of those pins.

`uv` makes them in seconds where it is installed, `pip` in minutes where it is not. uv does not read pip's
configuration, so what pip is told about indexes is handed on; PyPI comes first, since uv takes all wheels of a
release from the first index that has it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PYPI = "https://pypi.org/simple"
MARKER = "recipec-complete"
Say = Callable[[str], None]


class EnvironmentFailure(Exception):
    """An environment could not be made; the message holds the installer's last lines."""


def home() -> Path:
    """Return the cache folder: $RECIPEC_HOME, or ~/.cache/recipec."""
    return Path(os.environ.get("RECIPEC_HOME") or Path.home() / ".cache" / "recipec")


def place(name: str, pins: str) -> Path:
    """Return where the environment of these pins lives, made or not."""
    key = hashlib.sha256(f"{sys.version_info[:2]}\n{pins}".encode()).hexdigest()[:16]
    return home() / "environments" / f"{name}-{key}"


def ensure(name: str, pins: str, say: Say) -> Path:
    """Return the environment of these pins, made first if it is not there. Raises EnvironmentFailure.

    A making that was killed is taken up again. Two processes that want the same one take turns.
    """
    folder = place(name, pins)
    if (folder / MARKER).exists():
        return folder
    with _locked(folder):
        if (folder / MARKER).exists():
            return folder
        uv = _uv()
        count = len(_packages(pins))
        tool = "uv, about a minute" if uv else "pip, about 5 minutes"
        say(f"making the environment {name}: {count} packages, about 4.5 GB on disk, with {tool} at 10 MB/s or better")
        _make(folder, pins, uv)
        (folder / MARKER).write_text(name, encoding="utf-8")
    return folder


def _packages(pins: str) -> list[str]:
    return [line for line in pins.splitlines() if line and not line.startswith("#")]


def _make(folder: Path, pins: str, uv: str | None) -> None:
    late = re.findall(r"^# build-without-isolation: (\S+)$", pins, re.MULTILINE)
    packages = _packages(pins)
    first = [line for line in packages if line.split("==")[0] not in late]
    if not (folder / "bin" / "python").exists():
        _run(
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
            if uv
            else [sys.executable, "-m", "venv", str(folder)]
        )
    _install(folder, "\n".join(first), uv, isolated=True)
    if late:
        _install(folder, pins, uv, isolated=False)


def _install(folder: Path, pins: str, uv: str | None, *, isolated: bool) -> None:
    python = str(folder / "bin" / "python")
    file = folder / "pins.txt"
    file.write_text(pins + "\n", encoding="utf-8")
    if uv:
        command = [uv, "pip", "install", "--python", python, *uv_options(), "-r", str(file)]
    else:
        command = [python, "-m", "pip", "install", "--progress-bar", "off", "-r", str(file)]
    _run(command + ([] if isolated else ["--no-build-isolation"]))


def _run(command: list[str]) -> None:
    environment = {**os.environ, "DS_BUILD_OPS": "0"}
    certificate = _pip_settings().get("cert")
    if certificate:
        environment.setdefault("SSL_CERT_FILE", certificate[0])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise EnvironmentFailure(f"{Path(command[0]).name} could not make the environment:\n{tail}")


def _uv() -> str | None:
    try:
        from uv import find_uv_bin
    except ImportError:
        return shutil.which("uv")
    return str(find_uv_bin())


def _pip_settings() -> dict[str, list[str]]:
    """Return what pip's files and variables say, by option."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode and (pip := shutil.which("pip")):  # an environment of uv's has no pip of its own
        listed = subprocess.run([pip, "config", "list"], capture_output=True, text=True, check=False)
    settings: dict[str, list[str]] = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        words = value.strip().strip("'\"").replace("\\n", " ").split()
        settings.setdefault(key.rsplit(".", 1)[-1], words)
    return settings


def uv_options() -> list[str]:
    """Return uv's options for the indexes that pip is configured with; a CPU build of torch where there is no GPU."""
    settings = _pip_settings()
    options = ["--index-strategy", "unsafe-best-match", "--index", (settings.get("index-url") or [PYPI])[0]]
    for url in settings.get("extra-index-url", []):
        options += ["--index", url]
    for link in settings.get("find-links", []):
        options += ["--find-links", link]
    if not settings.get("find-links") and not Path("/proc/driver/nvidia/version").exists():
        options += ["--torch-backend", "cpu"]
    return options


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
