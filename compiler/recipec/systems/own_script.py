"""A program of the user between the stages of a course, started as it is."""

from __future__ import annotations

from recipec.job import Argument, Folder, Job
from recipec.kinds.script import Script
from recipec.launch.words import option
from recipec.systems.document import Sheet
from recipec.systems.system import Need, System
from recipec.systems.trainers import GENERAL


def _sheets(_s: Script, _environment: str) -> list[Sheet]:
    return []


def _arguments(s: Script) -> tuple[Argument, ...]:
    found: list[Argument] = []
    for key, value in s.arguments.items():
        if value is not False:
            found.append(Argument((f"--{key}",) if value is True else option(f"--{key}", value)))
    return tuple(found)


def _job(s: Script) -> Job:
    if s.launcher == "python":
        return Job(("python", s.path), arguments=_arguments(s), steps=(Folder(s.output),))
    each = s.hardware.per_node
    start = ("torchrun", "--standalone", "--nproc_per_node", str(each))
    return Job(
        (s.path,), start=start, arguments=_arguments(s), processes=each, steps=(Folder(s.output),), shares_cores=True
    )


def _need(_s: Script) -> Need:
    return Need(packages=frozenset(["transformers", "peft", "datasets"]), otherwise=GENERAL)


def _uses(_s: Script) -> tuple[str, ...]:
    return ("path", "launcher", "arguments")


SYSTEM = System(
    "own_script",
    kinds=frozenset(["script"]),
    sheets=_sheets,
    needs=_need,
    job=_job,
    uses=_uses,
    own_program=True,
)
