"""The machine that a run is recorded with."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from fake_build import make, recorded, run_here

from recipec.engine.machine import gpus, machine


def test_it_is_named_as_it_is() -> None:
    found = json.loads(json.dumps(machine()))
    assert found["host"] == os.uname().nodename
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0.1
    assert found.keys() == {"host", "system", "cpu", "cores", "memory_gib", "gpus"}


def answers(text: str) -> tuple[str, ...]:
    return sys.executable, "-c", f"print({text!r})"


def test_gpus_are_those_that_the_driver_names() -> None:
    two = "NVIDIA H200, 143771, 575.57.08\nNVIDIA H200, 143771, 575.57.08\n\nNo devices were found"
    assert gpus(answers(two)) == [{"name": "NVIDIA H200", "memory_gib": 140.4, "driver": "575.57.08"}] * 2
    assert gpus(answers("NVIDIA-SMI has failed")) == []
    assert gpus(("no-such-program",)) == []
    assert gpus((sys.executable, "-c", "raise SystemExit(9)")) == []


def test_a_run_records_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path, train="exit 7")
    run_here()
    assert recorded("run-started")["machine"]["host"] == os.uname().nodename
    assert recorded("run-started")["findings"] == []
