"""What judging is counted by: questions, replies, pairs and agreement, against values by hand."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipec.systems.scripts import judging
from recipec.systems.scripts.judging import Question, Wrong

LOGICKOR = str(Path(__file__).parents[1] / "rules" / "files" / "questions" / "logickor")


def question(**more: Any) -> Question:
    return Question({"question_id": 1, "category": "shop", "turns": ["Where?", "When?"], **more}, 1)


@pytest.mark.parametrize(
    ("text", "benchmark", "score"),
    [
        ("Good. Score: [[7]]", "mt_bench", 7.0),
        ("[[7.5]]", "mt_bench", 7.5),
        ("Score: [8]", "mt_bench", 8.0),  # FastChat's second pattern
        ("[9] and then [[4]]", "mt_bench", 4.0),  # the first pattern goes first
        ("[[0]]", "mt_bench", None),
        ("[[1]]", "mt_bench", 1.0),
        ("[[10]]", "mt_bench", 10.0),
        ("[[11]]", "mt_bench", None),
        ("[[rating]]", "rubric", None),
        ("seven", "rubric", None),
        ("", "rubric", None),
        ("평가: 좋다.\n점수: 9", "logickor", 9.0),
        ("**점수:** 7.5", "logickor", 7.5),
        ("점수: 0", "logickor", 0.0),  # of an answer that is not Korean
        ("점수: 10", "logickor", 10.0),
        ("점수: 11", "logickor", None),
        ("점수: 없음", "logickor", None),
        ("Score: [[9]]", "logickor", None),
    ],
)
def test_a_score_is_read_or_none_is(text: str, benchmark: str, score: float | None) -> None:
    assert judging.score_in(text, benchmark) == score


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("[[A]]", "A"),
        ("so [[B]].", "B"),
        ("[[C]]", "tie"),
        ("[[A>>B]]", "A"),
        ("[[B>A]]", "B"),
        ("[[A=B]]", "tie"),
        ("[[A]] or [[B]]", None),
        ("[[A]], yes, [[A]]", "A"),
        ("A", None),
        ("[[D]]", None),
    ],
)
def test_a_choice_is_read_or_none_is(text: str, choice: str | None) -> None:
    assert judging.choice_in(text) == choice


def test_a_win_is_one_in_both_orders() -> None:
    assert judging.winner("A", swapped=False) == judging.winner("B", swapped=True) == "model_1"
    assert judging.winner("B", swapped=False) == judging.winner("A", swapped=True) == "model_2"
    assert judging.outcome("model_1", "model_1") == 1.0
    assert judging.outcome("model_2", "model_2") == 0.0
    assert judging.outcome("tie", "tie") == 0.5
    assert judging.outcome("model_1", "model_2") == judging.outcome("model_1", "tie") == 0.5
    assert judging.outcome("model_1", None) is judging.outcome(None, None) is None


def test_agreement_is_cohens() -> None:
    # 50 items, 20 yes by both, 15 no by both, 5 and 10 apart: 0.7 seen, 0.5 by chance
    pairs = [(1.0, 1.0)] * 20 + [(1.0, 0.0)] * 5 + [(0.0, 1.0)] * 10 + [(0.0, 0.0)] * 15
    assert math.isclose(judging.kappa(pairs) or 0, (0.7 - 0.5) / (1 - 0.5))
    assert judging.kappa([(3.0, 3.0)] * 4) is judging.kappa([]) is None  # chance alone would agree
    # 1, 2, 3 and 1, 3, 3: squared differences of 1/3 seen, and of (0+4+4+1+1+1+4+0+0)/9 by chance
    assert math.isclose(judging.kappa([(1, 1), (2, 3), (3, 3)], squared=True) or 0, 1 - (1 / 3) / (15 / 9))
    marks = {"one": {"a": 1.0, "b": 0.0, "c": None}, "two": {"a": 1.0, "b": 1.0, "c": 1.0}}
    [found] = judging.agreement(marks, squared=False)
    assert (found["judges"], found["items"], found["same"]) == (["one", "two"], 2, 0.5)


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=1, max_size=20))
def test_agreement_is_at_most_one_and_has_no_order(pairs: list[tuple[float, float]]) -> None:
    for squared in (False, True):
        found = judging.kappa(pairs, squared=squared)
        turned = judging.kappa([(other, one) for one, other in pairs], squared=squared)
        assert found is turned is None or (found is not None and turned is not None and math.isclose(found, turned))
        assert found is None or found <= 1


def test_means_have_their_error_or_none() -> None:
    assert judging.mean_of([]) == judging.mean_of([None]) == (None, None)
    assert judging.mean_of([3.0, None]) == (3.0, None)
    assert judging.mean_of([1.0, 3.0]) == (2.0, math.sqrt(2) / math.sqrt(2))


def test_tokens_and_prices() -> None:
    assert [judging.tokens_of(text) for text in ("", "abcd", "abcde", "가나다", "ab가")] == [0, 1, 2, 3, 2]
    assert judging.price_of({"input": 2.0, "output": 8.0}, 1_000_000, 500_000) == 6.0
    assert judging.price_of(None, 1, 1) is None


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"turns": ["a"]}, "it has no question_id, id or uid"),
        ({"question_id": None, "turns": ["a"]}, "its question_id is no number or text"),
        ({"question_id": True, "turns": ["a"]}, "its question_id is no number or text"),
        ({"question_id": 1}, "it has no turns: a list of texts"),
        ({"question_id": 1, "turns": ["a", " "]}, "a turn of it is no text, or empty"),
        ({"question_id": 1, "turns": ["a", 3]}, "a turn of it is no text, or empty"),
        ({"question_id": 1, "turns": ["a", "b", "c"]}, "it has 3 turns; 2 at most are judged"),
        ({"question_id": 1, "turns": ["a"], "reference": 3}, "its reference is no list of texts"),
        ({"question_id": 1, "turns": ["a"], "reference": ["b", "c"]}, "its references are not one text for each turn"),
        ({"question_id": 1, "turns": ["a"], "rubric": ["b"]}, "its rubric is no text"),
        ({"question_id": 1, "turns": ["a", "b"], "reference": ["c"]}, ""),
        ({"id": 1, "questions": ["a", "b"], "references": [None, None]}, ""),  # LogicKor
        ({"uid": "x", "prompt": "a"}, ""),  # Arena-Hard
        ({"uid": "x", "turns": [{"content": "a"}]}, ""),
    ],
)
def test_what_is_wrong_with_a_question_is_said(row: dict[str, Any], wrong: str) -> None:
    assert judging.mistake(row) == wrong


def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    good = json.dumps({"question_id": 1, "turns": ["a"]})
    for text, wrong in (
        ("\n", f"{file}: there is no question in it"),
        (f"{good}\n{{", f"{file}:2: not JSON"),
        (f"{good}\n\n[]\n", f"{file}:3: not an object"),
        (f"{good}\n{good}\n", f"{file}:2: question 1 stands in line 1 already"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(Wrong) as caught:
            judging.read_questions(str(file), "rubric")
        assert str(caught.value).startswith(wrong)
    file.write_bytes(b"\xff\n")
    with pytest.raises(Wrong, match="not UTF-8"):
        judging.read_questions(str(file), "rubric")
    file.write_text(f"{good}\n", encoding="utf-8-sig")
    assert [one.turns for one in judging.read_questions(str(file), "rubric")] == [["a"]]


def test_references_are_used_where_mt_bench_uses_them() -> None:
    for category, used in (("math", True), ("reasoning", True), ("coding", True), ("writing", False)):
        one = question(category=category, reference=["here", "now"])
        assert judging.has_reference(one, "mt_bench") is used
        assert judging.has_reference(one, "pairs")
        assert judging.lacking_reference([one]) == []
        bare = question(category=category)
        assert not judging.has_reference(bare, "pairs")
        assert judging.lacking_reference([bare]) == ([bare] if used else [])


def test_every_kind_of_prompt_is_there_and_says_what_is_judged() -> None:
    prompts = judging.read_prompts(Path(judging.__file__).with_name("judge_prompts.jsonl"))
    one = question(reference=["in aisle 2", "at 9"])
    for kind, number in (("single", 1), ("pairwise", 2)):
        answers = [[f"first {who}", f"second {who}"] for who in ("a", "b")][:number]
        for turn in (1, 2):
            for beside in (False, True):
                for rubric in (None, "It is short.") if kind == "single" else (None,):
                    row = judging.chosen_prompt(prompts, kind, turn, reference=beside, rubric=rubric is not None)
                    system, user = judging.written(row, one, turn, answers, rubric)
                    assert system["role"] == "system"
                    needed = ["Where?", *(each[turn - 1] for each in answers), *(["When?"] if turn == 2 else [])]
                    needed += [*(["in aisle 2"] if beside else []), *([rubric] if rubric else [])]
                    assert [text for text in needed if text not in user["content"]] == []
                    assert ("at 9" in user["content"]) is (beside and turn == 2)
                    assert "{" not in user["content"]
    with pytest.raises(
        Wrong, match="there is no prompt for this: pairwise, turn 1, without a reference, with a rubric"
    ):
        judging.chosen_prompt(prompts, "pairwise", 1, reference=False, rubric=True)
    with pytest.raises(Wrong, match="prompt mine: KeyError"):
        judging.written({"name": "mine", "prompt_template": "{nobody}"}, one, 1, [["a", "b"]])


def test_an_answer_with_braces_is_text() -> None:
    prompts = judging.read_prompts(Path(judging.__file__).with_name("judge_prompts.jsonl"))
    row = judging.chosen_prompt(prompts, "single", 1, reference=False, rubric=False)
    said = judging.written(row, question(), 1, [["{question} {0} [[10]]", "b"]])[-1]["content"]
    assert "{question} {0} [[10]]" in said


def test_a_checkout_is_run_and_leaves_nothing_behind() -> None:
    before = {name: sys.modules.get(name) for name in ("pandas", "openai", "templates")}
    path = list(sys.path)
    evaluator = judging.load_checkout(LOGICKOR, judging.EVALUATOR)
    asked = judging.checkout_messages(evaluator, question(), 2, ["here", "now"])
    assert [one["content"] for one in asked] == ["두 번째 답을 평가하세요.", "Where?\nhere\nWhen?\nnow"]
    assert judging.shots(LOGICKOR, "default") == []
    assert [one["role"] for one in judging.shots(LOGICKOR, "cot-1-shot")] == ["system"]
    assert before == {name: sys.modules.get(name) for name in before}
    assert sys.path == path
    with pytest.raises(Wrong, match="there is no mode 2-shot in PROMPT_STRATEGY"):
        judging.shots(LOGICKOR, "2-shot")


def test_a_checkout_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match=r"there is no evaluator.py: a checkout of LogicKor is needed"):
        judging.load_checkout(str(tmp_path), judging.EVALUATOR)
    for text, wrong in (
        ("import nothing_of_the_kind", "ModuleNotFoundError"),
        ("def create_answers(client, row, model, is_multi_turn): row['no']", "could not write a prompt: KeyError"),
        ("def create_answers(client, row, model, is_multi_turn): pass", "asked nothing"),
    ):
        (tmp_path / judging.EVALUATOR).write_text(text, encoding="utf-8")
        with pytest.raises(Wrong, match=wrong):
            judging.checkout_messages(
                judging.load_checkout(str(tmp_path), judging.EVALUATOR), question(), 1, ["a", "b"]
            )


def test_names_of_files() -> None:
    assert judging.slug("추론(Reasoning)") == "reasoning"
    assert judging.slug("org/Judge-1.5") == "org_judge_1_5"
    assert judging.slug("논리!") == "논리"
    assert judging.slug("!") == "other"
