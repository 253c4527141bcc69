"""The YAML language server that editors use, on the recipe schema: silence on good recipes, and help on the rest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integrations.language_server import LanguageServer
from recipec.facts import gpus
from recipec.language.train import Train

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("editor")]

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "recipe.schema.json"
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
GOOD = """\
recipe: 1
name: mine
model:
  base: mistralai/Mistral-7B-v0.3
  load_in: nf4
adapter:
  rank: 32
data:
  train:
    - path: data/chat.jsonl
      format: chat
  packing: true
train:
  epochs: 3
  batch_size: 64
  learning_rate: 2e-4
  scheduler: cosine
  warmup: 3%
hardware:
  gpu: a100-80gb
"""
# What is changed in the good recipe, and the line (from 1) and words of what the editor says then.
BAD = [
    ("learning_rate: 2e-4", "lerning_rate: 2e-4", 16, "lerning_rate is not allowed"),
    ("scheduler: cosine", "scheduler: cosin", 17, '"cosine"'),
    ("load_in: nf4", "load_in: nf5", 5, '"nf4"'),
    ("gpu: a100-80gb", "gpu: [a100-80gb]", 20, '"a100-80gb"'),
    ("packing: true", "packing: yes", 12, '"boolean"'),
    ("rank: 32", "rank: thirty", 7, '"integer'),
    ("rank: 32", "rank: 32.5", 7, '"integer'),
    ("epochs: 3", "epochs: -3", 14, "below"),
    ("learning_rate: 2e-4", "learning_rate: 20", 16, "above"),
    ("warmup: 3%", "warmup: 3 %", 18, "pattern"),
    ("format: chat", "format: chatt", 11, '"chat"'),
    ("name: mine", "name: Mine", 2, "pattern"),
    ("recipe: 1\n", "", 1, '"recipe"'),
    ("  learning_rate: 2e-4\n", "", 13, '"learning_rate"'),
]


@pytest.fixture(scope="module")
def server(node_modules: Path) -> Iterator[LanguageServer]:
    with LanguageServer(node_modules, SCHEMA) as server:
        yield server


def place(text: str, words: str) -> tuple[int, int]:
    """Return line and character, from 0, of the end of some words."""
    before = text[: text.index(words) + len(words)]
    return before.count("\n"), len(before) - before.rfind("\n") - 1


def test_good_recipes_show_nothing(server: LanguageServer) -> None:
    varied = GOOD
    for value in ("2e-4", "cosine", "true", "32", "a100-80gb", "nf4", "data/chat.jsonl", "3%"):
        varied = varied.replace(f": {value}\n", ": ${var:it}\n")
    assert varied.count("${var:it}") == 8
    texts = {"good.yaml": GOOD, "varied.yaml": varied} | {
        path.name: path.read_text(encoding="utf-8") for path in RECIPES
    }
    found = {name: server.open(text, name)[1] for name, text in texts.items()}
    assert len(found) > 20
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(("old", "new", "line", "words"), BAD, ids=[bad[1].strip() or bad[0] for bad in BAD])
def test_bad_recipes_show_it_at_the_line(server: LanguageServer, old: str, new: str, line: int, words: str) -> None:
    assert GOOD.count(old) == 1
    _, wrong = server.open(GOOD.replace(old, new))
    said = [(found["range"]["start"]["line"] + 1, found["message"]) for found in wrong]
    assert any(where == line and words in message for where, message in said), said


def test_hover_tells_the_meaning_the_choices_and_an_example(server: LanguageServer) -> None:
    shown = server.hover(GOOD, *place(GOOD, "learning_"))
    assert shown.startswith("Peak learning rate.")
    assert "0.0002" in shown
    shown = server.hover(GOOD, *place(GOOD, "schedu"))
    assert "Learning-rate schedule" in shown
    assert "Default: `cosine`" in shown
    assert "`constant_with_warmup`" in shown
    assert "a small adapter" in server.hover(GOOD, *place(GOOD, "adap"))
    assert "`h100-80gb`" in server.hover(GOOD, *place(GOOD, "  gpu"))


def test_completion_offers_every_key_with_its_meaning(server: LanguageServer) -> None:
    text = "recipe: 1\nname: mine\ntrain:\n  epochs: 3\n  \nhardware: {gpu: t4}\n"
    offered = server.complete(text, 4, 2)
    assert set(Train.model_fields) - {"epochs"} <= set(offered)
    assert all(item["documentation"] for item in offered.values())
    assert offered["beta1"]["insertText"] == "beta1: ${1:0.9}"
    assert offered["batch_size"]["insertText"] == "batch_size: ${1:64}"
    top = server.complete("recipe: 1\n\n", 1, 0)
    assert {"name", "model", "data", "train", "hardware", "stages"} <= set(top)
    assert top["train"]["insertText"].startswith("train:")
    assert "${1:train}" not in top["train"]["insertText"]


def test_completion_offers_every_choice(server: LanguageServer) -> None:
    for key, choices in (
        ("train:\n  scheduler: ", {"cosine", "linear", "constant", "warmup_stable_decay"}),
        ("train:\n  optimizer: ", {"adamw", "lion_8bit", "muon"}),
        ("hardware:\n  gpu: ", set(gpus())),
        ("model:\n  load_in: ", {"nf4", "int8", "bf16"}),
        ("data:\n  packing: ", {"true", "false"}),
        ("trainer: ", {"axolotl", "trl", "llamafactory", "unsloth", "openrlhf", "script"}),
    ):
        text = f"recipe: 1\n{key}\n"
        assert choices <= set(server.complete(text, *place(text, key))), key
