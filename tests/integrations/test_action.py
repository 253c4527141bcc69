"""The GitHub Action: its file is one that GitHub takes, and its shell lines run here as the runner runs them."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("action")]

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "action.yml"
GOOD = (ROOT / "recipes" / "llama-2-13b-zero3.yaml").read_text(encoding="utf-8")


def action() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(ACTION)
    return found


def step(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(step for step in action()["runs"]["steps"] if step.get("name") == name)
    return found


def ran(name: str, cwd: Path, python: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as the runner does: bash -eo pipefail, its inputs as the step's own `env` names them."""
    given = {key: str(value.get("default", "")) for key, value in action()["inputs"].items()} | inputs
    env = {}
    for variable, text in step(name).get("env", {}).items():
        assert text.startswith("${{ inputs.")
        env[variable] = given[text.removeprefix("${{ inputs.").removesuffix(" }}")]
    script = cwd.parent / "step.sh"
    script.write_text(step(name)["run"], encoding="utf-8")
    path = f"{python.parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        cwd=cwd,
        env=os.environ | env | {"PATH": path, "GITHUB_ACTION_PATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the action's own step has installed recipec."""
    folder = tmp_path_factory.mktemp("python")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    done = ran("Install recipec", tmp_path_factory.mktemp("anywhere"), python)
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    folder = tmp_path / "their project"
    (folder / "recipes" / "more").mkdir(parents=True)
    (folder / "recipes" / "good.yaml").write_text(GOOD, encoding="utf-8")
    bad = GOOD.replace("warmup", "wramup").replace("name: llama", "name: bad-llama")
    (folder / "recipes" / "more" / "a bad one.yaml").write_text(bad, encoding="utf-8")
    return folder


def test_github_takes_the_file() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions", str(ACTION)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_input_is_written_into_a_script(tmp_path: Path) -> None:
    """An input that stands in a script would be run as shell."""
    for part in action()["runs"]["steps"]:
        if "run" in part:
            assert "${{" not in part["run"]
            script = tmp_path / "step.sh"
            script.write_text("#!/bin/bash\n" + part["run"], encoding="utf-8")
            shellcheck = Path(sys.executable).with_name("shellcheck")
            done = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout


def test_the_steps_show_what_is_wrong(installed: Path, theirs: Path) -> None:
    done = ran("Check recipes", theirs, installed)
    assert (done.returncode, done.stderr) == (0, "")
    done = ran("Check recipes", theirs, installed, recipes="recipes/**/*.yaml\n", sarif="found.sarif")
    assert done.returncode == 1
    assert "::error file=recipes/more/a bad one.yaml,line=" in done.stdout
    found = json.loads((theirs / "found.sarif").read_text(encoding="utf-8"))
    [error] = [one for one in found["runs"][0]["results"] if one["level"] == "error"]
    place = error["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "recipes/more/a%20bad%20one.yaml"
    shutil.rmtree(theirs / "recipes" / "more")
    done = ran("Check recipes", theirs, installed, recipes="recipes/**/*.yaml", sarif="found.sarif")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((theirs / "found.sarif").read_text(encoding="utf-8"))
    assert [one["ruleId"] for one in found["runs"][0]["results"]] == ["D060"]  # its rows are not here: a note


@pytest.mark.parametrize("recipes", ["nothing/*.yaml", "missing.yaml", "--help", "$(touch hacked)", "; touch hacked"])
def test_odd_inputs_are_only_patterns(installed: Path, theirs: Path, recipes: str) -> None:
    done = ran("Check recipes", theirs, installed, recipes=recipes)
    assert done.returncode == 1
    assert "::error " in done.stdout
    assert not (theirs / "hacked").exists()
