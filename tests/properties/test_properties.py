"""Whatever goes in: files that hold together, or findings that point at the place. Never an exception.

Few examples in the working loop; `RECIPE_EXAMPLES=2000 pytest tests/properties` looks longer, `scripts/fuzz.py` longest.
"""

import contextlib
import json
import os
from pathlib import Path
from random import Random

import pytest
from cases import several_files, tools_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invariants import complaints
from invent import recipe
from mutate import VALUES, mutant

from recipec import manifest
from recipec.explain import explain
from recipec.language import Recipe
from recipec.pipeline import compile_file
from recipec.render.yaml_writer import YamlWriter
from recipec.source import Source, dotted, leaves, plain, split_path
from recipec.yaml_reader import read_text

ROOT = Path(__file__).parents[2]
RECIPES = [one for one in sorted((ROOT / "recipes").glob("*.yaml")) if "\nsweep:" not in one.read_text("utf-8")]
EXAMPLES = int(os.environ.get("RECIPE_EXAMPLES", "60"))
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
seeds = st.integers(0, 2**32).map(Random)


@often
@given(seeds)
def test_a_recipe_made_from_the_language_compiles_or_is_judged(tmp_path: Path, r: Random) -> None:
    made = recipe(r)
    writer = YamlWriter()
    for key, value in made.items():
        writer.entry(key, value)
    file = tmp_path / "recipe.yaml"
    file.write_bytes(writer.result().encode())
    assert plain(read_text(Source("recipe.yaml", writer.result()))) == json.loads(json.dumps(made))
    compiled = compile_file(str(file))
    assert complaints(compiled) == []
    if not (tmp_path / "recipes").exists():
        (tmp_path / "recipes").symlink_to(ROOT / "recipes")  # the rows that it may name
    with contextlib.chdir(tmp_path):
        assert compile_file("recipe.yaml").files == compiled.files


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_every_mistake_in_a_recipe_is_a_located_finding(file: Path, tmp_path: Path) -> None:
    text, changed = file.read_bytes(), tmp_path / "recipe.yaml"
    for seed in range(EXAMPLES // 2):
        changed.write_bytes(mutant(Random(seed), text))
        assert complaints(compile_file(str(changed))) == [], f"seed {seed}"


@often
@given(st.one_of(st.text(max_size=40), st.sampled_from([*Recipe.model_fields, "train.epochs", "data.train[0]"])), st.one_of(st.text(max_size=30), st.sampled_from(VALUES)))  # fmt: skip
def test_no_setting_makes_it_fall_over(path: str, value: str) -> None:
    assert complaints(compile_file(str(RECIPES[0]), [f"{path}={value}"])) == []


@often
@given(
    st.lists(st.one_of(st.text(st.characters(codec="utf-8"), max_size=8), st.integers(0, 99)), min_size=1, max_size=6)
)
def test_a_path_is_read_as_it_is_spelt(path: list[str | int]) -> None:
    assert list(split_path(dotted(tuple(path)))) == path


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)
def test_every_emitted_key_and_every_recipe_leaf_is_explained(file: Path) -> None:
    compiled = compile_file(str(file), ["overrides.axolotl.ddp_timeout=99"])
    if not compiled.files:  # not trained by Axolotl
        compiled = compile_file(str(file))
    written = manifest.read(compiled.files["plan.json"])
    for name, entry in written.files.items():
        for key in entry.lines:
            assert all(row.because for row in explain(written, f"{name}:{key}"))
    for path, _node in leaves(read_text(Source("r", file.read_text(encoding="utf-8")))):
        answers = explain(written, dotted(path))
        said = dotted(path[:-1] if isinstance(path[-1], int) else path)
        assert any(f"{file.name}:" in row.because or said in row.because for row in answers), path


def test_every_mistake_in_recipes_of_several_files_is_a_located_finding(tmp_path: Path) -> None:
    for seed in range(EXAMPLES):
        assert several_files(Random(seed), tmp_path)[1] == [], f"seed {seed}"


def test_every_mistake_in_files_of_the_tools_is_a_located_finding(tmp_path: Path) -> None:
    for seed in range(2 * EXAMPLES):
        assert tools_files(Random(seed), tmp_path)[1] == [], f"seed {seed}"
