"""What a report holds beside scores and curves: rows, decisions, machines, answers; several runs; Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import reported_run

from recipec import manifest
from recipec.cli import main
from recipec.diagnostics import RecipeError
from recipec.pipeline import compile_file
from recipec.report import (
    comparison_data,
    comparison_html,
    comparison_markdown,
    report_html,
    report_json,
    report_markdown,
)
from recipec.report.rows import rows_in
from recipec.report.samples import read_samples, side_by_side


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def course(here: Path) -> Path:
    return reported_run.make(here)


def test_rows_that_a_tool_left_out_are_a_difference_of_counts(course: Path) -> None:
    sft, dpo = report_json(course)["trained_rows"]
    assert (sft["sources"][0]["rows"], sft["given"], sft["held_out"], sft["left_out"]) == (100, 87, 10, 3)
    assert (dpo["sources"][0]["rows"], dpo["given"], dpo["left_out"]) == (None, 87, None)  # made rows: no hash of them
    Path("data/instructions.jsonl").write_text("{}\n")
    assert report_json(course)["trained_rows"][0]["left_out"] is None  # it is another file now


def test_what_may_be_packed_or_repeated_is_not_called_left_out(course: Path) -> None:
    plan = course / "plan.json"
    for old, new in (('"packing":false', '"packing":true'), ('"weight":1', '"weight":2'), ('"method":"sft"', '"method":"pretrain"')):  # fmt: skip
        text = plan.read_text()
        assert old in text
        plan.write_text(text.replace(old, new))
        assert report_json(course)["trained_rows"][0]["left_out"] is None
        plan.write_text(text)
    assert report_json(course)["trained_rows"][0]["left_out"] == 3


def test_rows_of_what_cannot_be_counted_are_not_known(here: Path) -> None:
    (here / "a.jsonl").write_text('{"a": 1}\n\n{"a": 2}')
    held = reported_run._sha("a.jsonl")
    assert rows_in("a.jsonl", held) == 2
    assert rows_in("a.jsonl", None) is None
    assert rows_in("a.jsonl", "0" * 64) is None
    assert rows_in("none.jsonl", held) is None
    (here / "a.parquet").write_text('{"a": 1}\n\n{"a": 2}')
    assert rows_in("a.parquet", held) is None


def test_made_rows_machines_findings_and_what_was_used(course: Path) -> None:
    found = report_json(course)
    assert found["made_rows"] == [{"stage": "pairs", "counts": {"prompts": 19, "prompts too long": 1, "answers": 72, "answers cut off": 3, "answers empty": 0, "rows": 13}}]  # fmt: skip
    assert [machine["host"] for machine in found["machines"]] == ["node-7"]
    assert [finding["code"] for finding in found["findings"]] == ["L999"]
    sft = next(stage for stage in found["stages"] if stage["stage"] == "sft")
    assert sft["usage"]["tokens"]["per_second"] == 12345.6
    assert [(one["state"], one["resumed"]) for one in sft["history"]] == [("interrupted", None), ("complete", "checkpoint-20")]  # fmt: skip
    assert sft["total_seconds"] == 41.0
    assert {"file": "data/instructions.jsonl", "sha256": reported_run._sha("data/instructions.jsonl"), "what": "read"} in found["files"]  # fmt: skip


def test_decisions_name_their_origin(course: Path) -> None:
    found = {row["path"]: row for row in report_json(course)["decisions"]}
    rate = found["sft.optimizer.learning_rate"]
    assert (rate["value"], rate["origin"], rate["at"]) == ("0.001", "recipe", "course.yaml:6:71")
    assert {row["origin"] for row in found.values()} >= {"recipe", "rule", "default"}
    assert list(dict.fromkeys(row["stage"] for row in found.values()))[:3] == ["hardware", "init", "sft"]
    assert not [path for path in found if ".hardware." in path]


def test_answers_are_side_by_side_those_first_that_differ(course: Path) -> None:
    drinks, said = report_json(course)["samples"]
    assert (drinks["task"], drinks["models"], drinks["of"]) == ("drinks", ["base", "sft", "dpo"], 40)
    assert 0 < drinks["differing"] < 40
    first = drinks["rows"][0]
    assert {answer["text"] for answer in first["answers"].values()} == {"tea", "coffee"}
    assert (first["prompt"], first["target"]) == ("Q: a drink? A:", "tea")  # its number stands in the file
    assert [model["values"] for model in first["answers"].values()] != [{"acc": 0.0}] * 3
    assert said["rows"][0]["answers"]["sft"]["text"].startswith("sft ")


def test_answers_of_other_rows_or_other_forms_are_not_taken_for_the_same(here: Path) -> None:
    rows = [
        {"doc_id": 0, "doc_hash": "a", "target": 7, "arguments": [["ask"]], "resps": [["x"]], "filtered_resps": ["x"]},
        {"doc_id": 1, "doc_hash": "b", "filtered_resps": [], "metrics": ["acc"], "acc": 1},
        {"doc_id": "?", "doc_hash": "c"},
    ]
    (here / "m").mkdir()
    (here / "m/samples_words_2026-01.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{torn")
    (here / "m/samples_words_more_2027-01.jsonl").write_text("")  # of another task
    found = read_samples(here / "m", "words")["none"]
    assert [(row.prompt, row.target, row.answer) for row in found.values()] == [("ask", "7", "x"), ("", "", "")]
    other = {"0": found["0"]._replace(same="z", answer="y"), "1": found["1"]._replace(values={"acc": 0.0})}
    shown = side_by_side("words", {"one": found, "two": other})
    assert shown is not None
    assert ([row["row"] for row in shown["rows"]], shown["differing"]) == ([1], 1)
    assert side_by_side("words", {"one": {}, "two": {}}) is None


def test_runs_are_compared_by_what_was_decided_otherwise(here: Path, course: Path) -> None:
    second = reported_run.make(here, "second", "2e-3", 1)
    runs = {"course": course, "second": second}
    found = json.loads(json.dumps(comparison_data(runs)))
    assert [(row["path"], row["values"]) for row in found["differences"]] == [
        (f"{stage}.optimizer.learning_rate", {"course": "0.001", "second": "0.002"}) for stage in ("sft", "dpo")
    ]
    assert {(row["model"], row["task"]) for row in found["scores"]} == {
        (model, task) for model in ("base", "sft", "dpo") for task in reported_run.TASKS
    }
    drinks = found["scores"][0]
    assert drinks["changes"]["second"]["method"] == "paired, McNemar's exact test"
    assert [row["name"] for row in found["runs"]] == ["course", "second"]
    text = comparison_markdown(runs)
    assert "- sft.optimizer.learning_rate: 0.001 → 0.002\n" in text
    third = reported_run.make(here, "third", "3e-3", 2)
    assert "| `sft.optimizer.learning_rate` | 0.001 | 0.002 | 0.003 |" in comparison_markdown({**runs, "third": third})


def test_many_runs_are_rows_of_a_table(here: Path) -> None:
    rates = {f"r{number}": f"{number}e-3" for number in range(1, 6)}
    runs = {name: reported_run.make(here, name, rate, number) for number, (name, rate) in enumerate(rates.items())}
    text = comparison_markdown(runs)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| r")]
    assert [row[1] for row in rows if "0.005" in row or "0.001" in row] == ["0.001", "0.005"]
    assert len({len(row) for row in rows if len(row) > 5}) == 1
    assert "base: drinks acc" in text
    page = comparison_html(runs)
    assert "What is different, and the scores" in page
    assert page.count('<th scope="row">r5</th>') == 1


def test_other_data_packages_and_stages_are_told(here: Path, course: Path) -> None:
    second = reported_run.make(here, "second")
    (second / ".keys/sft.json").write_text((second / ".keys/sft.json").read_text().replace(reported_run._sha("data/instructions.jsonl"), "0" * 64))  # fmt: skip
    record = second / "record.jsonl"
    record.write_text(record.read_text().replace("torch==2.13.0", "torch==2.12.0"))
    text = comparison_markdown({"course": course, "second": second})
    assert "file data/instructions.jsonl: " in text
    assert "package torch: 2.13.0 → 2.12.0" in text
    record.write_text(record.read_text().replace("torch==2.12.0", "torch==2.13.0"))
    (second / ".keys/sft.json").write_text((course / ".keys/sft.json").read_text())
    assert "Nothing differs" in comparison_markdown({"course": course, "second": second})


def test_markdown_is_short_and_folds_details(course: Path) -> None:
    text = report_markdown(course)
    begin = r"## course: complete\n\n`course.yaml` · 7 of 7 stages complete · took [\d:]+( s)? · declared CPU"
    assert re.match(begin, text)
    assert "| drinks | acc | 0.3000 ± 0.0734 |" in text
    assert "p < 0.001 ✅" in text
    assert "validation" in text
    assert "not finite at step 30" in text
    assert text.count("<details>") == text.count("</details>") == 5
    assert len(text) < 20_000  # GitHub takes 65,536 characters
    assert "<gap>" not in text.replace("\\<gap>", "")
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_a_failure_is_told_without_its_secrets(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reported_run.make(here, failed=True)
    assert main(["report", "course", "--markdown"]) == 0
    text = capsys.readouterr().out
    assert "**evaluate-dpo failed**: exit code 1" in text
    assert "ValueError" in text
    assert reported_run.SECRET not in text
    assert main(["report", "course", "--json"]) == 0
    assert reported_run.SECRET not in capsys.readouterr().out


def test_the_command_writes_where_it_is_told(here: Path, course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reported_run.make(here, "second")

    def said(*words: str) -> str:
        assert main(["report", *words]) == 0
        return capsys.readouterr().out

    assert said("course").endswith("report: runs/course/report.html\n")
    assert said("course", "second") == "report: runs/comparison-course-second.html\n"
    assert said("course", "--out", "a.html").endswith("report: a.html\n")
    assert said("course", "second", "--markdown", "--out", "b.md") == "report: b.md\n"
    assert (here / "b.md").read_text().startswith("## course · second\n")
    assert (here / "a.html").read_text().startswith("<!doctype html>")
    compared: dict[str, Any] = json.loads(said("course", "second", "--json"))
    assert compared["names"] == ["course", "second"]
    assert main(["report", "course", "course"]) == 1
    assert "two different runs" in capsys.readouterr().err
    with pytest.raises(RecipeError):
        comparison_data({"course": course, "none": here / "runs/none"})


def test_a_run_of_before_there_were_groups_is_still_told(course: Path) -> None:
    plan = course / "plan.json"
    text = plan.read_text()
    assert ',"group":"course"' in text
    plan.write_text(text.replace(',"group":"course"', ""))
    assert report_json(course)["state"] == "complete"


WATCHED = """
recipe: 1
name: watched
trainer: trl
model: {base: my-lab/my-model}
data: {train: [{path: data/instructions.jsonl, format: instruction}]}
train: {learning_rate: 1e-3, steps: 60, save: {every: 20}}
hardware: {gpu: none}
evaluate: {tasks: [drinks], task_folder: tasks, when: every_checkpoint}
"""


def test_scores_of_checkpoints_by_step(here: Path) -> None:
    (here / "watched.yaml").write_text(WATCHED)
    compiled = compile_file("watched.yaml")
    folder = here / "runs" / "watched"
    (folder / "evaluate-checkpoints").mkdir(parents=True)
    (folder / "plan.json").write_text(compiled.files[manifest.FILE])
    found = report_json(folder)
    assert found["checkpoints"] == []  # not measured yet
    assert "data-checkpoints" not in report_html(folder)
    rows = [
        {
            "step": step,
            "best": step == 40,
            "metric": "acc,none",
            "value": value,
            "tasks": {"drinks": {"acc,none": value, "acc_stderr,none": 0.05, "exact,strict": 0.5}},
        }
        for step, value in ((20, 0.25), (40, 0.75), (80, 0.5))
    ]
    told = {"best": 40, "missed": [60], "checkpoints": rows}
    (folder / "evaluate-checkpoints" / "scores.json").write_text(json.dumps(told))
    (one,) = report_json(folder)["checkpoints"]
    assert (one["stage"], one["of"], one["missed"]) == ("evaluate-checkpoints", "train", [60])
    assert one["best"] == {"step": 40, "task": "drinks", "metric": "acc", "value": 0.75}
    assert one["columns"] == ["drinks acc", "drinks exact (strict)"]
    assert [row["scores"][0] for row in one["rows"]] == [
        {"value": 0.25, "stderr": 0.05},
        {"value": 0.75, "stderr": 0.05},
        {"value": 0.5, "stderr": 0.05},
    ]
    series = {line["name"]: line["points"] for line in one["charts"][0]["series"]}
    assert series == {"acc": [[20, 0.25], [40, 0.75], [80, 0.5]], "exact (strict)": [[20, 0.5], [40, 0.5], [80, 0.5]]}
    page, text = report_html(folder), report_markdown(folder)
    assert "The best is that of step 40: drinks acc 0.75." in page
    assert "Deleted before they could be kept: step 60." in page
    assert '<th scope="row">40 <span class="soft small">best</span></th>' in page
    assert "| 40 (best) | 0.7500 ± 0.0500 | 0.5000 |" in text
