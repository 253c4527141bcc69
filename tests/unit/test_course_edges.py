"""Courses of stages: what each begins with, and what is said where one is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from recipec import api
from recipec.diagnostics import Finding
from recipec.pipeline import compile_file

HEAD = "recipe: 1\nname: c\nhardware: {gpu: a100-80gb}\ntrain: {learning_rate: 1e-4}\n"
CHAT = "data: {train: [{path: a.jsonl, format: chat}]}\n"


def findings(folder: Path, text: str) -> list[Finding]:
    path = folder / "c.yaml"
    path.write_text(HEAD + text)
    return [one for one in compile_file(str(path)).findings if one.severity == "error"]


def test_a_stage_of_another_base_takes_that_base(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    stages = "stages: [{name: one}, {name: two, start_from: base, model: {base: lab/other, revision: v2}}]\n"
    path.write_text(HEAD + CHAT + "model: {base: lab/model}\n" + stages)
    taken = {stage.name: stage.inputs[0].output for stage in api.plan(path).stages}
    assert [(taken[name].path, taken[name].revision) for name in ("one", "two")] == [  # type: ignore[union-attr]
        ("lab/model", None),
        ("lab/other", "v2"),
    ]


def test_a_base_beside_what_an_earlier_stage_left_is_told(tmp_path: Path) -> None:
    own = "{name: two, model: {base: lab/other, chat_template: llama3}}"
    found = findings(tmp_path, CHAT + f"model: {{base: meta-llama/Meta-Llama-3-8B}}\nstages: [{{name: one}}, {own}]\n")
    assert ("T002", "stages[1].model.base has no effect on one, two") in [(one.code, one.message) for one in found]


def test_a_model_from_scratch_has_positions_for_the_longest_training(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    scratch = "model: {from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 2}, max_length: 256}\n"
    path.write_text(HEAD + CHAT + scratch + "stages: [{name: one}, {name: two, model: {max_length: 512}}]\n")
    assert json.loads(api.compile(path).files["init/config.json"])["max_position_embeddings"] == 512


def test_a_misspelt_stage_to_start_from_is_suggested(tmp_path: Path) -> None:
    stages = "stages: [{name: maths}, {name: two, start_from: math}, {name: three, start_from: bsae}]\n"
    found = findings(tmp_path, CHAT + "model: {base: lab/model}\n" + stages)
    assert [(one.code, one.suggestion) for one in found] == [("R009", "maths"), ("R009", "base")]


def test_what_is_wrong_inside_one_form_of_a_value_is_told_once(tmp_path: Path) -> None:
    stages = "stages: [{name: one, adapter: {rank: 8}}, {name: two, merge: {adapters: {}}}]\n"
    found = findings(tmp_path, CHAT + "model: {base: lab/model}\n" + stages)
    assert [one.message for one in found] == ["stages[1].merge.adapters cannot be a mapping"]


def test_a_code_of_another_kind_is_no_slip_of_a_rule(tmp_path: Path) -> None:
    words = "model: {base: lab/model}\nallow: {T003: reason, l032: reason, L0032: reason}\n"
    assert [(one.code, one.suggestion) for one in findings(tmp_path, CHAT + words)] == [
        ("L001", None),
        ("L001", "L032"),
        ("L001", "L032"),
    ]


def test_the_default_of_a_merge_may_be_written(tmp_path: Path) -> None:
    stages = "stages: [{name: one}, {name: two, start_from: base}, {name: m, merge: {adapters: {one: 1, two: 1}, majority: MAJORITY}}]\n"
    text = CHAT + "model: {base: lab/model}\nadapter: {rank: 8}\n" + stages
    assert findings(tmp_path, text.replace("MAJORITY", "total")) == []
    assert [one.code for one in findings(tmp_path, text.replace("MAJORITY", "frequency"))] == ["P112"]


JUDGED = """recipe: 1
name: judged
model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 2048}
trainer: openrlhf
stages:
  - name: rm
    data: {train: [{path: pairs.jsonl, format: preference}]}
    train: {method: reward, epochs: 1, batch_size: 64, micro_batch_size: 2, learning_rate: 9e-6}
  - name: ppo
    start_from: base
    data: {train: [{path: prompts.jsonl, format: prompt}]}
    train: {method: ppo, epochs: 1, batch_size: 64, micro_batch_size: 2, learning_rate: 5e-7}
    rollout: {engine: vllm, completions: 1}
    rewards: [{type: model, stage: rm}]
hardware: {gpu: h100-80gb, per_node: 8}
parallel: {strategy: zero3}
evaluate: {tasks: [gsm8k]}
"""


def test_a_policy_starts_from_the_base_and_is_judged_by_the_stage_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(JUDGED)
    stages = {stage.name: stage for stage in api.plan(path).stages}
    ppo = stages["ppo"]
    taken = [(one.stage, one.output.place, getattr(one.output, "head", None)) for one in ppo.inputs]
    assert taken == [
        (None, "meta-llama/Llama-3.1-8B-Instruct", "next token"),
        ("rm", "runs/judged/rm", "score"),
    ]
    assert (ppo.body.model.path, ppo.body.rewards[0].path) == ("meta-llama/Llama-3.1-8B-Instruct", "runs/judged/rm")
    assert all("rm" not in read.path for read in ppo.reads)
    script = api.compile(path).files["ppo/openrlhf.sh"]
    assert "--actor.model_name_or_path meta-llama/Llama-3.1-8B-Instruct" in script
    assert "--reward.model_name_or_path runs/judged/rm" in script
    assert "--critic.model_name_or_path runs/judged/rm" in script
    # a reward model writes no answers: of the three, base and policy are evaluated
    assert [name for name in stages if name.startswith("evaluate")] == ["evaluate-base", "evaluate-ppo"]


def test_a_policy_that_would_start_from_its_judge_is_told_what_to_name(tmp_path: Path) -> None:
    text = JUDGED.replace("    start_from: base\n", "").replace("stage: rm", "path: runs/judged/rm")
    (tmp_path / "c.yaml").write_text(text)
    found = compile_file(str(tmp_path / "c.yaml")).findings
    assert [(one.code, one.span and one.span.line) for one in found] == [("P119", 9), ("P231", 13)]
    assert [one.help for one in found] == [
        "set start_from: base; to be judged by rm: rewards: [{type: model, stage: rm}]",
        "write stage: rm in the place of path",
    ]


def test_tuned_is_the_last_model_that_can_write(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    stages = "stages: [{name: sft}, {name: rm, data: {train: [{path: p.jsonl, format: preference}]}, train: {method: reward}}]\n"
    evaluate = "evaluate: {tasks: [gsm8k], models: [tuned]}\n"
    path.write_text(HEAD + CHAT + "trainer: trl\nmodel: {base: lab/model}\n" + stages + evaluate)
    assert next(stage.inputs[0].stage for stage in api.plan(path).stages if stage.kind == "evaluate") == "sft"
