"""Wrong and doubtful recipes, each beside the exact text that is shown for it (`NAME.yaml`, `NAME.out`)."""

import json
from pathlib import Path

import pytest
from commands import recipe

HERE = Path(__file__).parent
RECIPES = sorted((HERE / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_exact_output(file: Path, update: bool) -> None:
    done = recipe("check", file.name, cwd=file.parent)
    assert done.returncode == (1 if "error[" in done.stderr else 0)
    only_notes = "error[" not in done.stderr and "warning[" not in done.stderr
    assert done.stdout.startswith("1 recipe: no errors") is only_notes is bool(done.stdout)
    expected = file.with_suffix(".out")
    if update:
        expected.write_text(done.stderr, encoding="utf-8")
    assert done.stderr == expected.read_text(encoding="utf-8")
    listed = recipe("check", file.name, "--json", cwd=file.parent)
    findings = json.loads(listed.stdout)["findings"]
    assert listed.returncode == done.returncode
    assert findings
    for finding in findings:
        assert {"code", "severity", "file", "line", "column", "message", "suggestion"} <= set(finding)
        assert finding["message"] in done.stderr
