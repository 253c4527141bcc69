"""The emitted script of OpenRLHF makes a real Ray cluster, submits to it, passes failures on, and leaves nothing behind.

The trainer itself is a stand-in, a module of the same name: OpenRLHF's cannot be imported without a GPU. The two nodes are
two of Ray's on this machine, which is told that it has eight GPUs.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recipec.pipeline import compile_file

pytestmark = pytest.mark.xdist_group("ray")  # it waits 30 s for its head, which two at once may not keep

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "recipes" / "llama-3-70b-ppo-openrlhf.yaml")
STAND_IN = """
import os, sys, ray
ray.init(logging_level="ERROR")

@ray.remote(num_gpus=8)
def folder():
    return os.getcwd(), os.environ["TOKENIZERS_PARALLELISM"]

found = ray.get([folder.remote() for _ in range(2)])
assert found == [(os.getcwd(), "false")] * 2, found
with open("trained", "w") as file:
    print(*sys.argv[1:], sep="\\n", file=file)
sys.exit("the stand-in fails" if os.path.exists("fail") else 0)
"""


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Nodes:
    """A folder that two nodes share, and what they were started with."""

    def __init__(self, folder: Path, environment: Path, temporary: str) -> None:
        self.folder = folder
        files = compile_file(RECIPE, ["hardware.nodes=2", "train.batch_size=128"]).files
        for name in ("run.sh", "openrlhf.sh"):
            (folder / name).write_text(files[f"train/{name}"], encoding="utf-8")
        package = folder / "stand_in" / "openrlhf" / "cli"
        package.mkdir(parents=True)
        (package / "train_ppo_ray.py").write_text(STAND_IN, encoding="utf-8")
        (folder / "environments").mkdir()
        (folder / "environments" / "openrlhf-0.11.2").symlink_to(environment)
        self.variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(folder / "stand_in"),
            "RECIPE_ENVIRONMENTS": str(folder / "environments"),
            "RAY_TMPDIR": temporary,
            "RAY_PORT": free_port(),
            "RAY_DASHBOARD_PORT": free_port(),
            "RAY_WAIT_SECONDS": "300",
            "MASTER_ADDR": "127.0.0.1",
            # this machine may be busy
            "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "200",
            "RAY_raylet_start_wait_time_s": "200",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "30",  # a worker notices sooner that its head is gone
        }

    def start(self, rank: int) -> subprocess.Popen[bytes]:
        with (self.folder / f"{rank}.log").open("wb") as log:
            return subprocess.Popen(
                ["bash", "run.sh"],
                cwd=self.folder,
                env=self.variables | {"NODE_RANK": str(rank)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def of(folder: str) -> list[str]:
    """Return the processes that have to do with a folder."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if folder in line]


@pytest.fixture
def temporary() -> Iterator[str]:
    """A short path: Ray puts sockets there."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.real
@pytest.mark.parametrize("fails", [False, True])
def test_a_cluster_is_made_used_and_ended(
    fails: bool, tool_python: Callable[[str], Path], tmp_path: Path, temporary: str
) -> None:
    nodes = Nodes(tmp_path, tool_python("ray-2.55.0").parents[1], temporary)
    if fails:
        (tmp_path / "fail").touch()
    head, worker = nodes.start(0), nodes.start(1)
    try:
        code = head.wait(timeout=500)
        said = (tmp_path / "0.log").read_text(encoding="utf-8")
        assert code == int(fails), (said[-2000:], (tmp_path / "1.log").read_text(encoding="utf-8")[-2000:])
        assert worker.wait(timeout=180) == 0, (tmp_path / "1.log").read_text(encoding="utf-8")[-3000:]
    finally:
        for process in (head, worker):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    words = (tmp_path / "trained").read_text(encoding="utf-8").splitlines()
    assert words[words.index("--actor.num_nodes") + 1] == "2"
    assert ("the stand-in fails" in said) is fails
    end = time.monotonic() + 60
    while of(temporary) and time.monotonic() < end:
        time.sleep(1)
    assert of(temporary) == []
