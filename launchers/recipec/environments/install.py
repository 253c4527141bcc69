"""The commands that make one environment from its pins, with uv or with pip."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlparse

from recipec.environments.pip_settings import PipSettings, uv_flags, uv_variables

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_LATE = "build-without-isolation"  # may stand more than once: each extra of an environment has its own
_BARE = (
    "no-dependencies"  # the pins are the whole set, though some package asks for more; the value says what is left out
)
_REMOVE = "remove"  # files to delete afterwards, as patterns below site-packages
_REMOVER = (
    "import glob, os, sys, sysconfig; folder = sysconfig.get_path('platlib'); "
    "[os.remove(path) for pattern in sys.argv[1:] for path in glob.glob(os.path.join(folder, pattern))]"
)
TORCH = "RECIPEC_TORCH_BACKEND"  # `cpu`: the CPU build; `default`: what the index has under the plain version


class Step(NamedTuple):
    """One command and the variables that it needs beside the inherited ones."""

    command: list[str]
    variables: dict[str, str]


class Pins(NamedTuple):
    """A file of exact pins: `name==version` lines, and directives in comments (`# download-gb: 2.1`)."""

    lines: tuple[str, ...]
    late: tuple[str, ...]  # packages that are built against the others, after them
    download_gb: float | None
    disk_gb: float | None
    minutes: float | None
    no_dependencies: bool = False
    remove: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> Pins:
        """Read pins. Raises ValueError when a directive that is a number is none."""
        lines: list[str] = []
        said: dict[str, str] = {}
        for line in text.splitlines():
            line = line.strip()
            if line.startswith("#"):
                key, _, value = line[1:].strip().partition(": ")
                said[key] = f"{said.get(key, '')} {value}".strip() if key == _LATE else value.strip()
            elif line:
                lines.append(line)

        def number(key: str) -> float | None:
            return float(said[key]) if key in said else None

        late = tuple(said.get(_LATE, "").replace(",", " ").split())
        sizes = (number("download-gb"), number("disk-gb"), number("minutes"))
        return cls(tuple(lines), late, *sizes, _BARE in said, tuple(said.get(_REMOVE, "").split()))

    def version(self, package: str) -> str | None:
        """Return the pinned version of a package."""
        return next((line[len(package) + 2 :] for line in self.lines if line.startswith(package + "==")), None)

    def early(self) -> list[str]:
        """Return the pins that are installed first."""
        return [line for line in self.lines if line.partition("==")[0] not in self.late]


def has_nvidia() -> bool:
    """Return whether this machine has an NVIDIA driver (also under WSL)."""
    marks = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/nvidia-smi")
    return any(Path(mark).exists() for mark in marks) or shutil.which("nvidia-smi") is not None


def torch_build(variables: Mapping[str, str]) -> Literal["cpu", "default"]:
    """Return which build of torch this machine is to get: `cpu` on Linux without an NVIDIA GPU.

    `torch==2.13.0` of PyPI is the CUDA build on Linux: gigabytes that nothing here could use. RECIPEC_TORCH_BACKEND
    overrides. AMD machines (/dev/kfd) get what their index has. Elsewhere PyPI has no CUDA build.
    """
    said = variables.get(TORCH)
    if said in ("cpu", "default"):
        return "cpu" if said == "cpu" else "default"
    plain = sys.platform != "linux" or has_nvidia() or Path("/dev/kfd").exists()
    return "default" if plain else "cpu"


def offers_cpu_torch(settings: PipSettings, version: str) -> bool:
    """Return whether what pip is configured with already has the CPU build (`2.13.0+cpu` satisfies `==2.13.0`)."""
    for place in settings.find_links:
        parsed = urlparse(place)
        folder = Path(unquote(parsed.path) if parsed.scheme == "file" else place)
        if folder.is_dir() and any(folder.glob(f"torch-{version}+cpu-*.whl")):
            return True
    urls = (*settings.find_links, *settings.extra_index_url, settings.index_url or "")
    return any("/whl/cpu" in url for url in urls)


def find_uv() -> str | None:
    """Return the path of uv: the package's own, else the one on PATH."""
    try:
        from uv import find_uv_bin

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def steps(
    folder: Path, pins: Pins, settings: PipSettings, variables: Mapping[str, str], uv: str | None
) -> tuple[list[Step], dict[Path, str]]:
    """Return the commands in order, and the files that they read with their text."""
    version = pins.version("torch")
    cpu = version is not None and torch_build(variables) == "cpu" and not offers_cpu_torch(settings, version)
    python = str(folder / "bin" / "python")
    early, whole = folder.with_name(folder.name + ".early.txt"), folder.with_name(folder.name + ".pins.txt")
    files = {whole: "\n".join(pins.lines) + "\n"}
    if pins.late:
        files[early] = "\n".join(pins.early()) + "\n"
    building = {"DS_BUILD_OPS": "0"}
    bare = ["--no-deps"] if pins.no_dependencies else []
    after = [Step([python, "-c", _REMOVER, *pins.remove], {})] if pins.remove else []
    if uv:
        more = uv_variables(settings, variables)
        quiet = ["--no-progress"] if "UV_NO_PROGRESS" not in variables else []
        install = [uv, "pip", "install", *quiet, "--python", python, *uv_flags(settings, variables)]
        if cpu and "UV_TORCH_BACKEND" not in variables:
            install += ["--torch-backend", "cpu"]
        made = [Step([uv, "venv", "--python", sys.executable, str(folder)], more)]
        if bare and version:  # its CUDA build comes with libraries that are not among the pins
            made.append(Step([*install, f"torch=={version}"], more))
        install += bare
        if pins.late:
            made.append(Step([*install, "-r", str(early)], more))
        apart = [part for name in pins.late for part in ("--no-build-isolation-package", name)]
        made.append(Step([*install, *apart, "-r", str(whole)], more | (building if pins.late else {})))
        return made + after, files
    made = [Step([sys.executable, "-m", "venv", str(folder)], {})]
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    pip = [python, "-m", "pip", "install", *quiet]
    if cpu:
        made.append(Step([*pip, "--no-deps", "--index-url", CPU_INDEX, f"torch=={version}"], {}))
    elif bare and version:
        made.append(Step([*pip, f"torch=={version}"], {}))
    pip += bare
    if pins.late:
        made.append(Step([*pip, "-r", str(early)], {}))
    apart = ["--no-build-isolation"] if pins.late else []
    made.append(Step([*pip, *apart, "-r", str(whole)], building if pins.late else {}))
    return made + after, files
