"""All shipped recipes, really rehearsed by their own tools on two cores; the evaluations of some of them.

`python benchmarks/rehearse_all.py --write` rehearses all of them whole, and keeps the result.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from meeting import alone

from recipec import manifest
from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]
ALL = runpy.run_path(str(ROOT / "benchmarks" / "rehearse_all.py"))
Rehearse = Callable[..., dict[str, Any]]
# An evaluation is loading a tiny model and asking a few questions: these have each kind of it.
EVALUATED = {
    "llama-3-8b-benchmarks-vllm",  # nothing but an evaluation
    "own-script-accelerate",  # of a script's model
    "qwen2.5-1.5b-grpo-math",  # by two processes
    "qwen2.5-7b-every-checkpoint",  # beside the training
    "qwen2.5-7b-shop-course",  # of several stages, side by side
}
NOTHING = {"llama-3-70b-ppo-openrlhf", "llama-3.1-8b-reward-then-ppo", "qwen2.5-7b-grpo-openrlhf"}  # OpenRLHF alone
GRPO = """
recipe: 1
name: rewarded
trainer: trl
model: {base: Qwen/Qwen2.5-1.5B-Instruct}
data: {train: [{path: asked.jsonl, format: prompt, columns: {answer: answer}}]}
train: {method: grpo, batch_size: 64, micro_batch_size: 8, learning_rate: 1e-6}
rewards: [{type: python, path: mine.py, function: judge}]
hardware: {gpu: h100-80gb}
"""


def without_sandbox() -> str:
    """Why programs cannot be run here; an empty text where they can."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "code.json")
        settings.write_text(json.dumps({"sandbox": True, "seconds": 5, "memory_gib": 1, "file_mib": 8}))
        words = [sys.executable, ROOT / "compiler/recipec/systems/scripts/run_code.py", settings, "--check"]
        return subprocess.run(words, capture_output=True, text=True, check=False).stderr.strip()


@pytest.fixture
def rehearse(tmp_path: Path) -> Iterator[Rehearse]:
    before = Path.cwd(), dict(os.environ)

    def one(recipe: Path, *, exclude: tuple[str, ...] = (), several: bool = True) -> dict[str, Any]:
        with ExitStack() as stack:
            if several:  # processes that meet at one port
                stack.enter_context(alone())
            found: dict[str, Any] = ALL["rehearsed"](recipe, tmp_path, exclude=exclude)
        return found

    yield one
    os.chdir(before[0])
    os.environ.clear()
    os.environ.update(before[1])


@pytest.mark.real
@pytest.mark.parametrize("recipe", ALL["shipped"](), ids=lambda path: path.stem)
def test_it_is_rehearsed(recipe: Path, rehearse: Rehearse, tmp_path: Path) -> None:
    name, compiled = recipe.stem, compile_file(str(recipe))
    assert compiled.resolved is not None
    real = compiled.resolved.plan
    asks = name not in EVALUATED and any(real.of_kind("evaluate"))
    several = name not in NOTHING and real.hardware.world > 1
    if any(stage.body.code is not None for stage in real.of_kind("evaluate")) and (missing := without_sandbox()):
        pytest.skip(f"no sandbox: {missing}")
    found = rehearse(recipe, exclude=("kind:evaluate",) if asks else (), several=several)
    run = tmp_path / "runs" / f"{name}.rehearsal"
    if name in NOTHING:
        assert found["exit_code"] is None
        assert found["ended"] == {}
        return
    logs = "".join(path.read_text(errors="replace")[-3000:] for path in (run / "logs").glob("*.log"))
    assert found["exit_code"] == 0, (found, logs)
    done = {stage for stage, state in found["ended"].items() if state == "done"}
    plan = manifest.read((run / "plan.json").read_bytes()).plan
    expected = [one for one in plan.stages if one.kind != "evaluate" or name in EVALUATED]
    assert done == {one.name for one in expected if one.kind != "gate"}
    for stage in expected:
        output = Path(stage.output)
        if stage.kind == "train" and name != "own-script-accelerate":
            states = [json.loads(path.read_text()) for path in output.glob("checkpoint-*/trainer_state.json")]
            assert max(state["global_step"] for state in states) == 3
        elif stage.kind == "merge":
            assert list(output.glob("*.safetensors"))
        elif stage.kind == "evaluate":
            assert list(output.rglob("results_*.json"))
    assert json.loads((run / "rehearsal.json").read_text())["swaps"]
    assert not (tmp_path / "runs" / name).exists()
    assert not (tmp_path / "build" / name).exists()


@pytest.mark.real
def test_a_reward_that_raises_ends_it_as_it_would_end_the_run(
    rehearse: Rehearse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rewarded.yaml").write_text(GRPO)
    rows = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(80)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.py").write_text(
        "def judge(completions, prompts, answers):\n    return [float(answers[0]['value'])] * len(completions)\n"
    )
    found = rehearse(tmp_path / "rewarded.yaml", several=False)
    assert found["exit_code"] == 3
    assert found["ended"] == {"train": "failed"}
    told = capsys.readouterr().out
    assert "mine.py" in told
    assert "TypeError: string indices must be integers" in told


@pytest.mark.real
def test_a_template_that_refuses_a_row_ends_it_as_it_would_end_the_run(
    rehearse: Rehearse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "refused.yaml").write_text(
        "recipe: 1\nname: refused\ntrainer: trl\nhardware: {gpu: h100-80gb}\n"
        "model: {base: Qwen/Qwen2.5-0.5B, max_length: 512, chat_template_file: turns.jinja}\n"
        "data: {train: [{path: rows.jsonl, format: chat}]}\n"
        "train: {epochs: 1, batch_size: 16, learning_rate: 1e-5}\n"
    )
    (tmp_path / "turns.jinja").write_text(
        "{% for message in messages %}{% if 'seven' in message['content'] %}{{ raise_exception('no sevens here') }}{% endif %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    talks = [
        [{"role": "user", "content": f"Say {n}, {k}."}, {"role": "assistant", "content": n}]
        for n in numbers
        for k in range(8)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks))
    found = rehearse(tmp_path / "refused.yaml", several=False)
    assert found["exit_code"] == 3
    assert found["ended"] == {"train": "failed"}
    assert "no sevens here" in capsys.readouterr().out
