"""Changes to a recipe's text: what was asked for, and not a character beside it."""

from pathlib import Path
from random import Random

import pytest

from recipec.diagnostics import RecipeError
from recipec.edit import DELETE, Change, edited, same
from recipec.source import Source, leaves, plain, split_path
from recipec.yaml_reader import read_text

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
TEXT = """\
# what it is for
recipe: 1  # the language
model: {base: "a/b", max_length: 4096}   # two words
data:
  # the rows
  train:
    - path: a.jsonl  # first
      format: chat
    - {path: b.jsonl, format: chat}
  holdout: 1%

train:
  epochs: 2
description: |
  Two lines,
  both kept.
track:
hardware: {}
"""


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("recipe", 2, "recipe: 1  #", "recipe: 2  #"),
        ("model.base", "c/d", '"a/b"', "c/d"),
        ("model.base", "yes", '"a/b"', '"yes"'),
        ("model.load_in", "nf4", "4096}", "4096, load_in: nf4}"),
        ("model", {"base": "x"}, '{base: "a/b", max_length: 4096}', "{base: x}"),
        ("data.train[0].path", "c.jsonl", "a.jsonl  #", "c.jsonl  #"),
        ("data.train[1].path", "c.jsonl", "b.jsonl", "c.jsonl"),
        ("data.train[0].weight", 2.5, "      format: chat\n", "      format: chat\n      weight: 2.5\n"),
        ("data.train", ["x"], "train:\n    - path: a.jsonl  # first\n      format: chat\n    - {path: b.jsonl, format: chat}\n", "train: [x]\n"),
        ("train.beta1", 1e-4, "  epochs: 2\n", "  epochs: 2\n  beta1: 0.0001\n"),
        ("train.save.every", 5, "  epochs: 2\n", "  epochs: 2\n  save: {every: 5}\n"),
        ("track", {"a": 1}, "track:\n", "track: {a: 1}\n"),
        ("track.wandb.project", "x", "track:\n", "track: {wandb: {project: x}}\n"),
        ("hardware.gpu", "none", "{}", '{gpu: "none"}'),
        ("seed", 7, "hardware: {}\n", "hardware: {}\nseed: 7\n"),
        ("description", "one", "|\n  Two lines,\n  both kept.\n", "one\n"),
        ("model.base", DELETE, 'base: "a/b", ', ""),
        ("model.max_length", DELETE, ", max_length: 4096", ""),
        ("data.train[0]", DELETE, "    - path: a.jsonl  # first\n      format: chat\n", ""),
        ("data.train[0].path", DELETE, "path: a.jsonl  # first\n      format", "format"),
        ("data.train[0].format", DELETE, "      format: chat\n", ""),
        ("data.holdout", DELETE, "  holdout: 1%\n", ""),
        ("train.epochs", DELETE, "train:\n  epochs: 2\n", "train: {}\n"),
        ("description", DELETE, "description: |\n  Two lines,\n  both kept.\n", ""),
        ("track", DELETE, "track:\n", ""),
    ],
)  # fmt: skip
def test_a_change_touches_its_own_place_only(path: str, value: object, old: str, new: str) -> None:
    assert edited(TEXT, [Change(split_path(path), value)]) == TEXT.replace(old, new, 1)
    windows = TEXT.replace("\n", "\r\n")
    changed = edited(windows, [Change(split_path(path), value)])
    assert changed == windows.replace(old.replace("\n", "\r\n"), new.replace("\n", "\r\n"), 1)


def test_a_key_is_renamed() -> None:
    assert edited(TEXT, [Change(("train", "epochs"), rename="steps")]) == TEXT.replace("epochs", "steps")
    assert edited(TEXT, [Change(("model", "base"), rename="a b: c")]) == TEXT.replace("base", '"a b: c"')


def test_what_an_alias_stands_for_stays_elsewhere() -> None:
    text = "a: &x 1  # one\nb: *x\n"
    assert edited(text, [Change(("b",), 2)]) == "a: &x 1  # one\nb: 2\n"


@pytest.mark.parametrize(
    ("path", "value"), [("model.base.x", 1), ("data.train[5]", 1), ("nothing", DELETE), ("data.train.x", 1)]
)
def test_a_path_without_a_place_is_told(path: str, value: object) -> None:
    with pytest.raises(RecipeError, match="no place"):
        edited(TEXT, [Change(split_path(path), value)])


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_every_value_of_every_recipe_can_be_changed_and_deleted(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    comments = [line for line in text.splitlines() if line.startswith("#")]
    paths = [path for path, _ in leaves(read_text(Source("r", text)))]
    for path in Random(1).sample(paths, min(8, len(paths))):
        for change in (Change(path, "x"), Change(path), Change(path[:1])):
            made = edited(text, [change])
            assert [line for line in made.splitlines() if line.startswith("#")] == comments
            gone = made.splitlines()
            assert len(set(gone) - set(text.splitlines())) <= 1  # the line of the change
    assert same(edited(text, [Change(("name",), "other")]), {**plain(read_text(Source("r", text))), "name": "other"})
