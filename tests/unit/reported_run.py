"""A run of a course as the engine leaves it, with everything that a report shows; its numbers are made up, its plan is real."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

from recipec import manifest
from recipec.engine.fingerprint import Key
from recipec.engine.record import Record, RunFolder
from recipec.pipeline import compile_file

SECRET = "hf_" + "a1B2c3D4e5F6g7H8i9J0k1L2"
RECIPE = """\
recipe: 1
name: NAME
description: Asks & answers about drinks, <b>briefly</b>.
model: {from_scratch: {family: llama, hidden_size: 32, layers: 2, heads: 4, vocab_size: 400}, max_length: 96}
trainer: trl
train: {steps: 60, batch_size: 2, micro_batch_size: 2, learning_rate: RATE, log_every: 1}
hardware: {gpu: none}
stages:
  - name: sft
    data: {train: [{path: data/instructions.jsonl, format: instruction}], holdout: 10%}
    model: {chat_template: chatml}
  - name: pairs
    generate: {prompts: [{path: data/asked.jsonl, format: prompt}], makes: preference, batch_size: 4}
    rollout: {completions: 4, max_new_tokens: 12}
    rewards: [{type: length, max_words: 2}]
  - name: dpo
    start_from: sft
    data: {train: [{stage: pairs, format: preference}]}
    train: {method: dpo}
evaluate: {tasks: [drinks, said, words], task_folder: tasks, models: [base, sft, dpo], limit: 40}
allow: {too-few-questions: a trial}
"""
TASKS = ("drinks", "said", "words")
LONG = "a_very_long_word_without_any_place_to_break_it_" * 6


def make(folder: Path, name: str = "course", rate: str = "1e-3", seed: int = 0, *, failed: bool = False) -> Path:
    """Write a run below `folder`, which must be the current one, and return its folder."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "tasks").mkdir(exist_ok=True)
    rows = [{"instruction": f"What is drink {n}?", "output": "tea"} for n in range(100)]
    (folder / "data/instructions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "data/asked.jsonl").write_text('{"prompt": "What do you drink?"}\n')
    for task in TASKS:
        (folder / f"tasks/{task}.yaml").write_text(f"task: {task}\n")
    text = RECIPE.replace("NAME", name).replace("RATE", rate)
    (folder / f"{name}.yaml").write_text(text)
    compiled = compile_file(f"{name}.yaml")
    assert compiled.files, compiled.findings
    run = RunFolder(folder / "runs" / name)
    run.path.mkdir(parents=True)
    run.plan.write_text(compiled.files[manifest.FILE])
    run.recipe.write_text(text)
    found = manifest.read(compiled.files[manifest.FILE])
    noise = random.Random(seed)
    record = Record(run.record)
    warning = {"code": "L999", "severity": "warning", "file": f"{name}.yaml", "line": 5, "message": f"mind the <gap> {LONG}", "help": "step back"}  # fmt: skip
    gpu = {"name": "NVIDIA H200", "memory_gib": 140.4, "driver": "575.57"}
    machine = {"host": "node-7", "system": "Linux", "cpu": "A CPU", "cores": 16, "memory_gib": 128.0, "gpus": [gpu, gpu]}  # fmt: skip
    record.add("run-started", pid=1, pid_started="x", host="node-7", machine=machine, findings=[warning], packages={"trl-1.16.0": ["trl==1.16.0", "torch==2.13.0", "peft==0.20.0"]})  # fmt: skip
    for number, stage in enumerate(found.plan.stages):
        Path(stage.output).mkdir(parents=True, exist_ok=True)
        held = {read.path: _sha(read.path) for read in stage.reads if Path(read.path).is_file()}
        Key({}, {}, held, {}, {}).write(run.key(stage.name))
        record.add("stage-started", stage=stage.name, attempt=1, fingerprint="f", pid=1, pid_started="x")
        if stage.kind == "train":
            record.add("stage-interrupted", stage=stage.name, seconds=10.0, exit_code=130)
            record.add("stage-started", stage=stage.name, attempt=2, fingerprint="f", pid=1, pid_started="x", resumed_from="checkpoint-20")  # fmt: skip
            _train(run.events(stage.name), stage.name, noise)
        if stage.kind == "generate":
            count = {"prompts": 19, "prompts too long": 1, "answers": 72, "answers cut off": 3, "answers empty": 0, "rows": 13}  # fmt: skip
            (Path(stage.output) / "count.json").write_text(json.dumps(count))
        if stage.kind == "evaluate":
            _evaluate(Path(stage.output), stage.body.model.name, noise)
        if failed and number == len(found.plan.stages) - 1:
            reason, error = "exit code 1", ["Traceback (most recent call last):", f"ValueError: <bad> {SECRET} {LONG}"]
            record.add("stage-failed", stage=stage.name, seconds=3.0, exit_code=1, reason=reason, error=error)
            record.add("run-failed", exit_code=3)
            return run.path
        usage = {"tokens": {"per_second": 12345.6, "counts": "tokens without padding"}, "memory": {"resident": 3 << 30, "allocated": 50 << 30, "reserved": 61 << 30}}  # fmt: skip
        about = {"usage": usage} if stage.kind == "train" else {}
        record.add("stage-finished", stage=stage.name, seconds=30.0 + number, exit_code=0, fingerprint="f", **about)
    record.add("run-finished", exit_code=0)
    return run.path


def _sha(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _train(events: Path, stage: str, noise: random.Random) -> None:
    events.parent.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = [{"event": "begin", "time": 0.0, "step": 0, "total": 60, "rows": 87}]
    for step in range(1, 61):
        values = {"loss": 4 * math.exp(-step / 15) + noise.uniform(0, 0.3), "learning_rate": 1e-3 * (1 - step / 61), "grad_norm": noise.uniform(0.2, 2)}  # fmt: skip
        if stage == "dpo":
            values |= {"rewards/chosen": step / 100, "rewards/rejected": -step / 80, "rewards/accuracies": 0.5 + step / 200}  # fmt: skip
        loss: Any = "nan" if (stage, step) == ("dpo", 30) else values["loss"]
        rows.append({"event": "log", "time": float(step), "step": step, "total": 60, "loss": loss, "lr": values["learning_rate"], "values": values | {"loss": loss}})  # fmt: skip
        if step % 20 == 0:
            measured = values["loss"] + 0.2
            rows.append({"event": "eval", "time": float(step), "step": step, "total": 60, "loss": measured, "values": {"eval_loss": measured}, "rows": 10})  # fmt: skip
    events.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _evaluate(output: Path, model: str, noise: random.Random) -> None:
    """Write what lm-eval leaves: scores, and the answers to two of the three tasks."""
    likely = {"base": 0.3, "sft": 0.7, "dpo": 0.75}[model]
    place, time = output / "model", "2026-11-28T10-00-00.000000"
    place.mkdir(parents=True, exist_ok=True)
    right = [float(noise.random() < likely) for _ in range(40)]
    near = [noise.random() * likely for _ in range(40)]
    mean, f1 = sum(right) / 40, sum(near) / 40
    results = {
        "results": {
            "drinks": {"acc,none": mean, "acc_stderr,none": math.sqrt(mean * (1 - mean) / 39)},
            "said": {"f1,none": f1, "f1_stderr,none": 0.04},
            "words": {"perplexity,none": 50 - 20 * likely, "perplexity_stderr,none": "N/A"},
        },
        "higher_is_better": {"drinks": {"acc": True}, "said": {"f1": True}, "words": {"perplexity": False}},
        "n-samples": {task: {"original": 40, "effective": 40} for task in TASKS},
    }
    (place / f"results_{time}.json").write_text(json.dumps(results))
    choices = ["tea", "coffee"]
    asked = {f"gen_args_{n}": {"arg_0": "Q: a drink? A:", "arg_1": choice} for n, choice in enumerate(choices)}
    drinks = [
        {"doc_id": n, "doc_hash": f"d{n}", "target": "0", "arguments": asked, "filter": "none", "metrics": ["acc"], "acc": value,
         "filtered_resps": [["-1.0" if value else "-9.0", "False"], ["-5.0", "False"]]}
        for n, value in enumerate(right)
    ]  # fmt: skip
    said = [
        {"doc_id": n, "doc_hash": f"s{n}", "target": "a drink", "arguments": {"gen_args_0": {"arg_0": f"Say <i>{LONG if n == 0 else n}</i>", "arg_1": {"until": ["\n"]}}},
         "filter": "none", "metrics": ["f1"], "f1": value, "filtered_resps": [f"{model} {'says</div> ' * n}"]}
        for n, value in enumerate(near)
    ]  # fmt: skip
    for task, rows in (("drinks", drinks), ("said", said)):
        (place / f"samples_{task}_{time}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
