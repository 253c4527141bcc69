"""LLaMA-Factory really trains tiny models from what is emitted for it, and on the tokens that it should."""

import json
import math
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trains import lines, workplace  # noqa: F401  # the fixture

from recipec.diagnostics import errors
from recipec.output import write
from recipec.pipeline import compile_file

RECIPES = Path(__file__).parent / "llamafactory"
ENVIRONMENT = "llamafactory-0.9.5"
Train = Callable[[str], str]


@pytest.fixture
def shell(workplace: Path, tool_python: Callable[[str], Path]) -> Callable[..., str]:  # noqa: F811
    """Run a script as a user would, without recipec; return all that it said."""
    (workplace / "environments").mkdir()
    (workplace / "environments" / ENVIRONMENT).symlink_to(tool_python(ENVIRONMENT).parent.parent)
    lines(
        workplace / "data" / "judged.jsonl",
        [{"prompt": f"Is {n} even?", "completion": ["Yes.", "No."][n // 2 % 2], "label": n % 3 > 0} for n in range(24)],
    )

    def run(script: str, **variables: str) -> str:
        known = {"PATH": os.environ["PATH"], "HOME": str(workplace), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        known["PYTHONUNBUFFERED"] = "1"
        known["RECIPE_ENVIRONMENTS"] = str(workplace / "environments")
        done = subprocess.run(
            ["bash", script],
            cwd=workplace,
            env=known | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    return run


@pytest.fixture
def train(workplace: Path, shell: Callable[..., str]) -> Train:  # noqa: F811
    """Compile a recipe of this folder and run all of it."""

    def run(name: str) -> str:
        compiled = compile_file(str(RECIPES / f"{name}.yaml"))
        assert errors(compiled.findings) == []
        write(workplace / "build" / name, compiled.files)
        return shell(f"build/{name}/run.sh")

    return run


def losses(output: Path) -> list[float]:
    """Return the losses in the last checkpoint of a stage, each of which must be a number above 0."""
    state: Any = json.loads(sorted(output.glob("checkpoint-*/trainer_state.json"))[-1].read_text())
    found = [row["loss"] for row in state["log_history"] if "loss" in row]
    assert found
    assert all(math.isfinite(loss) and loss > 0 for loss in found)
    return found


def shown(said: str, what: str) -> list[str]:
    """Return what it shows of the first row of each training: its text, or the text of the tokens that carry loss."""
    return re.findall(
        rf"^{what}:\n(.*?)\n(?=\w+:$|eval example|training example|Running |\n*\[|\Z)", said, re.MULTILINE | re.DOTALL
    )


@pytest.mark.real
def test_chat_then_dpo(train: Train, shell: Callable[..., str], workplace: Path) -> None:  # noqa: F811
    said = train("chat-lora-merge-dpo")
    runs = workplace / "runs" / "chat-lora-merge-dpo"
    first = losses(runs / "sft")
    assert (runs / "sft" / "adapter_model.safetensors").exists()
    assert (runs / "sft-merge" / "model.safetensors").exists()
    assert losses(runs / "dpo")
    text, trained = shown(said, "inputs")[0], shown(said, "labels")[0]
    assert re.fullmatch(
        r"<\|im_start\|>user\nIs \w+ a drink, number \d\?<\|im_end\|>\n<\|im_start\|>assistant\n(Yes, \w+ is a drink\.)<\|im_end\|>\n?",
        text,
    )
    assert trained.strip() == text[text.rindex("Yes") :].strip()  # the answer and its end, nothing else
    again = shell("build/chat-lora-merge-dpo/sft/run.sh", RECIPE_RESUME_FROM=str(runs / "sft" / "checkpoint-2"))
    assert again.count("{'loss'") == 2  # steps 3 and 4 of 4
    assert losses(runs / "sft") == pytest.approx(first, abs=1e-4)


@pytest.mark.real
def test_preferences(train: Train, workplace: Path) -> None:  # noqa: F811
    train("preferences")
    runs = workplace / "runs" / "preferences"
    for stage in ("orpo", "simpo", "reward-model"):
        assert losses(runs / stage)
    assert (runs / "reward-model" / "value_head.safetensors").exists()


@pytest.mark.real
def test_every_format(train: Train, workplace: Path) -> None:  # noqa: F811
    said = train("texts")
    runs = workplace / "runs" / "texts"
    for stage in ("streamed", "packed", "kto", "oft"):
        assert losses(runs / stage)
    assert json.loads((runs / "oft" / "adapter_config.json").read_text())["peft_type"] == "OFT"
    labels = shown(said, "labels")
    packed = [line for line in labels[0].splitlines() if line]
    assert len(packed) > 1  # several rows, of each the answer alone
    assert all(re.fullmatch(r"Yes, \w+ is a drink\.<\|im_end\|>", line) for line in packed)
    assert labels[-1].startswith("Is ")  # train_on: all
