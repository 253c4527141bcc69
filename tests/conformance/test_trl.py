"""TRL's own parsers and classes take what we emit, at both releases, and refuse what is wrong."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_file
from recipec.systems.trl import COMMANDS

ROOT = Path(__file__).parents[2]
RECIPES = [*sorted((ROOT / "recipes").glob("*.yaml")), *sorted((ROOT / "tests" / "real" / "trl").glob("*.yaml"))]
RELEASES = {"1.16.0": "trl-1.16.0-deepspeed", "1.9.0": "trl-1.9.0"}
A100 = {"sm": "sm_80", "count": 1, "bf16": True}
GOOD = """
output_dir: o
model_name_or_path: m
datasets: [{path: json, data_files: a.jsonl}]
bf16: true
"""
SCRIPT = """
from trl import SFTConfig
from peft import LoraConfig
config = SFTConfig(output_dir="o", bf16=True{})
adapter = LoraConfig(r=4{})
"""


def verdicts(python: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what TRL says of each file."""
    done = subprocess.run(
        [python, ROOT / "tests" / "judges" / "trl.py"],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(found) == len(jobs)
    return found


@pytest.mark.conformance
@pytest.mark.parametrize("release", RELEASES)
def test_trl_accepts_what_we_emit(release: str, tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs: list[dict[str, Any]] = []
    for recipe in RECIPES:
        if "trainer: trl" not in recipe.read_text(encoding="utf-8"):
            continue
        compiled = compile_file(str(recipe), [f"versions={{trl: {release}}}"])
        assert compiled.resolved is not None, [finding.message for finding in compiled.findings]
        for stage in compiled.resolved.plan.of_kind("train"):
            machine = stage.body.hardware
            gpu = None if machine.device == "cpu" else {"sm": f"sm_{machine.sm}", "bf16": machine.bf16}
            for name in ("trl.yaml", "train.py"):
                if (text := compiled.files.get(f"{stage.name}/{name}")) is not None:
                    path = tmp_path / compiled.name / stage.name / name
                    path.parent.mkdir(parents=True)
                    path.write_text(text, encoding="utf-8")
                    jobs.append({"file": str(path), "command": COMMANDS.get(stage.body.method), "gpu": gpu})
                    jobs[-1] |= {"cwd": str(path.parent), "world": machine.world}
    assert {Path(job["file"]).name for job in jobs} == {"trl.yaml", "train.py"}
    found = verdicts(tool_python(RELEASES[release]), jobs)
    assert [verdict for verdict in found if not verdict["ok"]] == []


SAMPLES = [
    ("sft", GOOD, None, A100),
    ("typo", GOOD + "max_lenght: 8\n", "max_lenght", A100),
    ("optimizer", GOOD + "optim: adamw_trch\n", "adamw_trch", A100),
    ("scheduler", GOOD + "lr_scheduler_type: cosin\n", "cosin", A100),
    ("dataset", GOOD.replace("data_files", "data_file"), "data_file", A100),
    ("no_bf16", GOOD, "bf16", {"sm": "sm_75", "bf16": False}),
    ("script.py", SCRIPT.format("", ""), None, A100),
    ("keyword.py", SCRIPT.format(", max_lenght=8", ""), "max_lenght", A100),
    ("adapter.py", SCRIPT.format("", ", lora_alfa=8"), "lora_alfa", A100),
    ("empty.py", "import os\n", "no configuration", A100),
]


@pytest.mark.conformance
def test_the_judge_can_refuse(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs = []
    for name, text, _, gpu in SAMPLES:
        path = tmp_path / (name if name.endswith(".py") else f"{name}.yaml")
        path.write_text(text, encoding="utf-8")
        jobs.append({"file": str(path), "command": "sft", "gpu": gpu, "world": 1, "cwd": str(tmp_path)})
    found = verdicts(tool_python(RELEASES["1.16.0"]), jobs)
    wrong = [
        (name, refusal, verdict)
        for (name, _, refusal, _), verdict in zip(SAMPLES, found, strict=True)
        if verdict["ok"] is not (refusal is None) or (refusal or "") not in (verdict["error"] or "")
    ]
    assert wrong == []
