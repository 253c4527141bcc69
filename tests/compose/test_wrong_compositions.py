"""Recipes of several files, profiles and variables that are wrong, each beside the exact text that is shown for it.

A case is a folder with `recipe.yaml`, what it extends, `expected.out`, and sometimes `arguments` of the command line.
"""

import json
from pathlib import Path

import pytest

from recipec.cli import main

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/recipe.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_exact_output(
    case: Path, update: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = (case / "arguments").read_text().split() if (case / "arguments").exists() else []
    monkeypatch.chdir(case)
    assert main(["check", "recipe.yaml", *more]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    expected = case / "expected.out"
    if update:
        expected.write_text(told.err, encoding="utf-8")
    assert told.err == expected.read_text(encoding="utf-8")
    assert main(["check", "recipe.yaml", *more, "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert findings
    for finding in findings:
        assert finding["message"] in told.err
        assert finding["line"] is not None  # every one is located
