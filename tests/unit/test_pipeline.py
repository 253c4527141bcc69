"""Compile: deterministic, atomic, honest about what nothing acts on; no heavy imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import recipe

from recipec import contracts
from recipec.output import difference, write
from recipec.pipeline import compile_file
from recipec.reference import reference_text

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "recipes" / "llama-2-13b-zero3.yaml"
QUICKSTART = ROOT / "recipes" / "quickstart.yaml"


def test_the_same_bytes_from_everywhere(tmp_path: Path) -> None:
    here = compile_file(str(RECIPE)).files
    assert recipe("compile", str(RECIPE), cwd=tmp_path).returncode == 0
    written = {
        p.relative_to(tmp_path / "build" / RECIPE.stem).as_posix(): p.read_text()
        for p in (tmp_path / "build").rglob("*")
        if p.is_file()
    }
    assert written == here
    assert str(ROOT) not in json.dumps(written)


def test_numbers_agree_in_every_file() -> None:
    files = compile_file(str(RECIPE)).files
    deepspeed = json.loads(files["train/ds_config.json"])
    axolotl = files["train/axolotl.yaml"]
    assert f"micro_batch_size: {deepspeed['train_micro_batch_size_per_gpu']}\n" in axolotl
    assert f"gradient_accumulation_steps: {deepspeed['gradient_accumulation_steps']} " in axolotl
    assert "num_processes: 4" in files["train/accelerate.yaml"]
    assert (
        deepspeed["train_batch_size"]
        == deepspeed["train_micro_batch_size_per_gpu"] * deepspeed["gradient_accumulation_steps"] * 4
    )


def test_check_fails_with_a_diff_when_output_is_stale(tmp_path: Path) -> None:
    out = str(tmp_path)
    assert recipe("compile", str(RECIPE), "--out", out).returncode == 0
    assert recipe("compile", str(RECIPE), "--out", out, "--check").returncode == 0
    stale = recipe("compile", str(RECIPE), "--out", out, "--check", "--set", "train.learning_rate=3e-5")
    assert stale.returncode == 1
    assert "+learning_rate: 3.0e-05" in stale.stdout


def test_an_error_leaves_the_old_tree_whole(tmp_path: Path) -> None:
    out = str(tmp_path)
    recipe("compile", str(RECIPE), "--out", out)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert recipe("compile", str(RECIPE), "--out", out, "--set", "train.epochs=-1").returncode == 1
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("name", ["notes.txt", "train/axolotl.yaml"])
def test_files_of_others_and_edited_files_are_never_overwritten(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "x"
    write(folder, compile_file(str(RECIPE)).files)
    (folder / name).write_text("mine")
    done = recipe("compile", str(RECIPE), "--out", str(tmp_path), "--set", "name=x", "--set", "seed=1")
    assert done.returncode == 1
    assert "O003" in done.stderr
    assert (folder / name).read_text() == "mine"


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECIPE.stem).mkdir()
    (tmp_path / RECIPE.stem / "thesis.tex").write_text("mine")
    assert "O002" in recipe("compile", str(RECIPE), "--out", str(tmp_path)).stderr


def test_a_kill_while_writing_leaves_the_old_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "x"
    old, new = {"a": "1", "plan.json": '{"files": {"a": {"sha256": ""}}}'}, {"a": "2"}
    write(folder, {"plan.json": "{}", **compile_file(str(RECIPE)).files})
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    del old

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recipec.output._swap", killed)
    with pytest.raises(KeyboardInterrupt):
        write(folder, new)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_difference_names_files_that_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "gone").write_text("1\n")
    assert "gone" in difference(tmp_path, {})
    assert difference(tmp_path, {"gone": "1\n"}) == ""


def test_explain_names_the_line() -> None:
    answer = recipe("explain", str(RECIPE), "model.max_length")
    assert "recipe: llama-2-13b-zero3.yaml:5:" in answer.stdout
    answer = recipe("explain", str(RECIPE), "train/axolotl.yaml:gradient_accumulation_steps")
    assert "64 sequences per step ÷ (2 micro batch × 4 processes)" in answer.stdout
    wrong = recipe("explain", str(RECIPE), "train/axolotl.yaml:gradient_acumulation_steps")
    assert wrong.returncode == 1
    assert "gradient_accumulation_steps" in wrong.stderr


def test_settings_of_the_command_line_are_known_as_such() -> None:
    answer = recipe("explain", str(RECIPE), "train.epochs", "--set", "train.epochs=3")
    assert "command line" in answer.stdout
    wrong = recipe("check", str(RECIPE), "--set", "train.epochs=none")
    assert "--> --set:1:14" in wrong.stderr


def test_exit_codes(tmp_path: Path) -> None:
    assert recipe("check", str(RECIPE)).returncode == 0
    assert recipe("check", str(tmp_path / "none.yaml")).returncode == 1
    assert recipe("check", str(tmp_path)).returncode == 1
    assert recipe("check").returncode == 2
    assert recipe("compile", "--nonsense", str(RECIPE)).returncode == 2


def test_an_emitted_value_that_the_tool_refuses_is_found_at_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrower contract stands in for one, to refuse a value and a row within a list."""
    data = json.loads((contracts.DATA / "axolotl-0.21.0.json").read_bytes())
    data["documents"]["config"]["keys"]["learning_rate"] = {"type": ["float"], "lt": 1e-6}
    data["documents"]["config"]["keys"]["datasets"] = {"type": ["list"], "items": {"type": ["str"]}}
    real = contracts.load
    monkeypatch.setattr(contracts, "load", lambda t, r: contracts.Contract(data) if t == "axolotl" else real(t, r))
    compiled = compile_file("recipes/llama-2-13b-zero3.yaml")
    assert compiled.files == {}
    rate, rows = sorted(compiled.findings, key=lambda finding: "datasets" in finding.message)
    assert {rate.code, rows.code} == {"T022"}
    assert rate.span is not None and rows.span is not None  # noqa: PT018
    assert rate.span.source.line(rate.span.line)[rate.span.column - 1 : rate.span.end_column - 1] == "1e-5"
    assert "expected less than 1e-06, found 1e-05" in rate.message
    assert "train.learning_rate" in str(rate.help)
    assert rows.span.line == 7


def test_nothing_heavy_is_imported_on_the_way_to_success(tmp_path: Path) -> None:
    code = (
        "import sys; from recipec.cli import main; "
        f"assert main(['compile', {str(RECIPE)!r}, '--out', {str(tmp_path)!r}]) == 0; "
        "bad = {'torch', 'rich', 'jinja2', 'asyncio', 'transformers', 'difflib', 'subprocess', 'importlib.metadata'}; "
        "bad &= set(sys.modules); "
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_generated_shell_passes_shellcheck(tmp_path: Path) -> None:
    out = tmp_path / "out"
    recipes = [str(path) for path in (ROOT / "recipes").glob("*.yaml")]
    assert recipe("compile", *recipes, "--out", str(out)).returncode == 0
    scripts = [str(path) for path in out.rglob("*.sh")]
    assert len(scripts) > 25
    checker = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(checker), *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_hostile_names_are_quoted_in_shell(tmp_path: Path) -> None:
    evil = "data/$(touch owned) 'x\";.jsonl"
    setting = f"data.train=[{{path: {json.dumps(evil)}, format: instruction}}]"
    assert recipe("compile", str(RECIPE), "--out", str(tmp_path), "--set", setting).returncode == 0
    done = subprocess.run(
        ["bash", str(tmp_path / RECIPE.stem / "run.sh")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 2
    assert evil in done.stderr
    assert not (tmp_path / "owned").exists()


def test_the_schema_is_current() -> None:
    assert recipe("schema").stdout == (ROOT / "docs" / "recipe.schema.json").read_text(encoding="utf-8")


def test_the_reference_is_current() -> None:
    assert reference_text() == (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def test_the_example_compiles(tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(recipe("schema", "--example").stdout, encoding="utf-8")
    assert recipe("check", str(file)).returncode == 0


@pytest.mark.parametrize("more", ["", "train: {method: grpo}\nrewards: [{type: exact}]\n"])
def test_a_script_with_a_model_from_scratch_and_no_data_is_told_what_lacks(tmp_path: Path, more: str) -> None:
    """Each ended in a KeyError once."""
    file = tmp_path / "recipe.yaml"
    scratch = "model: {from_scratch: {family: llama, hidden_size: 64, layers: 1, heads: 2}}\n"
    script = "trainer: script\nscript: {path: train.py, arguments: {out: '${plan:train.output}'}}\n"
    text = "recipe: 1\nname: t\nhardware: {gpu: none}\n" + scratch + script + (more or "train: {}\n")
    file.write_text(text, encoding="utf-8")
    assert "P026" in [finding.code for finding in compile_file(str(file)).findings]
