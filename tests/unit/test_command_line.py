"""The command line under bad conditions: odd files, odd terminals, odd folders, kills. Never a traceback, never half a tree."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipec.diagnostics import Finding, render
from recipec.output import existing, write
from recipec.pipeline import compile_file
from recipec.source import Source, Span

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "recipes" / "llama-2-13b-zero3.yaml")
NAME = "llama-2-13b-zero3"
COMMAND = [sys.executable, "-m", "recipec.cli"]
as_user = pytest.mark.skipif(
    os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="root reads everything"
)


def recipe(*arguments: str | bytes, cwd: Path = ROOT, **more: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
        **more,
    )  # type: ignore[call-overload]
    assert "Traceback" not in done.stderr, done.stderr
    return done


def findings(*arguments: str, code: int = 1, **more: object) -> list[dict[str, object]]:
    done = recipe(*arguments, "--json", **more)  # type: ignore[arg-type]
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"] is False
    for row in found["findings"]:
        assert {"code", "severity", "file", "line", "column", "message", "suggestion"} <= set(row)
        assert row["file"] is not None
    return found["findings"]


@pytest.mark.parametrize(
    ("file", "code"),
    [("/nowhere/x.yaml", "S001"), ("recipes", "S002"), ("/dev/zero", "S004"), ("/dev/null", "S011"), ("", "S001"), ("a" * 5000, "S003"), ("recipes/quickstart.yaml/x", "S003")],
)  # fmt: skip
def test_what_is_no_recipe(file: str, code: str) -> None:
    assert [row["code"] for row in findings("check", file)] == [code]


@pytest.mark.parametrize("command", [["compile"], ["run"], ["explain", "seed"]], ids=lambda words: words[0])
def test_every_command_tells_of_a_missing_file(command: list[str]) -> None:
    assert [row["code"] for row in findings(command[0], "/nowhere/x.yaml", *command[1:])] == ["S001"]


def test_odd_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big.yaml").write_bytes(b"a: 1\n" * 4_000_000)
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for name, code in (("pipe", "S011"), ("big.yaml", "S004"), ("binary.yaml", "S005"), ("loop.yaml", "S003")):
        assert [row["code"] for row in findings("check", str(tmp_path / name))] == [code]


def test_a_pipe_with_a_writer_is_read() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m recipec.cli check <(sleep 0.3; cat {RECIPE})"], cwd=ROOT, check=False
    )
    assert done.returncode == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter. Not `tmp_path`: each pytest that starts closes the folder above all of those."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@as_user
def test_what_one_may_not_read_or_write(open_folder: Path) -> None:
    """As nobody, where the tests run as root."""
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    closed, locked = open_folder / "closed.yaml", open_folder / "locked"
    closed.write_text("recipe: 1")
    closed.chmod(0)
    locked.mkdir()
    locked.chmod(0o111)
    out = open_folder / "out"
    out.mkdir()
    out.chmod(0o555)
    code = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}; from recipec.cli import main; sys.exit(main(sys.argv[1:]))"
    python = str(Path(sys.executable).resolve())
    if prefix and subprocess.run([*prefix, python, "-c", code, "schema"], capture_output=True, check=False).returncode:
        pytest.skip("the user nobody cannot start this Python")
    if prefix and subprocess.run([*prefix, "test", "-x", open_folder], check=False).returncode:
        pytest.skip("the user nobody cannot enter TMPDIR")
    for arguments, wanted in (
        (["check", str(closed)], "S003"), (["check", str(locked / "x.yaml")], "S001"),
        (["compile", RECIPE, "--out", str(out)], "O004"), (["compile", RECIPE, "--out", str(out / "new")], "O004"),
    ):  # fmt: skip
        done = subprocess.run(
            [*prefix, python, "-c", code, *arguments, "--json"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        assert [row["code"] for row in json.loads(done.stdout)["findings"]] == [wanted]


def test_json_on_wrong_usage_and_on_output_folders(tmp_path: Path) -> None:
    assert findings("compile", code=2)[0]["code"] == "U001"
    assert findings("check", RECIPE, "--nonsense", code=2)[0]["code"] == "U001"
    assert recipe("check", "--help").returncode == 0
    assert recipe().returncode == 2
    (tmp_path / "file").write_text("")
    assert findings("compile", RECIPE, "--out", str(tmp_path / "file"))[0]["code"] == "O004"
    (tmp_path / NAME).write_text("")
    assert findings("compile", RECIPE, "--out", str(tmp_path))[0]["code"] == "O001"
    assert findings("compile", RECIPE, "--out", "/proc/x")[0]["code"] == "O004"
    assert [one["code"] for one in findings("check", RECIPE, RECIPE.replace("13b", "x"))] == ["D060", "S001"]


@pytest.mark.parametrize(
    "name", ["with space.yaml", "new\nline; touch owned\n.yaml", "-dash.yaml", "$(touch owned).yaml"]
)
def test_odd_names_of_recipes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(Path(RECIPE).read_text())
    done = recipe("compile", "--", name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    script = tmp_path / "build" / NAME / "run.sh"
    assert subprocess.run(["bash", str(script)], cwd=tmp_path, capture_output=True, check=False).returncode == 2
    assert not (tmp_path / "owned").exists()


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    name = b"caf\xe9.yaml"
    Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text(Path(RECIPE).read_text() + "x: 1\n")
    done = recipe("check", name, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["findings"][0]["file"] == os.fsdecode(name)
    assert "caf\\udce9.yaml:" in recipe("check", name, cwd=tmp_path).stderr
    Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text(Path(RECIPE).read_text())
    assert recipe("compile", name, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_narrow_encodings(locale: dict[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], **locale}
    setting = "--set=description=한국어 é"
    assert recipe("check", RECIPE, setting, env=environment).returncode == 0
    assert recipe("check", RECIPE, setting, "--set=seed=é…", env=environment).returncode == 1
    done = recipe("explain", RECIPE, "gradient_accumulation_steps", "--json", env=environment)
    assert json.loads(done.stdout)["findings"]
    done = recipe("explain", RECIPE, "batch.accumulation", "--json", env=environment)
    assert "÷" in json.loads(done.stdout)[0]["because"]


def test_output_that_cannot_be_written() -> None:
    for end, code in (("| head -c 1", 0), (">/dev/full", 1), (">&-", 0), (">&- 2>&-", 0)):
        line = f"{sys.executable} -m recipec.cli schema {end}"
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code, (end, done.stderr)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


def test_a_full_disk_leaves_the_old_tree(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk that is full: the same system call fails, in the same place."""
    assert recipe("compile", RECIPE, "--out", str(tmp_path)).returncode == 0
    before = existing(tmp_path)
    limited = f"ulimit -f 4; exec {sys.executable} -m recipec.cli compile {RECIPE} --out {tmp_path} --set seed=7 --json"
    done = subprocess.run(["bash", "-c", limited], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["findings"][0]["code"] == "O004"
    assert existing(tmp_path) == before


def test_links_are_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    (tmp_path / "real" / NAME).symlink_to("../deep")
    for seed in ("1", "2"):
        assert recipe("compile", RECIPE, "--out", str(tmp_path / "out"), "--set", f"seed={seed}").returncode == 0
    assert (tmp_path / "real" / NAME).is_symlink()
    assert (tmp_path / "deep" / "plan.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "out", "real"]
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == [NAME]


def test_links_and_pipes_of_others_are_not_lost(tmp_path: Path) -> None:
    assert recipe("compile", RECIPE, "--out", str(tmp_path)).returncode == 0
    (tmp_path / NAME / "link").symlink_to("/nowhere")
    os.mkfifo(tmp_path / NAME / "pipe")
    (tmp_path / NAME / "weights.bin").write_bytes(b"\xff\xfe\x80")
    found = findings("compile", RECIPE, "--out", str(tmp_path), "--set", "seed=1")
    assert [(row["code"], Path(str(row["file"])).name) for row in found] == [("O003", "link"), ("O003", "pipe"), ("O003", "weights.bin")]  # fmt: skip


def test_a_missing_line_break_is_stale(tmp_path: Path) -> None:
    assert recipe("compile", RECIPE, "--out", str(tmp_path)).returncode == 0
    file = tmp_path / NAME / "PLAN.md"
    file.write_text(file.read_text()[:-1])
    assert recipe("compile", RECIPE, "--out", str(tmp_path), "--check").returncode == 1


def test_compiles_at_once_each_leave_a_whole_tree(tmp_path: Path) -> None:
    command = [*COMMAND, "compile", RECIPE, "--out", str(tmp_path), "--set"]
    running = [subprocess.Popen([*command, f"seed={seed}"], cwd=ROOT, stderr=subprocess.PIPE) for seed in range(6)]
    assert {process.communicate()[1].splitlines()[-1] for process in running} == {b"1 note"}
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert recipe("compile", RECIPE, "--out", str(tmp_path)).returncode == 0  # nothing looks edited by hand


# Writes one tree over the other again and again, killed one step later each time; prints the turn that was not killed.
KILLED_LATER_EACH_TIME = """
import json, os, signal, sys
from pathlib import Path
from recipec.output import existing, write

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree"}
trees, folder = json.load(sys.stdin), Path(sys.argv[1])
write(folder, trees[0])
for turn in range(1000):
    process = os.fork()
    if not process:
        seen = 0

        def kill(event, arguments):
            global seen
            seen += event in CHANGES or event.startswith("ctypes.call")
            if seen > turn:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill)
        write(folder, trees[1 - trees.index(existing(folder))])
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert existing(folder) in trees, turn
    if killed == 0:
        print(turn)
        break
"""


def test_kills_leave_a_whole_tree_and_the_next_compile_no_litter(tmp_path: Path) -> None:
    """Killed before the first change to the disk, before the second, and so on to the last."""
    trees = [compile_file(RECIPE, [f"seed={seed}"]).files for seed in (1, 2)]
    command = [sys.executable, "-c", KILLED_LATER_EACH_TIME, str(tmp_path / NAME)]
    done = subprocess.run(command, input=json.dumps(trees), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > len(trees[0])
    (tmp_path / f".{NAME}.new-1").mkdir(exist_ok=True)
    assert recipe("compile", RECIPE, "--out", str(tmp_path)).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_interrupted_while_writing(tmp_path: Path) -> None:
    """The signal comes in the middle of the writing, which is held up for it."""
    code = (
        "import sys, time; from recipec import cli, output\n"
        "def hold_up(fresh, folder):\n"
        "    print('now', flush=True)\n"
        "    while True: time.sleep(0.1)  # one long sleep would not see a signal that came just before it\n"
        "output._swap = hold_up\n"
        f"sys.exit(cli.main(['compile', {RECIPE!r}, '--out', {str(tmp_path)!r}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=300)
    assert (process.returncode, told) == (130, "interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_colour_only_where_it_is_wanted(tmp_path: Path) -> None:
    line = f"{sys.executable} -m recipec.cli check {tmp_path}"
    for more, coloured in ({"NO_COLOR": "1"}, False), ({}, True):
        done = subprocess.run(
            ["script", "-qec", line, "/dev/null"],
            env={**os.environ, **more},
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert (b"\x1b[" in done.stdout) is coloured


@pytest.mark.parametrize("before", ["한국어", "🦙", "e\u0301", "♥\ufe0f", "\u20dd", "\u200b", "\t", "ﬁ"])
def test_the_caret_stands_under_the_word_whatever_stands_before(before: str) -> None:
    source = Source("x.yaml", f"{before} word")
    column = len(before) + 2
    shown, marks = render([Finding("X999", "m", Span(source, 1, column, 1, column + 4))]).split("\n")[3:5]
    from unicodedata import category, east_asian_width

    lead = shown[: shown.index("word")]
    width = sum(0 if category(c) in ("Mn", "Me") else 1 + (east_asian_width(c) in "WF") for c in lead)
    assert marks == f"  | {' ' * (width - 4)}^^^^"


def test_write_returns_whether_anything_changed(tmp_path: Path) -> None:
    files = {"plan.json": json.dumps({"files": {}})}
    assert write(tmp_path / "x", files)
    assert not write(tmp_path / "x", files)
