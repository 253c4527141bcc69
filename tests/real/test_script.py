"""A user's own script, unchanged, really runs as two processes under every launcher, and learns the same under each."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from meeting import alone

from recipec.output import write
from recipec.pipeline import compile_file

HERE = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parents[2]
ONE, TWO = ["hardware.per_node=2"], ["hardware.per_node=1", "hardware.nodes=2"]


class Place:
    """A folder to run in, with the tool environments."""

    def __init__(self, folder: Path, tool_python: Callable[[str], Path]) -> None:
        self.folder, self._python = folder, tool_python
        (folder / "environments").mkdir()
        (folder / "plain.py").write_bytes((HERE / "plain.py").read_bytes())

    def start(self, recipe: Path, name: str, *settings: str, **variables: str) -> subprocess.Popen[str]:
        """Compile and start the training stage by its own `run.sh`."""
        compiled = compile_file(str(recipe), [f"name={name}", *settings])
        assert compiled.findings == []
        write(self.folder / "build" / name, compiled.files)
        for environment in json.loads(compiled.files["plan.json"])["environments"]:
            link = self.folder / "environments" / environment
            if not link.exists():
                link.symlink_to(self._python(environment).parent.parent)
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        base |= {"RECIPE_ENVIRONMENTS": "environments", "RAY_STORAGE": "ray", **variables}
        command = ["bash", f"build/{name}/train/run.sh"]
        return subprocess.Popen(
            command, cwd=self.folder, env=base, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def ranks(self, name: str, *started: subprocess.Popen[str]) -> list[dict[str, Any]]:
        """Return what the ranks wrote down, when all that was started has ended well."""
        for process in started:
            said = process.communicate(timeout=400)[0]
            assert process.returncode == 0, said[-5000:]
        return [json.loads(p.read_text()) for p in sorted((self.folder / "runs" / name / "train").glob("rank*.json"))]


@pytest.fixture
def place(tmp_path: Path, tool_python: Callable[[str], Path]) -> Place:
    return Place(tmp_path, tool_python)


def judge(ranks: list[dict[str, Any]], name: str) -> None:
    """Two ranks, each with batches of its own and with the same weights in the end, which heard what the recipe says."""
    assert [(rank["rank"], rank["world"]) for rank in ranks] == [(0, 2), (1, 2)]
    assert ranks[0]["losses"] != ranks[1]["losses"]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    expected = ["--output-dir", f"runs/{name}/train", "--steps", "5", "--batch-size", "4", "--learning-rate", "0.1"]
    assert ranks[0]["arguments"] == [*expected, "--note", "it's $(id) of 2", "--quiet"]
    assert ranks[1]["word"] == "heard"


@pytest.mark.real
def test_launchers(place: Place) -> None:
    found = {}
    for launcher in ("accelerate", "torchrun", "deepspeed"):
        with alone():
            started = place.start(HERE / "plain.yaml", launcher, f"script.launcher={launcher}", *ONE)
            judge(ranks := place.ranks(launcher, started), launcher)
        found[launcher] = [rank["losses"] for rank in ranks]
    assert found["accelerate"] == found["torchrun"] == found["deepspeed"]


@pytest.mark.real
@pytest.mark.parametrize(("launcher", "port"), [("torchrun", "29611"), ("deepspeed", "29612"), ("accelerate", "29613")])
def test_two_nodes(launcher: str, port: str, place: Place) -> None:
    started = [
        place.start(HERE / "plain.yaml", launcher, f"script.launcher={launcher}", *TWO,
                    NODE_RANK=str(node), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        for node in range(2)
    ]  # fmt: skip
    judge(place.ranks(launcher, *started), launcher)


@pytest.mark.real
@pytest.mark.parametrize("launcher", ["accelerate", "torchrun"])
def test_a_plain_loop_is_complete_when_it_ends_well(launcher: str, tmp_path: Path) -> None:
    """No event tells of it, for it has no Trainer: its exit code and what it leaves do."""
    torchrun = launcher == "torchrun"
    recipe = HERE / "plain.yaml" if torchrun else ROOT / "recipes/own-script-accelerate.yaml"
    (tmp_path / "plain.py").write_bytes((HERE / "plain.py").read_bytes())
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    command = [sys.executable, "-m", "recipec.cli", "run", str(recipe)]
    command += ["--set", "hardware.gpu=none", "--set", "hardware.per_node=1", "--set", f"script.launcher={launcher}"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train: complete" in done.stdout
    assert list(tmp_path.glob("runs/*/train/" + ("rank0.json" if torchrun else "model.pt")))


@pytest.mark.real
@pytest.mark.xdist_group("ray")  # it waits 30 s for its head, which two at once may not keep
def test_ray(place: Place) -> None:
    started = place.start(HERE / "plain.yaml", "ray", "script.launcher=ray", *ONE, RAY_AUTH_MODE="disabled")
    judge(place.ranks("ray", started), "ray")
