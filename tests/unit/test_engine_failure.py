"""What is shown of a tool's log, and which line of the recipe it is traced to."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_build import make

from recipec.engine.build import load
from recipec.engine.checkpoints import is_complete, last_complete, set_incomplete_aside
from recipec.engine.failure import blame, error_text
from recipec.engine.progress import ProgressReader, clock, last_progress_bar

LAUNCHED = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "/x/train.py", line 3, in <module>
[rank0]:     main()
[rank0]:     ^^^^^^
[rank0]: torch.OutOfMemoryError: no memory left
Traceback (most recent call last):
  File "/x/launch.py", line 9, in launch
    raise CalledProcessError(returncode=1)
subprocess.CalledProcessError: Command 'x' returned non-zero exit status 1.
"""
VALIDATION = """\
\x1b[31mINFO\x1b[0m starting
  0%|          | 0/10 [00:00<?, ?it/s]\r 10%|#         | 1/10 [00:00<?, ?it/s]
Traceback (most recent call last):
  File "/x/config.py", line 3, in load
    raise error
pydantic_core.ValidationError: 1 validation error for Config
micro_batch_size
  Input should be a valid integer [type=int_type]
"""


def test_a_launchers_own_traceback_is_passed_over() -> None:
    found = error_text(LAUNCHED)
    assert found.message == ("torch.OutOfMemoryError: no memory left",)
    assert found.frames == ('  File "/x/train.py", line 3, in <module>', "    main()")


def test_a_message_of_several_lines_is_whole() -> None:
    assert error_text(VALIDATION).message[1:] == (
        "micro_batch_size",
        "  Input should be a valid integer [type=int_type]",
    )


def test_a_boxed_traceback_gives_its_message() -> None:
    text = "╭─ Traceback (most recent call last) ─╮\n│ x.py:3 in main │\n╰──────╯\nValueError: too long\n"
    assert error_text(text).lines == ("ValueError: too long",)


def test_a_log_without_a_traceback_gives_its_error_or_its_end() -> None:
    assert error_text("one\nusage: x\nx: error: no such option\n").message == ("x: error: no such option",)
    assert error_text("\n".join(map(str, range(40)))).message[-1] == "39"
    assert error_text("").lines == ()


def test_blame_by_value_by_path_and_never_by_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build = load(make(tmp_path))
    stage = build.stages[1]

    def where(message: str) -> list[str]:
        return [culprit.where for culprit in blame(build, stage, error_text(message))]

    assert where("ValueError: unknown optimizer adamw_wrong") == ["recipe.yaml:4:20"]
    assert where("FileNotFoundError: data/train.jsonl") == ["recipe.yaml:3:23"]
    assert where("ValueError: adamw_wrong_too") == []
    frames = 'Traceback (most recent call last):\n  File "x.py", line 1\n    use("adamw_wrong")\nValueError: no\n'
    assert where(frames) == []


def test_what_makes_a_checkpoint_whole(tmp_path: Path) -> None:
    for step, state in ((2, '{"global_step": 2}'), (4, '{"global_step": 3}'), (6, '{"global'), (8, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    marked = tmp_path / "checkpoint-10"
    marked.mkdir()
    (marked / "trainer_state.json").write_text('{"global_step": 10}')
    (marked / "checkpoint-is-incomplete.txt").touch()
    assert last_complete(tmp_path) == tmp_path / "checkpoint-2"
    (tmp_path / "incomplete-checkpoint-4").mkdir()
    moved = [path.name for path in set_incomplete_aside(tmp_path)]
    assert moved == ["incomplete-checkpoint-4.again"] + [f"incomplete-checkpoint-{n}" for n in (6, 8, 10)]
    assert is_complete(tmp_path / "checkpoint-2")


def test_progress_of_trainers_and_of_bars(tmp_path: Path) -> None:
    events, log = tmp_path / "e.jsonl", tmp_path / "log"
    log.write_text("==== attempt 1\n")
    reader = ProgressReader(events, log)
    with log.open("a") as stream:
        stream.write("Tokenizing:  10%|#  | 1/10\rTokenizing:  40%|####   | 4/10 [00:01]")
    assert reader.read().text() == "Tokenizing: 40% (4/10)"
    rows = ['{"event": "begin", "time": 100, "step": 0, "total": 10}', "no JSON"]
    rows += ['{"event": "log", "time": 102, "step": 4, "total": 10, "loss": 1.25, "lr": 0.001}']
    events.write_text("\n".join(rows) + '\n{"event": "step"')
    assert reader.read().text() == "step 4/10, loss 1.25, lr 0.001, 2 steps/s, 3 s left"
    assert (reader.began, reader.ended) == (True, False)
    assert last_progress_bar(tmp_path / "none", 0) == ""
    assert [clock(s) for s in (4, 185, 7385)] == ["4 s", "3:05", "2:03:05"]


def test_notes_say_how_far_an_evaluation_is_or_nothing(tmp_path: Path) -> None:
    events, log = tmp_path / "e.jsonl", tmp_path / "log"
    log.write_text("==== attempt 1\nRequests:  77%|#######   | 7/9 [00:03<00:02]\n")
    reader = ProgressReader(events, log)
    notes = []
    for text in (
        "    @@@@  @@@@@@@@@@@@@@@@\n",
        "Failed to load /x/y.so\nSettings(a=1)\n  0%|          | 0/240 [00:00<?, ?it/s]\n",
        "Loading weights: 100%|###| 20/20 [00:00<00:00]\n",
        "Requests:  0%|   | 0/9\rRequests:  33%|###   | 3/9 [00:01<00:02]",
        "\rRequests: 100%|###| 9/9 [00:01<00:02]\n",
    ):
        with log.open("a") as stream:
            stream.write(text)
        notes.append(reader.read().text())
    assert notes == ["", "", "", "Requests: 33% (3/9)", ""]


def test_a_training_that_ended_has_no_time_left_and_says_what_goes_on(tmp_path: Path) -> None:
    events, log = tmp_path / "e.jsonl", tmp_path / "log"
    log.touch()
    reader = ProgressReader(events, log)
    rows = ("begin", "log", "end")
    events.write_text("".join(f'{{"event": "{e}", "time": 1, "step": 9, "total": 9, "loss": 1}}\n' for e in rows))
    log.write_text("Writing shards:  50%|#  | 1/2\r")
    assert reader.read().text() == "step 9/9, loss 1, Writing shards: 50% (1/2)"


def test_last_lines_without_an_error_blame_nothing_and_leave_out_noise(tmp_path: Path) -> None:
    build = load(make(tmp_path))
    found = error_text("  @@ @@\n[WARNING] adamw_wrong\nW1125 x\nread adamw_wrong\nx.sh: line 3: 17 Killed  tool\n")
    assert found.message == ("read adamw_wrong", "x.sh: line 3: 17 Killed  tool")
    assert blame(build, build.stages[1], found) == []


def test_an_error_of_a_log_is_an_error() -> None:
    found = error_text("2026-11-25:03:25:31 ERROR    [_cli.run:1] Tasks not found: x.\n2026-11-25 INFO bye\n")
    assert found.is_error
    assert found.message[0].endswith("Tasks not found: x.")
