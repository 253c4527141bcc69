"""Runs training scripts one after another in one process (or one per rank), and writes down what they do.

    PYTHON run_loops.py FOLDER OUT CASES.json

`CASES.json` maps a script's name to its command lines. `OUT/rank0.json` gets the loss of every backward pass, and
what is printed. One process for all of them: importing torch is most of the time.
"""

import contextlib
import io
import json
import os
import runpy
import sys
from pathlib import Path

import torch


def main(folder: str, out: str, cases: str) -> None:
    rank = os.environ.get("RANK", "0")
    backward = torch.Tensor.backward
    torch.Tensor.cuda = lambda self, *_arguments, **_more: self  # there is no GPU here: stay where you are
    found = {}
    for name, command_lines in json.loads(Path(cases).read_text()).items():
        losses: list[float] = []

        def recorded(self, *arguments, losses=losses, **more):
            losses.append(self.item())
            return backward(self, *arguments, **more)

        torch.Tensor.backward = recorded
        printed = io.StringIO()
        for command_line in command_lines:
            sys.argv = [name, *command_line]
            with contextlib.redirect_stdout(printed):
                runpy.run_path(str(Path(folder) / name), run_name="__main__")
            forget()
        found[name] = {"losses": losses, "printed": printed.getvalue()}
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / f"rank{rank}.json").write_text(json.dumps(found))


def forget() -> None:
    """Let the next script begin as in a process of its own, when all have ended; the process group stays."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    accelerate = sys.modules.get("accelerate.state")
    if accelerate is not None:
        accelerate.GradientState._reset_state()
        accelerate.AcceleratorState._reset_state()


if __name__ == "__main__":
    main(*sys.argv[1:])
