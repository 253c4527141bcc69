"""The commands that create an environment from its pins, with uv or with pip."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlparse

from recipec.environments.pip_settings import PipSettings, uv_flags, uv_variables
from recipec.environments.pythons import Python

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_UNISOLATED = "build-without-isolation"  # may occur several times, once for each extra of an environment
# The pins are complete although some package requires more; the directive's value says what is left out.
_NO_DEPENDENCIES = "no-dependencies"
_PYTHON = "python"
_REMOVE = "remove"  # files to delete afterwards, as patterns below site-packages
_REMOVER = (
    "import glob, os, sys, sysconfig; folder = sysconfig.get_path('platlib'); "
    "[os.remove(path) for pattern in sys.argv[1:] for path in glob.glob(os.path.join(folder, pattern))]"
)
TORCH = "RECIPEC_TORCH_BACKEND"  # `cpu`: the CPU build; `default`: the build that the index has by default


class Step(NamedTuple):
    """One command, and the environment variables that it needs besides the inherited ones."""

    command: list[str]
    variables: dict[str, str]


class Pins(NamedTuple):
    """A file of exact pins: `name==version` lines, and directives in comments (`# download-gb: 2.1`)."""

    lines: tuple[str, ...]
    unisolated: tuple[str, ...]  # packages built without isolation, after the others, which their build needs
    download_gb: float | None
    disk_gb: float | None
    minutes: float | None
    no_dependencies: bool = False
    remove: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()  # that they can be installed for, the one they were made with first

    @classmethod
    def read(cls, text: str) -> Pins:
        """Parse the text of a file of pins. Raises ValueError when a directive should be a number and is not."""
        lines: list[str] = []
        directives: dict[str, str] = {}
        for line in text.splitlines():
            line = line.strip()
            if line.startswith("#"):
                key, _, value = line[1:].strip().partition(": ")
                directives[key] = f"{directives.get(key, '')} {value}".strip() if key == _UNISOLATED else value.strip()
            elif line:
                lines.append(line)

        def number(key: str) -> float | None:
            return float(directives[key]) if key in directives else None

        unisolated = tuple(directives.get(_UNISOLATED, "").replace(",", " ").split())
        sizes = (number("download-gb"), number("disk-gb"), number("minutes"))
        bare, remove = _NO_DEPENDENCIES in directives, tuple(directives.get(_REMOVE, "").split())
        return cls(tuple(lines), unisolated, *sizes, bare, remove, tuple(directives.get(_PYTHON, "").split()))

    def version(self, package: str) -> str | None:
        """Return the pinned version of a package."""
        return next((line[len(package) + 2 :] for line in self.lines if line.startswith(package + "==")), None)

    def isolated(self) -> list[str]:
        """Return the pins that are installed first: all but the unisolated ones."""
        return [line for line in self.lines if line.partition("==")[0] not in self.unisolated]


def has_nvidia() -> bool:
    """Return whether this machine has an NVIDIA driver (also under WSL)."""
    marks = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/nvidia-smi")
    return any(Path(mark).exists() for mark in marks) or shutil.which("nvidia-smi") is not None


def torch_build(variables: Mapping[str, str]) -> Literal["cpu", "default"]:
    """Return which build of torch to install on this machine: `cpu` on Linux without an NVIDIA or AMD GPU.

    On Linux, PyPI's `torch==2.13.0` is the CUDA build, with gigabytes of libraries that are useless without a GPU.
    AMD machines (/dev/kfd) get what their index has. On other systems PyPI has no CUDA build. RECIPEC_TORCH_BACKEND
    overrides the choice.
    """
    chosen = variables.get(TORCH)
    if chosen in ("cpu", "default"):
        return "cpu" if chosen == "cpu" else "default"
    plain = sys.platform != "linux" or has_nvidia() or Path("/dev/kfd").exists()
    return "default" if plain else "cpu"


def offers_cpu_torch(settings: PipSettings, version: str, python: str) -> bool:
    """Return whether the indexes that pip is configured with have the CPU build (`2.13.0+cpu` satisfies `==2.13.0`).

    `python` is the version that it is for, such as `3.11`.
    """
    tag = "cp" + python.replace(".", "")
    for place in settings.find_links:
        parsed = urlparse(place)
        folder = Path(unquote(parsed.path) if parsed.scheme == "file" else place)
        if folder.is_dir() and any(folder.glob(f"torch-{version}+cpu-{tag}-*.whl")):
            return True
    urls = (*settings.find_links, *settings.extra_index_url, settings.index_url or "")
    return any("/whl/cpu" in url for url in urls)


def find_uv() -> str | None:
    """Return the path of uv: from the Python package, else from PATH; None when it is not installed."""
    try:
        from uv import find_uv_bin

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def install_steps(
    folder: Path, pins: Pins, settings: PipSettings, variables: Mapping[str, str], uv: str | None, base: Python
) -> tuple[list[Step], dict[Path, str]]:
    """Return the commands that create an environment, in order, and the texts of the files that they read.

    `base` is the Python that it is made with.
    """
    version = pins.version("torch")
    cpu = (
        version is not None
        and torch_build(variables) == "cpu"
        and not offers_cpu_torch(settings, version, base.version)
    )
    python = str(folder / "bin" / "python")
    early, whole = folder.with_name(folder.name + ".early.txt"), folder.with_name(folder.name + ".pins.txt")
    files = {whole: "\n".join(pins.lines) + "\n"}
    if pins.unisolated:
        files[early] = "\n".join(pins.isolated()) + "\n"
    building = {"DS_BUILD_OPS": "0"}
    bare = ["--no-deps"] if pins.no_dependencies else []
    after = [Step([python, "-c", _REMOVER, *pins.remove], {})] if pins.remove else []
    if uv:
        more = uv_variables(settings, variables)
        quiet = ["--no-progress"] if "UV_NO_PROGRESS" not in variables else []
        install = [uv, "pip", "install", *quiet, "--python", python, *uv_flags(settings, variables)]
        if cpu and "UV_TORCH_BACKEND" not in variables:
            install += ["--torch-backend", "cpu"]
        commands = [Step([uv, "venv", "--python", base.executable, str(folder)], more)]
        if bare and version:  # torch's CUDA build needs libraries that are not among the pins
            commands.append(Step([*install, f"torch=={version}"], more))
        install += bare
        if pins.unisolated:
            commands.append(Step([*install, "-r", str(early)], more))
        apart = [part for name in pins.unisolated for part in ("--no-build-isolation-package", name)]
        commands.append(Step([*install, *apart, "-r", str(whole)], more | (building if pins.unisolated else {})))
        return commands + after, files
    commands = [Step([base.executable, "-m", "venv", str(folder)], {})]
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    pip = [python, "-m", "pip", "install", *quiet]
    if cpu:
        commands.append(Step([*pip, "--no-deps", "--index-url", CPU_INDEX, f"torch=={version}"], {}))
    elif bare and version:
        commands.append(Step([*pip, f"torch=={version}"], {}))
    pip += bare
    if pins.unisolated:
        commands.append(Step([*pip, "-r", str(early)], {}))
    apart = ["--no-build-isolation"] if pins.unisolated else []
    commands.append(Step([*pip, *apart, "-r", str(whole)], building if pins.unisolated else {}))
    return commands + after, files
