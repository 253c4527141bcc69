"""A course of real tools, killed a few times at random: `benchmarks/chaos.py` does it as often as one likes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.real
def test_a_course_that_is_killed_ends_as_one_that_is_not(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    tool_python("trl-1.16.0")
    command = [sys.executable, ROOT / "benchmarks/chaos.py", "--short", "--kills", "5", "--within", "8"]
    done = subprocess.run(
        [*command, "--folder", tmp_path], capture_output=True, text=True, check=False, timeout=1800, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["kills"], found["wrong"]) == (5, [])
    assert found["files compared"] == 3 * found["rounds"]
