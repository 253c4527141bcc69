"""The mutation run on a package that is made for it: what it calls noticed, and what not."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutants.py"
CODE = '''\
"""A limit."""

LIMITS = {"low": 3}


def is_high(value: int) -> bool:
    return value > LIMITS["low"]


def above_nothing(value: int) -> int:
    return value if value > 0 else 0


def wait(ready: bool) -> None:
    while not ready:
        pass


def unused(value: int) -> bool:
    return value == 1
'''
TESTS = """\
import subprocess, sys
from box.limit import above_nothing, is_high, wait

def test_the_limit():
    code = "from box.limit import is_high; print([n for n in range(6) if is_high(n)])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[4, 5]\\n"

def test_nothing():
    assert [above_nothing(n) for n in (-2, -1, 0, 1, 2)] == [0, 0, 0, 1, 2]

def test_it_does_not_wait():
    wait(True)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one module and its tests."""
    settings = "[tool.pytest.ini_options]\nfilterwarnings = ['error']\n"
    files = {"src/box/limit.py": CODE, "src/box/__init__.py": "", "tests/test_limit.py": TESTS}
    for name, text in {**files, "pyproject.toml": settings}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["tests", "--roots", "src", "--files", "src/**/limit.py", "--patience", "8", *options]
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd=project, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_it_tells_what_no_test_notices_and_only_that(project: Path) -> None:
    with (project / "tests" / "test_limit.py").open("a") as stream:
        stream.write("\ndef test_broken():\n    from box.limit import unused\n    assert unused(2)\n")
    done = run(project)
    survivors = [line.partition(" in ")[2] for line in done.stdout.splitlines() if line.startswith("src/box/limit.py:")]
    assert sorted(survivors) == [
        "above_nothing: return value if value > [-0-]{+-1+} else 0  (number; 1 of 1 tests)",  # for 0 it is 0 anyway
        "above_nothing: return value if value [->-]{+>=+} 0 else 0  (operator; 1 of 1 tests)",
        "unused: return [-value == 1-]{+None+}  (return value; no test runs it)",
        "unused: return value == [-1-]{+0+}  (number; no test runs it)",
        "unused: return value == [-1-]{+2+}  (number; no test runs it)",
        "unused: return value [-==-]{+!=+} 1  (operator; no test runs it)",
    ], done.stderr
    assert "fails without a change: tests/test_limit.py::test_broken" in done.stderr
    assert done.returncode == 1
    assert (project / "src/box/limit.py").read_text() == CODE


def test_what_fails_without_a_change_too_makes_it_worth_nothing(project: Path) -> None:
    once = "from pathlib import Path\n\ndef test_once():\n    is_high(1)\n    Path('ran').mkdir()\n"
    (project / "tests" / "test_limit.py").write_text(f"from box.limit import is_high\n{once}")
    done = run(project, "--sample", "4")
    assert "worth nothing: without a change of src/box/limit.py tests/test_limit.py::test_once fails too" in done.stdout
    assert done.returncode == 2


def test_a_glob_without_files_is_an_error(project: Path) -> None:
    done = run(project, "--files", "src/*.py")
    assert (done.returncode, "there is no file src/*.py" in done.stderr) == (2, True)
