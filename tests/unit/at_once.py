"""A course with stages that do not wait for one another, with scripts in the place of tools: for several at once.

`left` and `right` start from what `init` makes; `end` starts from what `left` makes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fake_build import LIMIT, PINS, ROOT, ROW, _script, _sha

from recipec import manifest
from recipec.engine import run
from recipec.manifest import Emitted, Environment, Manifest
from recipec.pipeline import compile_file
from recipec.plan import Plan, Resources, Stage

CPU, ALL = Resources("cpu", None, 1, 1), Resources("gpu", "a100-80gb", 1, 4)
RECIPE = """\
recipe: 1
name: demo
trainer: trl
data: {train: [{path: data/train.jsonl, format: text}]}
train: {method: pretrain, epochs: 1, learning_rate: 1e-3}
model:
  from_scratch: {family: llama, hidden_size: 64, layers: 1, heads: 2, vocab_size: 300}
  max_length: 16
hardware: {gpu: a100-80gb, per_node: 4}
stages:
  - {name: left, start_from: base}
  - {name: right, start_from: base, train: {learning_rate: 2e-3}}
  - {name: end, start_from: left}
"""
GATE = 'evaluate: {tasks: [arc_easy], models: [left], require: {arc_easy: ">= 0.5"}}\n'
# Says when it is there and what it was given, and leaves a result. NAME is the stage's.
STEPS = """
mkdir -p runs/demo/NAME
echo "${CUDA_VISIBLE_DEVICES-all} ${MASTER_PORT-none}" > NAME.given
touch NAME.began
BODY
touch NAME.ended
echo made > runs/demo/NAME/model
"""
WAIT = "until [ -e NAME.go ]; do sleep 0.02; done"
SAID = Path("said.txt")
# Waits until the other runs too: what only happens when both run at once.
BOTH = "until [ -e left.began ] && [ -e right.began ]; do sleep 0.02; done"


@cache
def _compiled(recipe: str) -> Manifest:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("data").mkdir()
        Path("data/train.jsonl").write_text(ROW)
        Path("recipe.yaml").write_text(recipe)
        found = compile_file("recipe.yaml")
    assert found.files, found.findings
    return manifest.read(found.files[manifest.FILE])


def make(
    bodies: Mapping[str, str] | None = None,
    resources: Mapping[str, Resources] | None = None,
    recipe: str = RECIPE,
    script: str = STEPS,
) -> Plan:
    """Write the emitted tree below the current folder: `bodies` of scripts and `resources` by the names of stages.

    A stage takes no GPU unless that is said.
    """
    bodies, resources = bodies or {}, resources or {}
    real = _compiled(recipe)
    names = [stage.name for stage in real.plan.stages]
    scripts = {name: script.replace("BODY", bodies.get(name, "true")).replace("NAME", name) for name in names}
    files = {f"{name}/run.sh": _script(text) for name, text in scripts.items()} | {"environments/tiny.txt": PINS}
    build = Path("build/demo")
    for name, text in files.items():
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        (build / name).write_text(text)
    Path("data").mkdir(exist_ok=True)
    Path("data/train.jsonl").write_text(ROW)
    stages = tuple(_with_other_tools(stage, resources.get(stage.name, CPU)) for stage in real.plan.stages)
    plan = real.plan.replaced(stages=stages)
    tiny = {"tiny": Environment("environments/tiny.txt", _sha(PINS))}
    whole = real.replaced(
        plan=plan, files={name: Emitted(_sha(text), {}) for name, text in files.items()}, environments=tiny
    )
    (build / manifest.FILE).write_text(manifest.write(whole))
    return plan


def _with_other_tools(stage: Stage[Any], resources: Resources) -> Stage[Any]:
    """Return a stage that is judged by its exit code and what it leaves, as a trainer with a loop of its own is."""
    system = "openrlhf" if stage.kind == "train" else "demo"
    return stage.replaced(system=system, release="1", environment="tiny", resumable=False, resources=resources)


def run_here(jobs: int, **more: Any) -> tuple[int, str]:
    """Run the engine on the tree in this folder; return its exit code, and all that it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = run(Path("build/demo"), Path("runs"), jobs=jobs, **more)
    return code, said.getvalue()


def rows(event: str | None = None) -> list[dict[str, Any]]:
    """Return what is recorded, or what is of one event."""
    found = [json.loads(line) for line in Path("runs/demo/record.jsonl").read_text().splitlines()]
    return [row for row in found if event in (None, row["event"])]


def ran(event: str) -> list[str]:
    """Return the stages of which an event is recorded, in order."""
    return [row["stage"] for row in rows(event)]


def given(stage: str) -> list[str]:
    """Return the GPUs that a stage saw, and the port of its processes."""
    return Path(f"{stage}.given").read_text().split(" ")


def start(jobs: int) -> subprocess.Popen[bytes]:
    """Start the engine in a process of its own, as `recipe run --jobs` would; what it says goes to a file."""
    code = "import sys; from pathlib import Path; from recipec.engine import run\n"
    code += f"sys.exit(run(Path('build/demo'), Path('runs'), jobs={jobs}))"
    own = os.pathsep.join(str(ROOT / part) for part in ("schema", "compiler", "launchers"))
    with SAID.open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": own}, stdout=said, stderr=said
        )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for the engine; return its exit code, and all that it said."""
    return process.wait(LIMIT), SAID.read_text()


def started_by(process: subprocess.Popen[bytes], word: str) -> list[int]:
    """Return the processes that another has started and whose command line has a word."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and word in (entry / "cmdline").read_text(errors="replace"):
                parent = (entry / "stat").read_text(errors="replace").rpartition(") ")[2].split()[1]
                found += [int(entry.name)] if int(parent) == process.pid else []
    return found
