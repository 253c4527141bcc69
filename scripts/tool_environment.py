"""Makes a tool's environment for the tests and benchmarks that ask the tool, and prints the path of its Python.

    python scripts/tool_environment.py NAME

It is the environment that `recipe run` makes, by the same pins, except for a tool whose Python is newer than the newest
one that CPU builds of torch are at hand for: that tool is installed for the older Python although it asks for a newer
one, and the few packages that cannot be are taken in an earlier release.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from recipec.environments import ensure
from recipec.environments.install import Pins
from recipec.facts import pins

ROOT = Path(__file__).resolve().parent.parent
ONLY_TESTS = ROOT / "tests" / "conformance"  # pins of what only tests need


class Older(NamedTuple):
    """How an environment is made for an older Python than its pins are for."""

    python: str
    tool: str  # the package that asks for the newer Python, whose code runs on the older one all the same
    instead: Mapping[str, str]  # package → the newest release for the older Python


# What the name of an environment begins with.
OLDER = {"axolotl-0.21.0": Older("3.11", "axolotl", {"networkx": "3.6.1", "scipy": "1.17.1"})}
SAME = {  # made once: one that holds more serves for one that holds less
    "axolotl-0.21.0": "axolotl-0.21.0-deepspeed",
    "axolotl-0.21.0-mlflow": "axolotl-0.21.0-deepspeed-mlflow",
}


@cache
def tool_environment(name: str) -> Path:
    """Return the folder of an environment, made if need be. Raises EnvironmentFailure, CalledProcessError."""
    name = SAME.get(name, name)
    own = ONLY_TESTS / f"{name}.txt"
    text = own.read_text(encoding="utf-8") if own.exists() else pins(name)
    older = next((how for begin, how in OLDER.items() if name.startswith(begin)), None)
    made = ensure(name, _for_older(text, older) if older else text, lambda line: print(line, file=sys.stderr))
    if older:
        _install(made, f"{older.tool}=={Pins.read(text).version(older.tool)}")
    return made


def _for_older(text: str, older: Older) -> str:
    """Return the pins of everything but the tool, without hashes: other releases have others."""
    read = Pins.read(text)
    lines = [f"# python: {older.python}"]
    lines += [f"# build-without-isolation: {' '.join(read.unisolated)}"] if read.unisolated else []
    for name, _, release in (line.partition("==") for line in read.lines):
        if name != older.tool:
            lines.append(f"{name}=={older.instead.get(name, release)}")
    return "\n".join(lines) + "\n"


def _install(environment: Path, requirement: str) -> None:
    """Install one package whatever Python it asks for, unless it is there."""
    package, _, release = requirement.partition("==")
    with environment.with_name(f"{environment.name}.tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if any(environment.glob(f"lib/python*/site-packages/{package}-{release}.dist-info/RECORD")):
            return
        pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
        quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--ignore-requires-python"]
        subprocess.run([*pip, "install", *quiet, requirement], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    print(tool_environment(sys.argv[1]) / "bin" / "python")
