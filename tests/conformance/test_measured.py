"""Every measurement that a recipe can say is accepted by the tool's own code, and means there what the recipe says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]
JUDGES = ROOT / "tests" / "judges"
sys.path.insert(0, str(ROOT / "compiler" / "recipec" / "systems" / "scripts"))
import benchmark_server as script  # noqa: E402

HEAD = """recipe: 1
name: ways
model: {base: Qwen/Qwen2.5-7B-Instruct}
hardware: {gpu: h100-80gb, per_node: 4}
stages:
  - {name: served, start_from: base, serve: {max_length: 8192, tensor_parallel: 1, name: clerk, port: 8077}}
"""
WORKLOADS: tuple[dict[str, Any], ...] = (
    {"name": "chat", "input": 1024, "output": 256, "concurrency": [1, 200]},
    {"name": "papers", "input": 6000, "output": 1, "shared_prefix": 512, "rate": [0.25, 12]},
)
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"slo": {"first_token_ms": 500, "between_tokens_ms": 37.5, "percentile": 95}, "requests": 250},
    {"slo": {"first_token_ms": 1000}, "warmup": 0},
    {"slo": {"between_tokens_ms": 60}, "warmup": 3, "requests": 400},
)
GRID = {
    "max_length": [8000],
    "max_requests": [64, 512],
    "max_batched_tokens": [2048],
    "gpu_memory_share": [0.85],
    "tensor_parallel": [1, 2],
    "pipeline_parallel": [1],
    "data_parallel": [1, 2],
    "expert_parallel": [True, False],
    "prefix_caching": [True, False],
    "kv_cache": ["auto", "fp8"],
}
NAMES = {
    "max_length": "max_model_len",
    "max_requests": "max_num_seqs",
    "max_batched_tokens": "max_num_batched_tokens",
    "gpu_memory_share": "gpu_memory_utilization",
    "tensor_parallel": "tensor_parallel_size",
    "pipeline_parallel": "pipeline_parallel_size",
    "data_parallel": "data_parallel_size",
    "expert_parallel": "enable_expert_parallel",
    "prefix_caching": "enable_prefix_caching",
    "kv_cache": "kv_cache_dtype",
}
TOLD = {"RECIPE_SERVER_URL": "http://127.0.0.1:9123/v1", "RECIPE_SERVER_MODEL": "clerk", "RECIPE_SERVER_KEY": ""}


def emitted(place: Path, way: dict[str, Any], **more: Any) -> Path:
    """Write what is emitted for one way of measuring; return the folder of its stage."""
    given = {"workloads": [dict(one) for one in WORKLOADS], **way, **more}
    if "slo" in way and "between_tokens_ms" in way["slo"]:
        given["workloads"][1]["output"] = 2  # of one token there is no time between tokens
    file = place / "ways.yaml"
    file.write_text(f"{HEAD}  - {{name: speed, benchmark: {json.dumps(given)}}}\n")
    found = compile_file(str(file))
    assert found.files, [(one.code, one.message) for one in found.findings][:5]
    for name, text in found.files.items():
        path = place / "build" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place / "build" / "speed"


def judged(python: Path, judge: str, jobs: list[dict[str, Any]]) -> dict[str, str | None]:
    words = [python, JUDGES / judge]
    done = subprocess.run(words, input=json.dumps(jobs), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {one["file"]: one["error"] for one in json.loads(done.stdout.splitlines()[-1])}


def swept(folder: Path, place: Path) -> list[str]:
    """Return the words that vLLM's sweep is started with, as its script hands them over."""
    bin = place / "environments" / "vllm-0.33.0" / "bin"
    bin.mkdir(parents=True)
    (bin / "python").write_text("")
    (bin / "python").chmod(0o755)
    (bin / "vllm").write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    (bin / "vllm").chmod(0o755)
    variables = {**os.environ, "RECIPE_ENVIRONMENTS": str(place / "environments")}
    done = subprocess.run(["bash", folder / "sweep.sh", "--resume"], env=variables, capture_output=True, text=True, check=True)  # fmt: skip
    words: list[str] = json.loads(done.stdout)
    assert words[:3] == ["bench", "sweep", "serve"]
    return words[3:]


@pytest.mark.conformance
def test_vllm_measures_what_is_said(
    tool_python: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[dict[str, Any]] = []
    said: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for number, way in enumerate(WAYS):
        place = tmp_path / f"{number}"
        place.mkdir()
        folder = emitted(place, way, **({"grid": GRID} if number == 0 else {}))
        settings = json.loads((folder / "measure.json").read_text())
        monkeypatch.setattr(script, "here", lambda folder=folder: folder)
        for load in settings["loads"]:
            words = script.vllm_bench(settings, load, TOLD, place / "x.json")[3:]
            kept = f"{place}/{load['name']}.kept"
            jobs.append({"file": kept, "words": words, "kept": kept})
            said[kept] = (load, settings)
        if number == 0:
            for point in settings["points"]:
                kept = f"{place}/{len(jobs)}.point"
                file = str(folder.parent / "served" / "vllm.yaml")
                jobs.append({"file": file, "options": point["options"], "kept": kept})
                said[kept] = (point, settings)
            jobs.append({"file": "sweep", "sweep": swept(folder, place), "kept": str(place / "sweep.kept")})
    wrong = {"file": "wrong", "words": [*words, "--random-input-length", "5"]}
    strange = {"file": "strange", "words": [*words, "--goodput", "first:5"]}
    verdicts = judged(tool_python("vllm-cli"), "vllm_bench.py", [*jobs, wrong, strange])
    assert "random-input-length" in (verdicts.pop("wrong") or "")
    assert "first" in (verdicts.pop("strange") or "")
    assert {file: error for file, error in verdicts.items() if error} == {}
    points = 0
    for kept, (one, settings) in said.items():
        did = json.loads(Path(kept).read_text())
        if kept.endswith(".point"):
            points += 1
            base = {"max_length": 8192, "tensor_parallel": 1, "gpu_memory_share": 0.9, "prefix_caching": True}
            for word, value in {**base, **one["settings"]}.items():
                assert did[NAMES[word]] == value, one
            continue
        assert (did["base_url"], did["model"], did["tokenizer"]) == ("http://127.0.0.1:9123", "clerk", "Qwen/Qwen2.5-7B-Instruct")  # fmt: skip
        assert (did["random_input_len"], did["random_output_len"], did["random_prefix_len"]) == (one["input"], one["output"], one["shared_prefix"])  # fmt: skip
        assert did["max_concurrency"] == one["concurrency"]
        assert did["request_rate"] == (one["rate"] if one["rate"] is not None else float("inf"))
        assert (did["num_prompts"], did["num_warmups"], did["seed"]) == (one["requests"], one["warmup"], one["seed"])
        slo = settings["slo"] or {}
        limits = {"ttft": slo.get("first_token_ms"), "tpot": slo.get("between_tokens_ms")}
        assert did["goodput"] == ([f"{name}:{limit:g}" for name, limit in limits.items() if limit] or None)
        assert did["save_result"] is True
        assert did["metric_percentiles"] == "50,90,95,99"
    assert points > 60
    sweep = json.loads((tmp_path / "0" / "sweep.kept").read_text())
    servers, asked = (
        [one["serve"] for one in sweep if "serve" in one],
        [one["bench"] for one in sweep if "bench" in one],
    )
    assert (len(servers), len(asked)) == (points, 4)
    assert {(one["host"], one["port"]) for one in servers} == {("127.0.0.1", 8000)}
    assert {one["max_num_seqs"] for one in servers} == {None, 64, 512}
    assert [one["max_concurrency"] for one in asked] == [1, 200, None, None]


@pytest.mark.conformance
def test_guidellm_measures_what_is_said(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs: list[dict[str, Any]] = []
    said: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for number, way in enumerate(WAYS):
        place = tmp_path / f"{number}"
        place.mkdir()
        folder = emitted(place, way, tool="guidellm")
        settings = json.loads((folder / "measure.json").read_text())
        for load in settings["loads"]:
            file = folder / f"{load['name']}.json"
            jobs.append({"file": str(file), "kept": str(file.with_suffix(".kept"))})
            said[str(file)] = (load, settings)
    wrong = tmp_path / "wrong.json"
    wrong.write_text(file.read_text().replace("prompt_tokens", "prompt_length"))
    jobs.append({"file": str(wrong), "kept": str(tmp_path / "wrong.kept")})
    verdicts = judged(tool_python("guidellm-0.8.1"), "guidellm.py", jobs)
    assert "prompt_length" in (verdicts.pop(str(wrong)) or "")
    assert {name: error for name, error in verdicts.items() if error} == {}
    assert len(said) == 16
    for name, (one, settings) in said.items():
        did = json.loads(Path(name).with_suffix(".kept").read_text())
        [data] = did["data"]
        assert (data["prompt_tokens"], data["output_tokens"]) == (one["input"], one["output"])
        prefixes = [bucket["prefix_tokens"] for bucket in data["prefix_buckets"] or ()]
        assert prefixes == ([one["shared_prefix"]] if one["shared_prefix"] else [])
        if one["concurrency"] is not None:
            assert (did["profile"]["kind"], did["profile"]["streams"]) == ("concurrent", [one["concurrency"]])
        else:
            assert (did["profile"]["kind"], did["profile"]["rate"]) == ("poisson", [one["rate"]])
        assert did["profile"]["warmup"]["value"] == (one["warmup"] or None)
        [bound] = did["constraints"]
        assert (bound["kind"], bound["count"]) == ("max_requests", one["requests"] + one["warmup"])
        assert did["seed"]["value"] == one["seed"]
        assert did["tokenizer"]["model"] == "Qwen/Qwen2.5-7B-Instruct"
        assert did["backend"]["request_format"] == "/v1/completions"
        slo, told = settings["slo"] or {}, did["metrics"]["slo"] or {}
        assert (told.get("ttft_ms"), told.get("tpot_ms")) == (slo.get("first_token_ms"), slo.get("between_tokens_ms"))
