"""A tiny model to train, and the batches that a trainer's own program would train it on."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from recipec.output import write
from recipec.pipeline import compile_file

SCRIPTS = Path(__file__).parent / "batches"


def made(place: Path, recipe: str, python: Path) -> None:
    """Make the model with random weights that a recipe begins with, in `runs/` of a folder."""
    (place / "made.yaml").write_text(recipe, encoding="utf-8")
    write(place / "build", compile_file(str(place / "made.yaml")).files)
    script = place / "build" / "init"
    command = [str(python), str(script / "init_model.py"), str(script / "init.json")]
    subprocess.run(command, cwd=place, check=True, capture_output=True)


def batches(python: Path, place: Path, recipe: str, script: str, program: str, *arguments: str) -> Any:
    """Return what a script in `batches/` writes of a real training, which ends before its first step."""
    compiled = compile_file(str(place / recipe))
    folder = place / "real" / compiled.name
    write(folder, compiled.files)
    listed = compiled.files.get("train/dataset_info.json")
    if listed is not None:  # LLaMA-Factory's, which run.sh puts there
        prepared = place / "runs" / compiled.name / "prepared"
        prepared.mkdir(parents=True)
        (prepared / "start").symlink_to(place)
        (prepared / "dataset_info.json").write_text(listed, encoding="utf-8")
    out = place / "batches.json"
    stage = f"{folder}/train"
    command = [
        str(python),
        str(SCRIPTS / script),
        str(out),
        *(word.format(stage=stage) for word in (program, *arguments)),
    ]
    variables = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "PYTHONPATH": stage}
    variables["AXOLOTL_DO_NOT_TRACK"] = (
        "1"  # as run.sh does: offline, Axolotl does not end before its telemetry is sent
    )
    done = subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True, check=False, timeout=600)
    assert out.exists(), done.stderr[-3000:]
    found = json.loads(out.read_text(encoding="utf-8"))
    out.unlink()
    return found
