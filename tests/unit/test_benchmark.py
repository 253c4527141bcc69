"""`benchmark`: what is decided, emitted and left out; what the script chooses, and what it measures again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec import manifest
from recipec.pipeline import Compiled, compile_file
from recipec.plan import Resources, Stage
from recipec.systems.benchmarking import options

SCRIPTS = Path(__file__).parents[2] / "compiler" / "recipec" / "systems" / "scripts"
sys.path.insert(0, str(SCRIPTS))
import benchmark_server as script  # noqa: E402

RECIPE = """\
recipe: 1
name: shop
model: {base: Qwen/Qwen2.5-7B-Instruct}
hardware: {gpu: a100-80gb, per_node: 2}
stages:
"""
SERVED = "{name: served, start_from: base, serve: {max_length: 4096, name: clerk}}"
CHAT = "{name: chat, input: 1024, output: 256, concurrency: [1, 8]}"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compiled(*stages: str, text: str = RECIPE) -> Compiled:
    Path("recipe.yaml").write_text(text + "".join(f"  - {stage}\n" for stage in stages))
    return compile_file("recipe.yaml")


def speed(more: str, served: str = SERVED, text: str = RECIPE) -> Compiled:
    found = compiled(served, f"{{name: speed, benchmark: {{{more}}}}}", text=text)
    assert found.files, [f"{one.code} {one.message}" for one in found.findings]
    return found


def stages(found: Compiled) -> dict[str, Stage[Any]]:
    return {stage.name: stage for stage in manifest.read(found.files[manifest.FILE]).plan.stages}


def read(found: Compiled, file: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(found.files[f"speed/{file}"])
    return read


def test_every_combination_is_measured_behind_the_server_as_it_is() -> None:
    found = speed(f"workloads: [{CHAT}], grid: {{max_requests: [64, 128], prefix_caching: [true, false]}}, points: [{{kv_cache: fp8, tensor_parallel: 1}}]")  # fmt: skip
    stage = stages(found)["speed"]
    assert stage.after == ("served",)
    assert stage.resources == Resources("gpu", "a100-80gb", 1, 2)
    assert (stage.system, stage.environment) == ("vllm_bench", "vllm-0.33.0")
    told = read(found, "measure.json")
    assert [(one["name"], one["options"]) for one in told["points"]] == [
        ("as-served", []),
        ("max_requests=64,prefix_caching=true", ["--max-num-seqs", "64", "--enable-prefix-caching"]),
        ("max_requests=64,prefix_caching=false", ["--max-num-seqs", "64", "--no-enable-prefix-caching"]),
        ("max_requests=128,prefix_caching=true", ["--max-num-seqs", "128", "--enable-prefix-caching"]),
        ("max_requests=128,prefix_caching=false", ["--max-num-seqs", "128", "--no-enable-prefix-caching"]),
        ("tensor_parallel=1,kv_cache=fp8", ["--tensor-parallel-size", "1", "--kv-cache-dtype", "fp8"]),
    ]
    asked = read(found, "sweep_bench.json")
    assert list(asked) == ["chat-1", "chat-8"]
    assert (asked["chat-8"]["random_input_len"], asked["chat-8"]["random_output_len"]) == (1024, 256)
    assert (asked["chat-8"]["max_concurrency"], asked["chat-8"]["num_prompts"], asked["chat-8"]["num_warmups"]) == (8, 100, 8)  # fmt: skip
    assert (
        asked["chat-1"]["seed"] != asked["chat-8"]["seed"]
    )  # else the second would be answered from the cache of the first
    assert read(found, "sweep_serve.json")["tensor_parallel=1,kv_cache=fp8"] == {"tensor_parallel_size": 1, "kv_cache_dtype": "fp8"}  # fmt: skip
    assert read(found, "server.json")["model"] == "clerk"


def test_settings_that_say_what_is_served_anyway_are_measured_once() -> None:
    served = "{name: served, start_from: base, serve: {max_length: 4096, max_requests: 64}}"
    found = speed(f"workloads: [{CHAT}], grid: {{max_requests: [64, 128]}}, points: [{{max_requests: 128}}]", served)
    assert [one["name"] for one in read(found, "measure.json")["points"]] == ["as-served", "max_requests=128"]


def test_what_would_not_start_is_left_out_and_named() -> None:
    found = compiled(
        SERVED,
        f"{{name: speed, benchmark: {{workloads: [{CHAT}], grid: {{max_length: [1279, 1280, 40000], max_batched_tokens: [64]}}, points: [{{gpu_memory_share: 0.05}}, {{tensor_parallel: 4}}, {{max_requests: 65, max_batched_tokens: 64}}]}}}}",
    )
    body = stages(found)["speed"].body
    assert [one.name for one in body.points] == ["as-served", "max_length=1280,max_batched_tokens=64"]
    assert {one.name: one.why for one in body.left_out} == {
        "max_length=1279,max_batched_tokens=64": "a request of chat has 1,280 tokens with its answer, and 1,279 are served",
        "max_length=40000,max_batched_tokens=64": "Qwen/Qwen2.5-7B-Instruct was made for 32,768 tokens, and 40,000 are to be served",
        "gpu_memory_share=0.05": "14 GiB of weights are more than 5% of 2 GPUs of a100-80gb hold",
        "tensor_parallel=4": "tensor_parallel 4 × pipeline_parallel 1 × data_parallel 1 = 4 GPUs, and a node has 2",
        "max_requests=65,max_batched_tokens=64": "64 tokens in a step are fewer than 65 requests at once",
    }
    assert [one.code for one in found.findings] == ["P341"]
    assert "`gpu_memory_share=0.05`: 14 GiB of weights" in found.files["PLAN.md"]


def test_the_gpus_are_those_of_the_largest_settings() -> None:
    served = "{name: served, start_from: base, serve: {max_length: 4096, tensor_parallel: 1}}"
    found = speed(f"workloads: [{CHAT}], points: [{{data_parallel: 2}}]", served)
    assert (stages(found)["served"].resources.per_node, stages(found)["speed"].resources.per_node) == (1, 2)


def test_a_model_without_a_server_gets_one() -> None:
    found = compiled(f"{{name: speed, start_from: base, benchmark: {{workloads: [{CHAT}]}}}}")
    assert found.files, found.findings
    there = stages(found)
    assert list(there) == ["serve-base", "speed"]
    assert there["speed"].body.server.stage == "serve-base"
    assert read(found, "server.json")["serve"] == "../serve-base/serve.sh"


def test_a_server_is_measured_only_by_a_stage_behind_it() -> None:
    found = compiled(f"{{name: speed, start_from: served, benchmark: {{workloads: [{CHAT}]}}}}", SERVED)
    assert [(one.code, one.message) for one in found.findings] == [("R009", '"served" is not a stage before this one')]
    wrong = compiled(SERVED, "{name: more, start_from: served, serve: {}}")
    assert [(one.code, one.message) for one in wrong.findings] == [("R009", '"served" leaves no model')]


def test_the_server_of_a_cpu_is_asked_by_guidellm_and_has_no_settings() -> None:
    text = RECIPE.replace("a100-80gb, per_node: 2", "none")
    served = "{name: served, start_from: base, serve: {}}"
    found = speed("workloads: [{name: a, input: 8, output: 4, shared_prefix: 6, rate: [0.5]}], warmup: 0, slo: {first_token_ms: 900}", served, text)  # fmt: skip
    stage = stages(found)["speed"]
    assert (stage.system, stage.environment, stage.resources.device) == ("guidellm", "guidellm-0.8.1", "cpu")
    spec = read(found, "a-0.5-a-second.json")["spec"]
    assert spec["profile"] == {"kind": "poisson", "rate": [0.5]}
    assert spec["data"] == [{"kind": "synthetic_text", "prompt_tokens": 8, "output_tokens": 4, "prefix_buckets": [{"prefix_tokens": 6}]}]  # fmt: skip
    assert spec["constraints"] == [{"kind": "max_requests", "count": 100}]
    assert spec["metrics"]["slo"] == {"ttft_ms": 900.0}
    assert spec["backend"]["extras"]["body"]["ignore_eos"] is None  # which that server refuses
    refused = compiled(served, f"{{name: speed, benchmark: {{workloads: [{CHAT}], grid: {{max_requests: [8]}}}}}}", text=text)  # fmt: skip
    assert [(one.code, one.message) for one in refused.findings] == [("T001", "transformers_serve cannot be started with another max_requests")]  # fmt: skip
    other = compiled(served, f"{{name: speed, benchmark: {{tool: vllm_bench, workloads: [{CHAT}]}}}}", text=text)
    assert "transformers_serve does not understand what vllm bench asks" in [one.message for one in other.findings]


def test_how_many_requests_follows_from_the_load() -> None:
    found = speed("workloads: [{name: a, input: 8, output: 4, concurrency: [1, 64], rate: [0.1, 30]}, {name: b, input: 8, output: 4}]")  # fmt: skip
    loads = {one.name: (one.requests, one.warmup) for one in stages(found)["speed"].body.loads}
    assert loads == {
        "a-1": (100, 1),
        "a-64": (640, 64),
        "a-0.1-a-second": (100, 8),
        "a-30-a-second": (1800, 8),
        "b-1": (100, 1),
        "b-8": (100, 8),
        "b-32": (320, 32),
    }


def test_options_are_those_of_the_servers_command() -> None:
    assert options("vllm_serve", {"expert_parallel": True, "gpu_memory_share": 0.85}) == [
        "--enable-expert-parallel",
        "--gpu-memory-utilization",
        "0.85",
    ]
    assert options("vllm_serve", {"expert_parallel": False}) == ["--no-enable-expert-parallel"]


# What is chosen, of planted numbers.


def row(point: str, load: str, speed: float, first: float, between: float = 10.0, **more: Any) -> dict[str, Any]:
    times = {"first_token_ms": first, "between_tokens_ms": between}
    told = {word: dict.fromkeys(script.PERCENTILES, value) for word, value in times.items()}
    found = {"point": point, "load": load, "workload": load.partition("-")[0], "completed": 100, "failed": 0, "timed": 100}  # fmt: skip
    return {**found, "output_tokens_per_second": speed, **told, "problem": "", **more}


POINTS = [{"name": name, "settings": {"max_requests": number}} for number, name in enumerate(("a", "b", "c", "d"))]
SLO = {"first_token_ms": 500.0, "between_tokens_ms": 50.0, "percentile": 99}


def test_the_fastest_within_the_limits_is_chosen() -> None:
    rows = [
        row("a", "chat-1", 100, 50),
        row("a", "chat-8", 600, 500),  # at the limit, not above it
        row("b", "chat-1", 110, 60),
        row("b", "chat-8", 900, 501),
        row("c", "chat-1", 90, 700),
        row("c", "chat-8", 800, 100, 50.5),
        {"point": "d", "load": "chat-1", "workload": "chat", "problem": "the server ended with exit code 1"},
        {"point": "d", "load": "chat-8", "workload": "chat", "problem": "the server ended with exit code 1"},
    ]
    best, others = script.choose(POINTS, rows, SLO)
    assert best == {
        "point": "a",
        "settings": {"max_requests": 0},
        "loads": {
            "chat": {
                "load": "chat-8",
                "output_tokens_per_second": 600,
                "first_token_ms": 500,
                "between_tokens_ms": 10.0,
            }
        },
    }
    assert others == [
        {"point": "b", "why": "110 tokens/s at chat-1, -81.7%"},
        {
            "point": "c",
            "why": "chat-1: first token 700 ms, 500 at most (p99); chat-8: time between tokens 50.5 ms, 50 at most (p99)",
        },
        {"point": "d", "why": "the server ended with exit code 1"},
    ]
    assert script.choose(POINTS, rows, None)[0]["point"] == "b"
    assert script.choose(POINTS, rows, {**SLO, "first_token_ms": None})[0]["point"] == "b"
    assert script.choose(POINTS, rows, {**SLO, "first_token_ms": 1.0})[0] is None


def test_every_workload_must_hold() -> None:
    rows = [row("a", "chat-1", 100, 50), row("a", "papers-1", 100, 50), row("b", "chat-1", 900, 50), row("b", "papers-1", 900, 600)]  # fmt: skip
    rows += [row("c", "chat-1", 200, 50), row("c", "papers-1", 90, 50)]
    best, others = script.choose(POINTS[:3], rows, SLO)
    assert best["point"] == "c"  # twice as much of one, nine tenths of the other
    assert others[1] == {"point": "b", "why": "first token 600 ms, 500 at most (p99)"}


def test_what_differs_by_chance_is_no_reason_for_other_settings() -> None:
    def best(more: float) -> str:
        return script.choose(POINTS[:2], [row("a", "chat-1", 1000, 50), row("b", "chat-1", more, 50)], None)[0]["point"]

    assert (best(1020), best(1021)) == ("a", "b")


def test_requests_that_failed_or_were_not_seen_do_not_count() -> None:
    assert script.broken(row("a", "chat-1", 1, 1, failed=3, completed=97), None) == "3 of 100 requests failed"
    assert script.broken(row("a", "chat-1", 1, 1, timed=98), SLO) == "first token: not seen of 2 of 100 answers"
    assert script.broken(row("a", "chat-1", 1, 1, timed=99), SLO) == ""
    assert script.broken(row("a", "chat-1", 1, 1, timed=0), None) == ""
    none = row("a", "chat-1", 1, 1)
    none["between_tokens_ms"] = dict.fromkeys(script.PERCENTILES)
    assert script.broken(none, SLO).startswith("time between tokens: not seen")


def test_the_front_has_what_no_other_beats_in_both() -> None:
    rows = [row("a", "chat-1", 100, 50), row("b", "chat-1", 90, 60), row("c", "chat-1", 200, 70), row("d", "chat-1", 200, 80)]  # fmt: skip
    rows += [row("d", "chat-2", 900, 10, failed=1), {"point": "e", "load": "chat-1", "problem": "no"}]
    assert [one["point"] for one in script.front(rows, "first_token_ms", "99")] == ["a", "c"]
    assert script.front([], "first_token_ms", "99") == []


def test_the_best_is_pasted_as_a_recipe_has_it() -> None:
    chosen = {"point": "x", "settings": {"max_requests": 8, "prefix_caching": False, "kv_cache": "fp8"}, "loads": {"chat": {"load": "chat-8", "output_tokens_per_second": 12.4}}}  # fmt: skip
    text = script.pasted(chosen, SLO)
    assert YAML(typ="safe").load(text) == {"serve": {"max_requests": 8, "prefix_caching": False, "kv_cache": "fp8"}}
    assert "12 tokens/s at chat-8, the most within the limits" in text
    assert YAML(typ="safe").load(script.pasted({**chosen, "settings": {}}, None)) == {"serve": {}}
    assert YAML(typ="safe").load(script.pasted(None, SLO)) is None


# What is measured, by a server and a tool that stand in for those of models.

SERVER = """
import http.server, json, sys
if '999' in sys.argv:
    sys.exit('torch.OutOfMemoryError: no room')
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(sys.argv[1:]).encode())
    def log_message(self, *_): pass
http.server.HTTPServer(('127.0.0.1', int(sys.argv[sys.argv.index('--port') + 1])), Answers).serve_forever()
"""
TOOL = """#!{python}
import json, os, pathlib, sys, time, urllib.request
words = sys.argv[1:]
of = lambda name: words[words.index(name) + 1]
server = json.loads(urllib.request.urlopen(of('--base-url') + '/health').read())
requests = int(server[server.index('--max-num-seqs') + 1]) if '--max-num-seqs' in server else 16
with open({calls!r}, 'a') as file:
    print(requests, of('--max-concurrency'), os.environ.get('OPENAI_API_KEY'), file=file)
if pathlib.Path({calls!r}).with_name('wait').exists() and requests == 32:
    time.sleep(60)
if os.environ.get('FAILS') == of('--max-concurrency'):
    sys.exit('Error: refused')
many = int(of('--max-concurrency'))
found = {{'completed': 100, 'failed': 0, 'duration': 1.0, 'total_input_tokens': 1, 'total_output_tokens': 1, 'output_throughput': requests * many, 'request_throughput': 1.0, 'request_goodput': None}}
for one in (50, 90, 95, 99):
    found |= {{f'p{{one}}_ttft_ms': requests * 10, f'p{{one}}_tpot_ms': 5}}
(pathlib.Path(of('--result-dir')) / of('--result-filename')).write_text(json.dumps(found))
"""


@pytest.fixture
def measuring(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The emitted folder of a stage that measures, beside one that serves."""
    found = speed(f"workloads: [{CHAT}], grid: {{max_requests: [32, 64, 999]}}, slo: {{first_token_ms: 400}}")
    for name, text in found.files.items():
        file = place / "build" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    served = place / "build" / "served"
    (served / "server.py").write_text(SERVER)
    (served / "serve.sh").write_text(f'exec {sys.executable} "$(dirname "$0")/server.py" "$@"\n')
    tool = place / "bin" / "vllm"
    tool.parent.mkdir()
    tool.write_text(TOOL.format(python=sys.executable, calls=str(place / "calls")))
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return place / "build" / "speed"


def command(own: Path) -> list[str]:
    return [sys.executable, str(own / "benchmark_server.py"), str(own / "measure.json"), str(own / "server.json")]


def run(own: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, **variables}
    return subprocess.run(command(own), capture_output=True, text=True, timeout=120, check=False, env=told)


def calls() -> list[str]:
    file = Path("calls")
    found = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [" ".join(line.split()[:2]) for line in found]


def result() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path("runs/shop/speed/benchmark.json").read_text())
    return read


def test_each_of_the_settings_is_measured_once_and_a_server_that_fails_is_a_result(measuring: Path) -> None:
    done = run(measuring)
    assert done.returncode == 0, done.stderr
    assert calls() == ["16 1", "16 8", "32 1", "32 8", "64 1", "64 8"]
    found = result()
    assert found["best"]["point"] == "max_requests=32"  # 64 answer more, and too late
    assert {one["point"]: one["why"] for one in found["others"]} == {
        "as-served": "128 tokens/s at chat-8, -50.0%",
        "max_requests=64": "first token 640 ms, 400 at most (p99)",
        "max_requests=999": "the server ended with exit code 1 before it answered: torch.OutOfMemoryError: no room",
    }
    assert len(found["measurements"]) == 8
    assert YAML(typ="safe").load(Path("runs/shop/speed/best.yaml").read_text()) == {"serve": {"max_requests": 32}}
    assert run(measuring).returncode == 0
    assert calls() == []  # nothing was missing
    assert result() == found


def test_what_was_not_finished_is_measured_and_nothing_else(measuring: Path, place: Path) -> None:
    (place / "wait").touch()
    begun = subprocess.Popen(command(measuring), start_new_session=True, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (place / "calls").exists() or len((place / "calls").read_text().splitlines()) < 3:
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    assert calls() == ["16 1", "16 8", "32 1"]
    assert not Path("runs/shop/speed/benchmark.json").exists()
    (place / "wait").unlink()
    assert run(measuring).returncode == 0
    assert calls() == ["32 1", "32 8", "64 1", "64 8"]
    torn = place / "runs/shop/speed/points/max_requests=64/chat-8.measured.json"
    torn.write_text(torn.read_text()[:40])
    assert run(measuring).returncode == 0
    assert calls() == ["64 8"]


def test_what_was_measured_by_something_else_is_measured_again(measuring: Path) -> None:
    assert run(measuring).returncode == 0
    calls()
    asked = json.loads((measuring / "sweep_bench.json").read_text())
    asked["chat-8"]["random_input_len"] = 512
    (measuring / "sweep_bench.json").write_text(json.dumps(asked))
    assert run(measuring).returncode == 0
    assert calls() == ["16 8", "32 8", "64 8"]
    (measuring.parent / "served" / "vllm.yaml").write_text("seed: 7\n")
    assert run(measuring).returncode == 0
    assert len(calls()) == 6


def test_a_measurement_that_fails_is_told_and_does_not_win(measuring: Path) -> None:
    done = run(measuring, FAILS="8")
    assert done.returncode == 0
    told = {(one["point"], one["load"]): one["problem"] for one in result()["measurements"]}
    assert told["max_requests=32", "chat-8"] == "vllm_bench ended with exit code 1: Error: refused"
    assert told["max_requests=32", "chat-1"] == ""
    assert result()["best"]["loads"]["chat"]["load"] == "chat-1"


def test_where_nothing_was_measured_the_stage_fails_and_is_tried_again(measuring: Path) -> None:
    (measuring.parent / "served" / "serve.sh").write_text("echo no model >&2; exit 7\n")
    done = run(measuring)
    assert done.returncode == 1
    assert "nothing was measured: the server ended with exit code 7 before it answered: no model" in done.stderr
    assert result()["best"] is None
    shutil.copy(measuring / "server.json", measuring / "other.json")
    (measuring.parent / "served" / "serve.sh").write_text(f'exec {sys.executable} "$(dirname "$0")/server.py" "$@"\n')
    assert run(measuring).returncode == 0
    assert len(calls()) == 6


def test_a_stopped_measurement_stops_its_server(measuring: Path, place: Path) -> None:
    (place / "wait").touch()
    begun = subprocess.Popen(command(measuring), start_new_session=True, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (place / "calls").exists() or len((place / "calls").read_text().splitlines()) < 3:
        assert time.monotonic() < until
        time.sleep(0.1)
    os.kill(begun.pid, signal.SIGTERM)
    assert begun.wait(30) == 130
    left = subprocess.run(["pgrep", "-f", str(measuring.parent / "served" / "server.py")], capture_output=True, text=True, check=False)  # fmt: skip
    assert left.stdout == ""
