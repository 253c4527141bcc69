"""Child processes: none runs without its watcher."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fake_build import wait_for

from recipec.processes import Child, Signals, alive, start_of

# Starts a child as ever, but stops where the watcher would be started, after it has told the child's number.
HELD_UP = """
import os, subprocess, sys, time
from recipec import processes

start = subprocess.Popen

def popen(command, **more):
    if command[0] != sys.executable:
        child = start(command, **more)
        print(child.pid, flush=True)
        return child
    while True:
        time.sleep(0.1)

processes.subprocess.Popen = popen
with open("log", "wb") as output:
    processes.Child(["touch", "begun"], output=output, variables=os.environ)
"""


def test_what_is_killed_before_its_watcher_is_there_never_begins(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HELD_UP], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    started = start_of(child)
    process.kill()
    process.communicate()
    wait_for(lambda: not alive(child, started))
    assert not (tmp_path / "begun").exists()


def test_a_command_gets_its_variables_and_no_input(tmp_path: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "dotted.name": "kept"}
    with (tmp_path / "log").open("wb") as output:
        child = Child(["bash", "-c", 'env; echo "read: $(cat)"'], output=output, variables=variables)
        assert child.wait(Signals(), lambda: None, lambda _number: None) == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[-1] == "read: "
    assert "dotted.name=kept" in lines
