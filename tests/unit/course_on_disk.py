"""A course of several stages as a person has it on disk, compiled, and a run of it that is complete: no tool runs."""

from __future__ import annotations

import os
from pathlib import Path

from recipec import output
from recipec.engine.build import Build, load
from recipec.engine.fingerprint import keys
from recipec.engine.record import Record, RunFolder
from recipec.pipeline import compile_file
from recipec.processes import start_of

RECIPE = """\
recipe: 1
name: course
trainer: trl
model: {base: base-model, max_length: 512, chat_template_file: shop.jinja}
hardware: {gpu: a100-80gb}
train: {batch_size: 8, learning_rate: 1e-4}
stages:
  - name: sft
    adapter: {rank: 8}
    data: {train: [{path: chat.jsonl, format: chat}]}
  - name: dpo
    parent_adapter: merge
    data: {train: [{path: pairs.jsonl, format: preference}]}
    train: {method: dpo, learning_rate: 1e-6}
  - name: grpo
    start_from: dpo
    data: {train: [{path: asked.jsonl, format: prompt}]}
    train: {method: grpo, learning_rate: 1e-6}
    rewards: [{type: python, path: rewards/pay.py, function: short}]
evaluate: {tasks: [shelf], task_folder: tasks, models: [base, sft, grpo]}
"""
CHAT = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
PAIR = '{"prompt": [{"role": "user", "content": "a"}], "chosen": [{"role": "assistant", "content": "b"}], "rejected": [{"role": "assistant", "content": "c"}]}\n'
FILES = {
    "course.yaml": RECIPE,
    "shop.jinja": "{% for message in messages %}{{ message['content'] }}{% generation %}x{% endgeneration %}{% endfor %}\n",
    "chat.jsonl": CHAT,
    "pairs.jsonl": PAIR,
    "asked.jsonl": '{"prompt": [{"role": "user", "content": "1 + 1"}]}\n',
    "rewards/pay.py": "import helper\n\n\ndef short(completions, **more):\n    return [helper.pay(one) for one in completions]\n",
    "rewards/helper.py": "from deep import PRICE\n\n\ndef pay(text):\n    return -PRICE * len(text)\n",
    "rewards/deep.py": "PRICE = 1\n",
    "rewards/unused.py": "NOTHING = 1\n",
    "tasks/shelf.yaml": "task: shelf\ndataset_path: json\ndataset_kwargs: {data_files: held/rows.jsonl}\n",
    "tasks/utils.py": "def clean(text):\n    return text\n",
    "held/rows.jsonl": "{}\n",
    "base-model/config.json": "{}",
}


def write(files: dict[str, str] = FILES) -> None:
    """Write files below the current folder."""
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def compiled(recipe: str = "course.yaml") -> Build:
    """Compile a recipe of the current folder."""
    done = compile_file(recipe)
    assert done.files, done.findings
    folder = Path("build", done.name)
    output.write(folder, done.files)
    return load(folder, Path(recipe))


def folder_of(build: Build) -> RunFolder:
    """Return the folder of a build's runs."""
    folder = RunFolder(Path("runs", build.name))
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder


def complete(build: Build, *names: str) -> None:
    """Record that these stages ran, as they are now, and leave results of theirs; without names, all of them."""
    folder = folder_of(build)
    record, found = Record(folder.record), keys(build, folder.hashes)
    me = {"pid": os.getpid(), "pid_started": start_of(os.getpid())}
    record.add("run-started", build=str(build.folder), **me)
    folder.plan.write_bytes(build.text)
    for stage in build.stages:
        if names and stage.name not in names:
            continue
        write({f"{stage.output}/model": "made"})
        found[stage.name].write(folder.key(stage.name))
        fingerprint = found[stage.name].hash
        record.add("stage-started", stage=stage.name, fingerprint=fingerprint, **me)
        record.add("stage-finished", stage=stage.name, fingerprint=fingerprint, exit_code=0)
    record.add("run-finished", exit_code=0)
