"""A release that needs a newer Python is there by its name, and accepts what is emitted; the default stays."""

from pathlib import Path

import pytest

from recipec import contracts
from recipec.doctor.recognise import latest
from recipec.environments.install import Pins
from recipec.facts import pins, releases
from recipec.pipeline import compile_file

RECIPES = [*sorted(Path("recipes").glob("*.yaml")), *sorted(Path("tests/real/recipes").glob("*.yaml"))]


def test_the_default_is_a_release_that_every_machine_can_make() -> None:
    assert releases("axolotl") == ("0.19.0", "0.17.0", "0.21.0")
    assert latest("axolotl") == "0.19.0"
    assert contracts.releases("axolotl") == ["0.17.0", "0.19.0", "0.21.0"]
    assert releases("trl")[0] == latest("trl") == "1.16.0"


@pytest.mark.parametrize("environment", ["axolotl-0.21.0", "axolotl-0.21.0-deepspeed"])
def test_a_newer_python_is_asked_for(environment: str) -> None:
    assert Pins.read(pins(environment)).pythons == ("3.12",)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_its_contract_accepts_what_is_emitted(recipe: Path) -> None:
    usual = compile_file(str(recipe))
    assert usual.resolved is not None
    stages = [stage for stage in usual.resolved.plan.of_kind("train") if stage.system == "axolotl"]
    if not stages:
        return
    found = compile_file(str(recipe), ["versions.axolotl=0.21.0"])
    before, after = ([one.code for one in made.findings if one.code != "T003"] for made in (usual, found))
    assert after == before
    assert found.resolved is not None
    for stage in stages:
        file = f"{stage.id}/axolotl.yaml"
        assert found.files[file].startswith("# axolotl 0.21.0.")
        told = [line.partition("  #")[0] for line in found.files[file].splitlines()[1:]]
        assert (
            told == [line.partition("  #")[0] for line in usual.files[file].splitlines()[1:]]
            or stage.body.release != "0.19.0"
        )
    assert {stage.environment.partition("-flash")[0] for stage in found.resolved.plan.of_kind("train")} <= {
        "axolotl-0.21.0",
        "axolotl-0.21.0-deepspeed",
    }
