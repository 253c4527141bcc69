"""What every layer of the tests shares."""

from pathlib import Path

import pytest

from recipec.environments import ensure
from recipec.pipeline import pins

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write expected output instead of comparing with it")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update"))


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of a recipe start at the folder one runs in."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def tool_python():
    """The real Python of a tool's environment, made from the emitted pins when it is not there."""

    def find(name: str) -> Path:
        return ensure(name, pins(name), print) / "bin" / "python"

    return find
