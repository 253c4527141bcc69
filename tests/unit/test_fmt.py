"""`recipe fmt`: one layout, the same meaning, every comment; and a second time changes nothing."""

import sys
from pathlib import Path
from random import Random

import pytest
from commands import recipe

from recipec.diagnostics import RecipeError
from recipec.fmt import format_files, formatted
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
sys.path.insert(0, str(ROOT / "tests" / "properties"))
from mutate import mutant  # noqa: E402

BEFORE = """\


# what it is for
name:   "x"     # its name
recipe: 1


# the data,
# in two parts

data:
    train:
        -   path: 'a.jsonl'
            format:   chat   # rows
        # between
        -   {path: "b c.jsonl",format: "chat"}
        # after the rows
    holdout: "1%"
# the model
model: {base: "org/model",   max_length: 4096}
description: |
    Kept   as it is  # even this


    to the end
train: {epochs: 2, batch_size: 64, micro_batch_size: 2, learning_rate: 1e-5, warmup: 3%, beta2: 0.95, seed: "no"}
# the end
"""
AFTER = """\
# what it is for
recipe: 1
name: x  # its name
description: |
  Kept   as it is  # even this


  to the end
# the model
model: {base: org/model, max_length: 4096}

# the data,
# in two parts

data:
  train:
    - path: a.jsonl
      format: chat  # rows
    # between
    - {path: b c.jsonl, format: chat}
      # after the rows
  holdout: "1%"
train:
  epochs: 2
  batch_size: 64
  micro_batch_size: 2
  learning_rate: 1e-5
  warmup: 3%
  beta2: 0.95
  seed: "no"
# the end
"""


def test_the_layout() -> None:
    assert formatted(BEFORE) == AFTER
    assert formatted(AFTER) == AFTER
    assert formatted(BEFORE.replace("\n", "\r\n")) == AFTER


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_recipes_and_what_becomes_of_them_keep_meaning_and_comments(file: Path) -> None:
    data = file.read_bytes()
    done = 0
    for seed in range(6):
        changed = data if seed == 0 else mutant(Random(seed), data)
        try:
            text = changed.decode()
            before = plain(read_text(Source("r", text)))
        except (UnicodeDecodeError, RecipeError):
            continue
        try:
            after = formatted(text)
        except RecipeError as error:
            told = [finding.code for finding in error.findings]
        else:
            told = []
        assert told in ([], ["S019"], ["S033"]) if seed else not told  # a recipe of ours is never refused
        if told:
            continue
        done += 1
        again = plain(read_text(Source("r", after)))
        assert isinstance(before, dict)
        assert isinstance(again, dict)
        assert sorted(map(repr, again.items())) == sorted(map(repr, before.items()))
        assert formatted(after) == after, f"seed {seed}"
        assert after.count("#") == text.count("#")
    assert done >= 1


@pytest.mark.parametrize("text", ["a: &x [1, 2]  # one\nb: *x\n", "b: 1\n\n\n\n", "? a\n: 1\n", "'a b': 1\n", "a:\n- 1\n- 2\n", "a: 'it''s'\nb: \"\\t\"\n", "a: >\n  folded\n  text\n\n  more\n# c\nb: 1\n", "a: |+\n  kept\n\n\n", "a: |-\n    x\n      y\nb: 0o17\nc: 1_000\nd: 2024-01-01\ne: ~\nf:\n"])  # fmt: skip
def test_odd_layouts_keep_meaning(text: str) -> None:
    after = formatted(text)
    assert repr(plain(read_text(Source("r", after)))) == repr(plain(read_text(Source("r", text))))
    assert formatted(after) == after


def test_a_comment_within_brackets_is_not_lost() -> None:
    with pytest.raises(RecipeError) as refused:
        formatted("a: {b: 1,  # one\n  c: 2}  # two\n")
    span = refused.value.findings[0].span
    assert span is not None
    assert (span.line, span.column) == (1, 12)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BEFORE)
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    done = recipe("fmt", "--check", "a.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "would change: a.yaml\n")
    done = recipe("fmt", "--diff", "a.yaml", cwd=tmp_path)
    assert done.returncode == 0
    assert '+name: x  # its name\n' in done.stdout  # fmt: skip
    done = recipe("fmt", "a.yaml", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "--> bad.yaml:1:4" in done.stderr
    assert (tmp_path / "a.yaml").read_text() == BEFORE  # all or nothing
    assert recipe("fmt", "a.yaml", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.yaml").read_text() == AFTER
    assert recipe("fmt", "--check", "a.yaml", cwd=tmp_path).returncode == 0


def test_what_would_change_the_meaning_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("recipec.fmt._laid_out", lambda text, name: text.replace("x", "y"))
    (tmp_path / "a.yaml").write_text(BEFORE)
    with pytest.raises(RecipeError, match="would change its meaning"):
        format_files([str(tmp_path / "a.yaml")], write=True)
    monkeypatch.setattr("recipec.fmt._laid_out", lambda text, name: text.replace("# rows", ""))
    with pytest.raises(RecipeError, match="would change its meaning"):
        format_files([str(tmp_path / "a.yaml")], write=True)
    assert (tmp_path / "a.yaml").read_text() == BEFORE
