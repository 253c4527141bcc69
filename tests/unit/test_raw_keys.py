"""A raw key that says in another spelling what the plan says already is told, for every tool that has several spellings."""

import json
from typing import Any

import pytest

from recipec.diagnostics import Finding
from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

RECIPE: dict[str, Any] = {
    "recipe": 1,
    "name": "raw",
    "model": {"base": "meta-llama/Llama-3.2-1B-Instruct", "max_length": 2048},
    "data": {"train": [{"hub": "mlabonne/FineTome-100k", "format": "chat"}], "holdout": "5%"},
    "train": {"micro_batch_size": 2, "learning_rate": 2e-5, "warmup": "3%", "epochs": 2},
    "hardware": {"gpu": "a100-80gb"},
}
FLOOR = {**RECIPE["train"], "scheduler": "cosine_with_min_lr", "min_lr_ratio": 0.1}


def told(tool: str, raw: dict[str, Any], **more: Any) -> list[Finding]:
    """Return the errors about raw keys of a tool."""
    recipe = {**RECIPE, "trainer": tool if tool != "lm_eval" else "axolotl", **more, "overrides": {tool: raw}}
    text = json.dumps({word: value for word, value in recipe.items() if value is not None}, indent=1)
    return [one for one in compile_tree(read_text(Source("raw.yaml", text))).findings if one.severity == "error"]


@pytest.mark.parametrize(
    ("tool", "key", "value", "words"),
    [
        ("axolotl", "evals_per_epoch", 4, "train.evaluate_every"),
        ("axolotl", "eval_steps", 50, "train.evaluate_every"),
        ("axolotl", "saves_per_epoch", 2, "train.save.every"),
        ("axolotl", "max_steps", 100, "train.epochs"),
        ("axolotl", "warmup_steps", 10, "train.warmup"),
        ("axolotl", "batch_size", 64, "train.batch_size"),
        ("axolotl", "auto_find_batch_size", True, "train.micro_batch_size"),
        ("trl", "max_steps", 100, "train.epochs"),
        ("trl", "eval_steps", 50, "train.evaluate_every"),
        ("trl", "SFTConfig.eval_steps", 50, "train.evaluate_every"),
        ("trl", "logging_strategy", "epoch", "train.log_every"),
        ("unsloth", "max_steps", 100, "train.epochs"),
        ("llamafactory", "max_steps", 100, "train.epochs"),
        ("llamafactory", "warmup_ratio", 0.1, "train.warmup"),
        ("llamafactory", "pure_bf16", True, "train.precision"),
    ],
)
def test_another_spelling_of_what_the_plan_says_is_told(tool: str, key: str, value: object, words: str) -> None:
    template = {"model": {**RECIPE["model"], "chat_template": "llama3"}} if tool in ("llamafactory", "unsloth") else {}
    found = [one for one in told(tool, {key: value}, **template) if one.code == "T010"]
    assert len(found) == 1
    assert "says in another way" in found[0].message
    assert words in (found[0].help or "")
    assert found[0].span is not None
    assert key in found[0].span.source.line(found[0].span.line)


@pytest.mark.parametrize(
    ("tool", "raw", "more"),
    [
        ("axolotl", {"evals_per_epoch": 0, "max_steps": -1, "fp16": False, "load_in_8bit": False}, {}),
        ("axolotl", {"eval_batch_size": 1, "logging_first_step": True}, {}),
        ("axolotl", {"warmup_steps": 10}, {"train": {**RECIPE["train"], "warmup": None}}),
        ("trl", {"max_steps": -1, "eval_on_start": True, "logging_first_step": True}, {}),
    ],
)
def test_what_says_something_else_is_left_alone(tool: str, raw: dict[str, Any], more: dict[str, Any]) -> None:
    assert [one for one in told(tool, raw, **more) if one.code == "T010"] == []


def test_a_key_in_a_mapping_is_told_too() -> None:
    found = told("axolotl", {"lr_scheduler_kwargs": {"min_lr": 1e-6}}, train=FLOOR)
    assert [(one.code, "train.min_lr_ratio" in (one.help or "")) for one in found] == [("T010", True)]
    found = told("trl", {"lr_scheduler_kwargs": {"min_lr": 1e-6}}, train=FLOOR)
    assert [(one.code, "train.min_lr_ratio" in (one.help or "")) for one in found] == [("T010", True)]
    assert told("trl", {"lr_scheduler_kwargs": {"min_lr_rate": 0.1}}, train=FLOOR) == []


def test_rows_of_an_evaluation_are_counted_in_one_way() -> None:
    limit = {"tasks": ["gsm8k"], "limit": 10, "chat_template": True}
    assert [one.code for one in told("lm_eval", {"samples": {"gsm8k": [1]}}, evaluate=limit)] == ["T010"]
    assert told("lm_eval", {"samples": {"gsm8k": [1]}}, evaluate={"tasks": ["gsm8k"], "chat_template": True}) == []
