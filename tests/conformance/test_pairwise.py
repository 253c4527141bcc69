"""Every two options of the language beside one another, judged by us and by the tool's own code.

What we accept, the tool must accept. What we refuse and the tool accepts stands in `refusals.yaml` with the reason and
its source. Nothing is trained, and no GPU is there: what fails in a kernel, or in the memory of one, is not asked here.
"""

import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recipec.plan import Stage
from recipec.systems.trl import COMMANDS

from .covering import Covering, covering
from .test_judges import JUDGES
from .test_recipes import gpu

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {
    "axolotl": "axolotl-0.19.0-deepspeed",
    "trl": "trl-1.16.0-deepspeed",
    "llamafactory": "llamafactory-0.9.5-deepspeed",
    "unsloth": "unsloth-2026.10.9",
    "openrlhf": "openrlhf-cli",
}
OWN = {  # the files that the trainer itself reads
    "axolotl": ("axolotl.yaml",),
    "trl": ("trl.yaml", "train.py"),
    "llamafactory": ("llamafactory.yaml",),
    "unsloth": ("train.py",),
    "openrlhf": ("openrlhf.sh",),
}
BESIDE = {"accelerate": "accelerate.yaml", "deepspeed": "ds_config.json"}


class Asked(NamedTuple):
    """A question to a judge, and the recipe that it is about."""

    judge: str
    job: dict[str, Any]
    text: str


def questions(trainer: str, stage: Stage[Any], files: dict[str, str], folder: Path, text: str) -> list[Asked]:
    """Write what is emitted for a stage, and return what there is to ask of it."""
    here, machine = folder / stage.id, stage.body.hardware
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    job = {
        "start": True,
        "cwd": str(here),
        "gpu": gpu(machine),
        "world": machine.world,
        "command": COMMANDS.get(stage.body.method),
    }
    found = [Asked(trainer, {**job, "file": str(here / name)}, text) for name in OWN[trainer] if (here / name).exists()]
    for judge, name in BESIDE.items():
        if (here / name).exists():
            more = ["--main_process_ip", "10.0.0.1"] if machine.nodes > 1 else []  # as run.sh does
            found.append(Asked(judge, {**job, "file": str(here / name), "arguments": more}, text))
    return found


def verdicts(asked: list[Asked], python: Path) -> list[tuple[Asked, dict[str, Any]]]:
    """Return what the judges say, each of which runs once."""
    found = []
    for judge in dict.fromkeys(one.judge for one in asked):
        mine = [one for one in asked if one.judge == judge]
        done = subprocess.run(
            [python, JUDGES / f"{judge}.py"],
            input=json.dumps([one.job for one in mine]),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found += list(zip(mine, json.loads(done.stdout), strict=True))
    return found


@cache
def covered(trainer: str) -> Covering:
    return covering(trainer)


@pytest.mark.conformance
@pytest.mark.parametrize("trainer", ENVIRONMENTS)
def test_what_we_accept_the_tool_accepts(trainer: str, tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    asked: list[Asked] = []
    for number, row in enumerate(covered(trainer).accepted):
        assert row.compiled.resolved is not None
        for stage in row.compiled.resolved.plan.of_kind("train"):
            asked += questions(trainer, stage, row.compiled.files, tmp_path / str(number), row.text)
    wrong = [(one, said) for one, said in verdicts(asked, tool_python(ENVIRONMENTS[trainer])) if not said["ok"]]
    assert [(one.text, said) for one, said in wrong] == []
