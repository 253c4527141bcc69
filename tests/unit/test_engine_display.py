"""A run and those who watch it: a closed terminal, a reader that has ended or stands still, and hostile output."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_build import ROOT, finish, make, python, run_here, start, wait_for

from recipec.engine import logs, status
from recipec.engine.display import PlainDisplay
from recipec.engine.live_display import LiveDisplay
from recipec.engine.patient_stream import PatientStream
from recipec.engine.progress import Progress, clean_lines
from recipec.terminal import Shown, json_text, shown

ENGINE = "import sys; from pathlib import Path; from recipec.engine import run; sys.exit(run(Path('build/demo'), Path('runs')))"
# Waits until a file `go` is there, so that the reader can go away first.
WAITS = """
    mkdir -p runs/demo/train; touch ready
    until [ -e go ]; do sleep 0.05; done
    for event in begin end; do
      printf '{"event": "%s", "time": 1, "step": 1, "total": 1}\\n' $event >> "$RECIPE_EVENTS"
    done
    echo made > runs/demo/train/model
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECIPEC_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(ROOT / part) for part in ("schema", "compiler", "launchers")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_terminal() -> tuple[subprocess.Popen[bytes], int]:
    """Start the engine in a terminal of its own; return it, and the end of the terminal that a person would see."""
    ours, theirs = pty.openpty()

    def control() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-c", ENGINE], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=control,
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def state() -> str:
    return status(Path("runs/demo"))["state"]


def read_all(terminal: int) -> bytes:
    found = b""
    with contextlib.suppress(OSError):  # a terminal that nobody writes to any more
        while more := os.read(terminal, 1 << 16):
            found += more
    return found


def test_a_run_goes_on_when_its_terminal_is_closed(place: Path) -> None:
    make(place, train=WAITS)
    process, terminal = in_terminal()
    wait_for(Path("ready").exists)
    os.close(terminal)  # the kernel sends SIGHUP, and every write fails from now on
    time.sleep(0.5)
    assert process.poll() is None
    assert state() == "running"
    Path("go").touch()
    assert process.wait(300) == 0
    assert state() == "complete"


def test_a_run_goes_on_after_a_hang_up_and_still_hears_an_interrupt(place: Path) -> None:
    make(place, train=WAITS)
    process = start(place)
    wait_for(Path("ready").exists)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert (code, "interrupt sent to train" in said) == (130, True), said


def test_a_run_goes_on_when_the_reader_of_its_output_has_ended(place: Path) -> None:
    make(place, train=WAITS)
    end, writer = os.pipe()
    reader = subprocess.Popen(["head", "-1"], stdin=end, stdout=subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", ENGINE], stdout=writer, stderr=writer)
    os.close(end)
    os.close(writer)
    assert reader.communicate()[0].startswith(b"demo: ")
    wait_for(Path("ready").exists)
    Path("go").touch()
    assert process.wait(300) == 0
    assert state() == "complete"


def test_a_run_goes_on_when_the_reader_of_its_output_stands_still(place: Path) -> None:
    """A stopped pager, or a connection that was lost: the pipe is full, and a write would wait for ever."""
    make(place)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    process = subprocess.Popen([sys.executable, "-c", ENGINE], stdout=writer)
    assert process.wait(300) == 0
    assert state() == "complete"
    os.close(reader)
    os.close(writer)


def test_all_that_was_said_is_there_in_the_end(place: Path) -> None:
    make(place)
    process, terminal = in_terminal()
    assert b"complete: results in runs/demo" in read_all(terminal).replace(b"\r\n", b"\n")
    assert process.wait(300) == 0
    os.close(terminal)


def test_a_stream_that_cannot_be_written_to_is_given_up() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        stream = PatientStream(closed)
        began = time.monotonic()
        for _ in range(3000):
            stream.write("x\n")
        stream.drain(60)
        assert time.monotonic() - began < 30


def test_a_closed_stream_without_a_handle_is_given_up() -> None:
    closed = io.StringIO()
    closed.close()
    assert PatientStream(closed).write("x") == 1


HOSTILE = "\x1b]52;c;cHduZWQ=\x07 \u202e \x1b[2J\x1b[31mred\x1b[0m \x9b2J \x1bc \x08 \u200b end"
HARMLESS = "\\x1b]52;c;cHduZWQ=\\x07 \\u202e red  \\x1bc \\x08 \\u200b end"


def test_what_is_shown_drives_no_terminal() -> None:
    assert shown(HOSTILE) == HARMLESS
    assert shown("a\tb\nc") == "a\tb\nc"
    assert shown("hidden\rseen") == "hidden\\rseen"
    assert shown("café 한국어 👩‍🏫 می‌خواهم") == "café 한국어 👩‍🏫 می‌خواهم"
    assert shown("\x1b\x1b[0m]52;c;x\x07") == "\\x1b]52;c;x\\x07"  # what is left does not make a new one
    assert json_text('"\x7f\x9b\u202e\U000e0041é"\n') == '"\\u007f\\u009b\\u202e\\udb40\\udc41é"\n'


@pytest.mark.parametrize("width", range(1, 12))
def test_pieces_are_shown_like_the_whole(width: int) -> None:
    clean = Shown()
    pieces = [clean(HOSTILE[at : at + width]) for at in range(0, len(HOSTILE), width)]
    assert "".join([*pieces, clean("", last=True)]) == HARMLESS
    assert Shown()("a\x1b[31", last=True) == "a\\x1b[31"


def test_a_failed_tool_cannot_drive_the_terminal(place: Path) -> None:
    tool = f"""
        import sys
        sys.stdout.write({HOSTILE!r} + ": 40%|####      | 2/5 [00:01<00:01]\\r")
        sys.stdout.flush()
        import time; time.sleep(0.7)
        raise ValueError({HOSTILE!r})
    """
    make(place, train=python(tool))
    code, said = run_here()
    assert code == 3
    assert f"ValueError: {HARMLESS}" in said
    record = Path("runs/demo/record.jsonl").read_text()
    for text in (said, record, "".join(logs(Path("runs/demo"))), str(status(Path("runs/demo")))):
        assert not [c for c in text if not c.isprintable() and c not in "\n\r\t"]
    assert HARMLESS in "".join(logs(Path("runs/demo")))


def test_output_that_is_read_in_pieces_stays_harmless(place: Path) -> None:
    """Two reads of a log meet within an escape, and within a character of several bytes."""
    make(place)
    assert run_here()[0] == 0
    log = Path("runs/demo/logs/init.log")
    for before in range((1 << 16) - 8, 1 << 16):
        log.write_bytes(b"a" * before + ("\x1b]52;c;é\x07\x1b[31mé").encode())
        assert "".join(logs(Path("runs/demo"), "init")) == "a" * before + "\\x1b]52;c;é\\x07é"


@pytest.mark.parametrize("display", [PlainDisplay, LiveDisplay])
def test_a_display_shows_nothing_that_drives_a_terminal(display: type[PlainDisplay | LiveDisplay]) -> None:
    stream = io.StringIO()
    shows = display(stream)
    shows.start("demo", ["a"])
    shows.say(HOSTILE)
    shows.stage("a", "failed", HOSTILE)
    shows.progress("a", Progress(note=clean_lines(HOSTILE)[0]))
    shows.stop()
    said = stream.getvalue()
    assert not set("\x07\x08\u202e\u200b\x9b") & set(said)
    assert "\x1b]" not in said
    assert "\x1bc" not in said
    assert "\x1b[2J" not in said
