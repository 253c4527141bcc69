"""The table of what numbers usually are: its rows can be read and asked, and few of the configurations that others ship lie outside."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML, YAMLError

from recipec.facts.datasets import known_dataset
from recipec.facts.usual import Usual, shown, usual
from recipec.kinds.train.methods import METHODS
from recipec.kinds.train.records import Adapter, Model, Objective, Optimizer, Rollout
from recipec.language.train import Train as Words
from recipec.pipeline import compile_tree
from recipec.rules.measures import CONDITIONS, MEASURES
from recipec.source import Source
from recipec.yaml_reader import read_text

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus" / "axolotl"
ROWS = [
    pytest.param(group, name, row, id=f"{group}-{name}-{number}")
    for group, values in usual().items()
    for name, rows in values.items()
    for number, row in enumerate(rows)
]
KINDS = {
    "adapter": {"none", "lora", "other", "vectors", "prompt"},
    "start": {"scratch", "pretrained"},
    "size": {"known", "named"},
    "methods": set(METHODS),
}
KINDS |= {"optimizer": {"adam", "schedule free", "lion", "adafactor", "sgd", "muon"}}
KINDS |= {word: {"yes", "no"} for word in ("rslora", "thinks", "mask_truncated")}
KINDS["loss"] = {loss for method in METHODS.values() for loss in method.losses}
SECTIONS = {"model": Model, "adapter": Adapter, "optimizer": Optimizer, "objective": Objective, "rollout": Rollout}
OPTIMIZERS = {
    "adamw_bnb_8bit": "adamw_8bit",
    "adamw_torch_8bit": "adamw_8bit_torchao",
    "adamw_torch_4bit": "adamw_4bit",
}


@pytest.mark.parametrize(("group", "name", "row"), ROWS)
def test_a_row_can_be_asked_and_contradicts_itself_nowhere(group: str, name: str, row: Usual) -> None:
    assert row.usual
    assert row.write
    assert row.of
    assert row.source
    assert row.low is not None or row.high is not None
    assert row.low is None or row.high is None or row.low < row.high
    for word, held in row.conditions.items():
        known = word.removeprefix("from_").removeprefix("to_")
        assert known in CONDITIONS
        assert word != known or set(held) <= KINDS[word]
        assert word == known or float(held[0]) > 0
    if group in ("merges", "sizes") or name in MEASURES:
        return
    section, _, word = name.partition(".")
    assert word in SECTIONS[section].__struct_fields__
    try:
        advised = float(row.write)
    except ValueError:
        return  # in words
    assert (row.low or advised) <= advised <= (row.high or advised)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_has_by_default_is_usual(method: str) -> None:
    for word, value in METHODS[method].words.items():
        for row in usual()["objectives"].get(f"objective.{word}", ()):
            if method in row.conditions.get("methods", (method,)) and "loss" not in row.conditions:
                assert (row.low or value) <= value <= (row.high if row.high is not None else value)
                break


def test_every_method_and_adapter_has_a_row_for_its_learning_rate() -> None:
    rows = usual()["rates"]["optimizer.learning_rate"]
    assert rows[-1].conditions == {}
    optimizers = get_args(Words.model_fields["optimizer"].annotation)
    assert {name.partition("_")[0] for name in optimizers} == {"adamw", "ademamix", "adafactor", "sgd", "lion", "muon"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(2e-4, "2e-4"), (2.5e-6, "2.5e-6"), (0.001, "0.001"), (0.03, "0.03"), (1.0, "1"), (128, "128"), ("a word", "a word"), (0.0, "0")],
)  # fmt: skip
def test_numbers_are_shown_as_people_write_them(value: object, text: str) -> None:
    assert shown(value) == text


def test_rows_of_a_data_set_are_those_of_the_split_that_is_trained_on() -> None:
    chat, lima = known_dataset("HuggingFaceH4/ultrachat_200k"), known_dataset("GAIR/lima")
    assert chat is not None
    assert lima is not None
    assert (chat.trained, chat.rows) == ("train_sft", 207865)
    assert (lima.trained, lima.rows) == ("train", 1030)


def shipped() -> list[tuple[str, dict[str, Any]]]:
    """Return the recipe that each supervised configuration of Axolotl's examples says, as far as numbers go."""
    found = []
    for file in sorted(CORPUS.rglob("*.y*ml")):
        try:
            given = YAML(typ="safe").load(file)
        except YAMLError:
            continue
        if (
            not isinstance(given, dict)
            or not given.get("learning_rate")
            or given.get("rl")
            or given.get("reward_model")
        ):
            continue
        train = {
            "learning_rate": float(given["learning_rate"]),
            "epochs": given.get("num_epochs") or 1,
            "micro_batch_size": given.get("micro_batch_size") or 1,
            "gradient_accumulation": given.get("gradient_accumulation_steps") or 1,
            "weight_decay": float(given.get("weight_decay") or 0),
            "max_grad_norm": float(given.get("max_grad_norm") or 1),
            "optimizer": OPTIMIZERS.get(given.get("optimizer"), "adamw"),
        }
        adapter = {
            "rank": given.get("lora_r") or 8,
            "alpha": given.get("lora_alpha") or 16,
            "dropout": given.get("lora_dropout") or 0,
        }
        recipe = {"recipe": 1, "name": "one", "model": {"base": str(given["base_model"])}, "train": train}
        recipe |= {"data": {"train": [{"path": "a.jsonl", "format": "chat"}]}, "hardware": {"gpu": "h200-141gb"}}
        found.append((file.name, recipe | ({"adapter": adapter} if given.get("adapter") else {})))
    return found


@pytest.mark.skipif(not CORPUS.exists(), reason="the configurations of others are not here")
def test_hardly_any_configuration_that_others_ship_is_unusual() -> None:
    told = []
    recipes = shipped()
    for name, recipe in recipes:
        codes = {one.code for one in compile_tree(read_text(Source("r.yaml", json.dumps(recipe)))).findings}
        told += [(name, code) for code in codes if code.startswith(("L30", "L31"))]
    assert len(recipes) > 100
    assert len(told) <= len(recipes) / 100, told
