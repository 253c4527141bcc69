"""Finds a Python that an environment's pins were made for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

# A Python without venv or ensurepip, as Debian's has it before `python3-venv` is installed, makes no environment.
_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


class Python(NamedTuple):
    """A Python of this machine: `3.12`, and its interpreter."""

    version: str
    executable: str


def running() -> Python:
    """Return the Python that runs this program."""
    return Python(f"{sys.version_info.major}.{sys.version_info.minor}", sys.executable)


@cache
def find_python(versions: tuple[str, ...]) -> Python | None:
    """Return the first Python that this machine has of `versions`, such as `("3.11", "3.12")`; the order is a preference.

    Without versions, that is the running one. Each is looked for here: the running one, `pythonX.Y` on PATH, pyenv's,
    uv's. None is installed.
    """
    if not versions:
        return running()
    for version in versions:
        if running().version == version:
            return running()
        for candidate in _candidates(version):
            if _answers(candidate, version):
                return Python(version, candidate)
    return None


def what_to_install(versions: Sequence[str]) -> str:
    """Return the sentence that says which Python is needed and how it comes to this machine."""
    wanted = " or ".join(versions)
    newest = versions[0]
    return (
        f"it needs Python {wanted} with venv, and none is on PATH, in pyenv or in uv: install one, for example with "
        f"`uv python install {newest}`, `pyenv install {newest}`, or your system's python{newest} and python{newest}-venv"
    )


def _candidates(version: str) -> Iterator[str]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    folders = [
        (Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions", f"{version}.*/bin/python"),
        (_uv_folder(), f"cpython-{version}.*/bin/python{version}"),
    ]
    for folder, pattern in folders:
        yield from (str(found) for found in sorted(folder.glob(pattern), key=_patch, reverse=True))


def _uv_folder() -> Path:
    """Return where uv keeps the Pythons that it installs."""
    named = os.environ.get("UV_PYTHON_INSTALL_DIR")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(named) if named else Path(data) / "uv" / "python"


def _patch(interpreter: Path) -> tuple[int, ...]:
    """Return the version in the name of an interpreter's folder (`3.11.7`, `cpython-3.11.7-linux-…`), to sort by."""
    name = interpreter.parent.parent.name.removeprefix("cpython-").partition("-")[0]
    return tuple(int(part) for part in name.split(".") if part.isdigit())


def _answers(candidate: str, version: str) -> bool:
    """Return whether an interpreter starts and is of this version; one of pyenv's shims may be neither."""
    try:
        done = subprocess.run([candidate, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == version


__all__ = ["Python", "find_python", "running", "what_to_install"]
