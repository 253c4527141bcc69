"""Environments from pins with hashes: another file is refused, the build of torch decides, a changed file is found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from test_run_script import place, run
from tiny_wheels import wheel

from recipec import env_command
from recipec.cli import main
from recipec.environments import EnvironmentFailure, ensure, install, is_complete, list_environments, pins_of
from recipec.environments.install import Pins
from recipec.environments.pythons import running
from recipec.environments.verify import verify
from recipec.facts import ADDED, FOLDER, pins

Installer = Literal["uv", "pip"]
WITH = pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
NONE = "0" * 64
CPU_TAG = f"cp{running().version.replace('.', '')}-none-any"


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of one folder, which is all that there is."""
    monkeypatch.setenv("RECIPEC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("RECIPEC_TORCH_BACKEND", "default")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "index"


def pin(name: str, version: str, *hashes: str) -> str:
    return " ".join([f"{name}=={version}", *(f"--hash=sha256:{one}" for one in hashes)]) + "\n"


def make(text: str, installer: Installer, said: list[str] | None = None) -> Path:
    return ensure("tiny", text, (said if said is not None else []).append, installer=installer)


def installed(folder: Path) -> dict[str, str]:
    """Return the modules of an environment and their versions."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    done = subprocess.run([folder / "bin/python", "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return {name: version for name, version in found.items() if name not in ("pip", "setuptools")}


@WITH
def test_what_has_one_of_its_hashes_is_installed(installer: Installer, index: Path) -> None:
    lines = pin("lib", "1.0", NONE, wheel(index, "lib", "1.0"))
    folder = make(pin("app", "1.0", wheel(index, "app", "1.0", ("lib",))) + lines, installer)
    assert installed(folder) == {"app": "1.0", "lib": "1.0"}
    read = pins_of(folder, {})
    assert read is not None
    assert set(read.hashes) == {"app==1.0", "lib==1.0"}


@WITH
def test_another_file_is_refused(installer: Installer, index: Path, tmp_path: Path) -> None:
    wheel(index, "lib", "1.0", body="import os\n")
    good = wheel(tmp_path / "elsewhere", "lib", "1.0")
    text = pin("lib", "1.0", good)
    with pytest.raises(EnvironmentFailure) as caught:
        make(text, installer)
    assert str(caught.value).partition(": ")[2] == (
        "what the index has as lib==1.0 is none of the files whose SHA-256 the pins name. It was changed on its way, "
        "or the index has a build of its own: if you trust that, set RECIPEC_UNHASHED=lib"
    )
    assert not list_environments() or not list_environments()[0].complete


@WITH
def test_a_package_of_no_pin_is_refused(installer: Installer, index: Path) -> None:
    wheel(index, "lib", "1.0")
    with pytest.raises(EnvironmentFailure):
        make(pin("app", "1.0", wheel(index, "app", "1.0", ("lib",))), installer)


@WITH
@pytest.mark.parametrize("named", ["lib", "all"])
def test_what_is_named_is_not_compared_and_that_is_said(
    installer: Installer, named: str, index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel(index, "lib", "1.0")
    text = pin("lib", "1.0", NONE) + pin("app", "1.0", wheel(index, "app", "1.0", ("lib",)))
    monkeypatch.setenv("RECIPEC_UNHASHED", named)
    said: list[str] = []
    assert installed(make(text, installer, said)) == {"app": "1.0", "lib": "1.0"}
    names = {"lib": "lib", "all": "lib, app"}[named]
    assert f"RECIPEC_UNHASHED: the hashes of {names} are not compared" in said
    assert main(["env", "verify"]) == 0
    assert capsys.readouterr().out == f"tiny: contains exactly its pins; the hashes of {names} were not compared\n"


def torch_pins(index: Path, tag: str = CPU_TAG) -> str:
    """Return pins of two builds of torch, of which one needs a library."""
    cuda = pin("nvidia-lib", "1.0", wheel(index, "nvidia_lib", "1.0"))
    plain = wheel(index, "torch", "1.0", ("nvidia-lib",))
    cpu = wheel(index / "cpu", "torch", "1.0+cpu", tag=tag)
    app = wheel(index, "app", "1.0", ("torch==1.0",))
    return f"# cuda: {cuda}" + pin("torch", "1.0", plain, cpu) + pin("app", "1.0", app)


@WITH
def test_cudas_libraries_come_with_the_build_that_needs_them(installer: Installer, index: Path) -> None:
    folder = make(torch_pins(index), installer)
    assert installed(folder) == {"torch": "1.0", "nvidia_lib": "1.0", "app": "1.0"}
    read = pins_of(folder, {})
    assert read is not None
    assert verify(folder, read) == []


@WITH
def test_the_cpu_build_needs_none(installer: Installer, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = torch_pins(index)
    monkeypatch.setenv("RECIPEC_TORCH_BACKEND", "cpu")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{index} {index / 'cpu'}")
    folder = make(text, installer)
    assert installed(folder) == {"torch": "1.0+cpu", "app": "1.0"}
    read = pins_of(folder, {})
    assert read is not None
    assert verify(folder, read) == []


@WITH
def test_a_build_of_torch_that_no_pin_knows_comes_with_its_own_libraries(
    installer: Installer, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = torch_pins(index)
    wheel(index, "rocm_lib", "7.0")
    wheel(index, "torch", "1.0+rocm7", ("rocm-lib",))
    with pytest.raises(EnvironmentFailure, match="RECIPEC_UNHASHED=torch"):
        make(text.replace("--hash=sha256:", f"--hash=sha256:{NONE} --hash=sha256:"), "uv")
    monkeypatch.setenv("RECIPEC_UNHASHED", "torch")
    assert installed(make(text, installer)) == {"torch": "1.0+rocm7", "rocm_lib": "7.0", "app": "1.0"}


def test_a_changed_file_is_found(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(pin("lib", "1.0", wheel(index, "lib", "1.0", body="GOOD = 1\n")), "uv")
    assert main(["env", "verify"]) == 0
    assert capsys.readouterr().out == "tiny: contains exactly its pins, every file as its package brought it\n"
    packages = next(folder.glob("lib/*/site-packages"))
    record = next(packages.glob("lib-*/RECORD"))
    rows = record.read_text()

    def found(path: Path, text: str) -> str:
        """Write a file, which may be a link into uv's cache, and return what is said; then put it back."""
        before = path.read_text() if path.exists() else None
        path.unlink(missing_ok=True)
        path.write_text(text)
        assert main(["env", "verify"]) == 1
        path.unlink()
        if before is not None:
            path.write_text(before)
        return capsys.readouterr().out

    head = "tiny: differs from its pins\n  "
    assert found(packages / "lib.py", "EVIL = 1\n") == head + "lib: 1 file changed, such as lib.py\n"
    assert found(packages / "lib.py", "GOOD = 1 \n") == head + "lib: 1 file changed, such as lib.py\n"
    other = "lib: its RECORD is not the one that was installed\n"
    assert found(record, rows + "more.py,,\n") == head + other
    assert found(record, rows + "\n\n,\n") == head + other + "  lib: its RECORD cannot be read\n"
    assert found(packages / "more.pth", "import os\n") == head + "1 file of no package, such as more.pth\n"
    assert main(["env", "verify"]) == 0


def test_what_pins_leave_out_and_remove_is_no_fault(index: Path) -> None:
    text = "# no-dependencies: without vision, other\n# remove: lib.py\n"
    folder = make(text + pin("lib", "1.0", wheel(index, "lib", "1.0", ("vision>=2",))), "uv")
    assert not list(folder.glob("lib/*/site-packages/lib.py"))
    read = pins_of(folder, {})
    assert read is not None
    assert verify(folder, read) == []
    assert verify(folder, read._replace(without=("visio",), remove=())) != []


def test_an_environment_of_an_older_release_is_told_apart(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel(index, "lib", "1.0")
    folder = make("lib==1.0\n", "uv")
    marker = json.loads((folder / ".complete").read_text())
    for gone in ("records", "unhashed"):
        del marker[gone]
    (folder / ".complete").write_text(json.dumps(marker))
    assert is_complete(folder)
    assert main(["env", "verify"]) == 0
    assert "installed from pins without hashes: remove and create it" in capsys.readouterr().out


@pytest.mark.slow
def test_the_emitted_script_compares_too(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = place(tmp_path)
    lines = (build / "environments" / "tiny.txt").read_text().partition("iniconfig")[0]
    lines += pin("iniconfig", "2.1.0", wheel(index, "iniconfig", "2.1.0"))
    (build / "environments" / "tiny.txt").write_text(
        lines + torch_pins(index, "py3-none-any")
    )  # whichever Python there is
    code, said = run(tmp_path)
    assert (code, "has 2.1.0" in said) == (0, True), said
    assert "nvidia_lib" in installed(tmp_path / "runs" / "environments" / "tiny")
    shutil.copy(next((index / "cpu").iterdir()), index)
    shutil.rmtree(tmp_path / "runs")
    assert run(tmp_path)[0] == 0
    assert installed(tmp_path / "runs" / "environments" / "tiny").keys() == {"iniconfig", "torch", "app"}
    shutil.rmtree(tmp_path / "runs")
    wheel(index, "iniconfig", "2.1.0", body="import os\n")
    code, said = run(tmp_path)
    assert (code != 0, "DO NOT MATCH THE HASHES" in said, "iniconfig==2.1.0" in said) == (True, True, True)
    for named in ("iniconfig", "all"):
        shutil.rmtree(tmp_path / "runs")
        code, said = run(tmp_path, RECIPEC_UNHASHED=named)
        assert (code, "has 2.1.0" in said) == (0, True), said


def test_every_shipped_pin_has_hashes() -> None:
    for name in (*env_command.shipped(), *ADDED):
        read = Pins.read((FOLDER / "environments" / f"{name}.txt").read_text(encoding="utf-8"))
        assert set(read.hashes) == {*read.lines, *read.cuda}, name
        assert all(len(one) == 64 for hashes in read.hashes.values() for one in hashes), name
        libraries = [line for line in (*read.lines, *read.cuda) if line.startswith("nvidia-")]
        assert bool(read.version("torch")) == bool(libraries), name  # for the build for CUDA, which is PyPI's


def test_torch_of_a_machine_without_a_gpu_is_known_for_each_python() -> None:
    hashes = Pins.read(pins("trl-1.16.0")).hashes["torch==2.13.0"]
    cpu = {  # of download.pytorch.org/whl/cpu, x86_64: Python 3.11, 3.12, 3.13
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
        "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
        "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
    }
    assert cpu < set(hashes)


def test_the_cpu_build_is_asked_for_by_its_whole_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "has_nvidia", lambda: False)
    read = Pins.read(pin("torch", "1.0", NONE))
    _, files = install.install_steps(tmp_path / "e", read, install.PipSettings(), {}, None, running())
    assert files[tmp_path / "e.torch.txt"] == pin("torch", "1.0+cpu", NONE)
    _, files = install.install_steps(
        tmp_path / "e", read, install.PipSettings(), {"RECIPEC_UNHASHED": "torch"}, None, running()
    )
    assert files[tmp_path / "e.pins.txt"] == "torch==1.0\n"
