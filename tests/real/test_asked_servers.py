"""What is served is evaluated: by Transformers' server in full, and by vLLM's API as far as what lm-eval sends to it."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_trains import run, workplace  # noqa: F401  # the fixture

from recipec.output import write
from recipec.pipeline import compile_file

pytestmark = pytest.mark.xdist_group("served")
HEAD = """
recipe: 1
name: asked
model:
  from_scratch: {family: llama, hidden_size: 128, layers: 2, heads: 4, vocab_size: 400}
  max_length: 96
trainer: trl
allow: {L025: text is asked on purpose, L343: six rows are enough here}
train: {steps: 12, batch_size: 4, micro_batch_size: 4, learning_rate: 3e-3}
"""
RECIPE = (
    HEAD
    + """
hardware: {gpu: none}
stages:
  - name: sft
    data: {train: [{path: data/conversations.jsonl, format: chat, columns: {messages: conversations, role: from, content: value}, roles: {user: [human], assistant: [gpt]}}]}
  - {name: there, serve: {port: 8973}}
  - {name: raw, start_from: there, evaluate: {tasks: [said], task_folder: tasks, chat_template: false, limit: 6}}
evaluate: {tasks: [said], task_folder: tasks, models: [sft, there], limit: 6, batch_size: 1, require: {said: ">= sft - 1pt"}, confidence: 0.5}
"""
)
TASK = {
    "task": "said",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "tasks/rows.jsonl"}},
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "output_type": "generate_until",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
CHOICE = {name: value for name, value in TASK.items() if name != "generation_kwargs"} | {
    "task": "chosen",
    "output_type": "multiple_choice",
    "doc_to_choice": ["Yes", "No"],
    "doc_to_target": 0,
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.chdir(workplace)
    tasks = workplace / "tasks"
    tasks.mkdir()
    rows = [{"question": f"Is {word} a drink?", "answer": f"Yes, {word} is a drink."} for word in ["tea", "milk", "cola", "water", "juice", "beer"]]  # fmt: skip
    (tasks / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for task in (TASK, CHOICE):
        text = "".join(f"{word}: {json.dumps(value)}\n" for word, value in task.items())
        (tasks / f"{task['task']}.yaml").write_text(text)
    return workplace


def samples(folder: Path) -> list[dict[str, Any]]:
    [file] = folder.rglob("samples_*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def answers(folder: Path) -> list[Any]:
    return [row["filtered_resps"] for row in sorted(samples(folder), key=lambda row: int(row["doc_id"]))]


@pytest.mark.real
def test_a_served_model_answers_as_its_weights_do(place: Path, tool_python: Callable[[str], Path]) -> None:
    recipe = place / "asked.yaml"
    recipe.write_text(RECIPE)
    runs = run(recipe, place, tool_python)
    said = answers(runs / "evaluate-there")
    assert said == answers(runs / "evaluate-sft")
    assert len({str(one) for one in said}) > 1 or said[0] != [""]
    raw = samples(runs / "raw")
    assert raw[0]["arguments"]["gen_args_0"]["arg_0"] == "Is tea a drink?"  # and not a turn of a conversation
    assert json.loads((runs / "gate" / "verdict.json").read_text())["holds"] is True


class Api(BaseHTTPRequestHandler):
    """Stands in for vLLM's API: it answers what lm-eval reads, and keeps what it sent."""

    asked: list[dict[str, Any]] = []

    def do_GET(self) -> None:
        self._answer({} if self.path == "/health" else None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        choices = []
        for index, prompt in enumerate(prompts):
            told = [-float(token % 7) for token in prompt] + [0.0]
            logs = {"token_logprobs": told, "top_logprobs": [{"x": 0.0} for _ in told]}
            choices.append({"index": index, "text": "Yes", "logprobs": logs, "finish_reason": "stop"})
        self._answer({"choices": choices})

    def _answer(self, found: dict[str, Any] | None) -> None:
        data = json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api() -> Iterator[int]:
    Api.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


TOKENIZER = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
made = Tokenizer(models.BPE(vocab={one: index for index, one in enumerate(["<s>", "</s>", "<|im_start|>", "<|im_end|>", *letters])}, merges=[]))
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
whole = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", additional_special_tokens=["<|im_start|>", "<|im_end|>"])
whole.chat_template = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\\n{{ m.content }}<|im_end|>\\n{% endfor %}<|im_start|>assistant\\n"
whole.save_pretrained(sys.argv[1])
"""
OVER = """
recipe: 1
name: over
model: {base: models/tiny, max_length: 64, trust_remote_code: false}
hardware: {gpu: h100-80gb}
stages:
  - {name: there, start_from: base, serve: {key_variable: SHOP_KEY, max_requests: 3}}
  - {name: turns, start_from: there, evaluate: {tasks: [said, chosen], task_folder: tasks, chat_template: true}}
  - {name: text, start_from: there, evaluate: {tasks: [said, chosen], task_folder: tasks, chat_template: false}}
"""


@pytest.mark.real
def test_what_is_sent_to_vllm_has_its_first_token_once(
    place: Path, tool_python: Callable[[str], Path], api: int
) -> None:
    python = tool_python("lm-eval-0.4.13")
    made = [python, "-c", TOKENIZER, place / "models" / "tiny"]
    subprocess.run(made, check=True, capture_output=True, timeout=120)
    (place / "models" / "tiny" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (place / "over.yaml").write_text(OVER)
    compiled = compile_file("over.yaml")
    assert compiled.files, [str(one) for one in compiled.findings]
    write(place / "build" / "over", compiled.files)
    for name in ("turns", "text"):
        Api.asked = []
        folder = place / "build" / "over" / name
        config = (folder / "lm_eval.yaml").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{api}")
        (place / "lm_eval.yaml").write_text(config)
        variables = {**os.environ, "OPENAI_API_KEY": "secret", "HF_HUB_OFFLINE": "1"}
        words = [python.parent / "lm-eval", "run", "--config", place / "lm_eval.yaml"]
        done = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        assert {(one["path"], one["key"], one["model"]) for one in Api.asked} == {("/v1/completions", "Bearer secret", "over")}  # fmt: skip
        sent = [prompt for one in Api.asked for prompt in (one["prompt"] if isinstance(one["prompt"][0], list) else [one["prompt"]])]  # fmt: skip
        assert len(sent) == 6 + 12  # answers, and two choices of each
        assert {prompt.count(0) for prompt in sent} == {1}
        assert {prompt[0] for prompt in sent} == {0}
        assert {prompt[1] == 2 for prompt in sent} == {name == "turns"}
        assert all(len(prompt) < 64 for prompt in sent)


@pytest.mark.real
def test_a_server_that_is_up_already_is_not_mistaken_for_the_model(place: Path, api: int) -> None:
    scripts = Path(__file__).parents[2] / "compiler" / "recipec" / "systems" / "scripts"
    for name in ("with_server.py", "check_server.py"):
        shutil.copy(scripts / name, place)
    settings = {"serve": "serve.sh", "model": "shop", "key_variable": "", "start_seconds": 9, "port": api}
    (place / "server.json").write_text(json.dumps(settings))
    words = [sys.executable, place / "with_server.py", place / "server.json", "true"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"something answers at http://127.0.0.1:{api} already" in done.stderr
