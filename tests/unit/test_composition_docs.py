"""docs/composition.md: its commands do what it says, its files are the ones beside it, its output is what is printed."""

import re
import shutil
from pathlib import Path

import pytest

from recipec.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "composition.md").read_text(encoding="utf-8")
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "docs" / "composition", tmp_path / "docs" / "composition")
    monkeypatch.chdir(tmp_path)
    program, *words = command.split()
    assert program == "recipe"
    assert main(words) == 0, capsys.readouterr().err
    if "--resolved" in words:
        assert capsys.readouterr().out.startswith(BLOCKS[2])


def test_the_files_shown_are_the_ones_beside_it() -> None:
    for name, shown in zip(("base", "support"), BLOCKS, strict=False):
        text = (ROOT / "docs" / "composition" / f"{name}.yaml").read_text(encoding="utf-8")
        assert text.endswith(shown)
