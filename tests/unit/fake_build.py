"""A small emitted tree with real bash stages and a real, tiny environment, for the tests of the run engine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PINS = "# a comment\niniconfig==2.1.0\n"
RECIPE = 'recipe: 1\nname: demo\ndata: {train: [{path: "data/train.jsonl"}]}\ntrain: {optimizer: adamw_wrong}\n'

INIT = 'mkdir -p runs/demo/00-init; echo made > runs/demo/00-init/model; echo "made a model"'
# Six steps with a checkpoint each, as a trainer writes them: trainer_state.json last.
TRAIN = """
    output=runs/demo/10-train; mkdir -p $output
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
      if [ "${TEAR:-}" = $step ]; then touch torn; sleep 60; fi
      echo "{\\"global_step\\": $step}" > $output/checkpoint-$step/trainer_state.json
    done
    say end
    echo final > $output/model
"""
EVALUATE = 'mkdir -p runs/demo/20-evaluate/base; echo "{}" > runs/demo/20-evaluate/base/results_2026.json'


def make(folder: Path, *, init: str = INIT, train: str = TRAIN, evaluate: str = EVALUATE, config: str = "a: 1") -> Path:
    """Write an emitted tree below `folder`, with the recipe and its data; return the tree's folder."""
    build = folder / "build" / "demo"
    files = {
        "00-init/run.sh": _script(init),
        "10-train/run.sh": _script(train),
        "10-train/axolotl.yaml": config + "\noptimizer: adamw_wrong\n",
        "20-evaluate/run.sh": _script(evaluate),
        "environments/tiny.txt": PINS,
    }
    for name, text in files.items():
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        (build / name).write_text(text)
    (folder / "data").mkdir(exist_ok=True)
    if not (folder / "data" / "train.jsonl").exists():
        (folder / "data" / "train.jsonl").write_text('{"text": "a"}\n')
    (folder / "recipe.yaml").write_text(RECIPE)
    lines: dict[str, Any] = {"optimizer": {"line": 2, "reads": ["train.optimizer.name"]}}
    plan = {
        "format": 1,
        "recipe": {"name": "demo", "file": "recipe.yaml", "sha256": _sha(RECIPE)},
        "stages": [
            _stage("00-init", "init", []),
            _stage("10-train", "train", ["00-init"]) | {"resumable": True},
            _stage("20-evaluate", "evaluate", ["00-init", "10-train"]) | {"models": ["base", "tuned"]},
        ],
        "environments": {"tiny": {"file": "environments/tiny.txt", "sha256": _sha(PINS), "disk_gb": 0.001}},
        "data": ["data/train.jsonl"],
        "values": {
            "train.data.train.0.path": {"value": "data/train.jsonl", "from": "recipe", "at": "recipe.yaml:3:23"},
            "train.optimizer.name": {"value": "adamw_wrong", "from": "recipe", "at": "recipe.yaml:4:20"},
        },
        "files": {n: {"sha256": _sha(t), "lines": lines if n.endswith("yaml") else {}} for n, t in files.items()},
    }
    (build / "plan.json").write_text(json.dumps(plan))
    return build


def python(program: str) -> str:
    """Return the body of a stage that runs a Python program in the environment."""
    text = textwrap.dedent(program).strip()
    return f"cat > tool.py <<'END'\n{text}\nEND\n\"$RECIPE_ENVIRONMENTS/tiny/bin/python\" tool.py"


def _stage(name: str, kind: str, inputs: list[str]) -> dict[str, Any]:
    row = {"id": name, "kind": kind, "tool": "demo", "release": "1", "environment": "tiny", "inputs": inputs}
    return row | {"script": f"{name}/run.sh", "output": f"runs/demo/{name}"}


def _script(body: str) -> str:
    head = '#!/usr/bin/env bash\nset -euo pipefail\nhere=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\n'
    return head + '[ -x "$RECIPE_ENVIRONMENTS/tiny/bin/python" ]\n' + textwrap.dedent(body) + "\n"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def start(folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Start the engine in a process of its own, as `recipe run` would."""
    code = (
        "import sys; from pathlib import Path; from recipec.engine import run;"
        "from recipec.diagnostics import RecipeError, render\n"
        "try: sys.exit(run(Path('build/demo'), Path('runs'), fresh='--fresh' in sys.argv))\n"
        "except RecipeError as error: sys.stdout.write(render(error.findings)); sys.exit(1)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *variables.pop("arguments", "").split()],
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str]:
    """Wait for the engine; return its exit code and all that it said."""
    said, _ = process.communicate(timeout=seconds)
    return process.returncode, said


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def events(folder: Path, stage: str | None = None) -> list[str]:
    """Return the names of the recorded events, in order."""
    rows = [json.loads(line) for line in (folder / "runs/demo/record.jsonl").read_text().splitlines()]
    return [row["event"] for row in rows if stage is None or row.get("stage") == stage]
