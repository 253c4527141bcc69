"""inspect-ai itself asks models and judges, by the programs that are emitted; both are servers of the standard library here."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import pytest
from talking import Talking, talking

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "compiler" / "recipec" / "systems" / "scripts"
LOGICKOR = ROOT / "tests" / "rules" / "files" / "questions" / "logickor"
ENVIRONMENT = "inspect-ai-0.3.285"
KEY = "sk-this-is-a-secret-of-mine"
Python = Callable[[str], Path]


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def laid(folder: Path) -> Path:
    """Lay the programs, six questions in two categories, and the answers of two models."""
    for name in ("judging.py", "ask_questions.py", "judge_answers.py", "judge_prompts.jsonl"):
        shutil.copy(SCRIPTS / name, folder)
    questions = [
        {"question_id": n, "category": ("writing", "stem")[n % 2], "turns": [f"first {n}", f"second {n}"]}
        for n in range(6)
    ]
    lines(folder / "questions.jsonl", questions)
    for name in ("tuned", "base"):
        answers = [
            {
                "question_id": n,
                "model_id": name,
                "choices": [{"index": 0, "turns": [f"{name} one {n}", f"{name} two {n}"]}],
            }
            for n in range(6)
        ]
        lines(folder / f"{name}.jsonl", answers)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(laid(tmp_path))
    return tmp_path


def judge(url: str, name: str = "gpt-judge", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "url": url,
        "key_variable": None,
        "temperature": 0.0,
        "max_tokens": 100,
        "price": None,
        **more,
    }


def settings(*judges: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "task": "mt_bench",
        "benchmark": "mt_bench",
        "kind": "single",
        "model": {"name": "tuned", "path": "runs/x/tuned", "adapter": None},
        "answers": "tuned.jsonl",
        "questions": "questions.jsonl",
        "judges": list(judges),
        "allow": [],
        "attempts": 3,
        "max_unparsed": 0.2,
        "connections": 4,
        "retries": 3,
        "seconds": 60,
        "output": "judged",
        **more,
    }


def start(python: Python, program: str, told: dict[str, Any], **variables: str) -> subprocess.Popen[str]:
    file = Path(f"{program}-{told['output']}.json")
    file.write_text(json.dumps(told), encoding="utf-8")
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")  # where nobody listens
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path("home").absolute()), **proxy, **variables}
    return subprocess.Popen(
        [str(python(ENVIRONMENT)), f"{program}.py", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def done(python: Python, program: str, told: dict[str, Any], *, code: int = 0, **variables: str) -> str:
    """Run a program to its end; return what it said."""
    return ended(start(python, program, told, **variables), code)


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    said, _ = process.communicate(timeout=180)
    assert process.returncode == code, said
    return said


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sorted(Path("judged").glob("results_*.json"))[-1].read_text(encoding="utf-8"))
    return found


def asking(told: Talking, **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    own = {
        "task": "mt_bench",
        "benchmark": "mt_bench",
        "model": {"name": "tuned", "path": "weights", "adapter": None},
        "questions": "questions.jsonl",
        "max_tokens": 64,
        "temperature": "category",
        "seed": 7,
        "connections": 2,
        "retries": 3,
        "seconds": 60,
        "output": "asked",
        **more,
    }
    return own, {"RECIPE_SERVER_URL": told.url, "RECIPE_SERVER_MODEL": "org/served", "RECIPE_SERVER_KEY": ""}


def test_both_turns_are_asked_and_answers_have_fastchats_format(place: Path, tool_python: Python) -> None:
    with talking(lambda body, _: f"answer to {Talking.said(body)}") as model:
        own, variables = asking(model)
        said = done(tool_python, "ask_questions", own, **variables)
    assert "12 answers to 6 questions, 60 tokens" in said
    found = rows(place / "asked" / "answers.jsonl")
    assert [row["choices"] for row in found] == [
        [{"index": 0, "turns": [f"answer to first {n}", f"answer to second {n}"]}] for n in range(6)
    ]
    assert {tuple(sorted(row)) for row in found} == {("answer_id", "choices", "model_id", "question_id", "tstamp")}
    second = next(body for body in model.asked if Talking.said(body) == "second 1")
    assert [one["content"] for one in second["messages"]] == ["first 1", "answer to first 1", "second 1"]
    assert (second["model"], second["seed"], second["max_tokens"]) == ("org/served", 7, 64)
    heat = {Talking.said(body)[-1]: body["temperature"] for body in model.asked}
    assert heat == {str(n): (0.7, 0.1)[n % 2] for n in range(6)}  # of writing and stem, in FastChat
    assert not (place / "home").exists()  # nothing is kept elsewhere


def test_a_killed_asking_goes_on_where_it_was_on_another_port(place: Path, tool_python: Python) -> None:
    with talking(lambda body, _: f"answer to {Talking.said(body)}", seconds=0.3) as first:
        own, variables = asking(first)
        process = start(tool_python, "ask_questions", own, **variables)
        while len(first.answered) < 5:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.15)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = set(first.answered[:5])
    with talking(lambda body, _: f"answer to {Talking.said(body)}") as second:
        own, variables = asking(second)
        done(tool_python, "ask_questions", own, **variables)
        again = [json.dumps(body["messages"]) for body in second.asked]
    assert not kept.intersection(again)
    assert len(again) <= 12 - 5
    assert len(set(again) | set(first.answered)) == 12
    assert len(rows(place / "asked" / "answers.jsonl")) == 6
    weights = place / "weights"  # other weights at the same place are another model
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"other")
    with talking(lambda body, _: f"answer to {Talking.said(body)}") as third:
        own, variables = asking(third)
        done(tool_python, "ask_questions", own, **variables)
        assert len(third.asked) == 12


def test_a_model_that_says_nothing_or_cannot_be_asked_is_told(place: Path, tool_python: Python) -> None:
    some = talking(lambda body, _: 400 if "4" in Talking.said(body) else "yes")
    with talking(lambda _body, _: "") as silent, some as partly:
        own, variables = asking(silent)
        mute = start(tool_python, "ask_questions", own, **variables)
        own, variables = asking(partly, output="other")
        said = done(tool_python, "ask_questions", own, code=1, **variables)
        assert "1 of 6 could not be asked; what was answered is kept" in said
        assert "every answer is empty" in ended(mute, 1)
        assert not (place / "other" / "answers.jsonl").exists()


def scored(body: dict[str, Any], _: int) -> str:
    """A judge that gives the number of the question and two more, and one less for the second answer."""
    text = Talking.said(body)
    number = int(re.findall(r"one (\d)", text)[0])
    return f"Well said. Score: [[{number + 3 - ('two' in text)}]]"


class Once(NamedTuple):
    """Six questions were judged: where, what the judge was sent, and what was said."""

    place: Path
    told: Talking
    said: str


@pytest.fixture(scope="module")
def judged_once(tool_python: Python, tmp_path_factory: pytest.TempPathFactory) -> Once:
    place = laid(tmp_path_factory.mktemp("once"))
    with contextlib.chdir(place), talking(scored) as told:
        one = judge(told.url, price={"input": 2.0, "output": 8.0}, key_variable="JUDGE_KEY")
        said = done(tool_python, "judge_answers", settings(one), JUDGE_KEY=KEY)
    return Once(place, told, said)


@pytest.fixture
def once(judged_once: Once, monkeypatch: pytest.MonkeyPatch) -> Once:
    monkeypatch.chdir(judged_once.place)
    return judged_once


def test_scores_are_those_that_were_given(once: Once) -> None:
    place, told, said = once
    assert len(told.asked) == 12
    values = [n + 2.5 for n in range(6)]
    found = results()
    table = found["results"]
    assert math.isclose(table["mt_bench"]["score,none"], fmean(values))
    assert math.isclose(table["mt_bench"]["score_stderr,none"], stdev(values) / math.sqrt(6))
    assert table["mt_bench"]["turn_1,none"] == fmean(n + 3 for n in range(6))
    assert table["mt_bench"]["turn_2,none"] == fmean(n + 2 for n in range(6))
    assert table["mt_bench_writing"]["score,none"] == fmean((2.5, 4.5, 6.5))
    assert table["mt_bench_stem"]["score,none"] == fmean((3.5, 5.5, 7.5))
    assert found["n-samples"]["mt_bench"] == {"original": 6, "effective": 6}
    assert found["config"]["model_args"] == {"pretrained": "runs/x/tuned", "peft": None}
    [who] = found["judging"]["judges"]
    assert (who["versions"], who["verdicts"], who["unparsed"]) == (["gpt-judge-as-of-today"], 12, 0)
    assert (who["input_tokens"], who["output_tokens"]) == (120, 60)  # of what was paid for, whenever that was
    assert "gpt-judge: 12 verdicts by at most 12 calls" in said
    assert "120 tokens in, 60 out, $0.00" in said
    kept = rows(sorted(Path("judged").glob("samples_mt_bench_2*.jsonl"))[-1])
    assert [row["score"] for row in kept] == values
    assert kept[2]["filtered_resps"] == ["tuned one 2\n\ntuned two 2"]
    judged = rows(place / "judged" / "model_judgment" / "gpt_judge_single.jsonl")
    assert [(row["question_id"], row["turn"], row["score"]) for row in judged[:2]] == [(0, 1, 3.0), (0, 2, 2.0)]
    fields = {"question_id", "model", "judge", "user_prompt", "judgment", "score", "turn", "tstamp"}
    assert {frozenset(row) for row in judged} == {frozenset(fields)}  # as FastChat writes them


def shown(python: Python, mode: str, file: str, *words: str) -> str:
    """Return what FastChat shows of a model in a file of judgments."""
    command = [str(python("fschat")), "-m", "fastchat.llm_judge.show_result", "--mode", mode, "--input-file", file]
    said = subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout
    return " | ".join(" ".join(row.split()) for row in re.findall(r"^tuned +(.+)", said, re.MULTILINE))


def test_fastchat_reads_the_judgments(once: Once, tool_python: Python) -> None:
    said = shown(tool_python, "single", "judged/model_judgment/gpt_judge_single.jsonl")
    assert said == "1 5.5 | 2 4.5 | 5.0"  # both turns, and their mean


def test_a_killed_judging_goes_on_where_it_was(place: Path, tool_python: Python) -> None:
    with talking(scored, seconds=0.3) as told:
        process = start(tool_python, "judge_answers", settings(judge(told.url), connections=2))
        while len(told.answered) < 5:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.15)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept, before = set(told.answered[:5]), len(told.asked)
        done(tool_python, "judge_answers", settings(judge(told.url), connections=2))
        again = [json.dumps(body["messages"]) for body in told.asked[before:]]
    assert not kept.intersection(again)
    assert len(again) <= 12 - 5
    assert results()["results"]["mt_bench"]["score,none"] == 5.0


def test_what_is_refused_for_now_is_asked_again(place: Path, tool_python: Python) -> None:
    busy = talking(lambda body, number: 429 if number == 1 else 503 if number == 3 else scored(body, number))
    with busy as told, talking(lambda _body, _: 401) as closed:
        later = start(tool_python, "judge_answers", settings(judge(told.url)))
        said = done(tool_python, "judge_answers", settings(judge(closed.url), output="closed"), code=1)
        assert "12 of 12 could not be asked; what was answered is kept" in said
        ended(later)
        assert len(told.asked) == 14
    assert not list(Path("closed").glob("results_*.json"))


def test_what_cannot_be_read_is_counted_and_in_no_mean(place: Path, tool_python: Python) -> None:
    def mute(body: dict[str, Any], number: int) -> str:
        return "I would rather not say." if "one 3" in Talking.said(body) else scored(body, number)

    with talking(mute) as told, talking(mute) as hot:
        strict = settings(judge(hot.url, temperature=0.5), max_unparsed=0.1, output="strict")
        other = start(tool_python, "judge_answers", strict)
        said = done(tool_python, "judge_answers", settings(judge(told.url)))
        assert len(told.asked) == 12
        refused = ended(other, 1)
        assert len(hot.asked) == 10 + 2 * 3  # each three times, for its temperature may give another answer
    assert "2 of 12 replies have no verdict that can be read; they are in no mean" in said
    found = results()
    assert found["results"]["mt_bench"]["score,none"] == fmean(n + 2.5 for n in range(6) if n != 3)
    assert found["n-samples"]["mt_bench"] == {"original": 6, "effective": 5}
    judged = rows(place / "judged" / "model_judgment" / "gpt_judge_single.jsonl")
    assert [row["score"] for row in judged if row["question_id"] == 3] == [-1, -1]  # FastChat's sign for it
    assert "more than 10% of the replies of gpt-judge have no verdict" in refused
    assert not list(Path("strict").glob("results_*.json"))


def pairwise(*judges: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = {
        "task": "pairs",
        "benchmark": "pairs",
        "kind": "pairwise",
        "against": "base",
        "against_answers": "base.jsonl",
    }
    return settings(*judges, **own, **more)


def test_pairs_are_judged_in_both_orders(place: Path, tool_python: Python) -> None:
    def verdict(body: dict[str, Any], _: int) -> str:
        """Questions 0 and 1: the tuned model wins. 2: it loses. 3 to 5: whoever stands first."""
        text = Talking.said(body)
        number, first = (
            int(re.findall(r"one (\d)", text)[0]),
            "tuned" if text.index("tuned") < text.index("base") else "base",
        )
        wanted = "tuned" if number < 2 else "base" if number == 2 else first
        return "So: [[A]]" if wanted == first else "So: [[B]]"

    with talking(verdict) as told:
        done(tool_python, "judge_answers", pairwise(judge(told.url)))
        assert len(told.asked) == 24
    found = results()
    values = [1.0, 1.0, 0.0, 0.5, 0.5, 0.5]
    assert found["results"]["pairs"]["win_rate,none"] == fmean(values)
    assert math.isclose(found["results"]["pairs"]["win_rate_stderr,none"], stdev(values) / math.sqrt(6))
    pairs = found["judging"]["pairs"]
    assert (pairs["pairs"], pairs["position_bias"], pairs["first"]) == (12, 0.5, 0.5)
    assert (pairs["wins"], pairs["ties"], pairs["losses"]) == (4 / 12, 6 / 12, 2 / 12)
    judged = rows(place / "judged" / "model_judgment" / "gpt_judge_pair.jsonl")
    assert {(row["g1_winner"], row["g2_winner"]) for row in judged if row["question_id"] > 2} == {
        ("model_1", "model_2")
    }
    assert {(row["g1_winner"], row["g2_winner"]) for row in judged if row["question_id"] == 2} == {
        ("model_2", "model_2")
    }
    file = "judged/model_judgment/gpt_judge_pair.jsonl"
    said = shown(tool_python, "pairwise-baseline", file, "--baseline-model", "base")
    assert said == "4 2 6 0.333333 0.166667 0.583333"  # wins, losses, ties; a tie is half a win in the last


def test_judges_are_compared_with_one_another(place: Path, tool_python: Python) -> None:
    def other(body: dict[str, Any], number: int) -> str:
        return scored(body, number) if "one 0" not in Talking.said(body) else "Score: [[9]]"

    with talking(scored) as one, talking(other) as two:
        done(tool_python, "judge_answers", settings(judge(one.url), judge(two.url, "org/second")))
    found = results()
    [agreed] = found["judging"]["agreement"]
    assert (agreed["judges"], agreed["items"], agreed["same"]) == (["gpt-judge", "org/second"], 12, 10 / 12)
    assert found["results"]["mt_bench"]["score_by_gpt_judge,none"] == 5.0
    assert found["results"]["mt_bench"]["score_by_org_second,none"] == fmean([9, 3.5, 4.5, 5.5, 6.5, 7.5])
    assert found["results"]["mt_bench"]["score,none"] == fmean([(2.5 + 9) / 2, 3.5, 4.5, 5.5, 6.5, 7.5])


def test_logickor_is_asked_as_its_checkout_says(place: Path, tool_python: Python) -> None:
    questions = [
        {"question_id": 1, "choices": [{"turns": ["하나", "없음"]}]},
        {"question_id": 2, "choices": [{"turns": ["hello", "짧게"]}]},
    ]
    lines(place / "korean.jsonl", questions)

    def verdict(body: dict[str, Any], _: int) -> str:
        return "평가: 한국어가 아니다.\n**점수:** 0" if "hello" in Talking.said(body) else "평가: 좋다.\n**점수: 7.5**"

    own = {"task": "logickor", "benchmark": "logickor", "questions": str(LOGICKOR), "answers": "korean.jsonl"}
    with talking(verdict) as told, talking(lambda _body, _: "네") as model:
        asked, variables = asking(model, benchmark="logickor", questions=str(LOGICKOR), mode="1-shot", temperature=0.0)
        model_asked = start(tool_python, "ask_questions", asked, **variables)
        done(tool_python, "judge_answers", settings(judge(told.url), **own))
        ended(model_asked)
    found = results()["results"]
    assert found["logickor"]["score,none"] == fmean((7.5, 0.0))  # the second of question 2 has the first in it
    assert found["logickor"]["turn_1,none"] == fmean((7.5, 0.0))
    assert found["logickor_reasoning"]["score,none"] == 7.5
    first = next(body for body in told.asked if "사과" in Talking.said(body) and "둘을" not in Talking.said(body))
    assert [one["content"] for one in first["messages"]] == [
        "한 번의 답을 평가하세요.",
        "사과가 둘 있습니다. 하나를 먹으면?\n정답: 하나\n하나",
    ]
    assert [one["content"] for one in model.asked[0]["messages"][:2]] == ["안녕?", "안녕하세요."]
    assert len(model.asked) == 4


def test_nothing_is_sent_where_it_may_not_or_would_cost_too_much(place: Path, tool_python: Python) -> None:
    with talking(scored) as told:
        away = told.url.replace("127.0.0.1", "judge.example")
        said = done(tool_python, "judge_answers", settings(judge(away)), code=1)
        assert f"{away} is not in allow: nothing is sent to it" in said
        said = done(tool_python, "judge_answers", settings(judge(told.url, key_variable="JUDGE_KEY")), code=1)
        assert "JUDGE_KEY is not set, or empty, which has the key of gpt-judge" in said
        dear = settings(judge(told.url, price={"input": 100.0, "output": 100000.0}), max_cost=100.0)
        said = done(tool_python, "judge_answers", dear, code=1)
        assert re.search(r"it may cost \$120\.\d\d, more than max_cost, \$100\.00; nothing was sent", said)
        assert told.asked == []
        with talking(lambda _body, _: (307, {"Location": f"{told.url}/chat/completions"})) as elsewhere:
            done(tool_python, "judge_answers", settings(judge(elsewhere.url)), code=1)
            assert len(elsewhere.asked) >= 12
        assert told.asked == []


def test_a_key_is_sent_and_kept_nowhere(once: Once, tool_python: Python) -> None:
    assert set(once.told.keys) == {f"Bearer {KEY}"}
    logs = sorted(once.place.rglob("*.eval"))
    dump = [str(tool_python(ENVIRONMENT).parent / "inspect"), "log", "dump", str(logs[0])]
    log = subprocess.run(dump, capture_output=True, check=True).stdout
    assert b"Well said." in log  # the log can be read, and has what was said
    assert KEY.encode() not in log
    for file in (one for one in once.place.rglob("*") if one.is_file() and one not in logs):
        packed = file.suffix == ".gz"
        data = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
        assert KEY.encode() not in data, file
