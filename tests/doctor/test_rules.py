"""Each rule of one file fires on its bad example and is silent on the good one; each is in the table and in the docs."""

import re
from pathlib import Path

import pytest

from recipec.cli import main
from recipec.diagnostics import errors
from recipec.doctor import examine
from recipec.doctor.recognise import TITLES
from recipec.doctor.rules import RULES

from .overlaid import Overlaid, overlaid, write

ROOT = Path(__file__).parents[2]
TABLE = overlaid()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.tool}-{row.code}")
def test_rule(row: Overlaid, tmp_path: Path) -> None:
    of = [f"{row.tool}-{row.of}"] if row.of else []
    bad = examine([str(write(tmp_path / "bad", row.tool, row.document, row.bad))], of)
    held = ["deepspeed"] * isinstance(row.bad.get("deepspeed"), dict)  # a mapping there is a file of its own
    assert [guess.tool for _, guess in bad.recognised] == [row.tool, *held]
    assert row.code in {finding.code for finding in bad.findings}
    good = examine([str(write(tmp_path / "good", row.tool, row.document, row.good))], of)
    assert row.code not in {finding.code for finding in good.findings}
    assert errors(good.findings) == []


def test_every_rule_is_in_the_table(tmp_path: Path) -> None:
    examine([str(write(tmp_path, "axolotl", "", TABLE[0].good))])  # the first file enters the rules
    entered = {(tool, code) for tool, rules in RULES.items() for code, _ in rules}
    shown = {(row.tool, row.code) for row in TABLE}
    # The trainer's own rules are one function for several tools.
    assert {row for row in entered if row[1] > "D109"} == {row for row in shown if row[1] > "D109"}
    assert {code for _, code in entered} == {code for _, code in shown}


DOCS = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")


def test_every_rule_is_in_the_docs(tmp_path: Path) -> None:
    examine([str(write(tmp_path, "axolotl", "", TABLE[0].good))])  # the first file enters the rules
    rules: dict[str, tuple[str, list[str]]] = {}
    for tool, entered in RULES.items():
        for code, judge in entered:
            rules.setdefault(code, ((judge.__doc__ or "").split("\n")[0], []))[1].append(TITLES[tool])
    for code, (does, tools) in rules.items():
        assert f"| {code} | {', '.join(sorted(tools))} | {does} |" in DOCS
    for path in (ROOT / "compiler" / "recipec" / "doctor").rglob("*.py"):
        for code in re.findall(r'"(D[12]\d\d)"', path.read_text(encoding="utf-8")):
            assert code in DOCS


@pytest.mark.parametrize("command", re.findall(r"^\$ (.*)$", DOCS, re.MULTILINE))
def test_commands_of_the_docs(command: str) -> None:
    assert command.startswith("recipe doctor ")
    assert main(command.split()[1:]) == 0
