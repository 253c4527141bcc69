"""The launchers' own parsers read the command lines of scripts as the plan means them."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.output import write
from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "tests" / "real" / "scripts" / "plain.yaml"
STUB = '#!/bin/sh\nprintf "%s\\0" "${0##*/}" "$@" > argv\n'  # writes down how it was called
EXPECTED = {
    ("torchrun", 1): {"nproc_per_node": "2", "standalone": True, "nnodes": "1:1"},
    ("torchrun", 2): {"nproc_per_node": "2", "nnodes": "2", "node_rank": 1, "master_addr": "10.0.0.1", "master_port": 29500},
    ("deepspeed", 1): {"num_gpus": 2, "no_local_rank": True, "no_ssh": False},
    ("deepspeed", 2): {"num_gpus": 2, "num_nodes": 2, "no_ssh": True, "node_rank": 1, "master_addr": "10.0.0.1"},
    ("accelerate", 1): {"machine_rank": None, "main_process_ip": None},
    ("accelerate", 2): {"machine_rank": 1, "main_process_ip": "10.0.0.1", "main_process_port": 29500},
}  # fmt: skip
SCRIPT = {"torchrun": ("training_script", "training_script_args"), "deepspeed": ("user_script", "user_args")}


def called(launcher: str, nodes: int, folder: Path) -> list[str]:
    """Return how the stage's script calls its launcher."""
    settings = [f"script.launcher={launcher}", f"hardware.nodes={nodes}", "hardware.gpu=a100-80gb"]
    compiled = compile_file(str(RECIPE), settings)
    assert compiled.findings == []
    write(folder / "build", compiled.files)
    for environment in json.loads(compiled.files["plan.json"])["environments"]:
        (folder / environment / "bin").mkdir(parents=True)
        for name in ("python", launcher):
            (folder / environment / "bin" / name).write_text(STUB)
            (folder / environment / "bin" / name).chmod(0o755)
    sign = folder / "runs" / json.loads(compiled.files["plan.json"])["recipe"]["name"] / "nodes" / "train"
    sign.parent.mkdir(parents=True)
    sign.touch()
    os.utime(sign, (time.time() + 3600,) * 2)  # node 0 is there, and stays
    variables = {"PATH": os.environ["PATH"], "RECIPE_ENVIRONMENTS": str(folder)}
    variables |= {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1"}
    subprocess.run(["bash", "build/train/run.sh"], cwd=folder, env=variables, check=True)
    return (folder / "argv").read_text().split("\0")[:-1]


@pytest.mark.conformance
def test_launchers_read_their_command_lines(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs, folders = [], []
    for launcher, nodes in EXPECTED:
        folder = tmp_path / f"{launcher}-{nodes}"
        folder.mkdir()
        tool, *argv = called(launcher, nodes, folder)
        assert tool == launcher
        jobs += [{"tool": tool, "argv": argv}, {"tool": tool, "argv": [*argv[:1], "--nproc_per_nod", *argv[1:]]}]
        folders.append(folder)
    judge = [tool_python("axolotl-0.21.0-deepspeed"), ROOT / "tests" / "judges" / "launchers.py"]
    variables = os.environ | {"DS_ACCELERATOR": "cpu"}
    done = subprocess.run(judge, input=json.dumps(jobs), env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    verdicts = json.loads(done.stdout.splitlines()[-1])
    for ((launcher, nodes), expected), read, wrong in zip(EXPECTED.items(), verdicts[::2], verdicts[1::2], strict=True):
        assert expected.items() <= read.items(), launcher
        script, arguments = SCRIPT.get(launcher, ("training_script", "training_script_args"))
        assert read[script] == "plain.py"
        assert read[arguments][-3:] == ["--note", f"it's $(id) of {2 * nodes}", "--quiet"]
        assert isinstance(wrong, str) or "--nproc_per_nod" in str(wrong), launcher  # a wrong option does not pass
    hosts = (tmp_path / "deepspeed-2" / "build" / "train" / "hostfile").read_text()
    assert hosts == "node-0 slots=2\nnode-1 slots=2\n"


def test_ray_trains_with_the_planned_workers() -> None:
    compiled = compile_file(str(RECIPE), ["script.launcher=ray", "hardware.nodes=3", "hardware.gpu=a100-80gb"])
    text: Any = compiled.files["train/ray_train.py"]
    compile(text, "ray_train.py", "exec")
    assert "num_workers=6,  # over all nodes" in text
    assert "use_gpu=True," in text
