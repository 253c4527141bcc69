"""Why a stage is stale, failed or not run yet, as `recipe why` and `recipe status` tell it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from course_on_disk import FILES, RECIPE, compiled, complete, folder_of, write

from recipec.cli import main
from recipec.engine.fingerprint import Key
from recipec.engine.record import Record
from recipec.engine.standing import Reason
from recipec.processes import start_of

ME = {"pid": os.getpid(), "pid_started": start_of(os.getpid())}
DEAD = {"pid": 2**22 + 1, "pid_started": "never"}
TOKEN = "hf_" + "a1B2" * 8


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write()
    return tmp_path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str, code: int = 0) -> str:
        assert main(arguments) == code
        told = capsys.readouterr()
        return told.out if code == 0 else told.err

    return run


def change(*pairs: str) -> None:
    text = RECIPE
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    write({"course.yaml": text})


def test_a_stage_that_is_done(say: Any) -> None:
    complete(compiled())
    for arguments in (["why", "dpo"], ["why", "dpo", "course"], ["why", "dpo", "course.yaml"]):
        assert say(*arguments) == "dpo: complete and unchanged\n"
    assert json.loads(say("why", "dpo", "course.yaml", "--json")) == {
        "stage": "dpo",
        "state": "done",
        "reasons": [],
        "blocked_by": [],
        "reason": None,
        "error": [],
        "note": None,
    }


def test_a_changed_value_is_told_as_it_was_and_as_it_is(say: Any) -> None:
    complete(compiled())
    change("dpo, learning_rate: 1e-6", "dpo, learning_rate: 2e-6")
    assert say("why", "dpo", "course.yaml") == (
        "dpo: stale, because\n  train.py:DPOConfig.learning_rate: 1e-06 → 2e-06\n"
    )
    found = json.loads(say("why", "dpo", "course.yaml", "--json"))
    assert found["state"] == "stale"
    assert found["reasons"] == [
        {
            "what": "value",
            "name": "train.py:DPOConfig.learning_rate",
            "old": "1e-06",
            "new": "2e-06",
            "text": "train.py:DPOConfig.learning_rate: 1e-06 → 2e-06",
        }
    ]
    assert say("why", "grpo", "course.yaml") == (
        "grpo: stale, because\n  dpo is stale\n  `recipe why dpo` says more about dpo\n"
    )
    assert say("why", "sft", "course.yaml") == "sft: complete and unchanged\n"


def test_a_changed_file_is_told_by_its_name(say: Any) -> None:
    complete(compiled())
    write({"rewards/deep.py": "PRICE = 2\n", "asked.jsonl": FILES["asked.jsonl"] * 2})
    Path("base-model/config.json").unlink()
    write({"base-model/new.json": "{}"})
    lines = say("why", "grpo").splitlines()
    assert lines[0] == "grpo: stale, because"
    assert [line.split(":")[0] for line in lines[1:3]] == ["  file asked.jsonl", "  file rewards/deep.py"]
    assert " → sha256:" in lines[1]
    sft = say("why", "sft").splitlines()[1:]
    assert [line.split(": ")[0] for line in sft] == ["  file base-model/new.json", "  file base-model/config.json"]
    assert sft[0].split(": ")[1].startswith("(nothing) → sha256:")
    assert sft[1].endswith(" → (nothing)")


def test_another_release_is_told_before_its_pins_and_no_more_than_20_lines(say: Any) -> None:
    complete(compiled())
    lines = say("why", "sft", "course.yaml", "--set", "versions.trl=1.9.0", "--set", "train.batch_size=16").splitlines()
    assert lines[1] == "  release: 1.16.0 → 1.9.0"
    assert any(line.startswith("  package trl: 1.16.0 → 1.9.0") for line in lines)
    many = [
        "versions.trl=1.9.0",
        "train.batch_size=16",
        "train.epochs=2",
        "seed=7",
        "model.max_length=768",
        "train.weight_decay=0.1",
        "train.warmup=10%",
        "train.max_grad_norm=0.5",
    ]
    settings = [word for one in many for word in ("--set", one)]
    lines = say("why", "sft", "course.yaml", *settings).splitlines()
    assert len(lines) == 21
    told = json.loads(say("why", "sft", "course.yaml", "--json", *settings))
    assert lines[-1] == f"  and {len(told['reasons']) - 19} more reasons: --json has all"
    assert len({reason["text"] for reason in told["reasons"]}) == len(told["reasons"]) > 20


def test_a_stage_waits_for_others(say: Any) -> None:
    build = compiled()
    assert say("why", "sft", "course.yaml") == "sft: never run\n"
    assert say("why", "dpo", "course.yaml") == (
        "dpo: blocked: it has not run, and waits for sft-merge (blocked)\n  `recipe why sft-merge` says more about sft-merge\n"
    )
    complete(build, "sft", "sft-merge")
    assert say("why", "dpo") == "dpo: never run\n"
    complete(build, "dpo")
    complete(build, "sft-merge")
    assert say("why", "dpo") == "dpo: stale, because\n  sft-merge has run again since\n"
    shutil.rmtree("runs/course/sft-merge")
    assert say("why", "sft-merge").splitlines()[1:] == ["  its results in runs/course/sft-merge are gone"]
    assert say("why", "dpo").splitlines()[1] == "  sft-merge is stale"


def test_a_stage_that_failed_runs_or_was_interrupted(say: Any) -> None:
    build = compiled()
    complete(build, "sft", "sft-merge")
    record, key = Record(folder_of(build).record), Key.read(folder_of(build).key("sft"))
    assert key is not None
    fingerprint = "0" * 64
    record.add("run-started", build=str(build.folder), **ME)
    record.add("stage-started", stage="dpo", fingerprint=fingerprint, **ME)
    assert say("why", "dpo").splitlines()[0] == "dpo: running"
    record.add("stage-interrupted", stage="dpo", signal="SIGINT")
    assert say("why", "dpo").splitlines()[0] == "dpo: interrupted"
    record.add("stage-started", stage="dpo", fingerprint=fingerprint, **ME)
    error = [f"line {number}" for number in range(9)] + [f"token {TOKEN}"]
    record.add("stage-failed", stage="dpo", reason="exit code 1", error=error)
    lines = say("why", "dpo").splitlines()
    assert lines[:2] == ["dpo: failed (exit code 1)", "  line 5"]
    assert lines[5] == f"  token {'*' * len(TOKEN)}"
    assert lines[6] == "  what it was made from was not kept: another version of recipec ran it"
    found = json.loads(say("why", "dpo", "--json"))
    assert (found["state"], found["reason"], len(found["error"])) == ("failed", "exit code 1", 5)
    assert TOKEN not in json.dumps(found)
    record.add("run-started", build=str(build.folder), **DEAD)
    record.add("stage-started", stage="dpo", fingerprint=fingerprint, **DEAD)
    assert say("why", "dpo").splitlines()[0] == "dpo: interrupted"


def test_other_parents_are_told(say: Any) -> None:
    complete(compiled())
    change("start_from: dpo", "start_from: sft\n    parent_adapter: merge")
    lines = say("why", "grpo", "course.yaml").splitlines()
    assert "  sft-merge is new among what it waits for" in lines
    assert "  dpo is not what it waits for any more" in lines


def test_no_secret_is_told() -> None:
    for reason in (Reason("value", "a", TOKEN, "x"), Reason("value", "a", "secret:" + "0" * 64, "secret:" + "1" * 64)):
        for text in (reason.text(), json.dumps(reason.as_json())):
            assert TOKEN not in text
            assert "0" * 12 not in text
    assert Reason("value", "a", "secret:0", None).text() == "a: (a secret) → (nothing)"


def test_status_shows_the_first_reason_of_a_stale_stage(say: Any) -> None:
    complete(compiled())
    assert say("status", "course").splitlines()[1:3] == ["  sft            complete", "  sft-merge      complete"]
    change("dpo, learning_rate: 1e-6", "dpo, learning_rate: 2e-6")
    lines = say("status", "course.yaml").splitlines()
    assert lines[2:5] == [
        "  sft-merge      complete",
        "  dpo            stale: train.py:DPOConfig.learning_rate: 1e-06 → 2e-06",
        "  grpo           stale: dpo is stale",
    ]
    found = json.loads(say("status", "course.yaml", "--json"))
    assert {row["stage"]: row["stale"] for row in found["stages"]} == {
        "sft": None,
        "sft-merge": None,
        "dpo": "train.py:DPOConfig.learning_rate: 1e-06 → 2e-06",
        "grpo": "dpo is stale",
        "evaluate-base": None,
        "evaluate-sft": None,
        "evaluate-grpo": "grpo is stale",
    }
    assert {row["state"] for row in found["stages"]} == {"complete"}


def test_a_run_by_name_says_what_it_could_not_judge(say: Any) -> None:
    complete(compiled())
    change("dpo, learning_rate: 1e-6", "dpo, learning_rate: 2e-6")
    note = "note: course.yaml has changed since it was compiled: name it to judge it as it is now"
    assert say("why", "dpo").splitlines() == ["dpo: complete and unchanged", note]
    assert say("status", "course").splitlines()[-1] == note
    shutil.rmtree("build")
    note = "what is stale is not known: the files that it was run from (build/course) are gone; name the recipe instead"
    assert say("status", "course").splitlines()[-1] == f"note: {note}"
    assert note in say("why", "dpo", code=1)
    assert say("why", "dpo", "course.yaml").startswith("dpo: stale, because")


def test_what_there_is_not_is_told(say: Any) -> None:
    assert "there is no run in runs" in say("why", "dpo", code=1)
    complete(compiled())
    said = say("why", "dpoo", code=1)
    assert 'error[E021]: there is no stage "dpoo"; there are sft, sft-merge, dpo, ' in said
    assert 'did you mean "dpo"?' in said
    assert 'there is no run "cours"' in say("why", "dpo", "cours", code=1)
    assert "course is no file" in say("why", "dpo", "course", "--set", "seed=1", code=1)
    shutil.copytree("runs/course", "runs/other")
    assert "there are 2 runs: course, other" in say("why", "dpo", code=1)
    change("rank: 8", "rnk: 8")
    assert 'did you mean "rank"?' in say("why", "dpo", "course.yaml", code=1)


def test_the_example_of_the_documentation_is_what_is_told(say: Any) -> None:
    build = compiled()
    complete(build)
    complete(build, "sft-merge")
    change("dpo, learning_rate: 1e-6", "dpo, learning_rate: 2e-6")
    write({"pairs.jsonl": 2 * FILES["pairs.jsonl"]})
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    (block,) = (one for one in re.findall(r"```console\n(.*?)```", page, re.DOTALL) if "recipe why" in one)
    command, _, shown = block.partition("\n")
    told = say(*command.removeprefix("$ recipe ").split())
    assert re.sub(r"[0-9a-f]{12}…", "…", told) == re.sub(r"[0-9a-f]{12}…", "…", shown)


def test_asking_writes_nothing(place: Path, say: Any) -> None:
    complete(compiled())
    Path("runs/course/.hashes.json").unlink()
    before = {str(path): path.stat().st_mtime_ns for path in place.rglob("*")}
    for arguments in (["why", "dpo"], ["why", "dpo", "course.yaml"], ["status", "course"], ["status", "course.yaml"]):
        say(*arguments)
    assert {str(path): path.stat().st_mtime_ns for path in place.rglob("*")} == before
