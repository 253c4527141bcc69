"""What clusters do to a run: changed machines, tools that stand still, signals of a scheduler, full disks, bad files."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_build import FOREVER, RECIPE, TRAIN, events, finish, make, python, recorded, run_here, start, wait_for

from recipec import manifest
from recipec.cli import main
from recipec.diagnostics import RecipeError
from recipec.engine import status, status_text
from recipec.engine.checkpoints import is_complete
from recipec.engine.failure import stack_text
from recipec.engine.signs_of_life import SignsOfLife, in_words
from recipec.processes import alive, start_of
from recipec.run_command import seconds_of

# Saves and stops when it is asked to, as our hook makes a trainer do.
ASKED = TRAIN.replace(
    "trainer_state.json\n",
    'trainer_state.json\n      if [ -e "$RECIPE_STOP" ]; then say stop; exit 0; fi\n      touch step-$step\n',
)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of environments for all tests, so that the tiny one is made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECIPEC_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def anyway(**more: Any) -> tuple[int, str]:
    """Run the engine as `--resume-anyway` does; return its exit code and what it said."""
    return run_here(resume_anyway=True, **more)


def stopped_at(folder: Path, step: int) -> None:
    """Leave a training that was killed after a step, with its checkpoint."""
    make(folder)
    process = start(folder, TEAR=str(step + 1))
    wait_for(lambda: Path("torn").exists())
    process.kill()
    finish(process)
    Path("torn").unlink()
    wait_for(lambda: status(Path("runs/demo"))["stages"][1]["state"].startswith("stopped"))


def test_a_refusal_names_every_change_and_both_ways_on(place: Path) -> None:
    stopped_at(place, 3)
    make(place, config="a: 2\nb: 3")
    Path("data/train.jsonl").write_text('{"text": "b"}\n')
    code, said = run_here()
    assert code == 1
    assert "axolotl.yaml:a: 1 → 2; axolotl.yaml:b: (nothing) → 3; file data/train.jsonl: sha256:" in said
    assert "--fresh to move them to runs/demo/train.previous and start train over" in said
    assert "or --resume-anyway to go on from runs/demo/train/checkpoint-3 as things are now" in said


def test_more_changes_than_fit_are_counted(place: Path) -> None:
    stopped_at(place, 1)
    make(place, config="a: 2\n" + "\n".join(f"b{number}: 1" for number in range(7)))
    said = run_here()[1]
    assert "and 3 more: `recipe why train` has all" in said


def test_resume_anyway_goes_on_and_is_told_afterwards(place: Path) -> None:
    stopped_at(place, 3)
    make(place, config="a: 2")
    code, said = anyway()
    assert code == 0, said
    assert "train: resuming from runs/demo/train/checkpoint-3" in said
    assert "train: goes on although this changed:\n    axolotl.yaml:a: 1 → 2" in said
    assert "some rows come again, or not at all" in said
    assert recorded("stage-resumed-anyway") | {"time": ""} == {
        "event": "stage-resumed-anyway",
        "time": "",
        "stage": "train",
        "checkpoint": "runs/demo/train/checkpoint-3",
        "changes": ["axolotl.yaml:a: 1 → 2"],
    }
    assert status(Path("runs/demo"))["stages"][1]["despite"] == ["axolotl.yaml:a: 1 → 2"]
    assert "went on although this changed: axolotl.yaml:a: 1 → 2" in status_text(status(Path("runs/demo")))
    assert not Path("runs/demo/train.previous").exists()
    assert "complete and unchanged" in run_here()[1]  # it is what the recipe says now
    make(place, config="a: 3")
    assert run_here(fresh=True)[0] == 0
    assert "although" not in status_text(status(Path("runs/demo")))


def test_resume_anyway_changes_nothing_where_nothing_changed(place: Path) -> None:
    stopped_at(place, 3)
    code, said = anyway()
    assert (code, "although" in said) == (0, False), said
    assert "stage-resumed-anyway" not in events(place)


def test_resume_anyway_takes_checkpoints_that_no_run_recorded(place: Path) -> None:
    make(place)
    folder = Path("runs/demo/train/checkpoint-2")
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text('{"global_step": 2}')
    assert "no recorded run of train wrote them" in run_here()[1]
    code, said = anyway()
    assert (code, "resuming from runs/demo/train/checkpoint-2" in said) == (0, True), said


def test_resume_anyway_needs_a_whole_checkpoint(place: Path) -> None:
    make(place)
    Path("runs/demo/train/checkpoint-2").mkdir(parents=True)
    code, said = anyway()
    assert (code, "none of them is complete" in said) == (1, True), said


def test_a_training_that_had_ended_trains_nothing_and_is_not_called_complete(place: Path) -> None:
    make(place)
    assert run_here()[0] == 0
    make(place, config="a: 2")
    code, said = anyway()
    assert code == 3, said
    assert "nothing was trained: its last step was step 6" in said


def spread_over(folder: Path, strategy: str, world: int) -> None:
    """Make the tree anew, with a training of that layout."""
    build = make(folder, config=f"world: {world}\nstrategy: {strategy}")
    found = manifest.read((build / manifest.FILE).read_text())
    stages = []
    for stage in found.plan.stages:
        if stage.kind == "train":
            body = stage.body
            body = body.replaced(
                parallel=body.parallel.replaced(strategy=strategy), hardware=body.hardware.replaced(world=world)
            )
            stage = stage.replaced(body=body)
        stages.append(stage)
    (build / manifest.FILE).write_text(manifest.write(found.replaced(plan=found.plan.replaced(stages=tuple(stages)))))


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        (
            ("zero3", 4),
            ("zero3", 8),
            "zero3 split the optimizer's state over 4 processes, and loads it with as many alone",
        ),
        (("zero2", 4), ("zero3", 4), "zero2 wrote the optimizer's state, and zero3 cannot load it"),
        (("ddp", 4), ("fsdp2", 4), "ddp wrote the optimizer's state, and fsdp2 cannot load it"),
        (("ddp", 4), ("ddp", 2), None),
        (("single", 1), ("ddp", 2), None),
    ],
)
def test_what_no_tool_can_load_is_said_before_it_is_tried(
    place: Path, old: tuple[str, int], new: tuple[str, int], because: str | None
) -> None:
    spread_over(place, *old)
    assert run_here()[0] == 0
    assert recorded("stage-started", stage="train")["layout"] == list(old)
    spread_over(place, *new)
    said = run_here()[1]
    if because is None:
        assert "or --resume-anyway" in said
        return
    assert f"going on from them is not possible: {because}" in said
    assert anyway() == (1, said)


def test_an_asked_training_saves_and_the_run_ends_with_75(place: Path) -> None:
    make(place, train=ASKED)
    process = start(place, PACE="0.3")
    wait_for(lambda: Path("step-1").exists())
    process.send_signal(signal.SIGUSR1)
    code, said = finish(process)
    assert code == 75, said
    saved = re.search(r"saved as runs/demo/train/(checkpoint-[2-5])\)", said)
    assert saved is not None, said
    assert "train is asked to save a checkpoint and to stop (send another signal to stop it without)" in said
    assert "sent to train" not in said
    row = recorded("stage-interrupted")
    assert (row["signal"], row["saved"]) == ("SIGUSR1", f"runs/demo/train/{saved[1]}")
    assert recorded("run-interrupted")["exit_code"] == 75
    code, said = run_here()
    assert (code, f"resuming from runs/demo/train/{saved[1]}" in said) == (0, True), said


def test_a_training_at_its_end_is_complete_although_it_was_asked_to_stop(place: Path) -> None:
    make(place, train=TRAIN.replace("say end", "touch late; while [ ! -e $RECIPE_STOP ]; do sleep 0.05; done; say end"))
    process = start(place)
    wait_for(lambda: Path("late").exists())
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert code == 75, said
    assert events(place, "train")[-1] == "stage-finished"
    assert events(place, "evaluate-base") == []
    assert "train: skipped" in run_here()[1]


def test_a_second_signal_stops_it_without_a_checkpoint(place: Path) -> None:
    make(
        place,
        train=TRAIN.replace("while [ $step", "touch ready; sleep 0.2; while :; do sleep 0.1; done; while [ $step"),
    )
    process = start(place)
    wait_for(lambda: Path("ready").exists())
    time.sleep(0.5)  # until its beginning was read
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: Path("runs/demo/events/.train.stop").exists())
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert (code, "termination sent to train" in said, "saved as" in said) == (75, True, False), said
    assert not Path("runs/demo/events/.train.stop").exists()


def test_a_tool_that_stands_still_is_ended_and_says_where_it_stood(place: Path) -> None:
    tool = """
        import json, os, time
        def begin(event):
            with open(os.environ["RECIPE_EVENTS"], "a") as stream:
                stream.write(json.dumps({"event": event, "time": time.time(), "step": 40, "total": 200}) + "\\n")
        def wait_for_a_rank_that_is_gone():
            while True:
                time.sleep(0.05)
        begin("begin")
        wait_for_a_rank_that_is_gone()
    """
    make(place, train=python(tool))
    code, said = run_here(stall=2.0)
    assert code == 3, said
    assert recorded("stage-failed")["reason"] == "no progress for 2 s at step 40 of 200"
    assert "it stood at (innermost first):" in said
    assert "in wait_for_a_rank_that_is_gone" in said
    assert "failed in train (no progress for 2 s at step 40 of 200)" in said


def test_what_logs_or_saves_or_tells_events_does_not_stand_still(tmp_path: Path) -> None:
    now = [0.0]
    log, folder = tmp_path / "log", tmp_path / "out"
    signs = SignsOfLife((log, folder), now=lambda: now[0])
    (folder / "checkpoint-1").mkdir(parents=True)
    for at, do in (
        (10.0, lambda: log.write_text("a")),
        (20.0, lambda: (folder / "checkpoint-1/model").write_text("half")),
        (30.0, lambda: (folder / "checkpoint-1/model").write_text("whole")),
        (40.0, lambda: (folder / "checkpoint-1/model").unlink()),
    ):
        do()
        now[0] = at
        assert signs.quiet() == 0.0
    now[0] = 41.0
    assert signs.quiet() == 1.0
    now[0] = 100.0
    assert signs.quiet() == 60.0


def test_times_are_read_and_told() -> None:
    assert [seconds_of("--stall", text) for text in (None, "90s", "30m", "1.5h", "2 d")] == [
        None,
        90,
        1800,
        5400,
        172800,
    ]
    assert [in_words(seconds) for seconds in (2, 90, 1800, 5400, 7200)] == ["2 s", "90 s", "30 min", "90 min", "2 h"]
    for text in ("0m", "30", "m", "-1m", "1w", "nan s"):
        with pytest.raises(RecipeError, match="is no time"):
            seconds_of("--stall", text)


def test_a_launcher_that_waits_is_not_where_a_tool_stands() -> None:
    own = ["Current thread 0x00007f (most recent call first):", '  File "/x/trainer.py", line 7 in step']
    waits = ["Current thread 0x00007f (most recent call first):", '  File "/usr/lib/subprocess.py", line 2 in wait']
    for lines in ([*own, *waits], [*waits, *own]):
        found = stack_text("\n".join(lines))
        assert found is not None
        assert found.lines == ("it stood at (innermost first):", 'File "/x/trainer.py", line 7 in step')
    assert stack_text("\n".join(waits)) is not None
    assert stack_text("nothing") is None


@pytest.mark.parametrize("victim", ["engine", "tool"])
def test_who_leaves_the_group_is_ended_too(place: Path, victim: str) -> None:
    """As the workers of torchrun do, which have sessions of their own."""
    make(place, train=f"setsid bash -c 'echo $$ > worker; {FOREVER}' & echo $$ > tool; {FOREVER}")
    process = start(place)
    wait_for(lambda: all(Path(name).exists() and Path(name).read_text().strip() for name in ("worker", "tool")))
    worker = int(Path("worker").read_text())
    started = start_of(worker)
    assert os.getpgid(worker) != os.getpgid(int(Path("tool").read_text()))
    os.kill(process.pid if victim == "engine" else int(Path("tool").read_text()), signal.SIGKILL)
    finish(process)
    wait_for(lambda: not alive(worker, started))


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A disk of 1 MiB at `small`."""
    disk = place / "small"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("only root may mount a disk to fill")
    yield disk
    subprocess.run(["umount", disk], check=True)


FILL = "head -c 2000000 /dev/zero > {file} || true"


def test_a_full_disk_of_the_tool_is_named(place: Path, small_disk: Path) -> None:
    make(place, train=f"{FILL.format(file='runs/demo/train/model')}; exit 1")
    Path("runs/demo").mkdir(parents=True)
    Path("runs/demo/train").symlink_to(small_disk)
    code, said = run_here()
    assert code == 3, said
    assert re.search(r"\(exit code 1; the disk is full: 0 MB are free at runs/demo/train\)", said), said
    assert "the disk is full" in recorded("stage-failed")["reason"]


def test_a_full_disk_of_the_run_is_an_error_and_the_run_continues_when_there_is_room(
    place: Path, small_disk: Path
) -> None:
    """The tool goes on, and nothing that it or the run writes afterwards finds room."""
    fill = f"if [ $step = 3 ]; then {FILL.format(file='runs/demo/rest')}; {FILL.format(file='runs/demo/more')}; fi"
    make(place, train=TRAIN.replace("say log", f"{fill}; say log"))
    Path("runs").symlink_to(small_disk)
    code, said = run_here()
    assert (code == 1 and "error[E012]: cannot be written: No space left on device" in said) or (
        code == 3 and "the disk is full: 0 MB are free at runs/demo/train" in said
    ), said
    assert not any(last.exists() for last in Path("runs/demo").glob("evaluate-*"))
    for name in ("rest", "more"):
        Path("runs/demo", name).unlink(missing_ok=True)
    make(place, train=TRAIN.replace("say log", ": three times as much room as before; say log"))
    code, said = run_here(resume_anyway=True)
    assert code == 0, said
    assert "train: resuming from runs/demo/train/checkpoint-" in said
    assert status(Path("runs/demo"))["state"] == "complete"


def test_a_full_disk_before_the_start_is_an_error(place: Path, small_disk: Path) -> None:
    make(place)
    Path("runs").symlink_to(small_disk)
    subprocess.run(["bash", "-c", "head -c 2000000 /dev/zero > small/rest"], check=False, capture_output=True)
    code, said = run_here()
    assert (code, "No space left on device" in said, "free some space" in said) == (1, True, True), said
    assert "runs/demo" in said


def test_data_that_cannot_be_read_is_an_error_at_its_line(place: Path) -> None:
    make(place)
    Path("data/train.jsonl").unlink()
    Path("data/train.jsonl").symlink_to("/proc/self/mem")
    code, said = run_here()
    assert code == 1, said
    assert "error[E013]: data/train.jsonl cannot be read: Input/output error" in said
    assert "recipe.yaml:3:23" in said
    assert not Path("runs/demo/record.jsonl").exists()


def test_words_that_contradict_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "data").mkdir()
    (place / "data/train.jsonl").write_text('{"text": "a"}\n' * 50)
    Path("r.yaml").write_text(RECIPE.replace("adamw_wrong", "adamw"))
    for words, message in (
        (["--stall", "soon"], '--stall: "soon" is no time'),
        (["--resume-anyway", "--fresh"], "--resume-anyway goes on from checkpoints"),
        (["--resume-anyway", "--force"], "--resume-anyway goes on from checkpoints"),
        (["--resume-anyway", "--from", "train"], "--resume-anyway goes on from checkpoints"),
    ):
        assert main(["run", "r.yaml", *words]) == 1
        assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_checkpoint_whose_weights_did_not_reach_the_disk_is_not_believed(tmp_path: Path) -> None:
    """As after a power cut, where trainer_state.json may be on the disk before what was written before it."""
    folder = tmp_path / "checkpoint-3"
    (folder / "global_step3").mkdir(parents=True)
    head = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {}}).encode()
    weights = len(head).to_bytes(8, "little") + head + b"01234567"
    states = io.BytesIO()
    with zipfile.ZipFile(states, "w") as archive:
        archive.writestr("data.pkl", "x" * 300)
    (folder / "trainer_state.json").write_text('{"global_step": 3}')
    for name, whole in (
        ("model.safetensors", weights),
        ("optimizer.pt", states.getvalue()),
        ("rng_state.pth", states.getvalue()),
        ("global_step3/zero_pp_rank_0_optim_states.pt", states.getvalue()),
        ("old.bin", b"\x80\x02legacy"),
    ):
        (folder / name).write_bytes(whole)
        assert is_complete(folder), name
        cuts = [b"", bytes(len(whole)), *([whole[:-1], whole[:20]] if name != "old.bin" else [])]
        for cut in cuts:
            (folder / name).write_bytes(cut)
            assert not is_complete(folder), (name, cut)
        (folder / name).write_bytes(whole)
