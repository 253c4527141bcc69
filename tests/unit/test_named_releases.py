"""The newest release is the default, whatever Python it needs; an older one is there by its name, and is told the same."""

from pathlib import Path

import pytest

from recipec import contracts
from recipec.doctor.recognise import latest
from recipec.environments.install import Pins
from recipec.facts import pins, releases
from recipec.pipeline import compile_file

RECIPES = [*sorted(Path("recipes").glob("*.yaml")), *sorted(Path("tests/real/recipes").glob("*.yaml"))]


def test_the_newest_release_is_the_default() -> None:
    assert releases("axolotl") == ("0.21.0", "0.19.0", "0.17.0")
    assert contracts.releases("axolotl") == ["0.17.0", "0.19.0", "0.21.0"]
    for tool in ("axolotl", "trl", "llamafactory"):
        assert releases(tool)[0] == latest(tool)


@pytest.mark.parametrize("environment", ["axolotl-0.21.0", "axolotl-0.21.0-deepspeed"])
def test_a_newer_python_is_asked_for(environment: str) -> None:
    assert Pins.read(pins(environment)).pythons == ("3.12",)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_an_older_release_is_told_the_same(recipe: Path) -> None:
    usual = compile_file(str(recipe))
    assert usual.resolved is not None
    stages = [stage for stage in usual.resolved.plan.of_kind("train") if stage.system == "axolotl"]
    if not stages or stages[0].body.release != "0.21.0":
        return
    found = compile_file(str(recipe), ["versions.axolotl=0.19.0"])
    before, after = ([one.code for one in made.findings if one.code != "T003"] for made in (usual, found))
    assert after == before
    assert found.resolved is not None
    for stage in stages:
        file = f"{stage.name}/axolotl.yaml"
        assert found.files[file].startswith("# axolotl 0.19.0.")
        told, mine = (
            [line.partition("  #")[0] for line in made.files[file].splitlines()[1:]] for made in (found, usual)
        )
        assert told == mine
    environments = {stage.environment.partition("-flash")[0] for stage in found.resolved.plan.of_kind("train")}
    assert environments <= {"axolotl-0.19.0", "axolotl-0.19.0-deepspeed"}
