"""Judge OpenRLHF's command lines: its programs' own main blocks parse and check them, and nothing is trained.

The wheel alone is installed, without what it imports: none of that exists without a GPU. So whatever a program imports
is a stand-in here, except `openrlhf.utils.config`; of `train_ppo_ray` the real `train` runs on the stand-ins, with its
assertions about placement, and what it asks of Ray is counted. A job: {"file": the emitted script, "world": GPUs,
"data_parallel": the processes that hold sequences of their own}.
"""

import ast
import contextlib
import re
import subprocess
import sys
import types
from importlib.metadata import files
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

from judging import Job, run

PRINT = "\nprintf '%s\\0' \"${arguments[@]}\"\n"


class StandIn(types.ModuleType):
    """A module from which anything can be imported."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


def judge(job: Job) -> list[str]:
    """Return the options that are only abbreviations. Raises whatever the program raises, and where Ray would wait."""
    program, words = called(Path(job["file"]))
    path = next(str(f.locate()) for f in files("openrlhf") or () if f.match(f"openrlhf/cli/{program}.py"))
    asked = Asked()
    parsed, known = launched(Path(path), words, asked)
    given = [word for word in words if re.match(r"--[a-z]", word)]
    batch, micro, world = parsed.train.batch_size, parsed.train.micro_batch_size, job["world"]
    if program == "train_ppo_ray" and asked.gpus != world:
        raise ValueError(f"asks Ray for {asked.gpus} GPUs, of {world}")
    split = parsed.ds.ring_attn_size * parsed.ds.tensor_parallel_size  # as utils/deepspeed/deepspeed.py divides
    holders = [processes // split for processes in asked.groups or [world]]
    if set(holders) - {job.get("data_parallel", holders[0])}:
        raise ValueError(f"groups of {holders} data-parallel processes, not {job['data_parallel']}")
    for processes in holders:
        if batch % (micro * processes):  # DeepSpeed's own assertion about each engine, in _batch_assertion
            raise ValueError(f"batch {batch} is not a multiple of micro batch {micro} × {processes} processes")
    return [word.removeprefix("--") for word in given if word not in known]


def called(file: Path) -> tuple[str, list[str]]:
    """Return the program that a script runs, and its arguments as bash hands them on."""
    text = file.read_text(encoding="utf-8")
    head, _, command = text.partition("\n)\n")
    program = re.search(r"openrlhf\.cli\.(\w+) ", command)
    if program is None:
        raise ValueError("no program of OpenRLHF is called")
    script = head.replace("${BASH_SOURCE[0]}", str(file)) + "\n)" + PRINT
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return program[1], done.stdout.split("\0")[:-1]


class Asked:
    """What a driver asks of Ray: GPUs in all, and the processes of each group of a model."""

    def __init__(self) -> None:
        self.gpus = 0
        self.groups: list[int] = []

    def bundles(self, bundles: list[dict[str, int]], **_: object) -> MagicMock:
        """Stand for `placement_group`."""
        self.gpus += sum(bundle["GPU"] for bundle in bundles)
        return MagicMock()

    def group(self, nodes: int, gpus: int, _kind: object, pg: object = None, **_: object) -> MagicMock:
        """Stand for `RayActorGroup`, which takes GPUs of its own where it is given no placement."""
        self.groups.append(nodes * gpus)
        self.gpus += 0 if pg else nodes * gpus
        return MagicMock()

    def engines(self, count: int, each: int, *rest: object, **_: object) -> MagicMock:
        """Stand for `create_vllm_engines`; the seventh of the rest is the placement it shares."""
        self.gpus += 0 if rest[6] else count * each
        return MagicMock()


def launched(path: Path, words: list[str], asked: Asked) -> tuple[Any, set[str]]:
    """Run a program with these words up to the training; return its final arguments and the options that it knows."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    online = path.stem == "train_ppo_ray"
    seen: list[Any] = []
    names: dict[str, Any] = {"__name__": "__main__"}
    with stand_ins(tree, path), patch.object(sys, "argv", [path.stem, *words]):
        main = tree.body.pop()
        exec(compile(tree, str(path), "exec"), names)
        train = names["train"]
        names |= {"placement_group": asked.bundles, "RayActorGroup": asked.group, "create_vllm_engines": asked.engines}

        def observed(args: Any) -> None:
            seen.append(args)
            if online:
                train(args)

        names["train"] = observed
        exec(compile(ast.Module([main], []), str(path), "exec"), names)
    parser = names["parser"]
    return seen[0], {option for action in parser._actions for option in action.option_strings}


@contextlib.contextmanager
def stand_ins(tree: ast.Module, path: Path) -> Any:
    """Put stand-ins in place of what a program imports beyond the standard library."""
    wanted = {"openrlhf", "openrlhf.utils", "openrlhf.trainer.ppo_trainer", "openrlhf.trainer"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            wanted.add(node.module)
    wanted = {name for name in wanted if name.split(".")[0] not in sys.stdlib_module_names} - {"openrlhf.utils.config"}
    modules = {name: StandIn(name) for name in sorted(wanted | {name.split(".")[0] for name in wanted})}
    modules["openrlhf.utils"].__path__ = [str(path.parent.parent / "utils")]
    with patch.dict(sys.modules, modules):
        yield


if __name__ == "__main__":
    run(judge)
