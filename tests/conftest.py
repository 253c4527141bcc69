"""What every layer of the tests shares."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from tool_environment import tool_environment  # noqa: E402


def pytest_configure() -> None:
    """Take signals as in a terminal, also where `nohup` or a shell's `&` started the tests: children inherit it.

    Tools compute with one thread each, for several of them run beside one another, and keep their bytecode: without it each takes
    twice as long to start.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write expected output instead of comparing with it")
    parser.addoption("--every-leaf", action="store_true", help="tests/metamorphic: leave out no pair of leaf and base")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update"))


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of a recipe start at the folder one runs in."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def tool_python() -> Callable[[str], Path]:
    """The real Python of a tool's environment, made from exact pins when it is not there yet."""
    return lambda name: tool_environment(name) / "bin" / "python"
