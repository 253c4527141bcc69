"""`docs/findings.md` is current, and every code has an example among the wrong recipes."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def page() -> Any:
    spec = importlib.util.spec_from_file_location("findings_page", ROOT / "scripts" / "findings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(page: Any) -> None:
    assert (ROOT / "docs" / "findings.md").read_text(encoding="utf-8") == page.document()


def test_every_code_is_shown_by_a_wrong_recipe(page: Any) -> None:
    assert page.codes() - set(page.examples()) - set(page.ELSEWHERE) == set()
    assert set(page.ELSEWHERE) <= page.codes()
