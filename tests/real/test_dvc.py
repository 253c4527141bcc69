"""`dvc repro` runs the emitted stages to the same results as a run, and does again only what has changed."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from test_trains import lines, run

from recipec.output import write
from recipec.pipeline import compile_file

RECIPE = """recipe: 1
name: {name}
trainer: trl
model: {{from_scratch: {{family: llama, hidden_size: 32, layers: 1, heads: 2, vocab_size: 300}}, max_length: 32}}
hardware: {{gpu: none}}
launch: {{emit: [dvc]}}
stages:
  - name: first
    data: {{train: [{{path: data/text.jsonl, format: text}}]}}
    train: {{method: pretrain, steps: 2, micro_batch_size: 2, learning_rate: 1e-3}}
  - {{name: told, script: {{path: tell.py, arguments: {{model: "${{plan:first.output}}", to: "${{plan:told.output}}"}}}}}}
"""
TELL = """
import hashlib, pathlib, sys

folder, to = (pathlib.Path(sys.argv[sys.argv.index(name) + 1]) for name in ("--model", "--to"))
(to / "weights.sha256").write_text(hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())
"""


@pytest.mark.real
def test_dvc_repro_comes_to_the_same_results(
    tmp_path: Path, tool_python: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    lines(Path("data/text.jsonl"), [{"text": f"tea and water {number} " * 9} for number in range(40)])
    Path("tell.py").write_text(TELL)
    for name in ("ours", "theirs"):
        Path(f"{name}.yaml").write_text(RECIPE.format(name=name))
    runs = run(tmp_path / "ours.yaml", tmp_path, tool_python)
    Path("environments").mkdir(exist_ok=True)
    link = Path("environments/trl-1.16.0")
    if not link.exists():
        link.symlink_to(tool_python("trl-1.16.0").parent.parent)
    dvc = tool_python("dvc-3.67.1").parent / "dvc"
    build = tmp_path / "build" / "theirs"
    write(build, compile_file("theirs.yaml").files)
    variables = os.environ | {"RECIPE_ENVIRONMENTS": str(tmp_path / "environments"), "HF_HUB_OFFLINE": "1"}
    variables |= {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc"), "HOME": str(tmp_path)}

    def call(folder: Path, *words: str) -> str:
        done = subprocess.run(
            [dvc, *words], cwd=folder, env=variables, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call(tmp_path, "init", "--no-scm", "-q")
    call(build, "repro")
    theirs = tmp_path / "runs" / "theirs"
    weights = [folder / "first" / "model.safetensors" for folder in (runs, theirs)]
    one, other = (hashlib.sha256(path.read_bytes()).hexdigest() for path in weights)
    assert one == other
    assert (theirs / "told" / "weights.sha256").read_text() == other
    assert "up to date" in call(build, "repro")
    # the script alone has changed: the training stays
    Path("tell.py").write_text(TELL + "(to / 'more').write_text('more')\n")
    said = call(build, "repro")
    assert "Stage 'first' didn't change, skipping" in said
    assert "Running stage 'told'" in said
    assert (theirs / "told" / "more").exists()
