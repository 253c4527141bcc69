"""Rules about benchmarks whose answers are trained on, or whose questions do not fit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from recipec.kinds.evaluate import Evaluate
from recipec.kinds.train.records import DataSource, Train
from recipec.plan import Stage
from recipec.regular_file import read_regular
from recipec.rules.evaluation import LARGE, MANY, single
from recipec.rules.rule import Context, Fault, rule

# Data set of the hub → the split that lm-eval scores, and its tasks (each and what begins with it): `dataset_path` and
# `test_split`, else `validation_split`, of lm_eval/tasks in lm-eval 0.4.13.
SCORED: dict[str, tuple[str, tuple[str, ...]]] = {
    "openai/gsm8k": ("test", ("gsm8k",)),
    "gsm8k": ("test", ("gsm8k",)),
    "cais/mmlu": ("test", ("mmlu",)),
    "TIGER-Lab/MMLU-Pro": ("test", ("mmlu_pro", "leaderboard_mmlu_pro")),
    "Rowan/hellaswag": ("validation", ("hellaswag",)),
    "allenai/ai2_arc": ("test", ("arc_easy", "arc_challenge")),
    "allenai/winogrande": ("validation", ("winogrande",)),
    "truthfulqa/truthful_qa": ("validation", ("truthfulqa",)),
    "openai/openai_humaneval": ("test", ("humaneval",)),
    "openai_humaneval": ("test", ("humaneval",)),
    "google-research-datasets/mbpp": ("test", ("mbpp",)),
    "google/IFEval": ("train", ("ifeval", "leaderboard_ifeval")),
    "EleutherAI/hendrycks_math": ("test", ("minerva_math", "hendrycks_math")),
    "HAERAE-HUB/KMMLU": ("test", ("kmmlu",)),
    "skt/kobest_v1": ("test", ("kobest",)),
}
# Tasks whose prompts hold whole documents, and a length in tokens below which most of each is cut off.
LONG_PROMPTS = {"longbench": 8192, "infinitebench": 32768, "scrolls": 4096, "babilong": 4096}
_FILES = re.compile(r"[^\s'\"{}\[\],:]+\.(?:jsonl|json|csv|tsv|parquet)(?=[\s'\"{}\[\],]|$)")


def _belongs(task: str, names: tuple[str, ...]) -> bool:
    return any(task == name or task.startswith(f"{name}_") for name in names)


def _trained(see: Context, s: Evaluate) -> Iterator[tuple[Stage[Train], DataSource]]:
    """Yield the sources of every training that the evaluated model comes from."""
    places = [s.model.adapter, s.model.path]
    seen: set[str] = set()
    while places:
        stage = see.plan.maker(places.pop())
        if stage is None or stage.name in seen:
            continue
        seen.add(stage.name)
        if stage.kind == "train":
            yield from ((stage, source) for source in stage.body.data.train)
        places += [getattr(one.output, "adapter", None) or getattr(one.output, "path", None) for one in stage.inputs]


@rule("L186", "trained-on-the-benchmark", "error", "evaluate", sources="")
def on_the_benchmark(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a task that scores the split which the model was trained on.

    Why is this bad:
    The model has seen the answers. The score says how well it remembers them, and cannot be compared with any other.

    Example:
        adapter: {rank: 16}
        data: {train: [{hub: openai/gsm8k, subset: main, split: test, format: completion, columns: {prompt: question, completion: answer}}]}
        evaluate: {tasks: [gsm8k], models: [tuned]}

    Use instead:
        data: {train: [{hub: openai/gsm8k, subset: main, split: train, format: completion, columns: {prompt: question, completion: answer}}]}
    """
    for _stage, source in _trained(see, s):
        split, names = SCORED.get(source.hub or "", ("", ()))
        for index, task in single(s):
            if re.split(r"[\[+]", source.split)[0] == split and _belongs(task, names):
                message = f"{task} scores the split {split} of {source.hub}, which {s.model.name} is trained on"
                yield Fault(f"tasks[{index}]", message, "train on another split, or choose another task")


def _files_of(folder: str, task: str) -> Iterator[str]:
    """Yield the data files that a task of a folder names in its own YAML."""
    named = re.compile(rf"^task:[ \t]*['\"]?{re.escape(task)}['\"]?[ \t]*(?:#.*)?$", re.MULTILINE)
    for number, file in enumerate(sorted(Path(folder).rglob("*.yaml"))):
        try:
            if number >= MANY:
                return
            text = read_regular(file, LARGE).decode()
        except (OSError, ValueError):
            continue
        if named.search(text) and re.search(r"^dataset_path:[ \t]*['\"]?(?:json|csv|parquet)\b", text, re.MULTILINE):
            yield from _FILES.findall(re.sub(r"(?m)(?:^|\s)#.*$", "", text))


@rule("L187", "task-that-asks-training-rows", "warning", "evaluate", sources="")
def own_rows(see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a task of one's own that asks the rows which the model is trained on, or a file that is not there.

    Why is this bad:
    The score of known rows says nothing about new ones; and a file that is missing is found after the training.

    Example:
        model: {base: my-lab/my-model, chat_template: chatml}
        adapter: {rank: 16}
        data: {train: [{path: leaks/rows.jsonl, format: completion}]}
        evaluate: {tasks: [seen], task_folder: leaks/tasks, models: [tuned]}

    Use instead:
        data: {train: [{path: leaks/other.jsonl, format: completion}]}
    """
    if not see.folders or s.task_folder is None:
        return
    trained = {os.path.normpath(source.path) for _stage, source in _trained(see, s) if source.path is not None}
    for index, task in single(s):
        for file in dict.fromkeys(_files_of(s.task_folder, task)):
            if os.path.normpath(file) in trained:
                message = f"{task} asks the rows of {file}, which {s.model.name} is trained on"
                yield Fault(f"tasks[{index}]", message, "keep rows apart for the task")
            elif not os.path.isabs(file) and not Path(file).exists():  # noqa: PTH117
                message = f"{task} reads {file}, which is not here"
                yield Fault(f"tasks[{index}]", message, "correct the path in the task's file, or put the file there")


@rule("L188", "documents-that-do-not-fit", "warning", "evaluate", sources="")
def long_prompts(_see: Context, s: Evaluate) -> Iterator[Fault]:
    """Finds a task about long documents for a model that is evaluated at a short length.

    Why is this bad:
    lm-eval cuts the beginning of what is too long: most of the document is gone, and the score says that the model cannot
    find what was never shown to it.

    Example:
        model: {base: meta-llama/Meta-Llama-3-8B-Instruct, max_length: 2048}
        evaluate: {tasks: [longbench_hotpotqa], chat_template: true}

    Use instead:
        model: {base: meta-llama/Llama-3.1-8B-Instruct, max_length: 32768}
    """
    for index, task in single(s):
        least = next((length for name, length in LONG_PROMPTS.items() if _belongs(task, (name,))), 0)
        if isinstance(s.max_length, int) and s.max_length < least:
            message = f"the documents of {task} are cut to {s.max_length} tokens"
            yield Fault(f"tasks[{index}]", message, f"evaluate a model with a max_length of {least} or more")


RULES = (on_the_benchmark, own_rows, long_prompts)
