"""Wrong and doubtful recipes, each beside the exact text that is shown for it (`NAME.yaml`, `NAME.out`)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RECIPES = sorted((HERE / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_exact_output(recipe: Path, update: bool) -> None:
    command = [sys.executable, "-m", "recipec.cli", "check", recipe.name]
    done = subprocess.run(command, cwd=recipe.parent, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if "error[" in done.stderr else 0)
    assert done.stdout == ""
    expected = recipe.with_suffix(".out")
    if update:
        expected.write_text(done.stderr, encoding="utf-8")
    assert done.stderr == expected.read_text(encoding="utf-8")
    listed = subprocess.run([*command, "--json"], cwd=recipe.parent, capture_output=True, text=True, check=False)
    findings = json.loads(listed.stdout)["findings"]
    assert listed.returncode == done.returncode
    assert findings
    for finding in findings:
        assert {"code", "severity", "file", "line", "column", "message", "suggestion"} <= set(finding)
        assert finding["message"] in done.stderr
