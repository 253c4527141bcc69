"""How rows of tokens are shown and judged: made-up previews, no trainer."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import recipe

from recipec import snapshot
from recipec.cli import main
from recipec.data_command import preview
from recipec.diagnostics import Finding, RecipeError, render
from recipec.kinds.train.records import DataSource
from recipec.pipeline import compile_file
from recipec.preview import token_snapshot
from recipec.preview.checks import findings, stop_problem
from recipec.preview.raw_rows import parts
from recipec.preview.text import bars, histogram, marked, page
from recipec.snapshot import decides, rows_digest
from recipec.source import Source, Span

Piece = tuple[str, bool, bool, int]
ASKED: list[Piece] = [("<|im_start|>", False, True, 1), ("user\nq", False, False, 3), ("<|im_end|>", False, True, 1)]
SAID: list[Piece] = [("yes", True, False, 1), ("<|im_end|>", True, True, 1), ("\n", False, False, 1)]
SPAN = Span(Source("recipe.yaml", "data: {train: [{path: rows.jsonl, format: chat}]}\n"), 1, 23, 1, 33)


def row(pieces: list[Piece]) -> dict[str, Any]:
    mask = [int(trained) for _, trained, _, count in pieces for _ in range(count)]
    return {"ids": list(range(len(mask))), "mask": mask, "pieces": pieces}


def stage(rows: list[dict[str, Any]], *, dropped: int = 0, method: str = "sft") -> dict[str, Any]:
    source = {"name": "rows.jsonl", "format": "chat", "rows": rows, "lengths": [4, 40, 400, 400]}
    source |= {"trained": [1, 2, 3, 4], "dropped": dropped, "cut": 0, "more": 7}
    about = {"stage": "train", "trainer": "axolotl", "release": "0.21.0", "method": method, "max_length": 64}
    return about | {"notes": ["a note"], "packing": {"sequences": 4, "tokens": 128, "room": 256}, "sources": [source]}


def test_marks() -> None:
    plain = marked([*ASKED, *SAID], colour=False)
    assert plain == "  <|im_start|>user⏎\n  q<|im_end|>⟦yes<|im_end|>⟧⏎"
    painted = marked([*ASKED, *SAID], colour=True)
    assert "\x1b[32myes\x1b[0m\x1b[32;1m<|im_end|>\x1b[0m" in painted
    assert "\x1b[2muser⏎\x1b[0m\n  \x1b[2mq\x1b[0m" in painted
    assert marked([("a\x1b[2J", True, False, 1)], colour=False) == "  ⟦a\\x1b[2J⟧"


def test_a_line_break_that_is_trained() -> None:
    trained: list[Piece] = [SAID[0], SAID[1], ("\n", True, False, 1)]
    assert marked([*trained, *ASKED], colour=False) == "  ⟦yes<|im_end|>⏎⟧\n  <|im_start|>user⏎\n  q<|im_end|>"
    assert marked(trained, colour=False) == "  ⟦yes<|im_end|>⏎⟧"


def test_a_row_that_is_cut() -> None:
    cut = row([*ASKED, SAID[0]]) | {"cut_from": 1096}
    assert "rows.jsonl (chat), row 1: 6 tokens, cut from 1,096, 1 trained\n" in page([stage([cut])], colour=False)
    assert list(findings(stage([cut]), [SPAN], "recipe.yaml")) == []  # what ended it is cut off
    whole = row([*ASKED, SAID[0]])
    assert [finding.code for finding in findings(stage([whole]), [SPAN], "recipe.yaml")] == ["D090"]


def test_histogram() -> None:
    assert histogram([3]) == [(3, 3, 1)]
    assert histogram([0, 19, 20, 80]) == [(0, 19, 2), (20, 39, 1), (40, 59, 0), (60, 79, 0), (80, 99, 1)]
    assert [cells for *_, cells in bars([1] * 400 + [2])] == [40, 1]
    for high in (7, 8, 99, 4097, 131072):
        assert len(histogram([1, high])) <= 8
        assert sum(count for *_, count in histogram([1, high])) == 2


def test_page() -> None:
    text = page([stage([row([*ASKED, *SAID])], dropped=2)], colour=False)
    assert "rows.jsonl (chat), row 1: 8 tokens, 2 trained\n" in text
    assert "lengths of 4 rows of rows.jsonl, in tokens (7 more not read)\n" in text
    assert "  at max_length 64: 2 kept, 0 cut, 2 dropped\n  trained: 1.2% of the tokens\n" in text
    assert text.endswith("packing: 128 tokens in 4 sequences of 64: 50.0% full\n")
    assert "note: a note\n" in text


STOPS: list[tuple[str, list[Piece], str | None]] = [
    ("trained", [*ASKED, *SAID], None),
    ("trained, with the line break behind it", [*ASKED, SAID[0], SAID[1], ("\n", True, False, 1)], None),
    ("masked", [*ASKED, SAID[0], ("</s>", False, True, 1)], "the token </s> that ends the answer is masked"),
    ("absent", [*ASKED, SAID[0], ("\n", False, False, 1)], "no token ends the answer"),
    ("absent at the end", [*ASKED, SAID[0]], "no token ends the answer"),
    ("second turn masked", [*ASKED, *SAID, *ASKED, SAID[0], ("</s>", False, True, 1)], "the token </s> that"),
    ("nothing trained", ASKED, None),
]


@pytest.mark.parametrize(("pieces", "wrong"), [case[1:] for case in STOPS], ids=[case[0] for case in STOPS])
def test_stop(pieces: list[Piece], wrong: str | None) -> None:
    found = stop_problem(pieces)
    assert (found is None) is (wrong is None)
    assert (wrong or "") in (found or "")


def test_the_end_of_a_row_that_is_cut_is_not_judged() -> None:
    assert stop_problem([*ASKED, SAID[0]], whole=False) is None


CASES = {
    "D090": stage([row([*ASKED, *SAID]), row([*ASKED, SAID[0], ("<|im_end|>", False, True, 1)])]),
    "D091": stage([row(ASKED), row(ASKED)]),
    "D092": stage([row([*ASKED, *SAID])], dropped=3),
}


@pytest.mark.parametrize("code", CASES)
def test_findings(code: str, update: bool) -> None:
    found = findings(CASES[code], [SPAN], "recipe.yaml")
    assert [finding.code for finding in found] == [code]
    kept = Path(__file__).parent / "preview" / f"{code}.out"
    if update:
        kept.write_text(render(found), encoding="utf-8")
    assert render(found) == kept.read_text(encoding="utf-8")


def test_nothing_is_wrong() -> None:
    assert findings(stage([row([*ASKED, *SAID])], dropped=2), [SPAN], "recipe.yaml") == []
    ends_anywhere = stage([row([SAID[0]])], method="pretrain")
    assert findings(ends_anywhere, [SPAN], "recipe.yaml") == []


def source(**columns: str) -> DataSource:
    return DataSource("rows.jsonl", None, None, "train", None, "chat", columns, {"user": ("human",)}, None, 1, True)


def test_rows_by_role() -> None:
    chat = source(messages="conversations", role="from", content="value")
    said = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "other": 1}
    assert parts(said, chat) == [("user", "q"), ("gpt", "a")]
    pair = source(prompt="prompt", chosen="yes", rejected="no", role="role", content="content")
    row = {"prompt": "q", "yes": {"role": "assistant", "content": "a"}, "no": "b"}
    assert parts(row, pair) == [("prompt", "q"), ("chosen: assistant", "a"), ("rejected", "b")]


RECIPE = """recipe: 1
name: shown
model: {{base: runs/nobody/init}}
data: {{train: [{{path: {path}, format: chat}}]}}
train: {{epochs: 1, learning_rate: 1e-4}}
hardware: {{gpu: none}}
"""


def compiled(folder: Path, path: str) -> Any:
    recipe = folder / "shown.yaml"
    recipe.write_text(RECIPE.format(path=path), encoding="utf-8")
    return compile_file(str(recipe))


def test_without_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path / "home"))
    found = preview(compiled(tmp_path, "recipes/quickstart/train.jsonl"), "shown.yaml", rows=1)
    [made] = found.stages
    assert made["notes"] == [
        "tokens are not shown: environment axolotl-0.21.0 is missing: run `recipe env create axolotl-0.21.0`"
    ]
    assert made["sources"][0]["rows"] == [
        {"texts": {"user": "Which aisle has the soda?", "assistant": "Go to the drinks aisle."}}
    ]
    assert not (tmp_path / "home").exists()


def test_profiles_and_variables_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path / "home"))
    recipe = tmp_path / "shown.yaml"
    more = 'variables: {length: 128}\nprofiles: {short: {model: {max_length: "${var:length}"}}}\n'
    recipe.write_text(RECIPE.format(path="recipes/quickstart/train.jsonl") + more, encoding="utf-8")
    assert main(["data", str(recipe), "--profile", "short", "--var", "length=64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["max_length"] == 64


def test_a_snapshot_holds_what_decides_tokens(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": 1}\n\n{"messages": 2}\n{"messages": 3}\n', encoding="utf-8")
    made = compiled(tmp_path, "recipes/quickstart/train.jsonl").resolved.plan.stages[0].body
    assert decides(made, 2)["release"] == "axolotl 0.21.0"
    local = source(messages="messages").replaced(path=str(rows))
    two, three = rows_digest(local, 2), rows_digest(local, 3)
    rows.write_text('{"messages": 1}\n{"messages": 2}\n{"messages": 4}\n', encoding="utf-8")
    assert rows_digest(local, 2) == two
    assert rows_digest(local, 3) != three
    assert rows_digest(local.replaced(path=str(tmp_path / "none.jsonl")), 2) is None


def test_a_snapshot_is_held_against_rows(tmp_path: Path) -> None:
    training = compiled(tmp_path, "recipes/quickstart/train.jsonl").resolved.plan.stages[0].body
    then = stage([row([*ASKED, *SAID])]) | {"versions": {"axolotl": "0.21.0"}, "template_sha256": None}
    text = token_snapshot.snapshot_text([then], [training], 3)
    assert str(tmp_path) not in text
    kept = tmp_path / "shown.tokens.json"
    kept.write_text(text, encoding="utf-8")
    held = snapshot.read(kept)
    assert held is not None
    assert token_snapshot.differences(held, [then]) == []
    masked = stage([row([*ASKED, SAID[0], ("<|im_end|>", False, True, 1), SAID[2]])])
    [(name, number, diff)] = token_snapshot.differences(held, [masked])
    assert (name, number) == ("train", 0)
    assert "-  q<|im_end|>⟦yes<|im_end|>⟧⏎" in diff
    assert "+  q<|im_end|>⟦yes⟧<|im_end|>⏎" in diff
    other = stage([row([*ASKED, *SAID]) | {"ids": [0, 1, 9, 3, 4, 5, 6, 7]}])
    [(_, _, told)] = token_snapshot.differences(held, [other])
    assert "the same text, but different tokens from token 3 on" in told


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 1}', '{"format": 1, "rows": 1, "stages": {"train": {"decides": {}}}}']
)
def test_what_is_no_snapshot(text: str, tmp_path: Path) -> None:
    (tmp_path / "shown.tokens.json").write_text(text, encoding="utf-8")
    found = [f for f in compiled(tmp_path, "recipes/quickstart/train.jsonl").findings if f.code == "D093"]
    assert [finding.message for finding in found] == ["shown.tokens.json is no snapshot of tokens"]


def wrong(folder: Path, path: str, stage: str | None = None) -> list[Finding]:
    with pytest.raises(RecipeError) as error:
        preview(compiled(folder, path), "shown.yaml", stage=stage)
    return error.value.findings


def test_what_cannot_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path / "home"))
    [missing] = wrong(tmp_path, "nothing.jsonl")
    assert (missing.code, missing.span and missing.span.line) == ("D094", 4)
    [nameless] = wrong(tmp_path, "recipes/quickstart/train.jsonl", "dpo")
    assert (nameless.code, nameless.help) == ("D095", "its training stages: train")


def test_the_page_names_what_there_is() -> None:
    """Its commands are run in tests/real; here the options and codes that it names are held against the program."""
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    done = recipe("data", "--help")
    for option in set(re.findall(r"--[a-z]+", text)):
        assert option in done.stdout
    listed = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
    for code in re.findall(r"^\| (D\d+) \|", text, re.MULTILINE):
        assert f"| {code} |" in listed
