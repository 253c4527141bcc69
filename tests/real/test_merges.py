"""Adapters combined by weight: the emitted script really merges them by PEFT, and the weights are what was asked for."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from recipec.kinds.merge import How
from recipec.rules.contradictions.merging import SPARSE

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "compiler" / "recipec" / "systems" / "scripts" / "merge_adapter.py"


@pytest.mark.real
def test_every_way_of_combining_adapters_merges(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    ways = [{"how": how, **({"density": 0.5} if how in SPARSE else {})} for how in get_args(How)]
    (tmp_path / "ways.json").write_text(json.dumps(ways))
    command = [tool_python("trl-1.16.0"), ROOT / "tests" / "real" / "merges.py", SCRIPT, tmp_path / "ways.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(get_args(How))
    assert found["cat"] < 1e-6
    assert all(found[how] > 1e-3 for how in SPARSE)  # they drop values, so the sum cannot be whole
