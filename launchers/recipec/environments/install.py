"""The commands that create an environment from its pins, with uv or with pip."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
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
_CUDA = "cuda"  # may occur several times: a pin of what torch's CUDA build needs besides the others
_REMOVE = "remove"  # files to delete afterwards, as patterns below site-packages
_HASH = "--hash=sha256:"
_REMOVER = (
    "import glob, os, sys, sysconfig; folder = sysconfig.get_path('platlib'); "
    "[os.remove(path) for pattern in sys.argv[1:] for path in glob.glob(os.path.join(folder, pattern))]"
)
# Whether torch needs CUDA's libraries is known when it is there: which build an index offers is the index's affair.
_ADD_CUDA = (
    "import importlib.metadata as m, pathlib, sys; cuda, *files = map(pathlib.Path, sys.argv[1:]); "
    "needs = any(one.startswith('nvidia-') for one in m.requires('torch') or ()); "
    "[file.write_text(file.read_text() + cuda.read_text()) for file in files if needs and sys.platform == 'linux']"
)
UNHASHED = "RECIPEC_UNHASHED"  # packages, or `all`, that are installed without a look at their hashes
TORCH = "RECIPEC_TORCH_BACKEND"  # `cpu`: the CPU build; `default`: the build that the index has by default


class Step(NamedTuple):
    """One command, and the environment variables that it needs besides the inherited ones."""

    command: list[str]
    variables: dict[str, str]


class Pins(NamedTuple):
    """A file of exact pins: `name==version` and hashes in each line, and directives in comments (`# disk-gb: 2.1`)."""

    lines: tuple[str, ...]  # `name==version`
    unisolated: tuple[str, ...]  # packages built without isolation, after the others, which their build needs
    download_gb: float | None
    disk_gb: float | None
    minutes: float | None
    no_dependencies: bool = False
    remove: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()  # that they can be installed for, the one they were made with first
    without: tuple[str, ...] = ()  # packages that are left out although some package requires them
    hashes: Mapping[str, tuple[str, ...]] = {}  # of a `name==version`: SHA-256 of the files that may be installed
    cuda: tuple[str, ...] = ()  # `name==version` of what torch's CUDA build needs besides

    @classmethod
    def read(cls, text: str) -> Pins:
        """Parse the text of a file of pins. Raises ValueError when a directive should be a number and is not."""
        lines: list[str] = []
        cuda: list[str] = []
        hashes: dict[str, tuple[str, ...]] = {}
        directives: dict[str, str] = {}

        def add(line: str, pins: list[str]) -> None:
            pin, *options = line.split()
            pins.append(pin)
            found = tuple(one.removeprefix(_HASH) for one in options if one.startswith(_HASH))
            hashes.update({pin: found} if found else {})

        for line in text.splitlines():
            line = line.strip()
            if line.startswith("#"):
                key, _, value = line[1:].strip().partition(": ")
                if key == _CUDA:
                    add(value, cuda)
                else:
                    before = directives.get(key, "") if key == _UNISOLATED else ""
                    directives[key] = f"{before} {value}".strip()
            elif line:
                add(line, lines)

        def number(key: str) -> float | None:
            return float(directives[key]) if key in directives else None

        unisolated = tuple(directives.get(_UNISOLATED, "").replace(",", " ").split())
        sizes = (number("download-gb"), number("disk-gb"), number("minutes"))
        bare, remove = _NO_DEPENDENCIES in directives, tuple(directives.get(_REMOVE, "").split())
        pythons = tuple(directives.get(_PYTHON, "").split())
        without = tuple(directives.get(_NO_DEPENDENCIES, "").removeprefix("without ").replace(",", " ").split())
        return cls(tuple(lines), unisolated, *sizes, bare, remove, pythons, without, hashes, tuple(cuda))

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


def unhashed(pins: Pins, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the packages whose hashes RECIPEC_UNHASHED says not to compare, of those that the pins have hashes of."""
    named = variables.get(UNHASHED, "").replace(",", " ").lower().split()
    hashed = [line.partition("==")[0] for line in (*pins.lines, *pins.cuda) if line in pins.hashes]
    return tuple(name for name in hashed if name in named or "all" in named)


def install_steps(
    folder: Path, pins: Pins, settings: PipSettings, variables: Mapping[str, str], uv: str | None, base: Python
) -> tuple[list[Step], dict[Path, str]]:
    """Return the commands that create an environment, in order, and the texts of the files that they read.

    `base` is the Python that it is made with. First comes torch, since its build decides what else is installed; then
    what the packages of `build-without-isolation` need to be built; then all.
    """
    version = pins.version("torch")
    chosen = version is not None and torch_build(variables) == "cpu"
    cpu = chosen and not offers_cpu_torch(settings, version or "", base.version)
    python = str(folder / "bin" / "python")
    loose = unhashed(pins, variables)
    hashed = len(loose) < len(pins.hashes)

    def text(lines: Iterable[str]) -> str:
        return "".join(f"{_requirement(line, pins, chosen, loose)}\n" for line in lines)

    def beside(what: str) -> Path:
        return folder.with_name(f"{folder.name}.{what}.txt")

    early, whole, torch, cuda, free = map(beside, ("early", "pins", "torch", "cuda", "unhashed"))
    apart_from = loose if hashed else ()

    def kept(lines: Iterable[str]) -> list[str]:
        return [line for line in lines if line.partition("==")[0] not in apart_from]

    files = {whole: text(kept(pins.lines))}
    if uv:
        more = uv_variables(settings, variables)
        quiet = ["--no-progress"] if "UV_NO_PROGRESS" not in variables else []
        install = [uv, "pip", "install", *quiet, "--python", python, *uv_flags(settings, variables)]
        if cpu and "UV_TORCH_BACKEND" not in variables:
            install += ["--torch-backend", "cpu"]
        steps = [Step([uv, "venv", "--python", base.executable, str(folder)], more)]
        apart = [part for name in pins.unisolated for part in ("--no-build-isolation-package", name)]
        index: list[str] = []
    else:
        more = {}
        steps = [Step([base.executable, "-m", "venv", str(folder)], {})]
        quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
        install = [python, "-m", "pip", "install", *quiet]
        apart = ["--no-build-isolation"] if pins.unisolated else []
        index = ["--index-url", CPU_INDEX] if cpu else []
    required = ["--require-hashes"] if hashed else []
    bare = ["--no-deps"] if pins.no_dependencies or apart_from else []
    if apart_from:  # they bring what they need: another build of torch has libraries of its own
        files[free] = text(line for line in pins.lines if line not in kept(pins.lines))
        steps.append(Step([*install, *index, "-r", str(free)], more))
    elif version is not None and (pins.cuda or index):
        files[torch] = text([f"torch=={version}"])
        steps.append(Step([*install, *index, *required, "--no-deps", "-r", str(torch)], more))
    if pins.unisolated:
        files[early] = text(kept(pins.isolated()))
    if pins.cuda and not chosen and "torch" not in loose:
        files[cuda] = text(pins.cuda)
        targets = [str(file) for file in (whole, early) if file in files]
        steps.append(Step([python, "-c", _ADD_CUDA, str(cuda), *targets], {}))
    if pins.unisolated:
        steps.append(Step([*install, *required, *bare, "-r", str(early)], more))
    building = {"DS_BUILD_OPS": "0"} if pins.unisolated else {}
    steps.append(Step([*install, *required, *bare, *apart, "-r", str(whole)], more | building))
    if pins.remove:
        steps.append(Step([python, "-c", _REMOVER, *pins.remove], {}))
    return steps, files


def _requirement(line: str, pins: Pins, cpu: bool, loose: tuple[str, ...]) -> str:
    """Return a pin as uv and pip read it, with its hashes unless it is one of `loose`.

    uv knows a hash by the whole version: torch's CPU build is `2.13.0+cpu` to it.
    """
    name = line.partition("==")[0]
    hashes = pins.hashes.get(line, ())
    if not hashes or name in loose:
        return line
    build = "+cpu" if cpu and name == "torch" else ""
    return " ".join([line + build, *(_HASH + one for one in hashes)])
