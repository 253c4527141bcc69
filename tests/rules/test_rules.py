"""Every rule and every contradiction finds its own example, with this exact text (`CODE.out`), and not what is right."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from recipec import rows
from recipec.cli import main
from recipec.diagnostics import Finding, render, summary
from recipec.pipeline import Compiled, compile_file, compile_tree
from recipec.rules import RULES
from recipec.rules.catalogue import EVERY, as_json, document, find_rule, page
from recipec.rules.contradictions import CONTRADICTIONS
from recipec.rules.rule import HEADINGS, MEANT, Rule
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RIGHT = """recipe: 1
name: example
model: {base: my-lab/my-model}
data: {train: [{path: data/chat.jsonl, format: chat}]}
train: {learning_rate: 1e-5}
hardware: {gpu: h200-141gb}
"""
FURTHER: dict[str, dict[str, list[dict[str, Any]]]] = {}
for file in ("contradictions.yaml", "rules.yaml"):
    for code, kinds in YAML(typ="safe").load(HERE / file).items():
        for kind, listed in kinds.items():
            known = FURTHER.setdefault(code, {}).setdefault(kind, [])
            known += [more for more in listed if more not in known]
PAIRS = [
    pytest.param(code, kind, more, id=f"{code}-{kind}-{number}")
    for code, kinds in FURTHER.items()
    for kind, listed in kinds.items()
    for number, more in enumerate(listed)
]


def sections(text: str) -> dict[str, str]:
    """Return the lines of each section of a recipe, by its name."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        name = name if line.startswith(" ") else line.partition(":")[0]
        found[name] = found.get(name, "") + line + "\n"
    return found


def laid(text: str, above: str) -> str:
    """Lay the sections of an example over a recipe; an example that is a whole recipe stands alone."""
    over = sections(above)
    return "".join((over if "recipe" in over else sections(text) | over).values())


def example(one: Rule) -> str:
    """Return a recipe that the rule finds."""
    return laid(RIGHT, one.documentation()["Example"])


def rule(word: str) -> Rule:
    """Return the rule of this code or name."""
    found = find_rule(word)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _beside_the_files(_at_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What examples read of the folder one runs in."""
    monkeypatch.chdir(HERE / "files")


def compiled(text: str) -> Compiled:
    return compile_tree(read_text(Source("example.yaml", text)))


def told_of(result: Compiled, code: str) -> list[Finding]:
    """Return what is told of a recipe; of the notes, which most examples give cause to, those with this code."""
    return [*result.findings, *(note for note in result.notes if note.code == code)]


def codes(text: str) -> list[str]:
    return [finding.code for finding in compiled(text).findings]


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.code)
def test_its_example_is_found_and_its_alternative_is_not(one: Rule, update: bool) -> None:
    bad = example(one)
    result = compiled(bad)
    found = told_of(result, one.code)
    assert {(finding.code, finding.severity) for finding in found} == {(one.code, one.severity)}
    assert (result.files == {}) is (one.severity == "error")
    shown = render(found) + "\n" + summary(found) + "\n"
    expected = HERE / f"{one.code}.out"
    if update:
        expected.write_text(shown, encoding="utf-8")
    assert shown == expected.read_text(encoding="utf-8")
    right = compiled(laid(bad, one.documentation()["Use instead"]))
    assert told_of(right, one.code) == []
    assert right.files


def with_more(code: str, more: dict[str, Any]) -> Compiled:
    """Compile the example of a rule with other sections laid over it."""
    recipe: Any = plain(read_text(Source("example.yaml", example(rule(code)))))
    return compiled(json.dumps({word: value for word, value in (recipe | more).items() if value is not None}))


@pytest.mark.parametrize(("code", "kind", "more"), PAIRS)
def test_what_else_it_finds_and_does_not(code: str, kind: str, more: dict[str, Any]) -> None:
    told = {finding.code for finding in told_of(with_more(code, more), code)}
    assert told == ({code} if kind == "bad" else set())


def test_what_else_it_finds_is_shown_at_its_place(update: bool) -> None:
    """`places.txt` lists for each further bad pair what is marked: the value that is to blame, or its key."""
    lines = []
    for code, kinds in FURTHER.items():
        for number, more in enumerate(kinds.get("bad", ())):
            for finding in told_of(with_more(code, more), code):
                assert finding.span is not None
                begin, end = finding.span.offsets()
                text = finding.span.source.text
                lines.append(f"{code}-bad-{number}: {text[:begin][-24:]}«{text[begin:end]}»")
    file = HERE / "places.txt"
    if update:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == file.read_text(encoding="utf-8").splitlines()


def test_further_pairs_are_of_rules_that_there_are() -> None:
    assert set(FURTHER) <= {one.code for one in EVERY}
    assert {kind for kinds in FURTHER.values() for kind in kinds} == {"bad", "good"}


@pytest.mark.parametrize("one", [one for one in EVERY if one.waivable], ids=lambda one: one.code)
@pytest.mark.parametrize("word", ["name", "code"])
def test_it_can_be_allowed_with_a_reason(one: Rule, word: str) -> None:
    allow = f"allow: {{{getattr(one, word)}: it is a test}}\n"
    result = compiled(example(one) + allow)
    assert told_of(result, one.code) == []
    assert result.files
    told = compiled(RIGHT.replace("my-lab/my-model", "Qwen/Qwen2.5-0.5B-Instruct") + allow).findings
    assert [(finding.code, finding.severity) for finding in told] == [("L002", "warning")]


@pytest.mark.parametrize("one", [one for one in CONTRADICTIONS if not one.waivable], ids=lambda one: one.code)
@pytest.mark.parametrize("word", ["name", "code"])
def test_a_contradiction_that_nobody_means_cannot_be_allowed(one: Rule, word: str) -> None:
    allow = f"allow: {{{getattr(one, word)}: it is a test}}\n"
    told = compiled(example(one) + allow).findings
    assert {finding.code for finding in told} == {one.code, "L003"}
    (refused,) = compiled(RIGHT + allow).findings
    assert (refused.code, refused.severity, refused.suggestion) == ("L003", "error", None)
    assert getattr(one, word) in refused.message


def test_names_and_codes_are_each_used_once() -> None:
    named = {one.code: one.name for one in EVERY} | rows.NAMES
    assert len(named) == len(set(named.values())) == len(EVERY) + len(rows.NAMES)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.code)
def test_it_is_documented(one: Rule) -> None:
    meant = one in CONTRADICTIONS and one.waivable
    assert list(one.documentation()) == ["What it does", *HEADINGS, *[MEANT][:meant]]
    assert all(one.documentation().values())
    assert find_rule(one.name) is find_rule(one.code) is one
    assert (f"allow: {{{one.name}:" in page(one)) is as_json(one)["can_be_allowed"] is one.waivable
    assert (MEANT in page(one)) is meant


def test_the_list_names_every_rule_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[1:4].isdigit()]
    assert sorted(listed) == sorted([*(one.code for one in EVERY), *rows.NAMES])
    assert main(["rules", "--json"]) == 0
    assert [one["code"] for one in json.loads(capsys.readouterr().out)] == [one.code for one in EVERY]


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == document()


def test_a_docstring_that_python_has_dedented_reads_the_same() -> None:
    for rule in EVERY:

        def judge(*_: Any) -> Any:
            """Stand for the rule's own function."""

        judge.__doc__ = inspect.cleandoc(rule.judge.__doc__ or "")
        assert Rule(rule.code, rule.name, rule.severity, rule.of, "", judge).documentation() == rule.documentation()


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("length-beyond-contxt", "length-beyond-context"),
        ("sharding-that-nothing-dos", "sharding-that-nothing-does"),
        ("unknown-rols", "unknown-roles"),
        ("l015", "L015"),
        ("length-given-twce", None),  # is near to what cannot be allowed
        ("something-else", None),
    ],
)
@pytest.mark.parametrize("text", [RIGHT, example(find_rule("P061") or RULES[0])], ids=["right", "contradictory"])
def test_an_unknown_name_is_an_error(word: str, nearest: str | None, text: str) -> None:
    told = compiled(text + f"allow: {{{word}: it is a test}}\n").findings
    assert [(one.severity, one.suggestion) for one in told if one.code == "L001"] == [("error", nearest)]
    assert {one.code for one in told} <= {"L001", "P061"}


def test_all_that_is_wrong_with_allowances_is_told_at_once() -> None:
    text = example(rule("L040")) + "allow: {length-beyond-context: a, length-given-twice: b, something-else: c}\n"
    assert sorted(codes(text)) == ["L001", "L002", "L003", "L040"]


def test_an_allowance_beside_a_contradiction_is_not_said_to_match_nothing() -> None:
    text = example(rule("P061")) + "allow: {length-beyond-context: it is a test}\n"
    assert codes(text) == ["P061"]


def test_a_recipe_that_is_wrong_elsewhere_keeps_its_allowances() -> None:
    told = compiled(RIGHT.replace("1e-5", "fast") + "allow: {length-beyond-context: it is a test}\n").findings
    assert [finding.code for finding in told] == ["R004"]


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda file: file.stem)
def test_no_recipe_of_ours_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert [finding for finding in compile_file(str(file)).findings if finding.code[0] in "LD"] == []


def test_a_length_that_sampling_does_not_use_is_not_judged() -> None:
    text = laid(example(rule("L043")), rule("L043").documentation()["Use instead"])
    text = text.replace("meta-llama/Meta-Llama-3-8B-Instruct", "meta-llama/Llama-2-7b-chat-hf").replace("1024", "64")
    assert compiled(text).findings == []
