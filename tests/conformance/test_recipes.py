"""Every file that every recipe becomes, before the judges: the tools' own code, at their pinned releases."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_file
from recipec.plan import Hardware

ROOT = Path(__file__).parents[2]
JUDGES = ROOT / "tests" / "judges"
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
ENVIRONMENT = "axolotl-0.21.0-deepspeed"
NEWER = "trl-1.16.0-deepspeed"  # accelerate 1.15.0 and lm-eval 0.4.13, which emitted files must suit as well
FILES = {
    "axolotl": "axolotl.yaml",
    "deepspeed": "ds_config.json",
    "accelerate": "accelerate.yaml",
    "lm_eval": "lm_eval.yaml",
}


def gpu(machine: Hardware) -> dict[str, Any] | None:
    """Return the declared GPU as the judges pretend it."""
    if machine.device == "cpu":
        return None
    return {"sm": f"sm_{machine.sm}", "count": machine.world, "bf16": machine.bf16, "nodes": machine.nodes}


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("tool", "environment"), [*((tool, ENVIRONMENT) for tool in FILES), ("accelerate", NEWER), ("lm_eval", NEWER)]
)
def test_the_tool_accepts_what_we_emit(
    tool: str, environment: str, tool_python: Callable[[str], Path], tmp_path: Path
) -> None:
    jobs = []
    for recipe in RECIPES:
        compiled = compile_file(str(recipe))
        assert compiled.resolved is not None
        for stage in compiled.resolved.plan.stages:
            if stage.kind not in ("train", "evaluate"):
                continue
            for name, text in compiled.files.items():
                path = tmp_path / compiled.name / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            machine = stage.body.hardware
            for file in sorted((tmp_path / compiled.name / stage.name).glob(FILES[tool])):
                cwd = ROOT if tool == "lm_eval" else file.parent
                jobs.append({"file": str(file), "cwd": str(cwd), "gpu": gpu(machine), "world": machine.world})
                if tool == "accelerate" and machine.nodes > 1:
                    jobs[-1]["arguments"] = ["--main_process_ip", "10.0.0.1"]  # as run.sh does
    assert jobs
    python = tool_python(environment)
    done = subprocess.run(
        [python, JUDGES / f"{tool}.py"],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    verdicts = json.loads(done.stdout)
    assert len(verdicts) == len(jobs)
    assert [verdict for verdict in verdicts if not verdict["ok"] or verdict["unknown"]] == []
