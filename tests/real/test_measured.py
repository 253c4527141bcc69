"""What a course has trained is really served and measured: by GuideLLM at Transformers' server, and by vLLM's own tool.

vLLM's server needs a GPU: GuideLLM's mock of one stands in for it there, with times that are known beforehand.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from test_trains import run, workplace  # noqa: F401  # the fixture

from recipec.output import write
from recipec.pipeline import compile_file

pytestmark = pytest.mark.xdist_group("served")  # they take their time from one another
RECIPE = """
recipe: 1
name: shop
model:
  from_scratch: {family: llama, hidden_size: 128, layers: 2, heads: 4, vocab_size: 400}
  max_length: 96
trainer: trl
train: {steps: 20, batch_size: 4, micro_batch_size: 4, learning_rate: 3e-3}
hardware: {gpu: none}
stages:
  - name: sft
    data: {train: [{path: data/conversations.jsonl, format: chat, columns: {messages: conversations, role: from, content: value}, roles: {user: [human], assistant: [gpt]}}]}
  - {name: served, serve: {}}
  - name: speed
    benchmark:
      workloads:
        - {name: chat, input: 24, output: 12, concurrency: [1, 3]}
        - {name: long, input: 40, output: 6, shared_prefix: 10, rate: [2]}
      requests: 12
      slo: {first_token_ms: 60000, percentile: 50}
"""


@pytest.mark.real
def test_guidellm_measures_what_the_server_writes(
    workplace: Path,  # noqa: F811
    tool_python: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)
    recipe = workplace / "shop.yaml"
    recipe.write_text(RECIPE)
    runs = run(recipe, workplace, tool_python)
    found: dict[str, Any] = json.loads((runs / "speed" / "benchmark.json").read_text())
    rows = {one["load"]: one for one in found["measurements"]}
    assert list(rows) == ["chat-1", "chat-3", "long-2-a-second"]
    folder = runs / "speed" / "points" / "as-served"
    asked = {"chat-1": (24, 12, 1), "chat-3": (24, 12, 3), "long-2-a-second": (50, 6, 8)}
    for load, (input, output, warmup) in asked.items():
        row = rows[load]
        assert (row["problem"], row["failed"]) == ("", 0)
        assert 6 <= row["completed"] <= 12 + warmup  # those of the warm-up do not count
        assert row["output_tokens"] == row["completed"] * output  # the model ends none before its last token
        assert abs(row["input_tokens"] / row["completed"] - input) <= 2
        assert row["output_tokens_per_second"] == pytest.approx(row["output_tokens"] / row["seconds"], rel=0.01)
        raw = json.loads((folder / f"{load}.json").read_text())["benchmarks"][0]
        times = raw["metrics"]["time_to_first_token_ms"]["successful"]["percentiles"]
        assert row["first_token_ms"] == {one: times[f"p{one}"] for one in ("50", "90", "95", "99")}
    answered = (folder / "server.log").read_text().count('"POST /v1/completions HTTP/1.1" 200 OK')
    assert answered == sum(12 + warmup for _, _, warmup in asked.values())  # by the server's own count
    assert found["best"]["point"] == "as-served"
    assert found["best"]["loads"].keys() == {"chat", "long"}
    assert YAML(typ="safe").load((runs / "speed" / "best.yaml").read_text()) == {"serve": {}}

    # one measurement is lost: it is made again, and no other
    before = {one.name: one.read_text() for one in folder.glob("*.measured.json")}
    (folder / "chat-3.measured.json").unlink()
    variables = {**os.environ, "RECIPE_ENVIRONMENTS": str(workplace / "environments"), "HF_HUB_OFFLINE": "1"}
    words = ["bash", str(workplace / "build" / "shop" / "speed" / "run.sh")]
    subprocess.run(words, env=variables, capture_output=True, timeout=600, check=True)
    after = {one.name: one.read_text() for one in folder.glob("*.measured.json")}
    assert {name for name in after if after[name] != before[name]} == {"chat-3.measured.json"}


TUNED = """
recipe: 1
name: tuned
model: {base: Qwen/Qwen2.5-7B-Instruct}
hardware: {gpu: h100-80gb}
stages:
  - {name: served, start_from: base, serve: {max_length: 4096, name: clerk, key_variable: CLERK_KEY}}
  - name: speed
    benchmark:
      workloads: [{name: chat, input: 24, output: 12, concurrency: [1, 4]}]
      grid: {max_requests: [40, 700, 999]}
      requests: 20
      slo: {first_token_ms: 400, between_tokens_ms: 100, percentile: 90}
"""
# The time to the first token is as many milliseconds as there are requests at once.
SERVER = """
number=40
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
    Path("tuned.yaml").write_text(TUNED)
    compiled = compile_file("tuned.yaml")
    assert [one.code for one in compiled.findings] == []
    write(tmp_path / "build" / "tuned", compiled.files)
    (tmp_path / "build/tuned/served/serve.sh").write_text(
        SERVER.replace("GUIDELLM", str(tool_python("guidellm-0.8.1").parent / "guidellm"))
    )
    asked = tmp_path / "build/tuned/speed/sweep_bench.json"
    tokenizer = tmp_path / "tokenizer"
    make = "import sys; from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers; from transformers import PreTrainedTokenizerFast as F\nt = Tokenizer(models.BPE()); t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False); t.decoder = decoders.ByteLevel()\nt.train_from_iterator(['a cup of tea'], trainers.BpeTrainer(vocab_size=300, special_tokens=['</s>'], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))\nF(tokenizer_object=t, eos_token='</s>').save_pretrained(sys.argv[1])"
    python = tool_python("vllm-cli")
    subprocess.run([python, "-c", make, str(tokenizer)], check=True, capture_output=True, timeout=300)
    asked.write_text(asked.read_text().replace("Qwen/Qwen2.5-7B-Instruct", str(tokenizer)))  # of which there is no hub
    bin = tmp_path / "environments" / "vllm-0.33.0"
    bin.parent.mkdir()
    bin.symlink_to(python.parent.parent)
    variables = {
        **os.environ,
        "RECIPE_ENVIRONMENTS": str(bin.parent),
        "VLLM_TARGET_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
    }
    words = ["bash", "build/tuned/speed/run.sh"]
    refused = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert refused.returncode == 1
    assert "CLERK_KEY is not set, or empty" in refused.stderr
    variables["CLERK_KEY"] = "clerk-secret-7"
    done = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    found = json.loads(Path("runs/tuned/speed/benchmark.json").read_text())
    rows = {(one["point"], one["load"]): one for one in found["measurements"]}
    for (point, _), row in rows.items():
        if point == "max_requests=999":
            assert "CUDA out of memory" in row["problem"]
            continue
        planted = 700 if point == "max_requests=700" else 40
        assert (row["problem"], row["completed"], row["failed"]) == ("", 20, 0)
        assert row["output_tokens"] == 20 * 12
        assert planted <= row["first_token_ms"]["50"] < planted + 250  # the rest is this machine's
        assert 4 <= row["between_tokens_ms"]["50"] < 50
        assert row["good_requests_per_second"] == (
            0 if planted > 400 else pytest.approx(row["requests_per_second"], rel=0.3)
        )
    assert found["best"]["point"] == "as-served"  # with which 40 are no more than chance beside
    why = {one["point"]: one["why"] for one in found["others"]}
    assert "first token 7" in why["max_requests=700"]
    assert "400 at most (p90)" in why["max_requests=700"]
    kept = [one.read_text(errors="replace") for one in Path("runs").rglob("*") if one.is_file()]
    assert not [text for text in kept if "clerk-secret-7" in text]
