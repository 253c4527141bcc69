"""Whether an environment contains exactly its pins, according to the metadata of its packages; imports no tool."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from recipec.environments.install import Pins, find_uv
from recipec.plural import counted

BUILT_IN = frozenset(["pip", "setuptools", "wheel"])  # installed by venv itself
MAX_LINES = 20  # of the installer's check


def verify(folder: Path, pins: Pins) -> list[str]:
    """Return what is wrong with an environment, one line each; empty when it contains exactly its pins, all intact."""
    wanted = {canonical(name): version for name, _, version in (line.partition("==") for line in pins.lines)}
    held: dict[str, Distribution] = {}
    for package in distributions(path=[os.fspath(place) for place in folder.glob("lib*/python3*/site-packages")]):
        held[canonical(package.metadata["Name"] or "?")] = package
    wrong: list[str] = []
    for name, version in wanted.items():
        if name not in held:
            wrong.append(f"{name}=={version} is missing")
        elif held[name].version not in (version, f"{version}+{held[name].version.partition('+')[2]}"):
            wrong.append(f"{name} is {held[name].version}, not {version}")
    wrong += [f"{name} {held[name].version} is not pinned" for name in sorted(held.keys() - wanted - BUILT_IN)]
    for name in sorted(held):
        lost = list(_lost(held[name]))
        if lost:
            wrong.append(f"{name}: {counted(len(lost), 'file')} missing or truncated, such as {lost[0]}")
    return wrong + _inconsistent(folder)


def canonical(name: str) -> str:
    """Return the normalized name of a package, as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _lost(package: Distribution) -> Iterator[str]:
    """Yield the installed files that are missing or have another size."""
    for file in package.files or []:
        if file.hash is None or file.suffix == ".pyc":  # may change: compiled or written after the installation
            continue
        try:
            size = Path(os.fspath(file.locate())).stat().st_size
        except OSError:
            yield str(file)
            continue
        if file.size is not None and size != file.size:
            yield str(file)


def _inconsistent(folder: Path) -> list[str]:
    """Return what the installer's own check says about unmet requirements."""
    uv, python = find_uv(), folder / "bin" / "python"
    if uv:
        command = [uv, "pip", "check", "--python", os.fspath(python)]
    else:
        command = [sys.executable, "-m", "pip", "--python", os.fspath(python), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return []
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-MAX_LINES:] or [f"{' '.join(command)}: exit code {done.returncode}"]
