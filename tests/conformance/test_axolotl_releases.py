"""What is emitted for each release of Axolotl, before that release's own validation."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recipec.output import write
from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]
TINY = sorted((ROOT / "tests" / "real" / "recipes").glob("*.yaml"))
REAL = sorted((ROOT / "recipes").glob("*.yaml"))
RELEASES = {
    "0.17.0": "axolotl-0.17.0",
    "0.19.0": "axolotl-0.19.0",
    "0.21.0": "axolotl-0.21.0-deepspeed",
}


@pytest.mark.conformance
@pytest.mark.parametrize("release", RELEASES)
def test_the_release_accepts_what_we_emit(release: str, tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs = []
    for recipe in [*TINY, *REAL]:
        compiled = compile_file(str(recipe), [f"versions.axolotl={release}"])
        if compiled.resolved is None:
            continue
        for stage in compiled.resolved.plan.of_kind("train"):
            if stage.system != "axolotl":
                continue
            assert [found for found in compiled.findings if found.code != "T003"] == [], recipe
            write(tmp_path / compiled.name, compiled.files)
            here = tmp_path / compiled.name / stage.name
            machine = stage.body.hardware
            gpu = {"sm": f"sm_{machine.sm}", "count": machine.world, "bf16": machine.bf16, "nodes": machine.nodes}
            jobs.append(
                {"file": str(here / "axolotl.yaml"), "cwd": str(here), "gpu": gpu if machine.device == "gpu" else None}
            )
    assert len(jobs) > len(TINY)
    judge = [tool_python(RELEASES[release]), ROOT / "tests" / "judges" / "axolotl.py"]
    done = subprocess.run(judge, input=json.dumps(jobs), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    verdicts = json.loads(done.stdout)
    assert len(verdicts) == len(jobs)
    assert [verdict for verdict in verdicts if not verdict["ok"] or verdict["unknown"]] == []
