"""SARIF and GitHub annotations say what the text says, at the same places; `--format` chooses, exit codes stay."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from commands import recipe

from recipec.cli import FORMATS, main
from recipec.diagnostics import Finding
from recipec.finding_formats import github, sarif
from recipec.pipeline import compile_file
from recipec.source import Source, Span

ROOT = Path(__file__).parents[2]
GOOD = "recipes/llama-2-13b-zero3.yaml"
BAD = "tests/bad/recipes/shape.yaml"


@pytest.fixture(scope="module")
def every() -> list[Finding]:
    """Every finding of every wrong or doubtful recipe."""
    recipes = sorted(ROOT.glob("tests/bad/recipes/*.yaml"))
    return [f for file in recipes for f in compile_file(str(file.relative_to(ROOT))).findings]


def said(*arguments: str, code: int) -> str:
    done = recipe(*arguments)
    assert done.returncode == code, done.stderr
    return done.stdout


def read_annotation(line: str) -> dict[str, str]:
    """Read a workflow command as the runner does."""
    found = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
    assert found, line
    level, words, text = found.groups()

    def unescape(text: str, pairs: str) -> str:
        for code, character in zip(("%0D", "%0A", "%3A", "%2C", "%25")[: len(pairs)], pairs, strict=False):
            text = text.replace(code, character)
        return text.replace("%25", "%")

    properties = dict(word.split("=", 1) for word in words.split(","))
    read = {key: unescape(value, "\r\n:,") for key, value in properties.items()}
    return {"level": level, "text": unescape(text, "\r\n"), **read}


def test_sarif_has_every_finding_at_its_place(every: list[Finding]) -> None:
    run = sarif(every)["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len({finding.code for finding in every}) == len(rules) > 50
    assert len(run["results"]) == len(every) > 150
    for finding, result in zip(every, run["results"], strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.code
        assert result["level"] == finding.severity
        for part in (finding.message, finding.suggestion, finding.help):
            assert part is None or not part.isprintable() or part in result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        assert unquote(place["artifactLocation"]["uri"]) == (finding.span.source.name if finding.span else finding.file)
        if span := finding.span:
            region = place["region"]
            assert (region["startLine"], region["startColumn"]) == (span.line, span.column)
            assert (region["endLine"], region["endColumn"]) == (span.end_line, span.end_column)


def test_annotations_are_read_back(every: list[Finding]) -> None:
    lines = github(every).splitlines()
    assert len(lines) == len(every)
    for finding, line in zip(every, lines, strict=True):
        read = read_annotation(line)
        assert read["level"] == finding.severity
        assert read["title"] == finding.code
        assert not finding.message.isprintable() or finding.message in read["text"]
        if span := finding.span:
            assert read["file"] == span.source.name
            assert int(read["line"]) == span.line
            assert ("col" in read) is (span.line == span.end_line)


def test_what_must_be_escaped() -> None:
    source = Source("a,b: 100%\n.yaml", "x: 5%\n")
    finding = Finding("R001", "5%, or: more\r\n::error::mine", Span(source, 1, 1, 1, 2), suggestion="5%0A", help="a\nb")
    line = github([finding])
    assert "\n" not in line
    read = read_annotation(line)
    assert read["file"] == source.name
    assert read["text"] == '5%, or: more\\r\\n::error::mine.\ndid you mean "5%0A"?\na\\nb.'


def test_places_that_are_no_file_here(tmp_path: Path) -> None:
    setting = Span(Source("--set", "train.epochs=-1", "--set"), 1, 14, 1, 16)
    elsewhere = Span(Source(str(tmp_path / "a b.yaml"), "x: 1"), 1, 1, 1, 2)
    wide = Span(Source("한/a.yaml", "이름: x"), 1, 5, 1, 6)
    found = [Finding("R005", "m", span) for span in (setting, elsewhere, wide)] + [Finding("U001", "m", file="line")]
    option, other, here, usage = sarif(found)["runs"][0]["results"]
    assert option["locations"] == [{"logicalLocations": [{"fullyQualifiedName": "--set train.epochs=-1"}]}]
    assert other["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": f"file://{tmp_path}/a%20b.yaml"}
    artifact = here["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": "%ED%95%9C/a.yaml", "uriBaseId": "ROOT"}
    assert "locations" not in usage
    assert [set(read_annotation(line)) - {"level", "text"} for line in github(found[::3]).splitlines()] == [
        {"title"},
        {"title"},
    ]


def test_exit_codes_and_streams(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path)
    for form in ("json", "sarif", "github"):
        assert main(["check", GOOD, "--format", form]) == 0
        assert main(["check", BAD, f"--format={form}"]) == 1
        assert main(["check", "/nowhere.yaml", "--format", form]) == 1
        assert main(["check", "--format", form]) == 2
        assert main(["compile", GOOD, "--check", "--out", out, "--format", form]) == 1
    assert main(["check", BAD, "--json", "--format", "sarif", "--set", "x"]) == 1
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert "--format" in capsys.readouterr().out


def documents(*arguments: str, code: int) -> Any:
    return json.loads(said(*arguments, code=code))


def test_one_document_and_nothing_beside_it(tmp_path: Path) -> None:
    assert documents("check", BAD, "--format", "json", code=1) == documents("check", BAD, "--json", code=1)
    good = documents("compile", GOOD, "--format", "sarif", "--out", str(tmp_path), code=0)
    assert [(one["ruleId"], one["level"]) for one in good["runs"][0]["results"]] == [("D060", "note")]
    (tmp_path / "llama-2-13b-zero3" / "run.sh").write_text("", encoding="utf-8")
    stale = documents("compile", GOOD, "--check", "--format", "sarif", "--out", str(tmp_path), code=1)
    assert [result["ruleId"] for result in stale["runs"][0]["results"]] == ["D060", "O007"]
    usage = documents("check", "--format", "sarif", code=2)
    assert [result["ruleId"] for result in usage["runs"][0]["results"]] == ["U001"]
    missing = documents("check", "/nowhere.yaml", "--format", "sarif", code=1)
    assert [result["ruleId"] for result in missing["runs"][0]["results"]] == ["S001"]


def test_colours_only_where_a_person_looks() -> None:
    """Through a real terminal: colours on, but not with NO_COLOR; through a pipe, never."""

    def shown(terminal: bool, **more: str) -> bytes:
        command = [sys.executable, "-m", "recipec.cli", "check", BAD]
        environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | more
        if not terminal:
            return subprocess.run(command, cwd=ROOT, capture_output=True, env=environment, check=False).stderr
        ours, theirs = pty.openpty()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 65536):
                text += part
        except OSError:  # how a terminal says that its other end is closed
            pass
        process.wait()
        os.close(ours)
        return text

    assert b"\x1b[" in shown(True)
    assert b"\x1b[" not in shown(True, NO_COLOR="1")
    assert b"\x1b[" not in shown(False)


def test_the_commands_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ recipe (.*)$", page, re.MULTILINE)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    assert commands
    for command in commands:
        assert main(command.split()) == 0, command
    assert all(f"| `{form}`" in page for form in FORMATS)
