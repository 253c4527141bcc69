"""What scores must be for a course to go on: how it is read, judged from lm-eval's files, and what a run ends with."""

from __future__ import annotations

import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_build import _sha, _with_other_tools, compiled, run_here
from hypothesis import given
from hypothesis import strategies as st

from recipec import manifest
from recipec.kinds.gate import Required, name_of, required
from recipec.manifest import Emitted
from recipec.pipeline import compile_file

SCRIPT = Path(__file__).parents[2] / "compiler" / "recipec" / "systems" / "scripts" / "check_scores.py"
judge: Any = runpy.run_path(str(SCRIPT))
READ = {
    ">= 0.45": Required(">=", None, 0.45),
    "> 45%": Required(">", None, 0.45),
    ">=2pt": Required(">=", None, 0.02),
    "<= 12.5": Required("<=", None, 12.5),
    ">= base": Required(">=", "base", 0.0),
    " < base - 1pt ": Required("<", "base", -0.01),
    ">= sft-2 + .5pt": Required(">=", "sft-2", 0.005),
    "> base + 0.1": Required(">", "base", 0.1),
}


@pytest.mark.parametrize("text", READ)
def test_what_can_be_required(text: str) -> None:
    read = required(text)
    assert read is not None
    assert read[:2] == READ[text][:2]
    assert math.isclose(read.offset, READ[text].offset)


@pytest.mark.parametrize("text", ["", "base", ">=", "== 3", ">= base + 2%", ">= base 2", ">= -1", ">= Base", "> 1 > 2"])
def test_what_cannot(text: str) -> None:
    assert required(text) is None


def test_a_metric_stands_behind_its_task() -> None:
    assert name_of("gsm8k") == ("gsm8k", None)
    assert name_of("gsm8k/exact_match") == ("gsm8k", "exact_match")


def results(
    folder: Path,
    value: float,
    error: float | None,
    *,
    path: str = "org/model",
    adapter: str | None = None,
    asked: list[float] | None = None,
    date: float = 2e9,
) -> Path:
    """Write what lm-eval leaves of one evaluation."""
    folder.mkdir(parents=True)
    words = {"pretrained": path, **({"peft": adapter} if adapter else {})}
    task = {"alias": "t", "acc,none": value, "acc_stderr,none": "N/A" if error is None else error, "f1,none": 1 - value}
    task["f1_stderr,none"] = 0.0
    found = {"results": {"t": task}, "date": date, "config": {"model_args": words}}
    (folder / "results_2026-11-28.json").write_text(json.dumps(found))
    if asked is not None:
        rows = [{"doc_id": n, "doc_hash": f"h{n}", "filter": "none", "acc": one} for n, one in enumerate(asked)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "samples_t_2026-11-28.jsonl").write_text(text)
    return folder


def verdict(
    place: Path, text: str, confidence: float = 0.95, word: str = "t", **settings: Any
) -> tuple[int, dict[str, Any], str]:
    """Run the script in a folder with the scores of `base` and `tuned`; return its exit code, the verdict and what it said."""
    read = required(text)
    assert read is not None
    task, metric = name_of(word)
    condition = {"said": f"{word} {text}", "task": task, "metric": metric, "model": "tuned", **read._asdict()}
    models = {
        name: [{"path": "org/model", "adapter": None, "scores": name, **settings.get(name, {})}]
        for name in ("tuned", "base")
        if (place / name).exists()
    }
    told = {"output": "gate", "confidence": confidence, "models": models, "conditions": [condition]}
    (place / "gate.json").write_text(json.dumps(told))
    done = subprocess.run(
        [sys.executable, SCRIPT, "gate.json"], cwd=place, capture_output=True, text=True, check=False, timeout=60
    )
    found = place / "gate" / "verdict.json"
    return done.returncode, json.loads(found.read_text()) if found.exists() else {}, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("value", "error", "text", "confidence", "expected"),
    [
        (0.50, 0.02, ">= 0.45", 0.95, "holds"),  # 2.5 standard errors above
        (0.48, 0.02, ">= 0.45", 0.95, "not shown"),  # 1.5: at 95% it takes 1.645
        (0.48, 0.02, ">= 0.45", 0.90, "holds"),  # 1.28 do at 90%
        (0.48, 0.02, ">= 0.45", 0.50, "holds"),  # the score alone
        (0.44, 0.02, ">= 0.45", 0.50, "refuted"),
        (0.44, 0.02, ">= 0.45", 0.95, "not shown"),
        (0.40, 0.02, ">= 0.45", 0.95, "refuted"),
        (0.45, 0.0, ">= 45%", 0.95, "holds"),
        (0.45, 0.0, "> 45%", 0.95, "refuted"),
        (0.40, 0.02, "<= 0.45", 0.95, "holds"),
        (0.50, None, ">= 0.45", 0.95, "not shown"),
        (0.50, None, ">= 0.45", 0.50, "holds"),
        (0.40, None, ">= 0.45", 0.95, "refuted"),
    ],
)
def test_a_number(
    value: float, error: float | None, text: str, confidence: float, expected: str, tmp_path: Path
) -> None:
    results(tmp_path / "tuned", value, error)
    code, found, said = verdict(tmp_path, text, confidence)
    assert found["conditions"][0]["verdict"] == expected
    assert code == (0 if expected == "holds" else 4)
    assert found["holds"] is (expected == "holds")
    assert (f"required, and not so: t {text}" in said) is (expected != "holds")


def test_two_models_that_answered_other_questions_have_independent_errors(tmp_path: Path) -> None:
    results(tmp_path / "base", 0.40, 0.03, asked=[0.0] * 3 + [1.0] * 2)
    results(tmp_path / "tuned", 0.48, 0.04)
    _, found, _ = verdict(tmp_path, ">= base + 2pt")
    row = found["conditions"][0]
    assert row["pairs"] == 0
    assert row["error"] == pytest.approx(0.05)
    assert row["difference"] == pytest.approx(0.06)
    assert row["verdict"] == "not shown"


def test_the_same_questions_are_compared_one_by_one(tmp_path: Path) -> None:
    """Of 100 questions one has the right answer now that had not: with independent errors nothing could be said."""
    before = [0.0] * 50 + [1.0] * 50
    results(tmp_path / "base", 0.50, 0.05, asked=before)
    results(tmp_path / "tuned", 0.53, 0.05, asked=[1.0, 1.0, 1.0, *before[3:]])
    code, found, said = verdict(tmp_path, ">= base - 1pt")
    row = found["conditions"][0]
    assert row["pairs"] == 100
    assert row["error"] == pytest.approx(math.sqrt((3 * 0.97**2 + 97 * 0.03**2) / 99) / 10)
    assert (code, row["verdict"]) == (0, "holds")
    assert "100 questions compared one by one" in said


def test_answers_of_which_the_score_is_no_mean_are_not_compared(tmp_path: Path) -> None:
    results(tmp_path / "base", 0.9, 0.01, asked=[0.0, 1.0])
    results(tmp_path / "tuned", 0.5, 0.01, asked=[0.0, 1.0])
    assert verdict(tmp_path, ">= base")[1]["conditions"][0]["pairs"] == 0


def test_a_named_metric(tmp_path: Path) -> None:
    results(tmp_path / "tuned", 0.2, 0.0)
    assert verdict(tmp_path, ">= 0.7", word="t/f1")[0] == 0
    assert verdict(tmp_path, ">= 0.7", word="t/f1,none")[0] == 0
    code, _, said = verdict(tmp_path, ">= 0.7", word="t/em")
    assert code == 1
    assert "t has no metric em; it has acc,none, f1,none" in said
    code, _, said = verdict(tmp_path, ">= 0.7", word="u")
    assert code == 1
    assert "there are no scores of u for tuned" in said


def test_scores_of_another_model_are_not_believed(tmp_path: Path) -> None:
    results(tmp_path / "tuned", 0.9, 0.0, adapter="runs/x/other")
    code, found, said = verdict(tmp_path, ">= 0.1", tuned={"adapter": "runs/x/sft"})
    assert (code, found) == (1, {})
    assert "the scores in tuned are of org/model with runs/x/other, not of tuned: evaluate again" in said


def test_scores_older_than_the_weights_are_not_believed(tmp_path: Path) -> None:
    weights = tmp_path / "sft" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_text("")
    results(tmp_path / "tuned", 0.9, 0.0, path="sft", date=1000.0)
    os.utime(weights, (999, 999))
    assert verdict(tmp_path, ">= 0.1", tuned={"path": "sft"})[0] == 0
    os.utime(weights, (1001, 1001))
    code, _, said = verdict(tmp_path, ">= 0.1", tuned={"path": "sft"})
    assert code == 1
    assert "the weights in sft are newer than their scores" in said


def test_without_results_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    code, _, said = verdict(tmp_path, ">= 0.1")
    assert code == 1
    assert "there are no results in tuned: evaluate first" in said


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.5, 0.99), st.floats(0, 0.5))
def test_more_confidence_never_lets_more_pass(value: float, wanted: float, confidence: float, error: float) -> None:
    condition = {"task": "t", "metric": None, "model": "m", "operator": ">=", "against": None, "offset": wanted}
    scores = {"m": [(Path("none"), {"results": {"t": {"acc,none": value, "acc_stderr,none": error}}})]}
    strict = judge["judge"](condition, scores, confidence)["verdict"]
    bare = judge["judge"](condition, scores, 0.5)["verdict"]
    assert bare in ("holds", "refuted")
    assert (bare == "holds") or strict != "holds"
    assert bare == ("holds" if value - wanted >= -1e-12 else "refuted")


RECIPE = """recipe: 1
name: demo
data: {train: [{path: data/train.jsonl, format: text}]}
train: {method: pretrain, epochs: 1, learning_rate: 1e-3}
model: {from_scratch: {family: llama, hidden_size: 64, layers: 1, heads: 2, vocab_size: 300}, max_length: 16}
hardware: {gpu: none}
evaluate: {tasks: [arc_easy], models: [base, tuned], require: {arc_easy: ">= base"}}
"""


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (4, 4), (1, 3)])
def test_a_run_ends_with_a_code_of_its_own(
    code: int, ends: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path / "home"))
    Path("data").mkdir()
    Path("data/train.jsonl").write_text('{"text": "a"}\n')
    Path("recipe.yaml").write_text(RECIPE)
    real = manifest.read(compile_file("recipe.yaml").files[manifest.FILE])
    stages = [one for one in real.plan.stages if one.kind in ("evaluate", "gate")]
    stages = [_with_other_tools(one.replaced(inputs=one.inputs if one.kind == "gate" else ())) for one in stages]
    files = {}
    for stage in stages:
        done = f"exit {code}" if stage.kind == "gate" else "true"
        files[f"{stage.name}/run.sh"] = f"mkdir -p {stage.output}; touch {stage.output}/x; {done}\n"
    fake = compiled()
    pins = next(iter(fake.environments.values())).file
    files[pins] = "iniconfig==2.1.0\n"
    for name, text in files.items():
        (tmp_path / "build" / "demo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "build" / "demo" / name).write_text(text)
    emitted = {name: Emitted(_sha(text), {}) for name, text in files.items()}
    whole = real.replaced(files=emitted, environments=fake.environments, plan=real.plan.replaced(stages=tuple(stages)))
    (tmp_path / "build" / "demo" / manifest.FILE).write_text(manifest.write(whole))
    ended, said = run_here()
    assert ended == ends
    assert ("the scores are not what the recipe requires" in said) is (ends == 4)
    assert ("what is required does not hold" in said) is (ends == 4)
