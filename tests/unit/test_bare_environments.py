"""Environments whose pins leave something out on purpose: with uv, with pip, and by the emitted script."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from recipec.environments import ensure, folder_of
from recipec.environments.install import Pins, install_steps
from recipec.environments.pip_settings import PipSettings
from recipec.environments.pythons import running
from recipec.facts import pins
from recipec.pipeline import compile_file

# pluggy asks for nothing; what is removed stands for a library that cannot be loaded
PINS = "# python: 3.11 3.12 3.13\n# no-dependencies: without x\n# remove: pluggy/_tr*.py pluggy/none*\npluggy==1.6.0\n"


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_what_the_pins_say_is_removed(installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path))
    folder = ensure("bare", PINS, lambda _line: None, installer=installer)  # type: ignore[arg-type]  # one of its literals
    names = {path.name for path in folder.glob("lib/python3*/site-packages/pluggy/*.py")}
    assert "_hooks.py" in names
    assert "_tracing.py" not in names
    assert folder_of("bare", PINS) != folder_of("bare", PINS.replace("none", "some"))


def test_nothing_is_asked_for_beyond_the_pins(tmp_path: Path) -> None:
    late = "# build-without-isolation: b\n"
    for uv in ("uv", None):
        made, _ = install_steps(tmp_path / "e", Pins.read(late + PINS), PipSettings(), {}, uv, running())
        installing = [step.command for step in made if "install" in step.command]
        assert installing
        assert all("--no-deps" in command for command in installing)
        made, _ = install_steps(tmp_path / "e", Pins.read(late + "b==1\n"), PipSettings(), {}, uv, running())
        assert not any("--no-deps" in step.command for step in made)


def test_llamafactory_comes_without_torchvision() -> None:
    for name in ("llamafactory-0.9.5", "llamafactory-0.9.5-deepspeed"):
        read = Pins.read(pins(name))
        assert read.no_dependencies
        assert read.remove == ("torchaudio/lib/*.so",)
        assert read.version("torchvision") is None
        assert read.version("torchaudio") is not None
        assert not any("nvidia" in line for line in read.lines)


@pytest.mark.slow
def test_the_emitted_script_does_the_same(tmp_path: Path) -> None:
    script = compile_file("recipes/qwen2-7b-llamafactory-simpo.yaml").files["run.sh"]
    making = script[: script.index("need() {")].replace(
        'here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)', f"here={tmp_path}"
    )
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "bare.txt").write_text(PINS, encoding="utf-8")
    call = "make_environment bare '' --no-deps 'pluggy/_tr*.py'\n"
    assert "make_environment llamafactory-0.9.5-deepspeed deepspeed --no-deps 'torchaudio/lib/*.so'" in script
    assert "# llamafactory-0.9.5-deepspeed: without torchvision; torchaudio/lib/*.so removed" in script
    bash = shutil.which("bash")
    assert bash is not None
    variables = {**os.environ, "RECIPE_ENVIRONMENTS": str(tmp_path / "made")}
    done = subprocess.run(
        [bash, "-c", making + call], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "made" / "bare").glob("lib/python3*/site-packages/pluggy/*.py")}
    assert "_hooks.py" in names
    assert "_tracing.py" not in names
