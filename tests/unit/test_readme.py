"""The README's commands do what it says, and what it shows is what is printed."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import recipe

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
MAKE = [command for command in COMMANDS if command.startswith("make ")]
OTHERS = [command for command in COMMANDS if not command.startswith("make ")]


def test_there_are_commands() -> None:
    assert MAKE[:2] == ["make quickstart", "make test"]
    assert OTHERS


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_the_target(command: str) -> None:
    """The quickstart itself is run in tests/real; this one is part of `make test`."""
    done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", OTHERS)
def test_command(command: str, tmp_path: Path) -> None:
    assert command.startswith(".venv/bin/recipe ")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    done = recipe(*command.split()[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_recipe_shown_is_the_one_shipped() -> None:
    shown = re.findall(r"```yaml\n(recipe: 1.*?)```", README, re.DOTALL)
    assert shown
    for text in shown:
        name = re.findall(r"^name: (.*)$", text, re.MULTILINE)[0]
        shipped = (ROOT / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
        assert shipped.endswith(text)


def test_the_emitted_lines_shown_are_the_ones_emitted() -> None:
    text = (ROOT / "tests/golden/trees/llama-2-13b-zero3/10-train/axolotl.yaml").read_text(encoding="utf-8")
    assert (
        "micro_batch_size: 2\ngradient_accumulation_steps: 8  # 64 sequences per step ÷ (2 micro batch × 4 processes)\n"
        in text
    )
    assert "gradient_accumulation_steps: 8  # 64 sequences per step ÷ (2 micro batch × 4 processes)\n" in README


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
    refused = [code.split()[2:] for code in INLINE if code.startswith(".venv/bin/recipe check")]
    assert refused == [["docs/pictures/mistakes.yaml"]]
    assert recipe("check", *refused[0]).returncode == 1
