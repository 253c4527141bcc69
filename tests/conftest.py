"""What every layer of the tests shares."""

import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from recipec.environments import ensure
from recipec.facts import has_pins, pins

ROOT = Path(__file__).parent.parent
OF_TESTS = ROOT / "tests" / "conformance"  # the pins that only tests need


def pytest_configure() -> None:
    """Take signals as in a terminal, also where `nohup` or a shell's `&` started the tests: children inherit it."""
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


@cache
def _environment(name: str) -> Path:
    return ensure(name, pins(name) if has_pins(name) else OF_TESTS / f"{name}.txt", print)


@pytest.fixture(scope="session")
def tool_python() -> Callable[[str], Path]:
    """The real Python of a tool's environment, made from exact pins when it is not there yet."""
    return lambda name: _environment(name) / "bin" / "python"
