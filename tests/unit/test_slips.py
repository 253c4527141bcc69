"""What a wrong value most likely meant: numbers in other spellings, shares and percentages, look-alikes, the shell's words."""

import pytest

from recipec.diagnostics import Finding, RecipeError
from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

RECIPE = """recipe: 1
name: case
model:
  base: my-lab/my-model
  max_length: 4096
adapter:
  rank: 16
data:
  train:
    - path: data/chat.jsonl
      format: chat
  holdout: 5%
train:
  epochs: 2
  learning_rate: 2e-4
  warmup: 3%
hardware:
  gpu: a100-80gb
evaluate:
  tasks:
    - gsm8k
    - ifeval
"""


def findings(text: str) -> list[Finding]:
    try:
        return compile_tree(read_text(Source("r.yaml", text))).findings
    except RecipeError as error:
        return error.findings


def told(old: str, new: str) -> list[tuple[str, int, str]]:
    """Return code, line below that of what was replaced, and help of each finding."""
    assert old in RECIPE
    first = RECIPE[: RECIPE.index(old)].count("\n") + 1
    found = findings(RECIPE.replace(old, new, 1))
    return [(one.code, (one.span.line if one.span else 0) - first, one.help or "") for one in found]


def test_the_recipe_is_right() -> None:
    assert findings(RECIPE) == []


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("warmup: 3%", "warmup: 0.03", "write 3%"),
        ("warmup: 3%", "warmup: '0.03'", "write 3%"),
        ("warmup: 3%", "warmup: 1.0", "write 1, or a percentage"),
        ("warmup: 3%", "warmup: 3 %", "write 3% without blanks"),
        ("warmup: 3%", "warmup: 3,5%", "write 3.5%, with a point"),
        ("warmup: 3%", "warmup: 3％", "write 3%, in plain characters"),
        ("holdout: 5%", "holdout: 0.05", "write 5%"),
        ("rank: 16", "dropout: 5%", "write 0.05"),
        ("rank: 16", "dropout: 5", "5% is written 0.05"),
        ("rank: 16", "rank: 16.0", "write 16"),
        ("learning_rate: 2e-4", "learning_rate: 0,0002", "write 0.0002, with a point"),
        ("learning_rate: 2e-4", "learning_rate: 2 e-4", "write 2e-4 without blanks"),
        ("learning_rate: 2e-4", "learning_rate: 2e\u22124", "write 2e-4, in plain characters"),
        ("learning_rate: 2e-4", "learning_rate: \uff12e-4", "write 2e-4, in plain characters"),
        ("learning_rate: 2e-4", "learning_rate: $LR", "variables of the shell are not read here"),
        ("learning_rate: 2e-4", "learning_rate: 20", "the exponent is lost"),
        ("epochs: 2", "steps: 1,000", "write 1000 without separators"),
        ("epochs: 2", "steps: 1e3", "write 1000"),
        ("epochs: 2", "steps: 1k", "write the number out"),
        ("epochs: 2", "epochs: 2\n  weight_decay: 10", "0 to 0.1 is usual"),
        ("epochs: 2", "epochs: 2\n  save: {every: 0.1}", "it takes no share of the whole"),
        ("epochs: 2", "epochs: 2\n  save: {every: 10%}", "it takes no percentage"),
        ("epochs: 2", "epochs: 2\n  min_lr_ratio: 10%", "write 0.1"),
        ("gpu: a100-80gb", "gpu: a100-80gb\n  host_memory_gib: 512GB", "write 512 without a unit"),
        ("gpu: a100-80gb", "gpu: a100-80gb\nlaunch: {environment: {OMP_NUM_THREADS: 8}}", "put it in quotes"),
    ],
)
def test_it_is_told_how_to_write_what_was_meant(old: str, new: str, advice: str) -> None:
    ((code, line, help_),) = told(old, new)
    assert code in ("R004", "R005")
    assert line == new.count("\n")
    assert help_.endswith(advice) or f"{advice}:" in help_


@pytest.mark.parametrize(
    ("new", "message", "advice"),
    [
        ("{learning_rate: 0,0002}", "train.learning_rate cannot be 0,0002", "write 0.0002, with a point"),
        ("{learning_rate: 2e-4, epochs: 2,5}", "train.epochs cannot be 2,5", "write 2.5, with a point"),
        ("{learning_rate: 2e-4, epochs: 2,500}", "train.epochs cannot be 2,500", "write 2.500, with a point or 2500"),
        ("{learning_rate: 2e-4, steps: 1,000}", "train.steps cannot be 1,000", "write 1000"),
        ("{learning_rate: 2e-4, warmup: 2,5%}", "train.warmup cannot be 2,5%", "write 2.5%, with a point"),
    ],
)
def test_a_decimal_comma_within_braces_is_one_finding(new: str, message: str, advice: str) -> None:
    block = RECIPE[RECIPE.index("train:\n  epochs") : RECIPE.index("hardware")]
    (found,) = findings(RECIPE.replace(block, f"train: {new}\n"))
    assert found.message == f"{message}: within braces a comma separates keys"
    assert found.help == advice


BLANKS = ["\xa0\xa0", "\u3000", "\u2003", "\u200b", "\t", " \t", "  \t"]


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
@pytest.mark.parametrize(
    "line",
    ["  rank: 16", "  epochs: 2", "  warmup: 3%", "    - path: data", "      format: chat", "    - gsm8k", "  gpu"],
)
def test_what_looks_like_indentation_and_is_none(blank: str, line: str) -> None:
    assert told(line, blank + line.strip()) == [("S020", 0, "YAML indents with spaces only")]


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("rank: 16", "rank\uff1a16", 'write ":"'),
        ("warmup: 3%", "warmup\uff1a3%", 'write ":"'),
        ("epochs: 2", "epochs:\xa02", "write a space"),
        ("base: my-lab/my-model", "base: my-lab/my-model\xa0", "delete it, or write a space"),
        ("learning_rate: 2e-4", "learning_rate: 2e-4\xa0# high", "delete it, or write a space"),
        ("- gsm8k", "\u2013 gsm8k", 'write "- "'),
        ("- ifeval", "\u2014 ifeval", 'write "- "'),
        ("- path", "\u2022 path", 'write "- "'),
        ("adapter:\n  rank: 16", "adapter: {rank: 16\uff0calpha: 32}", 'write ","'),
        ("adapter:\n  rank: 16", "adapter: \uff5brank: 16\uff5d", 'write "{"'),
    ],
)
def test_marks_of_yaml_that_are_none(old: str, new: str, advice: str) -> None:
    assert told(old, new) == [("S022", 0, advice)]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("gsm8k", "\u201cgsm8k\u201d", "R006"),
        ("data/chat.jsonl", "\u2018data/chat.jsonl\u2019", "R006"),
        ("- gsm8k\n    - ifeval", "- gsm8k\uff0c ifeval", "R006"),
        ("chat\n", "\u201cchat\u201d\n", "R003"),
        ("epochs: 2", "\u201cepochs\u201d: 2", "R001"),
        ("learning_rate", "learning\uff3frate", "R001"),
    ],
)
def test_typographic_quotes_and_letters_are_told_once(old: str, new: str, code: str) -> None:
    assert [(code, 0)] == [(found, line) for found, line, _ in told(old, new)]


@pytest.mark.parametrize(
    "line",
    [
        "description: \u201cEin Test\u201d \u2013 f\xfcr \ud55c\uad6d\uc5b4\uff1amodel, ok\u3000ok",
        "description: \u201call in quotes\u201d",
        'description: "\u2013 quoted\xa0"',
        "description: |\n  \xa0text\n  \u2013 item",
        "# \u2013 a remark\xa0",
        "seed: 42  # Gr\xf6\xdfe\xa0x",
    ],
)
def test_texts_and_remarks_may_hold_any_of_them(line: str) -> None:
    assert findings(RECIPE.replace("name: case\n", f"name: case\n{line}\n")) == []


def test_names_of_files_may_be_in_any_script() -> None:
    assert told("data/chat.jsonl", "\ub370\uc774\ud130/\ucc44\ud305\u2013v2.jsonl") == []


@pytest.mark.parametrize(
    ("value", "suggestion"),
    [
        ("${HF_TOKEN}", "${env:HF_TOKEN}"),
        ("$HF_TOKEN", "${env:HF_TOKEN}"),
        ("/scratch/$USER/hf", "/scratch/${env:USER}/hf"),
        ("~/hf", "${env:HOME}/hf"),
    ],
)
@pytest.mark.parametrize("name", ["HF_TOKEN", "HF_HOME"])
def test_what_only_a_shell_would_expand(name: str, value: str, suggestion: str) -> None:
    found = findings(f"{RECIPE}launch: {{environment: {{{name}: '{value}'}}}}\n")
    codes = [one.code for one in found]
    assert "S049" in codes
    assert found[codes.index("S049")].suggestion == suggestion
    if "HF" in value and value.startswith("$"):
        assert codes == ["S049"]  # no secret is written


@pytest.mark.parametrize("value", ["5$", "a$b", "$$", "pa$word", "${env:HF_TOKEN}", "a~b", "$(date)"])
def test_what_a_shell_would_leave_alone(value: str) -> None:
    assert findings(f"{RECIPE}launch: {{environment: {{MARK: '{value}'}}}}\n") == []


@pytest.mark.parametrize("path", ["$HOME/chat.jsonl", "~/chat.jsonl", "${DATA}/chat.jsonl"])
def test_paths_are_not_expanded(path: str) -> None:
    assert [(code, line) for code, line, _ in told("data/chat.jsonl", path)] == [("S049", 0)]


def test_a_pattern_may_hold_a_dollar() -> None:
    text = RECIPE.replace("rank: 16", "target_pattern: '.*\\$Q'")
    assert "S049" not in [one.code for one in findings(text)]


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("learning_rate: 2e-4", "learning_rate:", "P107", "train.learning_rate is left empty"),
        ("epochs: 2", "epochs:", "P222", "train.epochs is left empty: the default is: 1"),
        ("rank: 16", "rank:", "P222", "adapter.rank is left empty: the default is: 16"),
        ("adapter:\n  rank: 16", "adapter:", "P222", "adapter is left empty: full fine-tuning"),
        ("base: my-lab/my-model", "base:", "P020", "the model has neither base nor from_scratch"),
        ("warmup: 3%", "warmup:", "R004", "train.warmup cannot be empty"),
        ("warmup: 3%", "optimizer:", "R003", "train.optimizer cannot be empty"),
    ],
)
def test_an_empty_value_is_told_at_its_line(old: str, new: str, code: str, words: str) -> None:
    first = RECIPE[: RECIPE.index(old)].count("\n") + 1
    (found,) = [one for one in findings(RECIPE.replace(old, new)) if one.code != "L300"]
    assert found.span is not None
    assert (found.code, found.span.line, found.message) == (code, first, words)


def test_an_empty_value_without_a_meaning_of_its_own_is_told_what_the_default_is() -> None:
    ((_, _, advice),) = told("warmup: 3%", "optimizer:")
    assert advice.endswith("; left out, the default is adamw")


@pytest.mark.parametrize("word", ["null", "~"])
def test_a_null_that_is_written_is_meant(word: str) -> None:
    assert told("epochs: 2", f"epochs: {word}") == []


def test_an_empty_value_of_a_stage_is_told_there() -> None:
    stages = "stages:\n  - name: first\n    adapter:\n      alpha:\n"
    found = [(one.code, one.message) for one in findings(RECIPE + stages)]
    assert found == [("P222", "stages[0].adapter.alpha is left empty: the default is: 2 × rank, with rslora 2 × √rank")]
