"""`dvc.yaml`: the stages of a plan as DVC runs them, by their emitted scripts. Nothing here depends on DVC.

What a stage depends on is what its key is made of (docs/running.md): its emitted files, its environment's pins, the files of
the user that it reads, and what the stages that it waits for leave. DVC removes what a stage left before it runs it anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recipec.plan import Plan, Stage
from recipec.render.yaml_writer import YamlWriter

FILE = "dvc.yaml"
UP = "../.."  # from the folder of the emitted files to where the recipe's paths start


def text(plan: Plan, files: Iterable[str], recipe: str) -> str:
    """Return the text of dvc.yaml; `files` are the names of the emitted files."""
    names = tuple(files)
    folders = {stage.name: stage.output for stage in plan.stages}
    writer = YamlWriter()
    writer.comment(f"DVC. Written by recipec from {recipe}: change the recipe, not this file.")
    writer.comment("Run `dvc repro` in this folder; the paths of the recipe start two folders above.")
    writer.entry("stages", {stage.name: _stage(stage, names, folders) for stage in plan.stages})
    return writer.result()


def _stage(stage: Stage[Any], files: tuple[str, ...], folders: dict[str, str]) -> dict[str, Any]:
    own = [name for name in files if name.startswith(f"{stage.name}/")]
    read = [f"{UP}/{one.path}" for one in stage.reads if one.needed and not one.path.startswith("/")]
    read += [one.path for one in stage.reads if one.needed and one.path.startswith("/")]
    taken = [f"{UP}/{folders[name]}" for name in stage.after]
    return {
        "cmd": f'here=$PWD; cd {UP} && bash "$here/run.sh" {stage.name}',
        "deps": [*own, f"environments/{stage.environment}.txt", *dict.fromkeys(read), *taken],
        "outs": [f"{UP}/{stage.output}"],
    }
