"""Courses of several trainings: what a stage does not say it takes from the recipe; each starts where one before ended."""

import json
from typing import Any

from recipec import manifest
from recipec.explain import explain
from recipec.pipeline import Compiled, compile_tree
from recipec.plan import Stage
from recipec.source import Source
from recipec.yaml_reader import read_text

HEAD = """recipe: 1
name: course
model: {base: org/base, max_length: 512}
hardware: {gpu: a100-80gb}
train: {batch_size: 8, learning_rate: 1e-4}
"""
FIRST = """stages:
  - name: first
    adapter: {rank: 8}
    data: {train: [{path: a.jsonl, format: chat}]}
"""
SECOND = """  - name: second
    %s
    data: {train: [{path: b.jsonl, format: preference}]}
    train: {method: dpo, learning_rate: 1e-6}
"""


def compiled(text: str) -> Compiled:
    return compile_tree(read_text(Source("course.yaml", text)))


def stages(text: str) -> list[Stage[Any]]:
    found = compiled(text)
    assert found.findings == []
    assert found.resolved is not None
    return list(found.resolved.plan.stages)


def test_a_stage_inherits_word_by_word() -> None:
    first, second = (s.body for s in stages(HEAD + FIRST + SECOND % "parent_adapter: merge") if s.kind == "train")
    assert (first.optimizer.learning_rate, second.optimizer.learning_rate) == (1e-4, 1e-6)
    assert first.batch.total == second.batch.total == 8
    assert (first.method, second.method) == ("sft", "dpo")


def test_an_adapter_is_merged_before_the_next_stage() -> None:
    first, merge, second = stages(HEAD + FIRST + SECOND % "parent_adapter: merge")
    assert [s.kind for s in (first, merge, second)] == ["train", "merge", "train"]
    assert (merge.body.base, merge.body.adapter) == ("org/base", first.output)
    assert second.body.model.path == merge.output
    assert second.body.adapter is None
    assert (merge.after, second.after) == ((first.name,), (merge.name,))


def test_an_adapter_is_trained_further() -> None:
    first, second = stages(
        HEAD + "trainer: trl\n" + FIRST + SECOND % "parent_adapter: continue\n    adapter: {rank: 8}"
    )
    assert second.body.model.path == "org/base"
    assert second.body.adapter is not None
    assert second.body.adapter.start_from == first.output


def test_what_becomes_of_an_adapter_must_be_said() -> None:
    (finding,) = compiled(HEAD + FIRST + SECOND % "start_from: first").findings
    assert finding.code == "P028"
    assert finding.span is not None
    assert finding.span.line == 10


def test_stages_are_evaluated_by_name() -> None:
    text = HEAD + FIRST + SECOND % "parent_adapter: merge" + "evaluate: {tasks: [gsm8k]}\n"
    base, first, second = (s for s in stages(text) if s.kind == "evaluate")
    assert [s.body.model.name for s in (base, first, second)] == ["base", "first", "second"]
    assert first.body.model.adapter == "runs/course/first"
    assert [s.after for s in (base, first, second)] == [(), ("first",), ("second",)]


def test_explain_reaches_into_a_stage() -> None:

    found = compiled(HEAD + FIRST + SECOND % "parent_adapter: merge")
    written = manifest.read(found.files["plan.json"])
    (row,) = explain(written, "second.optimizer.learning_rate")
    assert row.because == "recipe: course.yaml:13:41"
    assert explain(written, "stages[1].train.learning_rate") == [row]


def test_each_mistake_is_told_once() -> None:
    text = HEAD + FIRST.replace("rank: 8", "rnak: 8") + SECOND % "parent_adapter: merge\n    bla: 1"
    codes = [(finding.code, finding.suggestion) for finding in compiled(text).findings]
    assert codes == [("R001", "rank"), ("R001", None)]


def test_what_a_stage_lacks_is_told_where_it_stands() -> None:
    text = HEAD.replace(", learning_rate: 1e-4", "") + FIRST
    (finding,) = compiled(text).findings
    assert finding.code == "P107"


def test_the_shared_words_that_no_stage_uses_are_named() -> None:
    text = HEAD.replace("batch_size: 8", "batch_size: 8, warmup: 3%") + FIRST + "    train: {warmup: 5%}\n"
    (finding,) = compiled(text).findings
    assert (finding.code, finding.message) == ("T002", "train.warmup has no effect on first")


def test_names_are_judged() -> None:
    text = HEAD + FIRST + (SECOND % "start_from: third").replace("name: second", "name: first")
    codes = [finding.code for finding in compiled(text).findings]
    assert codes == ["R009", "R009"]


def test_a_name_with_a_dot_would_break_paths_of_the_plan() -> None:
    found = compiled(HEAD + FIRST.replace("name: first", "name: fir.st"))
    assert [(finding.code, finding.help) for finding in found.findings] == [
        ("R005", "expected lower-case letters, digits, `_` and `-`, beginning with a letter or digit")
    ]


EVALUATED = """recipe: 1
name: course
model: {base: my-lab/my-model, max_length: 1024, chat_template: chatml}
hardware: {gpu: a100-80gb}
stages:
%s
evaluate: {tasks: [gsm8k]}
"""
LONG = "  - {name: long, model: {max_length: 16384}, data: {train: [{path: a.jsonl, format: chat}]}, train: {learning_rate: 1e-5}}"
SHORT = "  - {name: short, model: {max_length: 512}, data: {train: [{path: b.jsonl, format: preference}]}, train: {method: dpo, learning_rate: 1e-6}}"


def evaluated(*listed: str) -> dict[str, Any]:
    return {s.body.model.name: s.body for s in stages(EVALUATED % "\n".join(listed)) if s.kind == "evaluate"}


def test_each_model_is_evaluated_at_its_own_length_and_the_base_at_the_recipe_s() -> None:
    assert {name: body.max_length for name, body in evaluated(LONG, SHORT).items()} == {
        "base": 1024,
        "long": 16384,
        "short": 512,
    }
    assert {name: body.max_length for name, body in evaluated(LONG).items()} == {"base": 1024, "long": 16384}


def test_edges_come_from_what_is_named() -> None:
    kto = "  - {name: kto, start_from: %s, data: {train: [{path: c.jsonl, format: unpaired-preference}]}, train: {method: kto, learning_rate: 1e-6, micro_batch_size: 2}}"
    text = EVALUATED.replace("name: course\n", "name: course\ntrainer: trl\n") % "\n".join([LONG, SHORT, kto])
    after = {s.name: s.after for s in compiled_stages(text % "long")}
    assert (after["short"], after["kto"]) == (("long",), ("long",))
    assert {s.name: s.after for s in compiled_stages(text % "base")}["kto"] == ()
    assert all(s.body.model.chat_template for s in compiled_stages(text % "long") if s.kind == "evaluate")


def compiled_stages(text: str) -> list[Stage[Any]]:
    """Return the stages of a recipe that may have warnings."""
    found = compiled(text)
    assert found.resolved is not None
    return list(found.resolved.plan.stages)


def test_adapters_are_merged_as_a_stage() -> None:
    adapter = "    adapter: {rank: 8}\n    data: {train: [{path: a.jsonl, format: chat}]}\n"
    two = HEAD + f"stages:\n  - name: one\n{adapter}  - name: two\n    start_from: base\n{adapter}"
    single = compiled(two + "  - {name: merged, merge: one}\n")
    assert single.resolved is not None
    merged = single.resolved.plan.stages[-1]
    assert (merged.name, merged.kind, merged.after) == ("merged", "merge", ("one",))
    settings = json.loads(single.files["merged/merge.json"])
    assert (settings["base"], settings["adapter"]) == ("org/base", "runs/course/one")
    assert "adapters" not in settings
    several = compiled(two + "  - {name: merged, merge: {adapters: {one: 0.7, two: 0.3}, how: ties, density: 0.5}}\n")
    assert several.resolved is not None
    assert several.resolved.plan.stages[-1].after == ("one", "two")
    settings = json.loads(several.files["merged/merge.json"])
    assert settings["adapters"] == [
        {"adapter": "runs/course/one", "weight": 0.7},
        {"adapter": "runs/course/two", "weight": 0.3},
    ]
    assert (settings["how"], settings["density"]) == ("ties", 0.5)


def test_a_model_from_scratch_is_made_before_the_first_of_several_stages() -> None:
    scratch = "{from_scratch: {family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 300}, max_length: 64}"
    text = (HEAD + FIRST + SECOND % "parent_adapter: merge").replace("{base: org/base, max_length: 512}", scratch)
    text = text.replace("gpu: a100-80gb", "gpu: none").replace("train: {batch_size: 8, learning_rate: 1e-4}\n", "")
    text = text.replace("    data: {train: [{path: a", "    train: {learning_rate: 1e-4}\n    data: {train: [{path: a")
    assert [s.name for s in compiled_stages(text)] == ["init", "first", "first-merge", "second"]
