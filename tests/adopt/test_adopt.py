"""Scripts for one GPU, each beside the exact patch that adopts it, and those that are refused beside the exact reason."""

import json
from pathlib import Path

import pytest
from commands import recipe

from recipec.adopt import adopt
from recipec.diagnostics import RecipeError

HERE = Path(__file__).parent
LOOPS = sorted((HERE / "loops").glob("*.py"))
REFUSED = sorted((HERE / "refused").glob("*.py"))


@pytest.mark.parametrize("loop", LOOPS, ids=lambda path: path.stem)
def test_exact_patch(loop: Path, update: bool) -> None:
    before = loop.read_text()
    done = recipe("adopt", loop.name, cwd=loop.parent)
    assert done.returncode == 0, done.stderr
    expected = loop.with_suffix(".patch")
    if update:
        expected.write_text(done.stdout + done.stderr, encoding="utf-8")
    assert done.stdout + done.stderr == expected.read_text(encoding="utf-8")
    assert loop.read_text() == before


@pytest.mark.parametrize("loop", LOOPS, ids=lambda path: path.stem)
def test_adopted_script_has_nothing_left_to_do_and_keeps_its_comments(loop: Path, tmp_path: Path) -> None:
    script = tmp_path / loop.name
    script.write_bytes(loop.read_bytes())
    script.chmod(0o750)
    assert recipe("adopt", script.name, "--write", cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [script.name]
    assert script.stat().st_mode & 0o777 == 0o750
    text = script.read_text()
    compile(text, script.name, "exec")
    assert all(line.partition("#")[2] in text for line in loop.read_text().splitlines() if "#" in line)
    again = recipe("adopt", script.name, "--write", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == "note: the script uses Accelerate already: there is nothing to do\n"
    assert script.read_text() == text


@pytest.mark.parametrize("script", REFUSED, ids=lambda path: path.stem)
def test_exact_refusal(script: Path, update: bool) -> None:
    before = script.read_text()
    done = recipe("adopt", script.name, "--write", cwd=script.parent)
    assert (done.returncode, done.stdout) == (1, "")
    expected = script.with_suffix(".out")
    if update:
        expected.write_text(done.stderr, encoding="utf-8")
    assert done.stderr == expected.read_text(encoding="utf-8")
    assert script.read_text() == before
    finding = json.loads(recipe("adopt", script.name, "--json", cwd=script.parent).stdout)["findings"][0]
    assert finding["message"] in done.stderr


def test_json_has_the_patch() -> None:
    done = recipe("adopt", "accumulation.py", "--json", cwd=HERE / "loops")
    found = json.loads(done.stdout)
    assert found["diff"] in (HERE / "loops" / "accumulation.patch").read_text()
    assert (found["ok"], found["written"]) == (True, False)


def test_line_ends_and_indents_stay(tmp_path: Path) -> None:
    text = (HERE / "loops" / "resume.py").read_text().replace("    ", "\t").replace("\n", "\r\n")
    (tmp_path / "train.py").write_bytes(text.encode())
    after = adopt(str(tmp_path / "train.py")).after
    assert after.count("\n") == after.count("\r\n")
    assert "\r\n\tmodel, optimizer, loader, scheduler = accelerator.prepare(" in after
    assert "    " not in after


def test_functions_that_call_themselves_end(tmp_path: Path) -> None:
    text = (HERE / "loops" / "accumulation.py").read_text()
    recursive = "def build(depth):\n    return build(depth - 1) if depth else nn.Linear(4, 1)\n\n\nmodel = build(3)\n"
    (tmp_path / "train.py").write_text(text.replace("model = nn.Linear(4, 1)\n", recursive))
    assert "model, optimizer, loader, scheduler = accelerator.prepare(" in adopt(str(tmp_path / "train.py")).after


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        adopt(str(tmp_path / "none.py"))
    assert "No such file" in caught.value.findings[0].message


def test_the_script_of_the_recipe_is_its_original_adopted() -> None:
    scripts = HERE.parents[1] / "recipes" / "own-script"
    assert adopt(str(scripts / "single_gpu.py")).after == (scripts / "train.py").read_text()
