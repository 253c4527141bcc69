"""Says which tools have a newer release than the newest that recipec knows, for every Python that recipec supports.

    python scripts/newer_releases.py [TOOL …]

An index shows a Python only the releases that allow it: each is asked for every Python. Needs uv and what pip is
configured with. Exits with 1 where a tool has a newer release.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "schema"), str(ROOT / "compiler"), str(ROOT / "launchers")]

from recipec.environments.install import Pins, find_uv  # noqa: E402
from recipec.environments.pip_settings import read_pip_settings, uv_flags, uv_variables  # noqa: E402
from recipec.facts import FOLDER, releases, version  # noqa: E402

PYTHONS = ("3.11", "3.12", "3.13")  # those of `requires-python` in pyproject.toml
# What is pinned in the environment of another tool, beside those that have environments of their own.
WITHIN = ("lm-eval", "deepspeed", "accelerate", "peft", "transformers")


def ours() -> dict[str, str]:
    """Return the newest release that recipec knows of each tool."""
    files = [path.stem for path in (FOLDER / "environments").glob("*-[0-9]*.txt")]
    known = {
        name: max(releases(name), key=version)
        for name in {stem.rsplit("-", 1)[0] for stem in files if "-deepspeed" not in stem}
    }
    pins = [Pins.read(path.read_text(encoding="utf-8")) for path in (FOLDER / "environments").glob("*.txt")]
    lines = {line for one in pins for line in one.lines}
    for package in WITHIN:
        pinned = [line.partition("==")[2] for line in lines if line.startswith(f"{package}==")]
        known[package] = max(pinned, key=version)
    return dict(sorted(known.items()))


def newest(package: str, python: str, uv: str) -> str | None:
    """Return the newest release of a package that an index shows to a Python; None where it shows none."""
    settings = read_pip_settings(os.environ)
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-deps", "--python-version", python]
    for only in (["--only-binary", ":all:"], []):  # what has wheels is not built to learn its version
        done = subprocess.run(
            [*command, *only, *uv_flags(settings, os.environ), "-"],
            input=package,
            env=os.environ | uv_variables(settings, os.environ),
            capture_output=True,
            text=True,
            check=False,
        )
        found = [line.partition("==")[2] for line in done.stdout.splitlines() if "==" in line]
        if found:
            return found[0]
    return None


def main(names: list[str]) -> int:
    """Print a line for each tool."""
    uv = find_uv()
    if uv is None:
        sys.exit("uv is needed: pip install uv")
    behind = False
    print(f"{'tool':<14}{'ours':<12}" + "".join(f"{'Python ' + python:<14}" for python in PYTHONS))
    for name, known in ours().items():
        if names and name not in names:
            continue
        shown = [newest(name, python, uv) for python in PYTHONS]
        newer = any(one is not None and version(one) > version(known) for one in shown)
        behind = behind or newer
        cells = "".join(f"{one or '-':<14}" for one in shown)
        print(f"{name:<14}{known:<12}{cells}{'newer' if newer else ''}".rstrip(), flush=True)
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
