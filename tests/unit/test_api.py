"""The functions for programs, and the example of their page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from recipec import api, manifest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
RECIPE = ROOT / "recipes" / "quickstart.yaml"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_prints_what_the_page_says(place: Path) -> None:
    (program,), (printed,) = (re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("python", "text"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (printed, "")


def test_check_tells_of_a_file_that_is_not_there(place: Path) -> None:
    assert [(one.code, one.severity) for one in api.check(Path("none.yaml"))] == [("S001", "error")]


def test_what_is_wrong_is_raised_with_every_finding_and_nothing_is_written(place: Path) -> None:
    settings = ["train.epohs=2", "hardware.gpus=1"]
    told = api.check(RECIPE, settings=settings)
    assert len(told) > 1
    for function in (api.plan, lambda path, **more: api.compile(path, "build", **more)):
        with pytest.raises(api.RecipeError) as caught:
            function(RECIPE, settings=settings)
        assert [one.message for one in caught.value.findings] == [one.message for one in told]
    assert not Path("build").exists()


def test_compile_writes_the_files_that_it_returns_and_their_manifest(place: Path) -> None:
    done = api.compile(RECIPE, "build", settings=["seed=7"])
    assert done.folder == Path("build/quickstart")
    written = {
        str(path.relative_to(done.folder)): path.read_text() for path in done.folder.rglob("*") if path.is_file()
    }
    assert written == done.files
    assert manifest.write(done.manifest) == done.files["plan.json"]
    assert done.plan == done.manifest.plan == api.plan(RECIPE, settings=["seed=7"])
    assert done.manifest.value("train.seed") == 7


def test_without_a_folder_nothing_is_written(place: Path) -> None:
    assert api.compile(RECIPE).folder is None
    assert [path.name for path in place.iterdir()] == ["recipes"]


def test_files_of_somebody_else_are_not_written_over(place: Path) -> None:
    Path("build/quickstart").mkdir(parents=True)
    Path("build/quickstart/mine.txt").touch()
    with pytest.raises(api.RecipeError, match="did not write"):
        api.compile(RECIPE, "build")


def test_profiles_and_variables_are_laid_over(place: Path) -> None:
    Path("own.yaml").write_text(
        "recipe: 1\nextends: recipes/quickstart.yaml\nname: own\nvariables: {rate: 1e-3}\n"
        "train: {learning_rate: '${var:rate}'}\nprofiles: {short: {train: {epochs: 1}}}\n"
    )
    body = next(api.plan("own.yaml", profiles=["short"], variables=["rate=2e-3"]).of_kind("train")).body
    assert (body.length.amount, body.optimizer.learning_rate) == (1, 0.002)
