"""`run.sh` of a whole build by itself: it makes environments from nothing, and never uses half of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipec.job import Job
from recipec.launch import launcher
from recipec.launch.launcher import Started
from recipec.launch.script import Making, run_script
from recipec.plan import Hardware, Plan, Resources, Stage

PINS = "# a comment\n# python: 3.11 3.12 3.13\niniconfig==2.1.0\n"
STAGE = Stage("train", "train", "", "", "tiny", (), (), (), Resources("cpu", None, 1, 1), "runs/x", False, None)
PLAN = Plan("x", None, Hardware("none", "cpu", 0, 0, False, 1, 1, 1, None), (STAGE,), {}, "local")


def place(folder: Path) -> Path:
    """Write a build with one stage that prints the version of its environment's only package."""
    build = folder / "build"
    (build / "train").mkdir(parents=True)
    (build / "environments").mkdir()
    (build / "environments" / "tiny.txt").write_text(PINS)
    program = "from importlib.metadata import version; print('has', version('iniconfig'))"
    (build / "train" / "run.sh").write_text(f'runs/environments/tiny/bin/python -c "{program}"\n')
    text = run_script([Started(STAGE, Job(()))], launcher("local"), {"tiny": Making("")}, [], PLAN, "x.yaml")
    (build / "run.sh").write_text(text)
    return build


def run(folder: Path, **variables: str) -> tuple[int, str]:
    """Run it; return the exit code and all that it said."""
    done = subprocess.run(
        ["bash", "build/run.sh"], cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_an_environment_is_made_from_nothing_and_once(tmp_path: Path) -> None:
    place(tmp_path)
    code, said = run(tmp_path)
    assert (code, "has 2.1.0" in said, "making the environment tiny" in said) == (0, True, True), said
    code, said = run(tmp_path)
    assert (code, said) == (0, "has 2.1.0\n")


@pytest.mark.slow
def test_half_an_environment_and_one_of_other_pins_are_made_anew(tmp_path: Path) -> None:
    build = place(tmp_path)
    assert run(tmp_path)[0] == 0
    folder = tmp_path / "runs" / "environments" / "tiny"
    (folder / ".complete").unlink()
    metadata = next(folder.glob("lib/*/site-packages/iniconfig-*.dist-info/METADATA"))
    metadata.unlink()  # not written over: an installer may have linked it from its cache
    metadata.write_text("Metadata-Version: 2.1\n")
    code, said = run(tmp_path)
    assert (code, "has 2.1.0" in said) == (0, True), said
    (build / "environments" / "tiny.txt").write_text(PINS + "# other pins\n")
    assert "making the environment tiny" in run(tmp_path)[1]


def test_a_python_that_is_missing_or_of_another_version_is_said(tmp_path: Path) -> None:
    build = place(tmp_path)
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for python in (str(old), "/nowhere/python3"):
        code, said = run(tmp_path, PYTHON=python)
        assert code == 3
        assert (
            "the environment needs Python 3.11 or 3.12 or 3.13 with venv: install it, or set PYTHON to its path" in said
        )
    (build / "environments" / "tiny.txt").write_text("# python: 3.7\niniconfig==2.1.0\n")
    assert "needs Python 3.7 with venv" in run(tmp_path, PYTHON=sys.executable)[1]
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_python_that_is_not_the_first_is_found(tmp_path: Path) -> None:
    build = place(tmp_path)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    (build / "environments" / "tiny.txt").write_text(f"# python: 3.7 {here}\niniconfig==2.1.0\n")
    pyenv = tmp_path / "pyenv" / "versions" / f"{here}.99" / "bin"
    pyenv.mkdir(parents=True)
    (pyenv / "python").symlink_to(Path(sys.executable).resolve())
    other = tmp_path / "bin"
    other.mkdir()
    for name in ("python3", f"python{here}", "python3.7"):
        (other / name).write_text("#!/bin/sh\nexit 1\n")
        (other / name).chmod(0o755)
    path = f"{other}:{os.environ['PATH']}"
    code, said = run(tmp_path, PATH=path, PYENV_ROOT=str(tmp_path / "pyenv"))
    assert (code, "has 2.1.0" in said) == (0, True), said
    made = tmp_path / "runs" / "environments" / "tiny" / "bin" / "python"
    assert made.resolve() == Path(sys.executable).resolve()
