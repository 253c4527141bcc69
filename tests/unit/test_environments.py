"""Environments: made from pins by uv and by pip, cached, whole or not there; and how pip's settings reach uv."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from fake_build import LIMIT, ROOT, wait_for

from recipec import env_command
from recipec.cli import main
from recipec.environments import (
    MARKER,
    EnvironmentFailure,
    EnvironmentInterrupted,
    announcement,
    ensure,
    folder_of,
    install,
    is_complete,
    list_environments,
    remove,
)
from recipec.environments.install import Pins, install_steps, offers_cpu_torch, torch_build
from recipec.environments.pip_settings import PipSettings, read_pip_settings, uv_flags, uv_variables
from recipec.environments.pythons import Python, find_python, running
from recipec.processes import Signals

PINS = "# minutes: 1\niniconfig==2.1.0\n"
BASE = Python("3.11", "/usr/bin/python3.11")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_an_environment_is_made_once(installer: str, home: Path) -> None:
    said: list[str] = []
    folder = ensure("tiny", PINS, said.append, installer=installer)  # type: ignore[arg-type]  # one of its literals
    assert said[0] == f"creating environment tiny: 1 package, about 1 minute; created once, kept in {home}/environments"
    found = subprocess.run(
        [folder / "bin/python", "-c", "from importlib.metadata import version; print(version('iniconfig'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "2.1.0"
    count = len(said)
    assert ensure("tiny", PINS + "# other words\n", said.append) == folder
    assert len(said) == count
    assert [(e.name, e.complete) for e in list_environments()] == [("tiny", True)]
    assert remove("tiny") == [folder]
    assert list_environments() == []


def test_what_was_killed_is_made_again(home: Path) -> None:
    folder = folder_of("tiny", PINS)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text("half")
    assert not is_complete(folder)
    assert is_complete(ensure("tiny", PINS, lambda _line: None))


def test_a_failure_shows_the_installers_last_lines(home: Path) -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        ensure("tiny", "iniconfig==0.0.999\n", lambda _line: None)
    assert any("0.0.999" in line for line in caught.value.lines)
    assert caught.value.log is not None
    assert caught.value.log.exists()
    assert not is_complete(folder_of("tiny", "iniconfig==0.0.999\n"))


def test_a_signal_ends_the_making(home: Path) -> None:
    signals = Signals()
    signals.received.append(2)
    with pytest.raises(EnvironmentInterrupted):
        ensure("tiny", PINS, lambda _line: None, signals=signals)
    assert not is_complete(folder_of("tiny", PINS))


def test_two_processes_make_it_once(home: Path) -> None:
    code = f"from recipec.environments import ensure; ensure('tiny', {PINS!r}, print)"
    paths = os.pathsep.join(str(ROOT / part) for part in ("schema", "compiler", "launchers"))
    variables = os.environ | {"PYTHONPATH": paths}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = "".join(process.communicate(timeout=LIMIT)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("creating environment") == 1
    wait_for(lambda: len(list_environments()) == 1)


def test_pins_and_their_directives() -> None:
    text = "# build-without-isolation: a\n# build-without-isolation: b, c\n# disk-gb: 4.3\na==1\nb==2\nd==3\n\n"
    pins = Pins.read(text)
    assert (pins.unisolated, pins.isolated(), pins.disk_gb, pins.version("d")) == (("a", "b", "c"), ["d==3"], 4.3, "3")
    assert "3 packages, 4.3 GB on disk" in announcement("x", pins)


def test_late_packages_are_built_after_the_others(tmp_path: Path) -> None:
    pins = Pins.read("# build-without-isolation: deepspeed\ndeepspeed==0.18.9\nninja==1.13.2\n")
    for uv in ("uv", None):
        made, files = install_steps(tmp_path / "e", pins, PipSettings(), {}, uv, BASE)
        assert files[tmp_path / "e.early.txt"] == "ninja==1.13.2\n"
        assert made[-1].variables["DS_BUILD_OPS"] == "0"
        flag = "--no-build-isolation-package" if uv else "--no-build-isolation"
        assert flag in made[-1].command
        assert flag not in made[-2].command


def test_no_cuda_on_a_machine_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = Pins.read("torch==2.13.0\n")
    monkeypatch.setattr(install, "has_nvidia", lambda: False)

    def commands(settings: PipSettings, uv: str | None = "uv", **variables: str) -> str:
        steps, _ = install_steps(tmp_path / "e", pins, settings, variables, uv, BASE)
        return " ".join(" ".join(step.command) for step in steps)

    assert "--torch-backend cpu" in commands(PipSettings())
    assert f"--index-url https://download.pytorch.org/whl/cpu --no-deps -r {tmp_path}/e.torch.txt" in commands(
        PipSettings(), None
    )
    assert "--torch-backend" not in commands(PipSettings(), RECIPEC_TORCH_BACKEND="default")
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    local = PipSettings(find_links=(str(tmp_path),))
    assert offers_cpu_torch(local, "2.13.0", "3.11")
    assert not offers_cpu_torch(local, "2.12.0", "3.11")
    assert not offers_cpu_torch(local, "2.13.0", "3.12")
    assert "--torch-backend" not in commands(local)
    monkeypatch.setattr(install, "has_nvidia", lambda: True)
    assert torch_build({}) == "default"
    assert "--torch-backend" not in commands(PipSettings())


def test_a_gpu_machine_and_a_cpu_machine_do_not_share(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for build in ("cpu", "default"):
        monkeypatch.setenv("RECIPEC_TORCH_BACKEND", build)
        found.add(folder_of("x", "torch==2.13.0\n"))
    assert len(found) == 2


def test_pips_settings_reach_uv(tmp_path: Path) -> None:
    weak, strong = tmp_path / "a.conf", tmp_path / "b.conf"
    weak.write_text("[global]\nindex-url = https://weak/simple\nfind-links =\n    /one\n    /two\n")
    strong.write_text("[global]\nindex-url = https://global/simple\n[install]\nindex_url = https://strong/simple\n")
    variables = {"PIP_EXTRA_INDEX_URL": "https://x/1 https://x/2", "PIP_CERT": "/c.pem", "PIP_DEFAULT_TIMEOUT": "9"}
    settings = read_pip_settings(variables, [weak, strong, tmp_path / "none"])
    assert settings.index_url == "https://strong/simple"
    assert settings.find_links == ("/one", "/two")
    flags = " ".join(uv_flags(settings, {}))
    assert "--find-links /one --find-links /two" in flags
    assert "--index https://strong/simple --index https://x/1 --index https://x/2" in flags
    assert "--default-index https://strong/simple" in flags
    assert "--index-strategy unsafe-best-match" in flags
    assert uv_variables(settings, {}) == {"SSL_CERT_FILE": "/c.pem", "UV_HTTP_TIMEOUT": "9"}
    assert "SSL_CERT_FILE" not in uv_variables(settings, {"SSL_CERT_FILE": "/mine"})
    assert "--index" not in uv_flags(settings, {"UV_DEFAULT_INDEX": "https://own"})


def test_a_null_config_file_turns_pips_files_off(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text("[global]\nindex-url = https://x\n")
    own = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    assert read_pip_settings(own).index_url == "https://x"
    assert read_pip_settings(own | {"PIP_CONFIG_FILE": os.devnull}).index_url is None


def _replace(path: Path, text: str) -> None:
    """Write a new file in place of one that may be a hard link into uv's cache, which all environments share."""
    path.unlink()
    path.write_text(text)


def test_the_env_command(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_command, "shipped", lambda: {"tiny-1.0": PINS})

    def command(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["env", *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    assert command("list") == (0, [])
    code, made = command("create", "tiny-1.0")
    folder = Path(made[0]["folder"])
    code, (row,) = command("list")
    assert (row["tool"], row["release"], row["state"]) == ("tiny", "1.0", "complete")
    assert row["bytes"] > 10_000
    assert row["made"]
    row = {"name": "tiny-1.0", "folder": str(folder), "ok": True, "wrong": [], "unhashed": None}
    assert command("verify") == (0, [row])
    package = next(folder.glob("lib/*/site-packages/iniconfig"))
    (package / "py.typed").unlink(missing_ok=True)
    _replace(package / "__init__.py", "")
    metadata = next(folder.glob("lib/*/site-packages/iniconfig-*.dist-info")) / "METADATA"
    _replace(metadata, metadata.read_text().replace("Version: 2.1.0", "Version: 2.0.0"))
    code, (row,) = command("verify", "tiny-1.0")
    assert (code, row["wrong"][0]) == (1, "iniconfig is 2.0.0, not 2.1.0")
    assert row["wrong"][1].startswith("iniconfig: 1 file missing, such as iniconfig/py.typed")
    assert row["wrong"][2].startswith("iniconfig: 2 files changed, such as iniconfig")
    (folder / MARKER).unlink()
    assert command("list")[1][0]["state"] == "incomplete"
    assert command("verify")[0] == 1
    assert command("remove", "tiny-1.0") == (0, [{"removed": [str(folder)]}])
    assert not folder.exists()
    assert [command(action, "tiny-1")[0] for action in ("create", "verify", "remove")] == [1, 1, 1]
    assert main(["env", "remove"]) == 2


def test_no_password_of_an_index_reaches_the_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:hunter2@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(EnvironmentFailure) as caught:
        ensure("tiny", "iniconfig==2.1.0\n", lambda _line: None, installer="uv")
    assert caught.value.log is not None
    assert "hunter2" not in caught.value.log.read_text()


def _interpreter(path: Path, version: str) -> Path:
    """Make what answers as a Python of this version does when it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A machine without a Python but the running one."""
    find_python.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    yield tmp_path
    find_python.cache_clear()


@pytest.mark.parametrize(
    "places",
    [
        ["bin/python3.7"],
        ["pyenv/versions/3.7.9/bin/python"],
        ["uv/cpython-3.7.9-linux-x86_64-gnu/bin/python3.7"],
        ["pyenv/versions/3.7.10/bin/python", "pyenv/versions/3.7.9/bin/python"],
    ],
)
def test_a_python_is_found_where_it_is_kept(no_pythons: Path, places: list[str]) -> None:
    made = [_interpreter(no_pythons / place, "3.7") for place in places]
    assert find_python(("3.7", running().version)) == Python("3.7", str(made[0]))


def test_what_answers_as_another_version_or_not_at_all_is_passed_over(no_pythons: Path) -> None:
    _interpreter(no_pythons / "bin" / "python3.7", "3.8")
    broken = _interpreter(no_pythons / "pyenv" / "versions" / "3.7.9" / "bin" / "python", "3.7")
    broken.write_text("#!/bin/sh\necho 3.7\nexit 1\n")
    assert find_python(("3.7",)) is None
    assert find_python(("3.7", running().version)) == running()
    assert find_python(()) == running()


def test_a_python_that_is_missing_is_named(home: Path, no_pythons: Path) -> None:
    pins = "# python: 3.6 3.7\niniconfig==2.1.0\n"
    with pytest.raises(
        EnvironmentFailure, match=r"environment tiny: it needs Python 3\.6 or 3\.7 with venv.*uv python install 3\.6"
    ):
        ensure("tiny", pins, lambda _line: None)
    assert not home.exists()


def test_the_python_that_is_found_makes_the_environment(tmp_path: Path) -> None:
    for uv in ("uv", None):
        first = install_steps(tmp_path / "e", Pins.read(PINS), PipSettings(), {}, uv, BASE)[0][0].command
        assert BASE.executable in first
        assert "venv" in first


def test_every_shipped_pins_file_names_its_pythons() -> None:
    for name, text in env_command.shipped().items():
        assert Pins.read(text).pythons, name
