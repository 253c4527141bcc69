"""`recipe check --fix` puts right names in the place of wrong ones, keeps all else, and makes nothing worse."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipec.fix import fix
from recipec.pipeline import compile_file

WRONG = """# a comment
recipe: 1
name: mended   # another
model: {base: meta-llama/Meta-Llama-3-8B-Instruct, max_lenght: 16384}  # 長い
adapter: {rank: 16, "targets": [q_proj, 'vproj']}
data: {train: [{path: data/chat.jsonl, format: chats}]}
trian: {"learning_rat": 1e-5, optimizer: adamw8bit}
hardware: {gpu: a100-80gbb}
overrides: {axolotl: {dataloader_prefetch_facto: 4}}
"""
RIGHT = """# a comment
recipe: 1
name: mended   # another
model: {base: meta-llama/Meta-Llama-3-8B-Instruct, max_length: 8192}  # 長い
adapter: {rank: 16, "targets": [q_proj, v_proj]}
data: {train: [{path: data/chat.jsonl, format: chat}]}
train: {learning_rate: 1e-5, optimizer: adamw_8bit}
hardware: {gpu: a100-80gb}
overrides: {axolotl: {dataloader_prefetch_factor: 4}}
"""


def test_names_and_values_are_mended_and_the_rest_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(WRONG, encoding="utf-8")
    fixed = fix(str(file))
    assert file.read_text(encoding="utf-8") == RIGHT
    assert "-trian: " in fixed.diff
    assert "+train: " in fixed.diff
    assert compile_file(str(file)).findings == []
    assert fix(str(file)) == ("", 0)


@pytest.mark.parametrize(
    "text",
    ["", "\ttab", "a: [", "recipe: 1\nname: x\n", RIGHT.replace("gpu: a100-80gb", "gpu: 7"), RIGHT + "zzzzz: 1\n"],
)
def test_what_cannot_be_mended_stays_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    assert fix(str(file)).diff == ""
    assert file.read_text(encoding="utf-8") == text


def test_settings_of_the_command_line_are_not_written_into_the_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(RIGHT, encoding="utf-8")
    assert fix(str(file), ["train.optimizer=adamw8bit"]).diff == ""
    assert file.read_text(encoding="utf-8") == RIGHT


def test_line_breaks_and_permissions_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(WRONG.replace("\n", "\r\n").encode())
    file.chmod(0o640)
    fix(str(file))
    assert file.read_bytes() == RIGHT.replace("\n", "\r\n").encode()
    assert file.stat().st_mode & 0o777 == 0o640


def test_the_command_shows_what_it_did(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(WRONG, encoding="utf-8")
    command = [sys.executable, "-m", "recipec.cli", "check", "--fix", "recipe.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0
    assert "+hardware: {gpu: a100-80gb}" in done.stdout
    assert done.stdout.endswith("1 recipe: no errors, 1 note\n")
