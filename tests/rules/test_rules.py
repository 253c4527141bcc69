"""Every rule finds its own example, with this exact text (`CODE.out`), and is silent on what it says to use instead."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recipec.pipeline import Compiled, compile_file, compile_tree
from recipec.rules import RULES
from recipec.rules.catalogue import document, find_rule
from recipec.rules.rule import HEADINGS, Rule
from recipec.source import Source
from recipec.yaml_reader import read_text

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RIGHT = """recipe: 1
name: example
model: {base: my-lab/my-model}
data: {train: [{path: data/chat.jsonl, format: chat}]}
train: {learning_rate: 1e-5}
hardware: {gpu: a100-80gb}
"""


def laid(text: str, above: str) -> str:
    """Lay the lines of an example over a recipe that has a section on each line."""
    rows = {line.partition(":")[0]: line for line in text.splitlines()}
    return "\n".join((rows | {line.partition(":")[0]: line for line in above.splitlines()}).values()) + "\n"


@pytest.fixture(autouse=True)
def _beside_the_files(_at_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What examples read of the folder one runs in."""
    monkeypatch.chdir(HERE / "files")


def compiled(text: str) -> Compiled:
    return compile_tree(read_text(Source("example.yaml", text)))


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.code)
def test_its_example_is_found_and_its_alternative_is_not(one: Rule, tmp_path: Path, update: bool) -> None:
    parts = one.documentation()
    bad = laid(RIGHT, parts["Example"])
    shutil.copytree(HERE / "files", tmp_path, dirs_exist_ok=True)
    (tmp_path / "example.yaml").write_text(bad, encoding="utf-8")
    command = [sys.executable, "-m", "recipec.cli", "check", "example.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if one.severity == "error" else 0)
    expected = HERE / f"{one.code}.out"
    if update:
        expected.write_text(done.stderr, encoding="utf-8")
    assert done.stderr == expected.read_text(encoding="utf-8")
    found = compiled(bad).findings
    assert {finding.code for finding in found} == {one.code}
    good = laid(bad, parts["Use instead"])
    assert compiled(good).findings == []


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.code)
def test_it_can_be_allowed_with_a_reason(one: Rule) -> None:
    bad = laid(RIGHT, one.documentation()["Example"])
    assert compiled(bad + f"allow: {{{one.name}: it is a test}}\n").findings == []
    told = compiled(RIGHT + f"allow: {{{one.name}: it is a test}}\n").findings
    assert [(finding.code, finding.severity) for finding in told] == [("L002", "warning")]


def test_names_and_codes_are_each_used_once() -> None:
    assert len({one.code for one in RULES}) == len({one.name for one in RULES}) == len(RULES)


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.code)
def test_it_is_documented(one: Rule) -> None:
    assert list(one.documentation()) == ["What it does", *HEADINGS]
    assert all(one.documentation().values())
    assert find_rule(one.name) is one


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == document()


def test_an_unknown_name_is_an_error() -> None:
    told = compiled(RIGHT + "allow: {length-beyond-contxt: it is a test}\n").findings
    assert [(finding.code, finding.suggestion) for finding in told] == [("L001", "length-beyond-context")]


def test_a_recipe_that_is_wrong_elsewhere_keeps_its_allowances() -> None:
    told = compiled(RIGHT.replace("1e-5", "fast") + "allow: {length-beyond-context: it is a test}\n").findings
    assert [finding.code for finding in told] == ["R004"]


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda file: file.stem)
def test_no_recipe_of_ours_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert [finding for finding in compile_file(str(file)).findings if finding.code[0] in "LD"] == []


def test_a_length_that_sampling_does_not_use_is_not_judged() -> None:
    example = find_rule("L043")
    assert example is not None
    parts = example.documentation()
    text = laid(laid(RIGHT, parts["Example"]), parts["Use instead"])
    text = text.replace("meta-llama/Meta-Llama-3-8B-Instruct", "meta-llama/Llama-2-7b-chat-hf").replace("1024", "64")
    assert compiled(text).findings == []
