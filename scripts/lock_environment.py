"""Writes the exact pins of the tool environments, by making each once and asking what it holds.

    python scripts/lock_environment.py [NAME …]

Needs uv and what pip is configured with. A resolved set is only written when `uv pip check` finds it whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "schema"), str(ROOT / "launchers")]

from recipec.environments.install import find_uv, offers_cpu_torch, torch_build  # noqa: E402
from recipec.environments.pip_settings import read_pip_settings, uv_flags, uv_variables  # noqa: E402
from recipec.environments.pythons import running  # noqa: E402

FOLDER = ROOT / "schema" / "recipec" / "facts" / "environments"
NOT_PINNED = {"pip"}  # installs the others, is none of them


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
        if torch_build(os.environ) == "cpu" and not offers_cpu_torch(settings, _torch(wanted), running().version):
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
    return next(package for package in wanted.packages if package.startswith("torch==")).partition("==")[2]


def main(names: list[str]) -> int:
    """Lock the named environments, or all."""
    uv = find_uv()
    if uv is None:
        sys.exit("uv is needed: pip install uv")
    for name in names or ENVIRONMENTS:
        (FOLDER / f"{name}.txt").write_text(lock(name, uv), encoding="utf-8")
        print(f"{name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
