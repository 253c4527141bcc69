"""The command `recipe` run in the tests' own process, which saves its start; `test_command_line.py` runs it as one."""

import contextlib
import gc
import io
from pathlib import Path
from subprocess import CompletedProcess

from recipec.cli import main

ROOT = Path(__file__).parents[1]


def recipe(*arguments: str, cwd: Path = ROOT) -> "CompletedProcess[str]":
    """Run the command in a folder; return its exit code and what it said."""
    out, err, thresholds = io.StringIO(), io.StringIO(), gc.get_threshold()
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    except SystemExit as ended:  # `--help`
        code = int(ended.code or 0)
    finally:
        gc.set_threshold(*thresholds)  # which the command sets for a process that is short
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
