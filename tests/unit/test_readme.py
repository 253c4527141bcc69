"""The README's commands do what it says, and what it shows is what is printed."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import recipe

from recipec.cli import _parser
from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLES = [
    re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
]
EXAMPLES = [tuple(example.split("\n", 1)) for block in CONSOLES for example in block]  # a command, and what it prints
MAKE = [command for command, _ in EXAMPLES if command.startswith("make ")]
OTHERS = [(command, printed) for command, printed in EXAMPLES if not command.startswith("make ")]
LONG = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
RECIPE, *EXCERPTS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
FILE = "support-chat.yaml"


def test_there_are_commands() -> None:
    assert {"make setup", "make check", "make test", "make quickstart"} == set(MAKE)
    assert OTHERS
    assert f"`{FILE}`:\n\n```yaml\n{RECIPE}```" in README


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_the_target(command: str) -> None:
    """The quickstart itself is run in tests/real; this one is part of `make test`."""
    done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("command", "printed"), OTHERS, ids=[command for command, _ in OTHERS])
def test_command_prints_what_is_shown(command: str, printed: str, tmp_path: Path) -> None:
    program, *arguments = command.split()
    assert program == "recipe"
    (tmp_path / FILE).write_text(RECIPE, encoding="utf-8")
    done = recipe(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed


@pytest.mark.parametrize("command", [line for line in LONG if line.startswith("recipe ")])
def test_the_commands_that_train_are_well_formed(command: str) -> None:
    """They are run in tests/real."""
    assert _parser(command.split()[1]).parse_args(command.split()[1:])


def test_the_emitted_lines_shown_are_the_ones_emitted(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(RECIPE, encoding="utf-8")
    emitted = compile_file(str(tmp_path / FILE)).files.values()
    assert EXCERPTS
    for excerpt in EXCERPTS:
        assert any(excerpt in text for text in emitted), excerpt


def test_the_error_shown_is_the_one_printed() -> None:
    shown = re.findall(r"```text\n(error.*?)```", README, re.DOTALL)
    assert shown
    printed = [(ROOT / "tests" / name).read_text("utf-8") for name in ("bad/recipes/overrides.out", "rules/L015.out")]
    for text in shown:
        assert any(text in one for one in printed)


INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))


@pytest.mark.parametrize("target", sorted({code.split()[1] for code in INLINE if code.startswith("make ")}))
def test_make_knows_what_the_text_names(target: str) -> None:
    done = subprocess.run(["make", target, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("word", sorted({code.split()[1] for code in INLINE if code.startswith("recipe ")}))
def test_the_program_knows_what_the_text_names(word: str) -> None:
    assert recipe(word, *(["--help"] if word != "--help" else [])).returncode == 0


@pytest.mark.parametrize("script", sorted({code.split()[1] for code in INLINE if code.startswith(".venv/bin/python ")}))
def test_the_scripts_that_the_text_names_are_there(script: str) -> None:
    """They need a browser or an Axolotl environment; what they last made is held by tests of its own."""
    assert (ROOT / script).exists()


def test_the_refused_recipe_is_refused() -> None:
    assert "recipe check docs/pictures/mistakes.yaml" in INLINE
    assert recipe("check", "docs/pictures/mistakes.yaml").returncode == 1
