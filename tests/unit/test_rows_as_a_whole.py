"""What only many rows together tell: passes over them, answers all alike, garbled text, conversations without a last answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipec.pipeline import compile_tree
from recipec.source import Source
from recipec.yaml_reader import read_text

RECIPE = """recipe: 1
name: rows
model: {{base: Qwen/Qwen2.5-0.5B-Instruct, max_length: 2048}}
adapter: {{rank: 8}}
data: {{train: [{{path: rows.jsonl, format: chat}}]}}
train: {{batch_size: 8, micro_batch_size: 8, learning_rate: 1e-4, {train}}}
hardware: {{gpu: a100-80gb}}
"""


def turns(*texts: str) -> dict[str, Any]:
    return {"messages": [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]}


def told(rows: list[Any], train: str = "epochs: 1") -> dict[str, tuple[str, int]]:
    """Return the severity and the line of each code that is told of rows as a whole."""
    Path("rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    found = compile_tree(read_text(Source("rows.yaml", RECIPE.format(train=train)))).findings
    wanted = ("D028", "D033", "D034", "D035", "D036")
    return {one.code: (one.severity, one.span.line if one.span else 0) for one in found if one.code in wanted}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


PLAIN = [turns(f"Was ist {number}?", f"Die Zahl {number}.") for number in range(40)]


def test_rows_of_which_nothing_is_to_be_told() -> None:
    assert told(PLAIN) == {}


@pytest.mark.parametrize(("steps", "many"), [(1000, False), (1001, True), (200_000, True)])
def test_steps_that_pass_over_the_same_rows_hundreds_of_times(steps: int, many: bool) -> None:
    assert told(PLAIN, f"steps: {steps}") == ({"D033": ("warning", 6)} if many else {})


@pytest.mark.parametrize(("every", "never"), [(5, False), (6, True), (1000, True)])
def test_a_loss_that_is_never_logged(every: int, never: bool) -> None:
    assert told(PLAIN, f"epochs: 1, log_every: {every}") == ({"D028": ("warning", 6)} if never else {})


@pytest.mark.parametrize(
    ("text", "garbled"),
    [
        ("OÃ¹ est-ce ?", True),
        ("Die GrÃ¶ÃŸe zÃ¤hlt", True),
        ("Itâ€™s here", True),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", True),
        ("Où est-ce ? À Noël, ça va", False),
        ("NÃO É VERDADE: «CAFÉ»", False),
        ("Größe: 20 °C, §5, Straße", False),
        ("Привет, 世界, “quoted” — it’s €5", False),
        ("Âge, Âme, Ênfase, São Paulo", False),
    ],
)
def test_text_that_was_read_in_another_encoding(text: str, garbled: bool) -> None:
    rows = [turns(f"{text} ({number})", f"Zahl {number}") for number in range(10)]
    assert told(rows) == ({"D034": ("warning", 5)} if garbled else {})
    assert told([*PLAIN, *rows[:4]]) == {}  # in few rows somebody may speak of it


def test_conversations_that_end_with_a_question() -> None:
    rows = [turns("Was?", f"Das {number}.", "Und dann?") for number in range(10)]
    assert told(rows) == {"D035": ("warning", 5)}
    assert told([*PLAIN, *rows]) == {}


def test_answers_that_are_all_alike() -> None:
    refusals = [turns(f"Was ist {number}?", "I am sorry, but I cannot help.") for number in range(20)]
    assert told(refusals) == {"D036": ("warning", 5)}
    assert told(refusals[:19]) == {}
    assert told([*refusals, turns("Was?", "Das.")]) == {}


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ("google/gemma-2-9b-it", True),
        ("unsloth/gemma-2b-it", True),
        ("google/codegemma-7b-it", True),
        ("google/gemma-3-4b-it", False),
        ("google/gemma-3n-E4B-it", False),
        ("my-lab/my-model", False),
    ],
)
def test_a_system_turn_for_a_family_whose_template_refuses_it(model: str, refused: bool) -> None:
    rows = [
        {"messages": [{"role": "system", "content": "Kurz."}, *turns("Was?", f"Das {n}.")["messages"]]}
        for n in range(3)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    text = RECIPE.format(train="epochs: 1").replace("Qwen/Qwen2.5-0.5B-Instruct", model)
    found = [one for one in compile_tree(read_text(Source("rows.yaml", text))).findings if one.code == "D008"]
    assert [one.severity for one in found] == ["error"] * refused
