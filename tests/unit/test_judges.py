"""`evaluate.judge`: the stages that it makes, in their order, what they wait for, and the keys that they need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recipec import manifest
from recipec.engine.build import load, preflight
from recipec.output import write
from recipec.pipeline import Compiled, compile_file
from recipec.plan import Stage

RECIPE = """\
recipe: 1
name: shop
trainer: trl
model: {base: Qwen/Qwen2.5-7B-Instruct, max_length: 4096}
data: {train: [{path: chat.jsonl, format: chat}]}
train: {epochs: 1, batch_size: 64, micro_batch_size: 4, learning_rate: 1e-5}
hardware: {gpu: h100-80gb}
"""
JUDGE = "by: [{model: m, url: 'https://judge.example/v1', key_variable: JUDGE_KEY, price: {input: 1, output: 10}}], allow: ['https://judge.example/v1']"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    return tmp_path


def compiled(models: str, *judged: str, more: str = "") -> Compiled:
    text = (
        RECIPE
        + f"evaluate:\n  models: {models}\n{more}  judge:\n"
        + "".join(f"    - {{{one}, {JUDGE}}}\n" for one in judged)
    )
    Path("recipe.yaml").write_text(text)
    found = compile_file("recipe.yaml")
    assert found.files, [f"{one.code} {one.message}" for one in found.findings]
    return found


def stages(found: Compiled) -> dict[str, Stage[Any]]:
    return {stage.name: stage for stage in manifest.read(found.files[manifest.FILE]).plan.stages}


def settings(found: Compiled, file: str) -> Mapping[str, Any]:
    read: dict[str, Any] = json.loads(found.files[file])
    return read


def test_no_gpu_waits_for_a_judge() -> None:
    found = stages(compiled("[base, tuned]", "benchmark: mt_bench, questions: q.jsonl"))
    kinds = [one.kind for one in found.values()]
    assert kinds == ["train", "serve", "answers", "serve", "answers", "judge", "judge"]
    assert {one.resources.device for one in found.values() if one.kind == "judge"} == {"cpu"}
    assert "serve-tuned" in found["answers-tuned-mt_bench"].after
    assert set(found["judge-tuned-mt_bench"].after) == {"train", "answers-tuned-mt_bench"}


def test_the_same_is_asked_once_of_each_model() -> None:
    pair = "benchmark: mt_bench, questions: q.jsonl, mode: pairwise, against: base"
    found = stages(compiled("[base, tuned]", "benchmark: mt_bench, questions: q.jsonl", pair))
    assert [name for name in found if name.startswith("answers")] == ["answers-base-mt_bench", "answers-tuned-mt_bench"]
    judges = [name for name in found if name.startswith("judge")]
    assert judges == ["judge-base-mt_bench", "judge-tuned-mt_bench", "judge-tuned-mt_bench_pairwise"]
    both = found["judge-tuned-mt_bench_pairwise"]
    assert {"answers-base-mt_bench", "answers-tuned-mt_bench"} <= set(both.after)
    assert (both.body.against, both.body.against_answers) == ("base", found["answers-base-mt_bench"].outputs[0].place)
    other = pair.replace("q.jsonl", "other.jsonl")
    more = stages(compiled("[base, tuned]", "benchmark: mt_bench, questions: q.jsonl", other))
    assert len([name for name in more if name.startswith("answers")]) == 4


def test_an_opponent_may_be_a_file() -> None:
    words = "benchmark: pairs, questions: q.jsonl, against_answers: gpt.jsonl"
    found = compiled("[tuned]", words)
    told = settings(found, "judge-tuned-pairs/judge.json")
    assert (told["kind"], told["against"], told["against_answers"]) == ("pairwise", "gpt.jsonl", "gpt.jsonl")
    assert [name for name in stages(found) if name.startswith("answers")] == ["answers-tuned-pairs"]


def test_no_key_is_in_a_file_and_a_run_needs_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compiled("[tuned]", "benchmark: rubric, questions: q.jsonl, rubric: Short.")
    write(place / "build", found.files)
    for name in ("q.jsonl", "chat.jsonl"):
        Path(name).write_text("{}\n")
    assert "`JUDGE_KEY`" in found.files["PLAN.md"]
    build = load(place / "build")
    [told] = [one for one in preflight(build, allow_edited=False) if one.code == "E014"]
    assert told.message == "JUDGE_KEY is not set, or empty, which has the key that judge-tuned-rubric will send"
    assert told.help == "export JUDGE_KEY=…, or leave out what needs it: --exclude judge-tuned-rubric"
    others = {"train", "serve-tuned", "answers-tuned-rubric"}
    assert [one.code for one in preflight(build, allow_edited=False, only=others)] == []
    monkeypatch.setenv("JUDGE_KEY", "secret")
    assert [one.code for one in preflight(build, allow_edited=False)] == []
    monkeypatch.setenv("JUDGE_KEY", "")
    assert [one.code for one in preflight(build, allow_edited=False)] == ["E014"]


def test_a_requirement_reads_the_scores_of_each_kind() -> None:
    more = "  tasks: [gsm8k]\n  require: {mt_bench: '>= base + 0.2', gsm8k: '>= base - 1pt'}\n"
    found = compiled("[base, tuned]", "benchmark: mt_bench, questions: q.jsonl", more=more)
    models = settings(found, "gate/gate.json")["models"]
    for name in ("base", "tuned"):
        assert [Path(one["scores"]).name for one in models[name]] == [f"judge-{name}-mt_bench", f"evaluate-{name}"]
    gate = stages(found)["gate"]
    assert {"judge-tuned-mt_bench", "evaluate-base"} <= set(gate.after)


def test_the_plan_says_what_a_verdict_may_cost() -> None:
    found = compiled("[tuned]", "benchmark: rubric, questions: q.jsonl, rubric: Short.")
    assert (
        "1 verdict on each turn of a question (rubric), $0.02 each at most for what is said in it"
        in found.files["PLAN.md"]
    )


@pytest.mark.parametrize(
    ("trained", "answers", "base", "served"),
    [
        (512, 1024, "Qwen/Qwen2.5-7B-Instruct", 4096),  # what is asked, 2,048, and two answers
        (4095, 1024, "Qwen/Qwen2.5-7B-Instruct", 4096),
        (4097, 1024, "Qwen/Qwen2.5-7B-Instruct", 4097),
        (512, 30000, "Qwen/Qwen2.5-7B-Instruct", 32768),  # as many as it was made for
        (512, 1024, "my-lab/my-model", 512),  # of which that is not known
    ],
)
def test_a_server_that_nobody_wrote_has_room_for_two_turns(trained: int, answers: int, base: str, served: int) -> None:
    text = RECIPE.replace("max_length: 4096", f"max_length: {trained}").replace("Qwen/Qwen2.5-7B-Instruct", base)
    judge = f"  judge:\n    - {{benchmark: mt_bench, questions: q.jsonl, max_tokens: {answers}, {JUDGE}}}\n"
    Path("recipe.yaml").write_text(f"{text}evaluate:\n  models: [base]\n{judge}")
    found = compile_file("recipe.yaml")
    assert stages(found)["serve-base"].body.max_length == served
