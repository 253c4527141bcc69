"""What a course has trained is really served and measured: by GuideLLM at Transformers' server, and by vLLM's own tool.

vLLM's server needs a GPU: GuideLLM's mock of one stands in for it there, with times that are known beforehand.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec.output import write
from recipec.pipeline import compile_file

pytestmark = pytest.mark.xdist_group("served")  # they take their time from one another
BETWEEN = Path(__file__).parent / "scripts" / "between.py"
RECIPE = """
recipe: 1
name: shop
model: {base: models/tiny}
hardware: {gpu: none}
stages:
  - {name: served, start_from: base, serve: {}}
  - name: speed
    benchmark:
      workloads:
        - {name: chat, input: 24, output: 12, concurrency: [3]}
        - {name: long, input: 40, output: 6, shared_prefix: 10, rate: [4]}
      requests: 12
      warmup: 0
      slo: {first_token_ms: 60000, percentile: 50}
"""
# A tokenizer of the letters of bytes, and where a second folder is named a model of chance that has it.
TINY = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = ["</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
made = Tokenizer(models.BPE(vocab={one: index for index, one in enumerate(words)}, merges=[]))
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>").save_pretrained(sys.argv[1])
if len(sys.argv) > 2:
    from transformers import LlamaConfig, LlamaForCausalLM
    size = LlamaConfig(vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=4096, eos_token_id=0, bos_token_id=None)
    LlamaForCausalLM(size).save_pretrained(sys.argv[2])
"""
LOADS = {"chat-3": (24, 12), "long-4-a-second": (50, 6)}  # tokens of a prompt, and of an answer


def emitted(name: str, text: str) -> Path:
    """Compile a recipe into `build/NAME` of the folder that is worked in, and return that."""
    Path(f"{name}.yaml").write_text(text)
    compiled = compile_file(f"{name}.yaml")
    assert [one.code for one in compiled.findings] == []
    write(Path("build", name).absolute(), compiled.files)
    return Path("build", name).absolute()


def environments(**pythons: Path) -> dict[str, str]:
    """Return the variables by which scripts find environments: each by the name that it has with dashes and dots for underscores."""
    folder = Path("environments").absolute()
    folder.mkdir()
    for name, python in pythons.items():
        (folder / name).symlink_to(python.parent.parent)
    return {**os.environ, "RECIPE_ENVIRONMENTS": str(folder), "HF_HUB_OFFLINE": "1", "VLLM_TARGET_DEVICE": "cpu"}


@pytest.mark.real
def test_guidellm_counts_as_the_server_does_and_measures_once(
    tool_python: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    serving = "llmcompressor-0.14.0.1"
    tools = {name: tool_python(name) for name in (serving, "guidellm-0.8.1")}
    words = [tools[serving], "-c", TINY, "models/tiny", "models/tiny"]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    build = emitted("shop", RECIPE)
    variables = environments(**tools) | {"GUIDELLM__MAX_WORKER_PROCESSES": "1", "OMP_NUM_THREADS": "1"}
    served = build / "served"
    (served / "serve.sh").rename(served / "serve-itself.sh")
    said = Path("said.jsonl").absolute()
    (served / "serve.sh").write_text(
        f'exec {sys.executable} {BETWEEN} {said} "$(dirname "${{BASH_SOURCE[0]}}")/serve-itself.sh" "$@"\n'
    )
    folder = tmp_path / "runs" / "shop" / "speed" / "points" / "as-served"
    command = ["bash", str(build / "speed" / "run.sh")]
    with Path("log").open("w") as log:
        begun = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 300
        while not (folder / "chat-3.measured.json").exists():
            assert time.monotonic() < until
            assert begun.poll() is None, Path("log").read_text()[-3000:]
            time.sleep(0.1)
        os.killpg(begun.pid, signal.SIGKILL)  # in the middle
        begun.wait()
    assert not (folder.parent.parent / "benchmark.json").exists()
    first = (folder / "chat-3.measured.json").read_text()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert (folder / "chat-3.measured.json").read_text() == first

    found: dict[str, Any] = json.loads((folder.parent.parent / "benchmark.json").read_text())
    rows = {one["load"]: one for one in found["measurements"]}
    assert list(rows) == list(LOADS)
    asked = [json.loads(line) for line in said.read_text().splitlines()]
    assert len(asked) == 12 * len(LOADS)  # none was asked twice, and none without being measured
    for index, (load, (input, output)) in enumerate(LOADS.items()):
        row, usage = rows[load], [one["usage"] for one in asked[index * 12 :][:12]]
        assert (row["problem"], row["failed"], row["completed"]) == ("", 0, 12)
        assert row["input_tokens"] == sum(one["prompt_tokens"] for one in usage)
        assert row["output_tokens"] == sum(one["completion_tokens"] for one in usage) == 12 * output
        assert abs(row["input_tokens"] / 12 - input) <= 2  # a prefix and what follows are joined as text
        assert row["output_tokens_per_second"] == pytest.approx(row["output_tokens"] / row["seconds"], rel=0.01)
        raw = json.loads((folder / f"{load}.json").read_text())["benchmarks"][0]
        times = raw["metrics"]["time_to_first_token_ms"]["successful"]["percentiles"]
        assert row["first_token_ms"] == {one: times[f"p{one}"] for one in ("50", "90", "95", "99")}
    assert found["best"]["point"] == "as-served"
    assert found["best"]["loads"].keys() == {"chat", "long"}
    assert YAML(typ="safe").load((folder.parent.parent / "best.yaml").read_text()) == {"serve": {}}


TUNED = """
recipe: 1
name: tuned
model: {base: Qwen/Qwen2.5-7B-Instruct}
hardware: {gpu: h100-80gb}
stages:
  - {name: served, start_from: base, serve: {max_length: 4096, name: clerk, key_variable: CLERK_KEY}}
  - name: speed
    benchmark:
      workloads: [{name: chat, input: 24, output: 12, concurrency: [4]}]
      grid: {max_requests: [40, 999]}
      requests: 20
      slo: {first_token_ms: 400, between_tokens_ms: 100, percentile: 90}
"""
# The time to the first token is as many milliseconds as there are requests at once.
SERVER = """
number=700
while [ $# -gt 0 ]; do
  case $1 in --port) port=$2;; --max-num-seqs) number=$2;; esac
  shift
done
[ "$number" != 999 ] || { echo "torch.OutOfMemoryError: CUDA out of memory" >&2; exit 1; }
exec GUIDELLM mock-server --host 127.0.0.1 --port "$port" --model clerk --ttft-ms "$number" --itl-ms 5
"""


@pytest.mark.real
def test_vllm_bench_finds_the_settings_that_hold_the_limits(
    tool_python: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    python = tool_python("vllm-cli")
    subprocess.run([python, "-c", TINY, "tokenizer"], check=True, capture_output=True, timeout=300)
    build = emitted("tuned", TUNED)
    mock = tool_python("guidellm-0.8.1").parent / "guidellm"
    (build / "served" / "serve.sh").write_text(SERVER.replace("GUIDELLM", str(mock)))
    asked = build / "speed" / "sweep_bench.json"
    asked.write_text(asked.read_text().replace("Qwen/Qwen2.5-7B-Instruct", "tokenizer"))  # of which there is no hub
    variables = environments(**{"vllm-0.33.0": python})
    words = ["bash", "build/tuned/speed/run.sh"]
    refused = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert refused.returncode == 1
    assert "CLERK_KEY is not set, or empty" in refused.stderr
    variables["CLERK_KEY"] = "clerk-secret-7"
    done = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    found = json.loads(Path("runs/tuned/speed/benchmark.json").read_text())
    rows = {(one["point"], one["load"]): one for one in found["measurements"]}
    assert "CUDA out of memory" in rows.pop(("max_requests=999", "chat-4"))["problem"]
    for (point, _), row in rows.items():
        planted = 40 if point == "max_requests=40" else 700
        assert (row["problem"], row["completed"], row["failed"]) == ("", 20, 0)
        assert row["output_tokens"] == 20 * 12
        assert planted <= row["first_token_ms"]["50"] < planted + 250  # the rest is this machine's
        assert 4 <= row["between_tokens_ms"]["50"] < 50
        good = 0 if planted > 400 else pytest.approx(row["requests_per_second"], rel=0.3)
        assert row["good_requests_per_second"] == good
    assert found["best"]["point"] == "max_requests=40"
    assert YAML(typ="safe").load(Path("runs/tuned/speed/best.yaml").read_text()) == {"serve": {"max_requests": 40}}
    why = {one["point"]: one["why"] for one in found["others"]}
    assert why["as-served"].startswith("first token 7")
    assert why["as-served"].endswith(" ms, 400 at most (p90)")
    assert "CUDA out of memory" in why["max_requests=999"]
    kept = [one.read_text(errors="replace") for one in Path("runs").rglob("*") if one.is_file()]
    assert not [text for text in kept if "clerk-secret-7" in text]
