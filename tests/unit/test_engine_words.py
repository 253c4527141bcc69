"""What is shown of a tool that failed, what is blamed for it, and with what a stage is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_build import compiled, make

from recipec.engine.attempt import HOOK, failure_text, variables_of
from recipec.engine.build import Build, load
from recipec.engine.checkpoints import checkpoints, free_name, is_complete, last_complete, set_incomplete_aside, step_of
from recipec.engine.failure import Blame, ErrorText, blame, error_text
from recipec.engine.record import RunFolder
from recipec.manifest import Emitted, Line, Written
from recipec.plan import FileRead

TRACE = "Traceback (most recent call last):\n"
NOT_SAID = "the last lines only"


def shown(log: str) -> list[str]:
    found = error_text(log)
    return [*found.lines, *([] if found.is_error else [NOT_SAID])]


def test_a_traceback_is_shown_by_its_last_frames_and_its_message() -> None:
    frames = [f'  File "/x/{n}.py", line {n}, in f\n    call({n})\n    ^^^^~~~\n' for n in range(5)]
    log = f"before\n{TRACE}{''.join(frames)}ValueError: no\nmore of it\n2026-01-01 bye\n"
    assert shown(log) == [
        '  File "/x/3.py", line 3, in f', "    call(3)", '  File "/x/4.py", line 4, in f', "    call(4)",
        "ValueError: no", "more of it",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "end",
    ["2026-01-02 INFO x", "[2026-01-02 x", "12:30:00 x", "INFO x", "WARNING x", "ERROR x", "DEBUG x", "W1125 x", "I0101 x", "E0101 x",
     "During handling of the above exception, another", "The above exception was the direct cause"],
)  # fmt: skip
def test_a_message_ends_where_the_log_goes_on(end: str) -> None:
    assert shown(f"{TRACE}  File x\nKeyError: 'a'\nsecond line\n{end}\nother\n")[1:] == ["KeyError: 'a'", "second line"]


def test_a_message_is_cut_where_it_is_too_long() -> None:
    log = TRACE + "ValueError: 0\n" + "".join(f"line {n}\n" for n in range(1, 30))
    assert shown(log) == ["ValueError: 0", *(f"line {n}" for n in range(1, 10))]
    log = "x: error: 0\n" + "".join(f"line {n}\n" for n in range(1, 30))
    assert shown(log) == ["x: error: 0", *(f"line {n}" for n in range(1, 14))]
    assert shown("".join(f"line {n}\n" for n in range(30))) == [*(f"line {n}" for n in range(16, 30)), NOT_SAID]


def test_the_last_of_several_tracebacks_counts() -> None:
    first, second = f"{TRACE}  File a\nKeyError: 1\n", f"{TRACE}  File b\nx.y.Error: 2\n"
    assert shown(first + second) == ["  File b", "x.y.Error: 2"]
    assert shown(first + "\nDuring handling of it, another occurred:\n\n" + second) == ["  File b", "x.y.Error: 2"]
    assert shown(first + TRACE) == ["  File a", "KeyError: 1"]  # one that was cut off says nothing
    assert shown(TRACE + "  File a\n" + second) == ["  File b", "x.y.Error: 2"]


@pytest.mark.parametrize(
    "launcher",
    ["subprocess.CalledProcessError: Command '[…]' died", "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: x",
     "SystemExit: 1", "torch.multiprocessing.spawn.ProcessRaisedException: x", "ProcessExitedException: x"],
)  # fmt: skip
def test_what_only_says_that_a_child_failed_is_passed_over(launcher: str) -> None:
    own = f"{TRACE}  File a\nRuntimeError: the cause\n"
    only = f"{TRACE}  File b\n{launcher}\n"
    assert shown(own + only) == ["  File a", "RuntimeError: the cause"]
    assert shown(only) == ["  File b", launcher]  # better than nothing


@pytest.mark.parametrize("prefix", ["[rank0]: ", "[rank12]: ", "[default3]: "])
def test_the_name_of_a_process_is_taken_off_its_lines(prefix: str) -> None:
    lines = [*TRACE.splitlines(), "  File a", "ValueError: no"]
    assert shown("\n".join(prefix + line for line in lines)) == ["  File a", "ValueError: no"]


@pytest.mark.parametrize(
    ("line", "is_error"),
    [
        ("ValueError: x", True), ("a.b.MyException", True), ("KeyboardInterrupt", True), ("UserWarning: x", True),
        ("error: x", True), ("train.py: error: x", True), ("fatal: not a repository", True), ("ERROR x", True),
        ("one two ERROR x", True), ("2026-01-01 12:00:00 [ERROR] x", True), ("a b c ERROR x", False), ("Errors: 0", False),
        ("no ValueError: x", False), ("errors were ignored", False), ("valueError: x", False), ("MyFailure", True),
    ],
)  # fmt: skip
def test_lines_that_say_an_error_without_a_traceback(line: str, is_error: bool) -> None:
    assert shown(f"start\n{line}\nbye\n") == ([line, "bye"] if is_error else ["start", line, "bye", NOT_SAID])


@pytest.mark.parametrize(
    "line",
    ["[WARNING] x", "W1125 10:00 x", "Failed to load /x.so", "x.py:3: Warning: y", " @@@ ###", "----", '  "hidden_size": 64,', "  ],", "{", "}", "10%|#  | 1/10 [00:01]"],
)  # fmt: skip
def test_noise_is_left_out_where_nothing_says_an_error(line: str) -> None:
    assert shown(f"one\n{line}\ntwo\n") == ["one", "two", NOT_SAID]


class Blamed:
    """A build of which a test says what the recipe writes and which emitted keys read it, and whom an error blames."""

    def __init__(self, folder: Path) -> None:
        self.build = load(make(folder))

    def by(
        self,
        message: str,
        written: dict[str, tuple[object, str]],
        lines: dict[str, Line],
        *,
        is_error: bool = True,
    ) -> list[Blame]:
        files = {
            "train/x.yaml": Emitted("", lines),
            "train/run.sh": Emitted("", {}),
            "evaluate-base/y.yaml": Emitted("", {"a_key": Line(1, ("v",))}),
        }
        rows = {path: Written(value, at, "") for path, (value, at) in written.items()}
        build: Build = self.build._replace(manifest=self.build.manifest.replaced(written=rows, files=files))
        stage = build.stages[1].replaced(reads=())
        return blame(build, stage, ErrorText((), (message,), is_error))

    def emitted(self, rest: str) -> str:
        return f"{self.build.folder}/train/x.yaml:{rest}"


@pytest.fixture
def blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blamed:
    monkeypatch.chdir(tmp_path)
    return Blamed(tmp_path)


def test_a_value_or_a_key_that_an_error_names_is_blamed(blamed: Blamed) -> None:
    written = {"v": ("some_name", "recipe.yaml:2:7"), "w": ("abc", "recipe.yaml:3:1")}
    lines = {"deep.a_key": Line(7, ("v",)), "other_key": Line(1, ("w", "unknown")), "plain": Line(9, ("w",))}
    by_v = Blame("recipe.yaml:2:7", "v", blamed.emitted("7 deep.a_key"))
    assert blamed.by("no such thing: some_name", written, lines) == [by_v]
    assert blamed.by("what is a_key", written, lines) == [by_v]
    assert blamed.by("other_key", written, lines) == [Blame("recipe.yaml:3:1", "w", blamed.emitted("1 other_key"))]
    for unrelated in ("abc", "plain", "deep", "key", "some_names", "my-some_name", "a.some_name", "some_name-x"):
        assert blamed.by(unrelated, written, lines) == []
    assert blamed.by("(some_name)", written, lines) == [by_v]
    assert blamed.by("some_name", written, lines, is_error=False) == []
    assert blamed.by("a_key", {"w": ("abc", "recipe.yaml:3:1")}, lines) == []  # the recipe does not say it


def test_values_of_four_letters_say_enough(blamed: Blamed) -> None:
    for value, count in (("abcd", 1), ("abc", 0)):
        assert len(blamed.by(value, {"v": (value, "r:1:1")}, {"k": Line(1, ("v",))})) == count


def test_two_are_blamed_at_most_the_likeliest_first(blamed: Blamed) -> None:
    names = {"a": "long_value", "b": "short", "c": "x", "d": "x"}
    written: dict[str, tuple[object, str]] = {
        name: (value, f"recipe.yaml:{n}:1") for n, (name, value) in enumerate(names.items(), 1)
    }
    keys = {"d_longest_key": "d", "c_key": "c", "kb": "b", "ka": "a"}
    lines = {key: Line(1, (path,)) for key, path in keys.items()}

    def paths(message: str) -> list[str]:
        return [one.path for one in blamed.by(message, written, lines)]

    assert paths("c_key d_longest_key short long_value") == ["a", "b"]
    assert paths("c_key d_longest_key short") == ["b", "d"]
    assert paths("c_key d_longest_key") == ["d", "c"]
    lines["kb2"] = Line(3, ("b",))
    assert paths("short c_key") == ["b", "c"]  # one place is blamed once


def test_a_file_that_a_stage_reads_is_blamed_before_all_else(blamed: Blamed) -> None:
    read = FileRead("d.jsonl", at="recipe.yaml:9:9")
    stage = blamed.build.stages[1].replaced(reads=(read, FileRead("e.jsonl", at=None)))
    found = blame(blamed.build, stage, ErrorText((), ("d.jsonl e.jsonl adamw_wrong",)))
    assert found[0] == Blame("recipe.yaml:9:9", "data", "d.jsonl")
    assert [one.path for one in found[1:]] == ["train.optimizer.name"]


def test_what_a_person_reads_of_a_failure() -> None:
    stage = compiled().plan.stages[1]
    text = failure_text(stage, "exit code 1", ErrorText(("a" * 301,), ("b",)), Path("runs/x.log"))
    assert text.splitlines() == [
        "demo failed in train (exit code 1). Its last output:",
        "    " + "a" * 300,
        "    b",
        "  full output: runs/x.log",
    ]
    text = failure_text(stage, "why", ErrorText((), ()), Path("x.log"))
    assert text.splitlines()[1] == "    (none)"


def test_the_variables_of_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stage = compiled().plan.stages[1]
    hidden = ("VIRTUAL_ENV", "PYTHONHOME", "RECIPE_RESUME_FROM", "RECIPE_EVENTS", "RECIPE_ENVIRONMENTS")
    base = {"PATH": "/bin", "PYTHONPATH": f"/a{os.pathsep}/b", **dict.fromkeys(hidden, "of another run")}
    found = variables_of(RunFolder(Path("runs/x")), stage, None, base)
    assert found == {
        "PATH": "/bin",
        "PYTHONPATH": os.pathsep.join([str(HOOK), "/a", "/b"]),
        "PYTHONUNBUFFERED": "1",
        "RECIPE_STOP": str(tmp_path / "runs/x/events/.train.stop"),
        "RECIPE_EVENTS": str(tmp_path / "runs/x/events/train.jsonl"),
        "RECIPE_ENVIRONMENTS": str(tmp_path / "runs/x/.environments"),
    }
    found = variables_of(RunFolder(Path("runs/x")), stage, Path("o/checkpoint-3"), {})
    assert (found["RECIPE_RESUME_FROM"], found["PYTHONPATH"]) == ("o/checkpoint-3", str(HOOK))


def test_checkpoints_are_told_by_their_names_and_counted_by_their_steps(tmp_path: Path) -> None:
    names = (
        "checkpoint-10",
        "checkpoint-9",
        "checkpoint-x",
        "checkpoint-7.incomplete",
        "xcheckpoint-1",
        "checkpoint-100",
    )
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text('{"global_step": 9}')
    (tmp_path / "checkpoint-200").write_text("a file")
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-10", "checkpoint-100"]
    assert [step_of(tmp_path / name) for name in names] == [10, 9, None, None, None, 100]
    assert last_complete(tmp_path) == tmp_path / "checkpoint-9"
    assert not is_complete(tmp_path / "checkpoint-10")
    assert [path.name for path in set_incomplete_aside(tmp_path)] == ["incomplete-checkpoint-10", "incomplete-checkpoint-100"]  # fmt: skip
    assert set_incomplete_aside(tmp_path) == []
    assert (checkpoints(tmp_path / "none"), last_complete(tmp_path / "none")) == ([], None)
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text("[9]")
    assert last_complete(tmp_path) is None


def test_a_free_name_is_not_taken(tmp_path: Path) -> None:
    found = []
    for _ in range(3):
        found.append(free_name(tmp_path / "x", "previous"))
        found[-1].mkdir()
    assert [path.name for path in found] == ["x.previous", "x.previous-2", "x.previous-3"]
