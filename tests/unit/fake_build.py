"""A small emitted tree with real bash stages and a real, tiny environment, for the tests of the run engine.

Its plan is one that the compiler made, with the tools taken out.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from recipec import manifest
from recipec.diagnostics import RecipeError, render
from recipec.engine import Choice, run
from recipec.manifest import Emitted, Environment, Line, Manifest
from recipec.output import digest
from recipec.pipeline import Compiled, compile_file
from recipec.plan import Stage

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 300.0  # seconds after which something that was waited for counts as missing, also on a busy machine
PINS = "# a comment\niniconfig==2.1.0\n"
RECIPE = """\
recipe: 1
name: demo
data: {train: [{path: "data/train.jsonl", format: text}]}
train: {optimizer: adamw_wrong, method: pretrain, epochs: 1, learning_rate: 1e-3}
model:
  from_scratch: {family: llama, hidden_size: 64, layers: 1, heads: 2, vocab_size: 300}
  max_length: 16
hardware: {gpu: none}
evaluate: {tasks: [arc_easy], models: [base, tuned]}
"""
ROW = '{"text": "a"}\n'

# Waits for ever, in short sleeps: a shell that gets a signal just before it starts a long one sits that one out.
FOREVER = "while :; do sleep 0.1; done"
INIT = 'mkdir -p runs/demo/init; echo made > runs/demo/init/model; echo "made a model"'
# Six steps with a checkpoint each, as a trainer writes them: trainer_state.json last.
TRAIN = """
    output=runs/demo/train; mkdir -p $output
    step=0
    if [ -n "${RECIPE_RESUME_FROM:-}" ]; then step=${RECIPE_RESUME_FROM##*-}; fi
    say() { printf '{"event": "%s", "time": %s, "step": %s, "total": 6%s}\\n' "$1" "$EPOCHREALTIME" "$step" "${2:-}" \\
        >> "$RECIPE_EVENTS"; }
    say begin
    echo "resumed from ${RECIPE_RESUME_FROM:-nothing}"
    while [ $step -lt 6 ]; do
      step=$((step + 1)); sleep "${PACE:-0.01}"
      say log ", \\"loss\\": $((10 - step)).5, \\"lr\\": 0.001"
      mkdir -p $output/checkpoint-$step; echo weights > $output/checkpoint-$step/model
      if [ "${TEAR:-}" = $step ]; then touch torn; while :; do sleep 0.1; done; fi
      echo "{\\"global_step\\": $step}" > $output/checkpoint-$step/trainer_state.json
    done
    say end
    echo final > $output/model
"""
EVALUATE = 'mkdir -p runs/demo/evaluate-MODEL; echo "{}" > runs/demo/evaluate-MODEL/results_2026.json'


def make(
    folder: Path,
    *,
    init: str = INIT,
    train: str = TRAIN,
    evaluate: str = EVALUATE,
    config: str = "a: 1",
    trainer: str = "demo",
) -> Path:
    """Write an emitted tree below `folder`, with the recipe and its data; return the tree's folder.

    `MODEL` in the script of the evaluations is the name of each one's model. `trainer` is the system that trains.
    """
    build = folder / "build" / "demo"
    files = {
        "init/run.sh": _script(init),
        "train/run.sh": _script(train),
        "train/axolotl.yaml": config + "\noptimizer: adamw_wrong\n",
        "evaluate-base/run.sh": _script(evaluate.replace("MODEL", "base")),
        "evaluate-tuned/run.sh": _script(evaluate.replace("MODEL", "tuned")),
        "environments/tiny.txt": PINS,
    }
    for name, text in files.items():
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        (build / name).write_text(text)
    (folder / "data").mkdir(exist_ok=True)
    if not (folder / "data" / "train.jsonl").exists():
        (folder / "data" / "train.jsonl").write_text(ROW)
    (folder / "recipe.yaml").write_text(RECIPE)
    lines = {"train/axolotl.yaml": {"optimizer": Line(2, ("train.optimizer.name",))}}
    emitted = {name: Emitted(_sha(text), lines.get(name, {})) for name, text in files.items()}
    whole = compiled()
    stages = tuple(one.replaced(system=trainer) if one.kind == "train" else one for one in whole.plan.stages)
    whole = whole.replaced(files=emitted, plan=whole.plan.replaced(stages=stages))
    (build / manifest.FILE).write_text(manifest.write(whole))
    return build


@cache
def compiled() -> Manifest:
    """Return what the compiler decides for the recipe, with other tools, and an optimizer that there is not."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("data").mkdir()
        Path("data/train.jsonl").write_text(ROW)
        Path("recipe.yaml").write_text(RECIPE.replace("adamw_wrong", "adamw"))
        found = compile_file("recipe.yaml")
    assert found.files, found.findings
    real = manifest.read(found.files[manifest.FILE])
    return real.replaced(
        recipe=real.recipe.replaced(sha256=_sha(RECIPE)),
        plan=real.plan.replaced(stages=tuple(map(_with_other_tools, real.plan.stages))),
        environments={"tiny": Environment("environments/tiny.txt", _sha(PINS))},
    )


def _with_other_tools(stage: Stage[Any]) -> Stage[Any]:
    body = stage.body
    if stage.kind == "train":
        body = body.replaced(optimizer=body.optimizer.replaced(name="adamw_wrong"))
    return stage.replaced(system="demo", release="1", environment="tiny", body=body)


def python(program: str) -> str:
    """Return the body of a stage that runs a Python program in the environment."""
    text = textwrap.dedent(program).strip()
    return f"cat > tool.py <<'END'\n{text}\nEND\n\"$RECIPE_ENVIRONMENTS/tiny/bin/python\" tool.py"


def _script(body: str) -> str:
    head = '#!/usr/bin/env bash\nset -euo pipefail\nhere=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\n'
    return head + '[ -x "$RECIPE_ENVIRONMENTS/tiny/bin/python" ]\n' + textwrap.dedent(body) + "\n"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run_here(
    *, fresh: bool = False, resume_anyway: bool = False, stall: float | None = None, **choice: Any
) -> tuple[int, str]:
    """Run the engine on the tree in this folder; return its exit code, 1 for findings, and all that it said."""
    more: dict[str, Any] = {"fresh": fresh, "resume_anyway": resume_anyway, "stall": stall}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            code = run(Path("build/demo"), Path("runs"), choice=Choice(**choice), **more)
        except RecipeError as error:
            code = 1
            said.write(render(error.findings))
    return code, said.getvalue()


def start(folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Start the engine in a process of its own, as `recipe run` would."""
    code = (
        "import sys; from pathlib import Path; from recipec.engine import run;"
        "from recipec.diagnostics import RecipeError, render\n"
        "try: sys.exit(run(Path('build/demo'), Path('runs')))\n"
        "except RecipeError as error: sys.stdout.write(render(error.findings)); sys.exit(1)"
    )
    own = [str(ROOT / part) for part in ("schema", "compiler", "launchers")]
    paths = os.pathsep.join([*os.environ.get("PYTHONPATH", "").split(os.pathsep), *own]).lstrip(os.pathsep)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = LIMIT) -> tuple[int, str]:
    """Wait for the engine; return its exit code and all that it said."""
    said, _ = process.communicate(timeout=seconds)
    return process.returncode, said


def wait_for(condition: Callable[[], bool], seconds: float = LIMIT) -> None:
    """Wait until something holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def events(folder: Path, stage: str | None = None) -> list[str]:
    """Return the names of the recorded events, in order."""
    rows = [json.loads(line) for line in (folder / "runs/demo/record.jsonl").read_text().splitlines()]
    return [row["event"] for row in rows if stage is None or row.get("stage") == stage]


def recorded(event: str, **wanted: Any) -> dict[str, Any]:
    """Return the last recorded event of a kind that has these words."""
    rows = [json.loads(line) for line in Path("runs/demo/record.jsonl").read_text().splitlines()]
    return [row for row in rows if row["event"] == event and row.items() >= wanted.items()][-1]


def with_scripts(compiled: Compiled, script: Callable[[Stage[Any]], str]) -> Compiled:
    """Return what was compiled with other tools: scripts of bash."""
    if not compiled.files:
        return compiled
    found = manifest.read(compiled.files[manifest.FILE])
    files = {name: text for name, text in compiled.files.items() if not name.startswith(("environments/", "plan.json"))}
    for stage in found.plan.stages:
        files[f"{stage.name}/run.sh"] = script(stage)
    files["environments/tiny.txt"] = PINS
    stages = tuple(stage.replaced(environment="tiny") for stage in found.plan.stages)
    found = found.replaced(
        plan=found.plan.replaced(stages=stages),
        environments={"tiny": Environment("environments/tiny.txt", digest(PINS))},
        files={
            name: (found.files[name] if name in found.files else Emitted("")).replaced(sha256=digest(text))
            for name, text in files.items()
        },
    )
    return compiled.replaced(files=files | {manifest.FILE: manifest.write(found)})
