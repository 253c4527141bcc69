"""A run whose server was measured, as the engine and the script leave it; its numbers are made up, what is chosen of them is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from recipec import manifest
from recipec.engine.record import Record, RunFolder
from recipec.pipeline import compile_file

sys.path.insert(0, str(Path(__file__).parents[2] / "compiler" / "recipec" / "systems" / "scripts"))
import benchmark_server as script

RECIPE = """\
recipe: 1
name: measured
model: {base: Qwen/Qwen2.5-7B-Instruct}
hardware: {gpu: l4}
allow: {settings-that-do-not-start: the corners of the grid}
stages:
  - {name: served, start_from: base, serve: {max_length: 4096}}
  - name: speed
    benchmark:
      workloads:
        - {name: chat, input: 1024, output: 256, concurrency: [1, 8, 32, 128]}
        - {name: papers, input: 3000, output: 300, rate: [0.5]}
      grid: {max_requests: [64, 512], max_batched_tokens: [256, 2048]}
      points: [{kv_cache: fp8, max_requests: 128}]
      slo: {first_token_ms: 900, between_tokens_ms: 45, percentile: 95}
"""
NOT_STARTED = "the server ended with exit code 1 before it answered: torch.OutOfMemoryError: CUDA out of memory"


def make(folder: Path) -> Path:
    """Write a run below `folder`, which must be the current one, and return its folder."""
    Path("measured.yaml").write_text(RECIPE)
    compiled = compile_file("measured.yaml")
    assert compiled.files, compiled.findings
    run = RunFolder(folder / "runs" / "measured")
    run.path.mkdir(parents=True)
    run.plan.write_text(compiled.files[manifest.FILE])
    run.recipe.write_text(RECIPE)
    record = Record(run.record)
    record.add("run-started", pid=1, pid_started="x", host="node-7", machine={"host": "node-7", "gpus": []}, findings=[], packages={})  # fmt: skip
    for stage in manifest.read(compiled.files[manifest.FILE]).plan.stages:
        Path(stage.output).mkdir(parents=True, exist_ok=True)
        record.add("stage-started", stage=stage.name, attempt=1, fingerprint="f", pid=1, pid_started="x")
        record.add("stage-finished", stage=stage.name, seconds=30.0, exit_code=0, fingerprint="f")
        if stage.kind == "benchmark":
            settings = json.loads(compiled.files[f"{stage.name}/measure.json"])
            found = script.concluded(settings, rows(settings))
            (Path(stage.output) / settings["file"]).write_text(script.dump(found))
    record.add("run-finished", exit_code=0)
    return run.path


def rows(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a measurement of each point by each load: more at once are more tokens, which wait for one another."""
    found = []
    for index, point in enumerate(settings["points"]):
        for load in settings["loads"]:
            about = {"point": point["name"], "load": load["name"], "workload": load["workload"]}
            if point["settings"].get("max_requests") == 512:
                found.append({**about, "problem": NOT_STARTED})
                continue
            many = load["concurrency"] or 12
            speed = 900 * many / (many + 20) * (1 + index / 10)
            times = {"first_token_ms": 60 + 9 * many - index, "between_tokens_ms": 18 + many / 5 + index}
            told = {
                word: {share: value * int(share) / 95 for share in script.PERCENTILES} for word, value in times.items()
            }
            failed = 3 if many == 128 and index == 1 else 0
            found.append({**about, "completed": 100 - failed, "timed": 100 - failed, "failed": failed, "output_tokens_per_second": speed, "requests_per_second": speed / load["output"], **told, "problem": ""})  # fmt: skip
    return found
