"""What a course has trained is really served, checked and stopped, by Transformers' server in the place of vLLM's."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trains import run, workplace  # noqa: F401  # the fixture

pytestmark = pytest.mark.xdist_group("served")  # its servers have one port each
RECIPE = """
recipe: 1
name: shop
model:
  from_scratch: {family: llama, hidden_size: 128, layers: 2, heads: 4, vocab_size: 400}
  max_length: 96
trainer: trl
train: {steps: 2, batch_size: 4, micro_batch_size: 4, learning_rate: 3e-3}
hardware: {gpu: none}
stages:
  - name: sft
    data: {train: [{path: data/conversations.jsonl, format: chat, columns: {messages: conversations, role: from, content: value}, roles: {user: [human], assistant: [gpt]}}]}
  - name: lora
    adapter: {rank: 4}
    data: {train: [{path: data/instructions.jsonl, format: instruction}]}
  - {name: whole, serve: {port: 8971, ask: 'Is tea a drink?'}}
  - {name: small, start_from: lora, quantize: {scheme: w8a16, method: round, measure: 8}}
  - {name: fewer, serve: {port: 8971}}
"""


def health(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def environment(place: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "RECIPE_ENVIRONMENTS": str(place / "environments"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.5)


@pytest.mark.real
def test_a_model_is_served_asked_and_stopped(
    workplace: Path,  # noqa: F811
    tool_python: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)
    recipe = workplace / "shop.yaml"
    recipe.write_text(RECIPE)
    runs = run(recipe, workplace, tool_python)
    for name, model in (("whole", "lora-merge"), ("fewer", "small")):
        found: dict[str, Any] = json.loads((runs / name / "service.json").read_text())
        [answer] = found["answers"]
        assert (found["server"], answer["model"]) == ("transformers_serve", f"runs/shop/{model}")
        assert answer["answer_tokens"] > 0
        assert answer["ended"] in ("stop", "length")
        assert answer["prompt_tokens"] > 5  # a turn that the template has rendered
    assert not health(8971)

    # what keeps it up does so until it is stopped; the check asks it too, and leaves it there
    folder = workplace / "build" / "shop" / "whole"
    server = subprocess.Popen(
        ["bash", folder / "serve.sh"], env=environment(workplace), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: health(8971))
        check = [tool_python("trl-1.16.0"), folder / "check_server.py", folder / "check.json"]
        done = subprocess.run(check, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert "tokens in" in done.stdout
        again = subprocess.run(
            ["bash", folder / "run.sh"],
            env=environment(workplace),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert again.returncode == 1
        assert "something answers at http://127.0.0.1:8971 already" in again.stderr
        assert health(8971)
    finally:
        server.terminate()
        server.wait(60)
    until(lambda: not health(8971))
    unit = subprocess.run(
        ["bash", folder / "service.sh"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert f"WorkingDirectory={workplace}" in unit
    assert f'ExecStart=/usr/bin/env bash "{folder}/serve.sh"' in unit

    # killed in the middle, nothing is left
    killed = subprocess.Popen(
        ["bash", folder / "run.sh"],
        env=environment(workplace),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: health(8971))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    until(lambda: not health(8971))


@pytest.mark.real
def test_a_server_that_ends_ends_the_stage(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "compiler" / "recipec" / "systems" / "scripts" / "check_server.py"
    settings = {
        "server": "x",
        "url": "http://127.0.0.1:8972",
        "key_variable": "",
        "server_key": "",
        "models": ["x"],
        "chat": True,
    }
    settings |= {
        "ask": "x",
        "max_tokens": 1,
        "end_tokens": [],
        "start_seconds": 60,
        "output": str(tmp_path / "out"),
        "file": "s.json",
    }
    (tmp_path / "check.json").write_text(json.dumps(settings))
    command = [tool_python("trl-1.16.0"), script, tmp_path / "check.json", "bash", "-c", "echo no room >&2; exit 7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "the server ended with exit code 7 before it answered" in done.stderr
    assert not (tmp_path / "out").exists()
