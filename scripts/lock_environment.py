"""Writes the exact pins of the tool environments, by making each once and asking what it holds.

    python scripts/lock_environment.py [NAME …]
    python scripts/lock_environment.py --hashes [NAME …]

Needs uv and what pip is configured with. A resolved set is only written when `uv pip check` finds it whole. With
`--hashes`, the pins stay as they are: only their hashes are asked for again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "schema"), str(ROOT / "launchers")]

from recipec.environments.install import Pins, find_uv, offers_cpu_torch, torch_build  # noqa: E402
from recipec.environments.pip_settings import read_pip_settings, uv_flags, uv_variables  # noqa: E402
from recipec.environments.pythons import running  # noqa: E402

FOLDER = ROOT / "schema" / "recipec" / "facts" / "environments"
NOT_PINNED = {"pip"}  # installs the others, is none of them
PYTHONS = ("3.11", "3.12", "3.13")  # of pins that name none
# What trainings run on. A set that a platform has no files for is not offered there.
PLATFORMS = ("x86_64-manylinux_2_40", "aarch64-manylinux_2_40", "aarch64-apple-darwin")
CUDA = ("nvidia-", "cuda-", "triton")  # what torch's CUDA build needs besides the pins
# Builds of torch that PyPI does not have, at https://download.pytorch.org/whl/cpu and /cu130, for Linux.
TORCH_BUILDS = {
    "2.13.0": {
        "cpu, Python 3.11, x86_64": "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
        "cpu, Python 3.12, x86_64": "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
        "cpu, Python 3.13, x86_64": "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
        "cpu, Python 3.11, aarch64": "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",
        "cpu, Python 3.12, aarch64": "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",
        "cpu, Python 3.13, aarch64": "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",
        "cu130, Python 3.11, x86_64": "794664c05a3470a5e738447b54495cc6bbf1efca48bf2794270a897d9f4356c4",
        "cu130, Python 3.12, x86_64": "8db7338e6895c3d4bd89a02ff4209507d1f0cf2ffeb3b898538b5a07d1ea8c1e",
        "cu130, Python 3.13, x86_64": "95bdbad2f0786bd448932e4b72a6404aa22290db6ec954e24edfa6d33c833c8f",
    }
}


class Wanted(NamedTuple):
    """What an environment is made of. `late` is built against the rest, after it.

    `without` are packages that something asks for and that are left out all the same; `remove` are files below
    site-packages that are deleted after the installation. `why` says for whoever reads the pins.
    """

    title: str
    packages: tuple[str, ...]
    late: tuple[str, ...]
    download_gb: float  # measured with the CPU build of torch
    disk_gb: float
    minutes: float  # with pip, on two cores
    without: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    why: str = ""


BUILD = ("setuptools", "wheel", "packaging", "ninja", "py-cpuinfo")
TRACKERS = ("mlflow-skinny", "tensorboard", "wandb")
TRACKIO = "pillow<13"  # what Trackio asks for, which trackio.txt adds to an environment; TensorBoard would take any
TRL = (
    "torch==2.13.0",
    "transformers==5.23.0",
    "trl==1.16.0",
    "peft==0.21.2",
    "accelerate==1.15.0",
    "datasets==5.2.0",
    "lm-eval[hf]==0.4.13",
    "bitsandbytes==0.50.2",
    *TRACKERS,
    TRACKIO,
)
TRL_1_9 = (
    "torch==2.13.0",
    "transformers==5.16.1",
    "trl==1.9.0",
    "peft==0.20.0",
    "accelerate==1.13.0",
    "lm-eval[hf]==0.4.11",
    "bitsandbytes==0.50.2",
    *TRACKERS,
    TRACKIO,
)
UNSLOTH = (
    "triton==3.7.1",  # the one that the CUDA build of torch wants; the CPU build leaves it open
    "unsloth==2026.10.9",
    "unsloth_zoo==2026.10.9",
    *TRL_1_9,
)
NO_XFORMERS = (
    "Unsloth asks for torchvision, of which text needs nothing, and for xformers, without which it uses torch's own "
    "attention; the compiled parts of both load only beside one build of torch."
)
LLAMAFACTORY = (
    "torch==2.13.0",
    "llamafactory==0.9.5",
    "bitsandbytes==0.50.2",
    "lm-eval[hf]==0.4.11",
    *TRACKERS,
)
SERVING = "openai"  # what `transformers serve` asks for beside what the others bring
LLMCOMPRESSOR = (
    "torch==2.13.0",
    "llmcompressor==0.14.0.1",
    "lm-eval[hf]==0.4.13",
    SERVING,
    *TRACKERS,
    TRACKIO,
)
GPTQMODEL = (
    "torch==2.13.0",
    "gptqmodel==7.6.0",
    "optimum==2.3.0",  # by which Transformers loads what it wrote by GPTQ
    "lm-eval[hf]==0.4.13",
    SERVING,
    *TRACKERS,
    TRACKIO,
)
ASKING = ("lm-eval[api]==0.4.13", "transformers==5.23.0", "datasets==5.2.0", *TRACKERS, TRACKIO)
NO_VISION = (
    "LLaMA-Factory asks for torchvision and torchaudio, whose compiled parts load only beside the CUDA build of torch. "
    "Text needs neither: torchvision is left out, and torchaudio, which is always imported, lives without its own."
)
TRITON = "triton==3.7.1"  # what the CUDA build of torch 2.13.0 asks for; the CPU build would take any
ENVIRONMENTS = {
    "axolotl-0.17.0": Wanted("Axolotl 0.17.0", ("torch==2.13.0", TRITON, "axolotl==0.17.0"), (), 1.1, 4.3, 4),
    "axolotl-0.17.0-deepspeed": Wanted(
        "Axolotl 0.17.0 with DeepSpeed",
        ("torch==2.13.0", TRITON, "axolotl==0.17.0", "setuptools", "wheel", "packaging", "ninja", "py-cpuinfo"),
        ("deepspeed==0.18.9",),
        1.1,
        4.3,
        5,
    ),
    "axolotl-0.19.0": Wanted("Axolotl 0.19.0", ("torch==2.13.0", TRITON, "axolotl==0.19.0"), (), 1.1, 4.3, 4),
    "axolotl-0.19.0-deepspeed": Wanted(
        "Axolotl 0.19.0 with DeepSpeed",
        ("torch==2.13.0", TRITON, "axolotl==0.19.0", *BUILD),
        ("deepspeed==0.18.9",),
        1.1,
        4.3,
        5,
    ),
    # With Python 3.12, which Axolotl needs since 0.20.
    "axolotl-0.21.0": Wanted("Axolotl 0.21.0", ("torch==2.13.0", TRITON, "axolotl==0.21.0"), (), 1.1, 4.3, 4),
    "axolotl-0.21.0-deepspeed": Wanted(
        "Axolotl 0.21.0 with DeepSpeed",
        ("torch==2.13.0", TRITON, "axolotl==0.21.0", *BUILD),
        ("deepspeed==0.19.8",),
        1.1,
        4.3,
        5,
    ),
    "llamafactory-0.9.5": Wanted(
        "LLaMA-Factory 0.9.5", LLAMAFACTORY, (), 0.6, 2.1, 3, ("torchvision",), ("torchaudio/lib/*.so",), NO_VISION
    ),
    "llamafactory-0.9.5-deepspeed": Wanted(
        "LLaMA-Factory 0.9.5 with DeepSpeed",
        (*LLAMAFACTORY, *BUILD),
        ("deepspeed==0.18.9",),
        0.6,
        2.1,
        4,
        ("torchvision",),
        ("torchaudio/lib/*.so",),
        NO_VISION,
    ),
    "trl-1.16.0": Wanted("TRL 1.16.0", TRL, (), 0.6, 2.1, 2),
    "trl-1.16.0-deepspeed": Wanted("TRL 1.16.0 with DeepSpeed", (*TRL, *BUILD), ("deepspeed==0.19.8",), 0.6, 2.1, 3),
    "trl-1.9.0": Wanted("TRL 1.9.0", TRL_1_9, (), 0.6, 2.1, 2),
    "unsloth-2026.10.9": Wanted(
        "Unsloth 2026.10.9", UNSLOTH, (), 0.7, 2.5, 3, ("torchvision", "xformers"), (), NO_XFORMERS
    ),
    "trl-1.9.0-deepspeed": Wanted("TRL 1.9.0 with DeepSpeed", (*TRL_1_9, *BUILD), ("deepspeed==0.18.9",), 0.6, 2.1, 3),
    "llmcompressor-0.14.0.1": Wanted("llm-compressor 0.14.0.1", LLMCOMPRESSOR, (), 0.6, 2.1, 2),
    "gptqmodel-7.6.0": Wanted("GPTQModel 7.6.0", GPTQMODEL, (), 0.6, 2.1, 4),
    "lm-eval-0.4.13": Wanted("lm-evaluation-harness 0.4.13, for served models", ASKING, (), 0.3, 0.9, 1),
    "inspect-ai-0.3.285": Wanted(
        "inspect-ai 0.3.285",
        ("inspect-ai==0.3.285", "openai", "soupsieve<4"),  # a later one needs Python 3.11.5
        (),
        0.1,
        0.4,
        1,
    ),
    "guidellm-0.8.1": Wanted("GuideLLM 0.8.1", ("torch==2.13.0", "guidellm==0.8.1"), (), 0.6, 1.5, 2),
    "ray-2.60.0": Wanted(
        "Ray Train 2.60.0",
        ("torch==2.13.0", "ray[train]==2.60.0", "transformers==5.16.1", "accelerate==1.13.0", "numpy"),
        (),
        0.6,
        1.8,
        2,
    ),
}


def lock(name: str, uv: str) -> str:
    """Return the text of the pins of one environment. Raises CalledProcessError when it cannot be made."""
    wanted = ENVIRONMENTS[name]
    settings = read_pip_settings(os.environ)
    variables = os.environ | uv_variables(settings, os.environ) | {"DS_BUILD_OPS": "0"}
    with tempfile.TemporaryDirectory() as folder:
        python = str(Path(folder) / "bin" / "python")

        def run(*arguments: str) -> str:
            done = subprocess.run([uv, *arguments], env=variables, check=True, stdout=subprocess.PIPE, text=True)
            return done.stdout

        run("venv", "--quiet", "--clear", "--python", sys.executable, folder)
        install = ["pip", "install", "--quiet", "--python", python, *uv_flags(settings, os.environ)]
        torch = _torch(wanted)
        if torch and torch_build(os.environ) == "cpu" and not offers_cpu_torch(settings, torch, running().version):
            install += ["--torch-backend", "cpu"]
        run(*install, *wanted.packages)
        if wanted.late:
            run(*install, "--no-build-isolation", *wanted.packages, *wanted.late)
        run("pip", "check", "--quiet", "--python", python)
        if wanted.without:
            run("pip", "uninstall", "--quiet", "--python", python, *wanted.without)
        frozen = run("pip", "freeze", "--quiet", "--python", python).splitlines()
    pins = sorted(line.partition("+")[0].lower() for line in frozen if line.partition("==")[0] not in NOT_PINNED)
    head = [
        f"# Exact pins of the environment for {wanted.title}; made by scripts/lock_environment.py.",
        "# A pin has no local part: torch's `2.13.0+cpu` and its CUDA build both satisfy `==2.13.0`.",
        "# A line: one package, and the SHA-256 of each file of it that may be installed.",
        f"# python: {sys.version_info.major}.{sys.version_info.minor}",
        f"# download-gb: {wanted.download_gb:g}",
        f"# disk-gb: {wanted.disk_gb:g}",
        f"# minutes: {wanted.minutes:g}",
    ]
    if wanted.why:
        head.insert(2, "\n".join(f"# {line}" for line in textwrap.wrap(wanted.why, 110)))
    if wanted.without:
        head.append(f"# no-dependencies: without {', '.join(wanted.without)}")
    if wanted.remove:
        head.append(f"# remove: {' '.join(wanted.remove)}")
    if wanted.late:
        head.append(f"# build-without-isolation: {' '.join(late.partition('==')[0] for late in wanted.late)}")
    return "\n".join([*head, *pins]) + "\n"


def _torch(wanted: Wanted) -> str:
    """Return the release of torch that an environment is to have; empty where it needs none."""
    return next((package for package in wanted.packages if package.startswith("torch==")), "").partition("==")[2]


def with_hashes(text: str, uv: str) -> str:
    """Return the text of pins with the SHA-256 of each file that may be installed for one of them.

    These are the files that the index has for one of the pins' Pythons on one of PLATFORMS; a source archive only where
    there is no wheel; torch's other builds. `# cuda:` lines are what torch's CUDA build needs besides.
    """
    pins = Pins.read(text)
    pythons = pins.pythons or PYTHONS
    head = [line for line in text.splitlines() if line.startswith("#") and not line.startswith("# cuda:")]
    version = pins.version("torch")
    more = _cuda(pins.lines, version, pythons[0], uv) if version else []
    hashes = _hashes(list(pins.lines), more, pythons, uv)
    if version in TORCH_BUILDS:
        hashes[f"torch=={version}"] |= set(TORCH_BUILDS[version].values())

    def whole(line: str) -> str:
        return " ".join([line, *(f"--hash=sha256:{digest}" for digest in sorted(hashes[line]))])

    return "\n".join([*head, *(f"# cuda: {whole(line)}" for line in more), *map(whole, pins.lines)]) + "\n"


def _cuda(lines: tuple[str, ...], version: str, python: str, uv: str) -> list[str]:
    """Return the pins of what torch's CUDA build needs besides those of an environment."""
    held = {line.partition("==")[0] for line in lines}
    with tempfile.TemporaryDirectory() as folder:
        asked, found = Path(folder) / "asked.txt", Path(folder) / "pylock.toml"
        asked.write_text(f"torch=={version}\n", encoding="utf-8")
        within = Path(folder) / "within.txt"
        within.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _compile(asked, found, python, PLATFORMS[0], uv, "--constraint", str(within))
        packages = tomllib.loads(found.read_text(encoding="utf-8"))["packages"]
    return [
        f"{one['name']}=={one['version']}"
        for one in packages
        if one["name"].startswith(CUDA) and one["name"] not in held
    ]


def _hashes(pins: list[str], cuda: list[str], pythons: tuple[str, ...], uv: str) -> dict[str, set[str]]:
    """Return the hashes of the files that may be installed for each pin, and on Linux for those for CUDA."""
    lines = [*pins, *cuda]
    wheels: dict[str, set[str]] = {line: set() for line in lines}
    sources: dict[str, set[str]] = {line: set() for line in lines}
    lacking: set[str] = set()  # for which some Python finds no wheel, on a platform that has files of the rest
    with tempfile.TemporaryDirectory() as folder:
        asked, found = Path(folder) / "asked.txt", Path(folder) / "pylock.toml"
        for platform in PLATFORMS:
            for python in pythons:
                mine = pins if "apple" in platform else lines
                asked.write_text("\n".join(mine) + "\n", encoding="utf-8")
                try:
                    _compile(asked, found, python, platform, uv, "--no-deps")
                except subprocess.CalledProcessError:
                    print(f"  not for Python {python} on {platform}")
                    continue
                for one in tomllib.loads(found.read_text(encoding="utf-8"))["packages"]:
                    line = next(x for x in mine if x.partition("==")[0].replace("_", "-") == one["name"])
                    files = one.get("wheels", [])
                    wheels[line] |= {file["hashes"]["sha256"] for file in files}
                    if "sdist" in one:
                        sources[line].add(one["sdist"]["hashes"]["sha256"])
                    if not files:
                        lacking.add(line)
    return {line: wheels[line] | (sources[line] if line in lacking else set()) for line in lines}


def _compile(asked: Path, found: Path, python: str, platform: str, uv: str, *more: str) -> None:
    """Ask the index, without the files on this machine. Raises CalledProcessError where it has none that fit."""
    settings = read_pip_settings(os.environ)._replace(find_links=(), extra_index_url=())
    variables = os.environ | uv_variables(settings, os.environ) | {"MACOSX_DEPLOYMENT_TARGET": "15.0"}
    command = [uv, "pip", "compile", "--quiet", "--format", "pylock.toml", "--generate-hashes", *more]
    command += ["--python-version", python, "--python-platform", platform, *uv_flags(settings, os.environ)]
    subprocess.run([*command, str(asked), "-o", str(found)], env=variables, check=True, capture_output=True, text=True)


def main(names: list[str]) -> int:
    """Lock the named environments, or all; with `--hashes`, only ask for their hashes."""
    uv = find_uv()
    if uv is None:
        sys.exit("uv is needed: pip install uv")
    only = "--hashes" in names
    names = [name for name in names if name != "--hashes"]
    for name in names or (sorted(path.stem for path in FOLDER.glob("*.txt")) if only else ENVIRONMENTS):
        file = FOLDER / f"{name}.txt"
        text = with_hashes(file.read_text(encoding="utf-8") if only else lock(name, uv), uv)
        file.write_text(text, encoding="utf-8")
        print(f"{name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
