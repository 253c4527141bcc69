"""Files that never end, and more mistakes than anybody reads: answered soon, in few lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recipec.bounded import Unbounded, bounded
from recipec.diagnostics import MOST, Finding, tidy
from recipec.json_files import read_lines, read_object
from recipec.pipeline import compile_file
from recipec.regular_file import read_regular

RECIPE = (
    "recipe: 1\nname: t\nmodel: {{base: a/b{model}}}\nadapter: {{rank: 8}}\ndata: {{train: [{{path: d.jsonl, format: chat}}]}}\n"
    "train: {{epochs: 1, learning_rate: 1e-4}}\nhardware: {{gpu: a100-80gb}}\n"
)


@pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
def test_what_never_ends_is_not_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    command = [sys.executable, "-m", "recipec.cli", "adopt", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "it is no regular file" in done.stderr) == (1, True)
    with pytest.raises(OSError, match="no regular file"):
        read_regular(name)
    assert read_object(Path(name)) is None
    with pytest.raises(OSError, match="no regular file"):
        read_lines(Path(name))


def test_a_file_beyond_all_measure_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert read_regular(tmp_path / "large", 11) == b"x" * 11
    with pytest.raises(OSError, match="larger than"):
        read_regular(tmp_path / "large", 10)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)


def test_a_template_that_is_a_pipe_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("t.jinja")
    os.mkfifo("d.jsonl")
    Path("r.yaml").write_text(RECIPE.format(model=", chat_template_file: t.jinja"))
    done = subprocess.run(
        [sys.executable, "-m", "recipec.cli", "check", "r.yaml"], capture_output=True, check=False, timeout=60
    )
    assert done.returncode in (0, 1)


def test_no_more_findings_are_told_than_anybody_reads(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("recipe: 1\nname: t\n" + "".join(f"k{i}: 1\n" for i in range(2 * MOST)))
    findings = compile_file(str(tmp_path / "r.yaml")).findings
    assert len(findings) == MOST + 1
    assert [one.message for one in findings if one.code == "S050"] == [
        f"more than {MOST:,} findings: the others are not shown"
    ]


def test_an_error_is_never_among_those_that_are_left_out() -> None:
    mild = [Finding("L001", f"a{number}", severity="warning") for number in range(MOST + 5)]
    found = tidy([*mild, Finding("L002", "z")])
    assert "L002" in {one.code for one in found}
    assert {one.severity for one in found if one.code == "S050"} == {"warning"}


def test_an_interrupt_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.yaml")  # waits for a writer who never writes
    command = [sys.executable, "-m", "recipec.cli", "check", "r.yaml"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer = os.open(tmp_path / "r.yaml", os.O_WRONLY)  # returns when the command has opened it
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    os.close(writer)
    assert (process.returncode, out, said) == (130, "", "interrupted\n")


def spin(forever: bool) -> str:
    """Work without end, or not at all; `bounded` calls it."""
    while forever:
        pass
    return "done"


def swell(size: int) -> int:
    return len(b"x" * size)


def test_what_is_bounded_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    name = Path(__file__).stem
    assert bounded(f"{name}:spin", False) == "done"
    assert bounded(f"{name}:swell", 1 << 20) == 1 << 20
    with pytest.raises(Unbounded):
        bounded(f"{name}:spin", True)
    with pytest.raises(Unbounded):
        bounded(f"{name}:swell", 1 << 34)
    with pytest.raises(Unbounded):
        bounded("recipec.bounded:nothing_of_this_name")
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(Unbounded):
        bounded(f"{name}:spin", False)


@pytest.mark.parametrize(
    "body",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set x = namespace(t='ab') %}{% for a in range(99) %}{% set x.t = x.t ~ x.t %}{% endfor %}",
        "{{ 'x' * 99999999999 }}",
        "{{ 'x'|center(99999999999) }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    ],
)
def test_a_template_without_end_is_told_at_its_line(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.jinja").write_text(body + "{% for message in messages %}{{ message.content }}{% endfor %}")
    Path("r.yaml").write_text(RECIPE.format(model=", chat_template_file: t.jinja"))
    told = [one for one in compile_file("r.yaml").findings if one.code == "L243"]
    assert [(one.severity, one.span is not None and one.span.line) for one in told] == [("warning", 3)]
