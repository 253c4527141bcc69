"""Every two options of the language beside one another, judged by us and by the tool's own code.

What we accept, the tool must accept. What we refuse and the tool accepts stands in `refusals.yaml` with the reason and
its source. Nothing is trained, and no GPU is there: what fails in a kernel, or in the memory of one, is not asked here.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from recipec.diagnostics import Finding
from recipec.plan import Stage
from recipec.systems.trl import COMMANDS

from .covering import Refused, covering, in_spite
from .test_judges import JUDGES
from .test_recipes import gpu

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {
    "axolotl": "axolotl-0.21.0-deepspeed-mlflow",  # the judge makes the trackers too
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
LEAST = {
    "axolotl": 100,
    "trl": 100,
    "llamafactory": 100,
    "unsloth": 100,
    "openrlhf": 30,
}  # refused recipes to ask about
BESIDE = {"accelerate": "accelerate.yaml", "deepspeed": "ds_config.json"}


class Asked(NamedTuple):
    """A question to a judge, and the recipe that it is about."""

    judge: str
    job: dict[str, Any]
    text: str


def questions(trainer: str, stage: Stage[Any], files: dict[str, str], folder: Path, text: str) -> list[Asked]:
    """Write what is emitted for a stage, and return what there is to ask of it."""
    here, machine = folder / stage.name, stage.body.hardware
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


class Reason(NamedTuple):
    """Why we refuse what a tool's own checks let pass: of which finding, with which words, by which trainers, and the source."""

    code: str
    says: str
    of: tuple[str, ...]
    because: str
    source: str

    def holds(self, finding: Finding) -> bool:
        return finding.code == self.code and self.says in finding.message

    def stands(self, packages: Path) -> bool:
        """Return whether the source is there, with the words that it names, among the tool's packages or in this repository."""
        file, _, words = self.source.partition(", ")
        path = (ROOT if file.startswith(("docs/", "tests/")) else packages) / file
        return path.is_file() and words.strip("`") in path.read_text(encoding="utf-8")


def reasons(trainer: str) -> list[Reason]:
    """Return what stands in `refusals.yaml` for a trainer: all of the rules, which know none, and of the systems its own."""
    rows = YAML(typ="safe").load(Path(__file__).with_name("refusals.yaml"))
    every = [Reason(row["code"], row.get("says", ""), tuple(row["of"]), row["because"], row["source"]) for row in rows]
    return [reason for reason in every if trainer in reason.of or not reason.code.startswith("T")]


def in_spite_of(refused: list[Refused], trainer: str, folder: Path) -> tuple[list[Asked], dict[str, Finding]]:
    """Return what there is to ask of recipes that we refuse, and the finding that each file is refused for.

    Left out are those with several findings, those that the system has no words for, and those whose one option leaves
    no trace in what is emitted: the tool would be asked about the recipe without it.
    """
    asked: list[Asked] = []
    found: dict[str, Finding] = {}
    for number, one in enumerate(refused):
        told = {finding.code for finding in one.findings}
        if len(told) > 1 or one.findings[0].message.endswith("is not supported by this tool"):
            continue
        made = in_spite(one.text)
        if made is None or _own(made[1]) == _own(one.accepted.compiled.files):
            continue
        resolved, files = made
        for stage in resolved.plan.of_kind("train"):
            more = questions(trainer, stage, files, folder / str(number), one.text)
            found |= dict.fromkeys((question.job["file"] for question in more), one.findings[0])
            asked += more
    return asked, found


def _own(files: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in files.items() if name.startswith("train/")}


def test_every_reason_is_of_something_that_is_refused() -> None:
    """Which refusals come up alone among the pairs changes with every rule; that their words are ours does not."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "compiler").rglob("*.py")]
    ours = re.sub(r'"\s*f?"', "", "".join(texts))  # a message that is written in several pieces is one
    every = [reason for trainer in ENVIRONMENTS for reason in reasons(trainer)]
    assert [reason for reason in every if reason.says not in ours] == []


@pytest.mark.conformance
@pytest.mark.parametrize("trainer", ENVIRONMENTS)
def test_we_and_the_tool_agree(trainer: str, tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    found, python, known = covering(trainer), tool_python(ENVIRONMENTS[trainer]), reasons(trainer)
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    own = [reason for reason in known if trainer in reason.of]
    assert [reason.source for reason in own if not reason.stands(packages)] == []
    asked: list[Asked] = []
    for number, row in enumerate(found.accepted):
        assert row.compiled.resolved is not None
        for stage in row.compiled.resolved.plan.of_kind("train"):
            asked += questions(trainer, stage, row.compiled.files, tmp_path / "accepted" / str(number), row.text)
    more, refused = in_spite_of(found.refused, trainer, tmp_path / "refused")
    assert len(asked) > 400
    assert len(refused) > LEAST[trainer]
    said = verdicts([*asked, *more], python)
    wrong = [(one.text, verdict) for one, verdict in said if one.job["file"] not in refused and not verdict["ok"]]
    assert wrong == []
    folders = {Path(one.job["file"]).parents[1] for one, verdict in said if not verdict["ok"]}
    passed = [finding for file, finding in refused.items() if Path(file).parents[1] not in folders]
    assert [finding.message for finding in passed if not any(reason.holds(finding) for reason in known)] == []
