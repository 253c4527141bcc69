"""Tools from npm that these tests drive, at the exact releases of package-lock.json, in a cache of their own."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The installed packages; skips only where npm itself is absent."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    names = ("package.json", "package-lock.json")
    key = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in names)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recipec" / "npm" / key
    if not (cache / "done").exists():
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        for name in names:
            shutil.copy(HERE / name, cache)
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(words, cwd=cache, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        (cache / "done").touch()
    return cache / "node_modules"
