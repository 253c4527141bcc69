"""Judge LLaMA-Factory's training YAML by both of its parsers, and the list of data beside it by its own reader.

A job: {"file": ..., "gpu": as for the other judges, "world": 8}. Read as a file, its parser refuses unknown keys but no
wrong value; the same options as a command line are refused by type and choice. GPUs and other processes are pretended.
"""

import argparse
import contextlib
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import PropertyMock, patch

from judging import Job, environment, run


class Watched(dict[str, Any]):
    """A mapping that remembers which of its keys were looked up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for key, value in self.items():
            if isinstance(value, dict):
                dict.__setitem__(self, key, Watched(value))
        self.seen: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """Remember the key."""
        self.seen.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)

    def unseen(self, path: str = "") -> Iterator[str]:
        """Yield the dotted keys that nothing asked for."""
        for key, value in dict.items(self):
            if key not in self.seen:
                yield f"{path}{key}"
            elif isinstance(value, Watched):
                yield from value.unseen(f"{path}{key}.")


def judge(job: Job) -> list[str]:
    """Return the keys of the list of data that are never read. Raises whatever LLaMA-Factory raises."""
    parser = import_module("llamafactory.hparams.parser")
    given = import_module("yaml").safe_load(Path(job["file"]).read_text(encoding="utf-8"))
    beside = Path(job["file"]).with_name("ds_config.json")
    if beside.exists():
        given["deepspeed"] = str(beside)  # as run.sh does
    with pretended(job):
        read = parser.get_train_args(given)
        parser.get_train_args([word for key, value in given.items() for word in words(key, value)])
    data = read[1]
    if data.template is not None and data.template not in import_module("llamafactory.data.template").TEMPLATES:
        raise ValueError(f"template {data.template} does not exist")
    return list(
        listed(Path(job["file"]).with_name("dataset_info.json"), [*(data.dataset or []), *(data.eval_dataset or [])])
    )


def listed(file: Path, names: list[str]) -> Iterator[str]:
    """Read the list of data as the tool does; yield what it ignores, and sets of rows that nothing names."""
    if not file.exists():
        return
    info = Watched(json.loads(file.read_text(encoding="utf-8")))
    found = import_module("llamafactory.data.parser").get_dataset_list(names, info)
    for attribute in found:
        if attribute.formatting not in import_module("llamafactory.data.converter").DATASET_CONVERTERS:
            raise ValueError(f"no formatting {attribute.formatting}")
    yield from info.unseen()


def words(key: str, value: Any) -> list[str]:
    """Return an option as words of a command line."""
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    text = [json.dumps(item) if isinstance(item, dict | bool) else str(item) for item in items]
    return [f"--{key}", *text]


def refused(_parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """Hand back what argparse would print before it exits."""
    raise ValueError(message)


@contextlib.contextmanager
def pretended(job: Job) -> Iterator[None]:
    """Pretend the declared GPU, and all processes."""
    training = import_module("transformers.training_args")
    gpu, world = job.get("gpu"), job.get("world", 1)
    sm = int(gpu["sm"].removeprefix("sm_")) if gpu else 0
    mode = training.ParallelMode.DISTRIBUTED if world > 1 else training.ParallelMode.NOT_PARALLEL
    device = import_module("torch").device("cpu")
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(argparse.ArgumentParser, "error", refused))
        stack.enter_context(environment(WORLD_SIZE=world, RANK=0, LOCAL_RANK=0) if world > 1 else environment())
        for name, value in (
            ("is_torch_bf16_gpu_available", bool(gpu and gpu["bf16"])),
            ("is_torch_tf32_available", sm >= 80),
        ):
            for module in (training, import_module("llamafactory.hparams.parser")):
                stack.enter_context(patch.object(module, name, lambda value=value: value, create=True))
        stack.enter_context(patch.object(training.TrainingArguments, "distributed_state", None, create=True))
        for name, value in (("parallel_mode", mode), ("world_size", world), ("_setup_devices", device)):
            made = PropertyMock(return_value=value)
            stack.enter_context(patch.object(training.TrainingArguments, name, made))
        yield


if __name__ == "__main__":
    run(judge)
