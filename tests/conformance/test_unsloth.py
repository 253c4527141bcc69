"""Unsloth's signatures and TRL's classes take the scripts that we emit, and refuse what is wrong."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]
FOLDERS = ("recipes", "tests/real/unsloth", "tests/conformance/unsloth")
RECIPES = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.yaml"))]
ENVIRONMENT = "unsloth-2026.10.9"
RTX = {"sm": "sm_89", "bf16": True}
SCRIPT = """
from unsloth import FastLanguageModel
from trl import SFTConfig
model, _ = FastLanguageModel.from_pretrained(model_name="m", load_in_4bit=True)
model = FastLanguageModel.get_peft_model(model, r=8, use_dora=True)
config = SFTConfig(output_dir="o", bf16=True)
"""
SAMPLES: dict[str, tuple[str, str | None]] = {
    "good": (SCRIPT, None),
    "loader": (SCRIPT.replace("load_in_4bit", "load_in_4bits"), "load_in_4bits"),
    "adapter": (SCRIPT.replace("r=8", "rank=8"), "rank"),
    "training": (SCRIPT.replace("bf16", "bf_16"), "bf_16"),
    "optimizer": (SCRIPT.replace("bf16=True", "optim='adamw_9bit'"), "adamw_9bit"),
    "syntax": (SCRIPT + "config = (\n", "never closed"),
    "empty": ("import os\n", "no model"),
}


def verdicts(python: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what Unsloth and TRL say of each script."""
    done = subprocess.run(
        [python, ROOT / "tests" / "judges" / "unsloth.py"],
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
def test_unsloth_accepts_what_we_emit(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs: list[dict[str, Any]] = []
    methods = set()
    for recipe in RECIPES:
        if "trainer: unsloth" not in recipe.read_text(encoding="utf-8"):
            continue
        compiled = compile_file(str(recipe))
        assert compiled.resolved is not None, [finding.message for finding in compiled.findings]
        for stage in compiled.resolved.plan.of_kind("train"):
            path = tmp_path / compiled.name / stage.name / "train.py"
            path.parent.mkdir(parents=True)
            path.write_text(compiled.files[f"{stage.name}/train.py"], encoding="utf-8")
            machine = stage.body.hardware
            gpu = None if machine.device == "cpu" else {"sm": f"sm_{machine.sm}", "bf16": machine.bf16}
            jobs.append({"file": str(path), "gpu": gpu})
            methods.add(stage.body.method)
    assert methods >= {"sft", "dpo", "kto", "orpo", "grpo", "pretrain", "ipo"}
    found = verdicts(tool_python(ENVIRONMENT), jobs)
    assert [verdict for verdict in found if not verdict["ok"]] == []


@pytest.mark.conformance
def test_the_judge_can_refuse(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs = []
    for name, (text, _) in SAMPLES.items():
        path = tmp_path / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        jobs.append({"file": str(path), "gpu": RTX})
    found = verdicts(tool_python(ENVIRONMENT), jobs)
    wrong = [
        (name, verdict)
        for (name, (_, refusal)), verdict in zip(SAMPLES.items(), found, strict=True)
        if verdict["ok"] is not (refusal is None)
        or (refusal or "") not in f"{verdict['error'] or ''} {verdict['unknown']}"
    ]
    assert wrong == []
