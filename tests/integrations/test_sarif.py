"""SARIF's own schema and the validator of its authors take what `--format sarif` prints, and refuse what is none."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the pinned validator is built for Linux"),
]

ROOT = Path(__file__).parents[2]
NO_PAGE = {"SARIF2005"}  # the tool names no page of its own to read more on


def judged(node_modules: Path, file: Path) -> list[str]:
    """Return the codes of what is wrong with a log: by the schema, and by the rules (`Ghas`: of GitHub's code scanning)."""
    package = node_modules / "@microsoft" / "sarif-multitool-linux"
    by_schema = [sys.executable, "-m", "check_jsonschema", "--schemafile", package / "sarif-2.1.0.json", file]
    done = subprocess.run(by_schema, capture_output=True, text=True, check=False)
    if done.returncode:
        assert "Schema validation errors" in done.stdout, done.stdout + done.stderr
        return ["schema"]
    tool = package / "Sarif.Multitool"
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)  # as its own install script does
    report = file.with_suffix(".report")
    by_rules = [tool, "validate", file, "--rule-kind", "Sarif;Ghas", "--output", report]
    quiet = os.environ | {"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
    done = subprocess.run(by_rules, env=quiet, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    results = json.loads(report.read_text(encoding="utf-8-sig"))["runs"][0]["results"]
    return sorted({result["ruleId"] for result in results})


def test_the_validator_takes_every_finding(node_modules: Path, tmp_path: Path) -> None:
    recipes = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "bad" / "recipes").glob("*.yaml"))
    logs: dict[str, list[str]] = {"wrong": recipes, "setting": [recipes[0], "--set", "train.epochs=-1"]}
    logs |= {"good": ["recipes/quickstart.yaml"], "missing": ["/nowhere.yaml"]}
    for name, words in logs.items():
        command = [sys.executable, "-m", "recipec.cli", "check", "--format", "sarif", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        file = tmp_path / f"{name}.sarif"
        file.write_text(done.stdout, encoding="utf-8")
        assert set(judged(node_modules, file)) <= NO_PAGE, name


@pytest.mark.parametrize("change", ["column", "level", "key", "rule"])
def test_the_validator_can_refuse(node_modules: Path, tmp_path: Path, change: str) -> None:
    command = [sys.executable, "-m", "recipec.cli", "check", "--format", "sarif", "tests/bad/recipes/shape.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    log: dict[str, Any] = json.loads(done.stdout)
    result = log["runs"][0]["results"][0]
    if change == "column":
        result["locations"][0]["physicalLocation"]["region"]["startColumn"] = 0
    elif change == "level":
        result["level"] = "fatal"
    elif change == "key":
        result["mesage"] = {"text": "x"}
    else:
        result["ruleIndex"] = 99
    file = tmp_path / "bad.sarif"
    file.write_text(json.dumps(log), encoding="utf-8")
    assert set(judged(node_modules, file)) - NO_PAGE
