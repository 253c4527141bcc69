"""Whether an environment holds exactly its pins, told from what its packages say of themselves; no tool is imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from recipec.environments.install import Pins, find_uv

BUILT_IN = frozenset(["pip", "setuptools", "wheel"])  # of the venv itself
SHOWN = 20


def verify(folder: Path, pins: Pins) -> list[str]:
    """Return what is wrong with an environment, a line each; empty when it is exactly its pins, whole and consistent."""
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
            wrong.append(f"{name}: {len(lost)} files are missing or cut short, such as {lost[0]}")
    return wrong + _inconsistent(folder)


def canonical(name: str) -> str:
    """Return the name of a package as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _lost(package: Distribution) -> Iterator[str]:
    """Yield the files that were installed and are gone, or are of another size."""
    for file in package.files or []:
        if file.hash is None or file.suffix == ".pyc":  # not promised: compiled or written later
            continue
        try:
            size = Path(os.fspath(file.locate())).stat().st_size
        except OSError:
            yield str(file)
            continue
        if file.size is not None and size != file.size:
            yield str(file)


def _inconsistent(folder: Path) -> list[str]:
    """Return what the installer's own check says of requirements that are not met."""
    uv, python = find_uv(), folder / "bin" / "python"
    if uv:
        command = [uv, "pip", "check", "--python", os.fspath(python)]
    else:
        command = [sys.executable, "-m", "pip", "--python", os.fspath(python), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return []
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-SHOWN:] or [f"{' '.join(command)}: exit code {done.returncode}"]
