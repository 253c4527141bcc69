"""Trainings of several processes on one machine, one training at a time: their processes meet at one port."""

import fcntl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other worker of the tests has processes that meet at the port of accelerate and DeepSpeed."""
    with (Path(tempfile.gettempdir()) / "recipec-tests-29500.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def extensions(environment: Path) -> dict[str, str]:
    """Return where DeepSpeed compiles what its processes on a CPU speak through: once for an environment, not in each home."""
    return {"TORCH_EXTENSIONS_DIR": str(environment.parent.parent / "torch_extensions" / environment.name)}


def run_script(folder: Path, script: str, variables: dict[str, str]) -> str:
    """Run an emitted script in a folder, as a user would, without recipec; return what it said. Fails when it does."""
    done = subprocess.run(
        ["bash", script],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
