"""Built-in rewards pay for what they say; a function of one's own is judged before anything runs."""

import http.server
import importlib.util
import json
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipec.kinds.train.records import Train
from recipec.pipeline import compile_tree
from recipec.rules.reward_file import trouble
from recipec.source import Source
from recipec.systems import rewards
from recipec.yaml_reader import read_text

SCRIPT = Path(rewards.__file__).parent / "scripts" / "rewards.py"
RECIPE = """recipe: 1
name: rewards
trainer: axolotl
model: {base: org/base}
data: {train: [{path: a.jsonl, format: prompt, columns: {answer: solution}}]}
train: {method: grpo, learning_rate: 1e-6, batch_size: 8}
hardware: {gpu: a100-80gb}
rewards:
  - {type: exact}
  - {type: regex, pattern: "<think>.*</think>.*", weight: 0.5}
  - {type: exact, weight: 2}
  - {type: model, path: org/judge}
  - {type: python, path: %s, function: short}
"""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("rewards_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


built_in: Any = load(SCRIPT)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("so we get \\boxed{42}", "42"), ("thus #### 1,234", "1234"), ("The answer is 3/4.", "0.75"),
        ("\\boxed{\\frac{3}{4}}", "0.75"), ("\\boxed{\\dfrac12}", "1/2"), ("It costs $5.00", "5"),
        ("the final answer: \\text{Paris}", "paris"), ("\\boxed{x^{2} + 1}", "x^{2}+1"), ("= 50\\%", "50"),
        ("\\boxed{-7}", "-7"), ("answer is 90^\\circ", "90"), ("1. first 2. then it is 12", "steps #### 12"),
    ],
)  # fmt: skip
def test_equal_answers_are_paid(said: str, expected: str) -> None:
    assert built_in.exact([said], [expected]) == [1.0]


@pytest.mark.parametrize(
    ("said", "expected"),
    [("\\boxed{41}", "42"), ("12 or 13", "12"), ("1/0", "0"), ("", "1"), ("\\boxed{", "5"), ("-5", "5"), ("1.5", "15")],
)
def test_other_answers_are_not(said: str, expected: str) -> None:
    assert built_in.exact([said], [expected]) == [0.0]


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_text_breaks_a_reward(said: str, expected: str) -> None:
    assert built_in.exact([said], [expected])[0] in (0.0, 1.0)
    assert built_in.exact([expected or "x"], [expected or "x"]) == [1.0]
    assert 0 <= built_in.length([said], 5)[0] <= 1
    assert 0 <= built_in.language([said], "ko")[0] <= 1


def test_format_length_and_language() -> None:
    assert built_in.matches(["<think>a\nb</think> c", "c"], "<think>.*</think>.*") == [1.0, 0.0]
    assert built_in.length(["a b", "a b c", "a b c d"], 2) == [1.0, 0.5, 0.0]
    assert built_in.language(["안녕하세요", "hello", "안녕 hi", "123"], "ko") == [1.0, 0.0, 0.5, 0.0]


def test_a_remote_reward_really_posts() -> None:
    seen: list[Any] = []

    class Judge(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body)
            count = len(body["query"]) if self.path == "/" else 1
            reply = json.dumps({"rewards": [0.5] * count}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        assert built_in.remote(url, ["b", "c"], ["a", "a"], ["x", "y"]) == [0.5, 0.5]
        with pytest.raises(ValueError, match="1 rewards for 2"):
            built_in.remote(url + "few", ["b", "c"], ["a", "a"], ["x", "y"])
        server.shutdown()
    assert seen[0] == {"query": ["ab", "ac"], "prompts": ["a", "a"], "labels": ["x", "y"]}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text("def short(completions, prompts, answers):\n    return [1 / (1 + len(c)) for c in completions]\n")
    return path


def test_the_emitted_file_has_a_function_for_each_reward(own: Path, tmp_path: Path) -> None:
    from recipec.course import bind_course
    from recipec.decide.decision import decide
    from recipec.source import Mapping

    tree = read_text(Source("r.yaml", RECIPE % own))
    assert isinstance(tree, Mapping)
    course, findings = bind_course(tree)
    assert course is not None
    assert findings == []
    (whole,) = decide(course).resolved.plan.stages
    stage: Train = whole.body
    wanted = ["exact_answer", "format_matches", "exact_answer_3", "org/judge", "short"]
    assert rewards.names(stage.rewards) == [name if "/" in name else f"rewards.{name}" for name in wanted]
    path = tmp_path / "rewards.py"
    path.write_text(rewards.text(stage, "solution"))
    module: Any = load(path)
    talk = [[{"role": "assistant", "content": "\\boxed{7}"}], [{"role": "assistant", "content": "8"}]]
    assert module.exact_answer(["q", "q"], talk, solution=["7", "7"]) == [1.0, 0.0]
    assert module.format_matches(["q"], ["<think></think>"]) == [1.0]
    assert module.short(["q"], ["abc"]) == [0.25]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def other(): pass", "has no function short"),
        ("def short(completions): pass", "does not take prompts, answers"),
        ("def short(completions, prompts, answers, extra): pass", "wants extra, which is never passed"),
        ("async def short(**all): pass", "is asynchronous"),
        ("def short(", "is not valid Python"),
        ("def other():\n    short = 1", "has no function short"),
        ("import short.other as other", "has no function short"),
    ],
)
def test_a_function_that_would_fail_is_found_first(source: str, message: str, own: Path) -> None:
    own.write_text(source)
    (finding,) = (f for f in compile_tree(read_text(Source("r.yaml", RECIPE % own))).findings if f.code == "P104")
    assert message in finding.message
    assert finding.span is not None
    assert finding.span.line == 13


@pytest.mark.parametrize(
    "source",
    [
        "def short(completions, **kwargs): pass",
        "def short(completions, prompts, answers, scale=1): pass",
        "def short(*, completions, prompts, answers): pass",
        "from functools import reduce as short",
        "from functools import *",
        "import functools\nshort = functools.partial(print)",
        "try:\n    import short\nexcept ImportError:\n    def short(): pass",
        "class short: pass",
    ],
)
def test_a_function_that_works_is_fine(source: str, own: Path) -> None:
    own.write_text(source)
    assert trouble(str(own), "short") is None
