"""Secrets in recipes: found wherever they lie, by name or by shape, and never said, shown or emitted."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from recipec.cli import main
from recipec.pipeline import compile_file
from recipec.secrets import has_shape, hidden, is_named, named_in

ROOT = Path(__file__).parents[2]
# Made up; put together here, so that no scanner of this repository takes them for real ones.
SHAPES = {
    "github": "github_" + "pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789abcdefghijklmnopqrstuvwxy",
    "github classic": "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a",
    "slack": "xox" + "b-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
    "gitlab": "glp" + "at-aB3dE5fG7hI9jK1lM2nO",
    "google": "AIz" + "aSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "nvidia": "nva" + "pi-aB3dE5fG7hI9jK1lM2nOpQ4rS6tU8vW0xY",
    "openai": "s" + "k-proj-aB3dE5fG7hI9jK1lM2nOpQ4rS6tU8vW0",
    "deepseek": "s" + "k-0123456789abcdef0123456789abcdef",
    "hugging face": "h" + "f_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
    "aws": "AK" + "IAIOSFODNN7ABCDEFG",
    "jwt": "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "pem": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "url": "https://kim:" + "hunter2@mlflow.example.com",
    "url without a user": "redis://:" + "hunter2@cache:6379/0",
    "query": "https://h/x?api" + "_key=aB3dE5fG7h",
    "azure": "DefaultEndpointsProtocol=https;Account" + "Key=" + "aB3d" * 21 + "==",
    "slack hook": "https://hooks.slack.com/serv" + "ices/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
    "words": "host=db user=kim pass" + "word=hunter22 dbname=x",
}
NAMES = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "SMTP_PASS": "hunter2", "DB_PASSWD": "hunter2",
    "AZURE_STORAGE_CONNECTION_STRING": "Endpoint=x", "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "HF_TOKEN": "abcdefgh", "MY_SECRET": "hunter2", "apiKey": "hunter2", "client-secret": "hunter2", "db_pass": "hunter2",
    "OPENAI_KEY": "hunter2", "SENTRY_DSN": "hunter2", "wandb": "0123456789abcdef0123456789abcdef01234567",
}  # fmt: skip
GOOD_SHAPES = [
    "meta-llama/Llama-3.1-8B-Instruct", "0123456789abcdef0123456789abcdef01234567", "sk-learn-contrib/some-long-model-name",
    "sha256:" + "0123456789abcdef" * 4, "https://mlflow.example.com:5000/x", "git@github.com:org/repo.git", "hf_transfer",
    "data/task-2024-some-long-name-of-a-file.jsonl", "hf://org/data", "https://user@host/x", "ghp_", "AKIA", "s3://bucket/a:b@c",
    "https://kim:${env:PW}@host", "https://kim:$PW@host", "https://kim:***@host", "token=<pad>", "pad_token=<|endoftext|>",
    "<|im_start|>user:\nhi@example.com", "Qwen/Qwen2.5-7B-Instruct@a1b2c3", "disk-based-" + "a1" * 20,
]  # fmt: skip
GOOD_NAMES = {
    "pad_token": "<pad>", "eos_token": "</s>", "image_token": "picture", "max_tokens": "100", "use_auth_token": "true",
    "GOOGLE_APPLICATION_CREDENTIALS": "/keys/gcp.json", "credentials": "keys/gcp.json", "PWD": "/home/kim", "token": "auto",
    "HF_TOKEN_PATH": "~/token", "revision": "0123456789abcdef0123456789abcdef01234567", "sort_key": "length",
    "tokenizer": "org/model", "forward_pass": "second", "WANDB_PROJECT": "shop", "secret_file": "x", "cls_token": "CLS",
    "HF_TOKEN": "$HF_TOKEN", "TOKENIZERS_PARALLELISM": "false", "compass": "north", "monkey": "banana",
}  # fmt: skip
RECIPE = """\
recipe: 1
name: t
description: "{description}"
model: {{base: org/m}}
trainer: script
script:
  path: train.py
  arguments: {{out: "${{plan:train.output}}", note: "{argument}", v: "${{var:v}}"}}
train: {{}}
overrides: {{lm_eval: {{x: "{override}"}}}}
launch: {{environment: {{WORD: "{environment}"}}}}
variables: {{v: "{variable}"}}
profiles: {{p: {{description: "{profile}"}}}}
hardware: {{gpu: none}}
# {comment}
"""
PLACES = ("description", "argument", "override", "environment", "variable", "profile", "comment")


@pytest.mark.parametrize("name", SHAPES)
def test_a_secret_is_known_by_its_shape(name: str) -> None:
    assert has_shape(SHAPES[name])
    assert has_shape(f"--key {SHAPES[name]} --more")
    assert len(hidden(SHAPES[name])) == len(SHAPES[name])
    assert "hunter" not in hidden(SHAPES[name])
    assert not has_shape(hidden(SHAPES[name]))


@pytest.mark.parametrize("text", GOOD_SHAPES)
def test_what_is_no_secret_has_no_shape_of_one(text: str) -> None:
    assert not has_shape(text)


def test_a_secret_is_known_by_its_name() -> None:
    assert [name for name, value in NAMES.items() if not is_named(name, value)] == []
    assert [name for name, value in GOOD_NAMES.items() if is_named(name, value)] == []


def test_values_of_named_secrets_are_found_in_text() -> None:
    text = 'launch: {environment: {SMTP_PASS: "hun\\"ter2", A: b}}\nexport DB_PASSWD=hunter3\n{"WANDB_API_KEY": "hunter4"}\n'
    assert set(named_in(text)) == {'hun\\"ter2', "hunter3", "hunter4"}


def everything_said(arguments: list[str]) -> str:
    """Return what the command says in all of its forms."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        for form in ("text", "json", "sarif", "github"):
            assert main(["check", *arguments, "--format", form]) == 1
        main(["show", *arguments])
        main(["show", "--resolved", *arguments])
        main(["show", "--json", *arguments])
        main(["fmt", "--diff", arguments[0]])
    return said.getvalue()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", SHAPES)
def test_a_secret_is_found_wherever_it_lies_and_never_said(place: str, name: str, tmp_path: Path) -> None:
    if place == "comment" and name == "words":
        pytest.skip("prose")
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE.format(**{one: SHAPES[name] if one == place else "x" for one in PLACES}) + "nodes: 1\n")
    compiled = compile_file(str(file))
    assert "L027" in {finding.code for finding in compiled.findings}
    assert compiled.files == {}
    if name == "github" or place == "description":
        said = everything_said([str(file)])
        assert not has_shape(said)


@pytest.mark.parametrize("name", NAMES)
def test_a_named_secret_is_never_said(name: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    recipe = RECIPE.format(**dict.fromkeys(PLACES, "x")).replace("note:", f'{name}: "{NAMES[name]}", note:')
    file.write_text(recipe.replace("hardware: {gpu: none}", "hardware: {gpu: none, x: 1}"))
    assert "L027" in {finding.code for finding in compile_file(str(file)).findings} or name == "wandb"
    if name != "wandb":
        assert NAMES[name] not in everything_said([str(file)])


def test_secrets_of_the_command_line_and_of_other_files_are_found_and_not_said(tmp_path: Path) -> None:
    secret = SHAPES["github"]
    (tmp_path / "base.yaml").write_text(f"launch: {{environment: {{MY_PASSWORD: hunter2, B: {secret}}}}}\n")
    file = tmp_path / "r.yaml"
    text = RECIPE.format(**dict.fromkeys(PLACES, "x"))
    file.write_text(text.replace("recipe: 1\n", "recipe: 1\nextends: base.yaml\n"))
    # overridden: what lies in the file is still a secret in a file
    for more in (
        [],
        ["--set", "launch.environment={A: b}"],
        ["--set", f"description={secret}"],
        ["--var", f"v={secret}"],
    ):
        said = everything_said([str(file), *more])
        assert "hunter2" not in said
        assert not has_shape(said)
        assert "base.yaml" in said
    file.write_text(text)
    for more in (["--set", f"description={secret}"], ["--set", "launch.environment.SMTP_PASS=hunter2"]):
        said = everything_said([str(file), *more])
        assert "hunter2" not in said
        assert not has_shape(said)


def test_no_secret_is_said_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(f"recipe: 1\nlaunch: {{environment: {{A: {SHAPES['github']}, SMTP_PASS: hunter2\n")
    said = everything_said([str(file)])
    assert "hunter2" not in said
    assert not has_shape(said)


def test_shipped_recipes_hold_no_secrets() -> None:
    for file in sorted((ROOT / "recipes").glob("*.yaml")):
        assert not has_shape(file.read_text()), file
        assert not named_in(file.read_text()), file
    assert json
