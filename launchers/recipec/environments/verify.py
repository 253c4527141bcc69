"""Whether an environment contains exactly its pins, every file as it was installed; imports no tool.

An installer compares each package with the hashes of the pins before it unpacks it, and writes the SHA-256 of each file
into the package's RECORD. The marker of the environment holds the SHA-256 of each RECORD. So a file that was changed
later differs from its RECORD, and a RECORD that was changed with it from the marker.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recipec.environments.install import Pins, find_uv
from recipec.environments.records import Recorded, canonical, packages, recorded, records
from recipec.plural import counted

BUILT_IN = frozenset(["pip", "setuptools", "wheel"])  # installed by venv itself
MAX_LINES = 20  # of the installer's check
_LOADED = (".py", ".pth", ".so")  # what Python would run of a file that no package brought
_WRITTEN = ("_virtualenv.py", "_virtualenv.pth")  # by uv, into each environment


def verify(folder: Path, pins: Pins, installed: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with an environment, one line each; empty when it contains exactly its pins, all intact.

    `installed` are the hashes of the packages' RECORDs as they were installed; None where they are not known.
    """
    wanted = {canonical(name): version for name, _, version in (line.partition("==") for line in pins.lines)}
    cuda = {canonical(name): version for name, _, version in (line.partition("==") for line in pins.cuda)}
    held = dict(packages(folder))
    wrong: list[str] = []
    for name, version in wanted.items():
        if name not in held:
            wrong.append(f"{name}=={version} is missing")
    for name, version in (wanted | {name: cuda[name] for name in cuda.keys() & held.keys()}).items():
        if name in held and held[name].version not in (version, f"{version}+{held[name].version.partition('+')[2]}"):
            wrong.append(f"{name} is {held[name].version}, not {version}")
    wrong += [
        f"{name} {held[name].version} is not pinned"
        for name in sorted(held.keys() - wanted.keys() - cuda.keys() - BUILT_IN)
    ]
    now = records(folder) if installed is not None else {}
    wrong += [
        f"{name}: its RECORD is not the one that was installed"
        for name in sorted(now)
        if installed is not None and name in installed and installed[name] != now[name]
    ]
    brought: dict[str, list[Recorded]] = {}
    for name in sorted(held):
        try:
            brought[name] = recorded(held[name])
        except ValueError:
            wrong.append(f"{name}: its RECORD cannot be read")
    places = {name: Path(str(held[name].locate_file(""))) for name in brought}
    with ThreadPoolExecutor(max_workers=4) as pool:
        compared = pool.map(_compare, [places[name] for name in brought], brought.values(), [pins] * len(brought))
        for name, (lost, changed) in zip(brought, compared, strict=True):
            if lost:
                wrong.append(f"{name}: {counted(len(lost), 'file')} missing, such as {lost[0]}")
            if changed:
                wrong.append(f"{name}: {counted(len(changed), 'file')} changed, such as {changed[0]}")
    known = {os.path.normpath(places[name] / file.path) for name, files in brought.items() for file in files}
    foreign = list(_foreign(folder, known)) if len(brought) == len(held) else []
    if foreign:
        wrong.append(f"{counted(len(foreign), 'file')} of no package, such as {foreign[0]}")
    return wrong + _inconsistent(folder, pins)


def _compare(place: Path, files: list[Recorded], pins: Pins) -> tuple[list[str], list[str]]:
    """Return the installed files of a package that are missing, and those that are not what RECORD says."""
    lost: list[str] = []
    changed: list[str] = []
    for file in files:
        if not file.digest or file.path.endswith(".pyc"):  # may change: compiled or written after the installation
            continue
        if any(fnmatch.fnmatch(file.path, pattern) for pattern in pins.remove):
            continue
        try:
            same = _same(place / file.path, file)
        except OSError:
            lost.append(file.path)
            continue
        if not same:
            changed.append(file.path)
    return lost, changed


def _same(path: Path, file: Recorded) -> bool:
    """Return whether a file is what RECORD says. Raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        if file.size is not None and os.fstat(stream.fileno()).st_size != file.size:
            return False
        if file.algorithm not in hashlib.algorithms_guaranteed:
            return False
        found = hashlib.file_digest(stream, file.algorithm).digest()
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == file.digest


def _foreign(folder: Path, known: set[str]) -> Iterator[str]:
    """Yield the files in site-packages that Python would load and no package brought."""
    for place in folder.glob("lib/python3*/site-packages"):
        for path in sorted(place.rglob("*")):
            if path.suffix in _LOADED and str(path) not in known and path.name not in _WRITTEN:
                yield str(path.relative_to(place))


def _inconsistent(folder: Path, pins: Pins) -> list[str]:
    """Return what the installer's own check says about unmet requirements, but for those that the pins leave out."""
    uv, python = find_uv(), folder / "bin" / "python"
    if uv:
        command = [uv, "pip", "check", "--python", os.fspath(python)]
    else:
        command = [sys.executable, "-m", "pip", "--python", os.fspath(python), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return []
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if " requires " in line]
    without = [rf"requires `?{re.escape(name)}\b" for name in pins.without]
    left = [line for line in lines if not any(re.search(one, line) for one in without)]
    return left[-MAX_LINES:] if lines else [f"{' '.join(command)}: exit code {done.returncode}"]
