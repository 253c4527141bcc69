"""Judge `ds_config.json` files with DeepSpeed's own loader at the world size they are for.

A job: {"file": ..., "world": 4}. Keys that the loader never looks up are reported: it ignores them in silence.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from judging import Job, run


class Watched(dict[str, Any]):
    """A mapping that remembers which of its keys were looked up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for key, value in self.items():
            if isinstance(value, dict):
                dict.__setitem__(self, key, Watched(value))
        self.read: set[str] = set()
        self.whole = False

    def get(self, key: str, default: Any = None) -> Any:
        """Remember the key."""
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.whole = True  # also what a call with ** does
        return super().__iter__()

    def keys(self) -> Any:
        """Return the mapping itself, whose `in` is watched."""
        return self

    def __copy__(self) -> "Watched":
        return self

    def unread(self, path: str = "") -> Iterator[str]:
        """Yield the dotted keys that nothing asked for, below the mappings that were opened at all."""
        for key, value in dict.items(self):
            if key not in self.read and not self.whole:
                yield f"{path}{key}"
            elif isinstance(value, Watched) and value.read and key != "params":  # those go on to the algorithm
                yield from value.unread(f"{path}{key}.")


def judge(job: Job) -> list[str]:
    """Return the ignored keys. Raises whatever DeepSpeed raises."""
    config = import_module("deepspeed.runtime.config")
    utils = import_module("deepspeed.runtime.config_utils")
    text = Path(job["file"]).read_text(encoding="utf-8")
    hook = utils.dict_raise_error_on_duplicate_keys
    document = Watched(import_module("json").loads(text, object_pairs_hook=hook))
    with (
        patch.object(config.dist, "get_rank", lambda *_: 0),
        patch.object(config.dist, "get_world_size", lambda *_: job["world"]),
    ):
        loaded = config.DeepSpeedConfig(document)
    if loaded.world_size != job["world"]:
        raise ValueError(f"loaded for a world of {loaded.world_size}, not {job['world']}")
    algorithms(config, loaded)
    return list(document.unread())


def algorithms(config: Any, loaded: Any) -> None:
    """Look the optimiser and the scheduler up as the engine would. Raises AttributeError."""
    torch_optimizers = import_module("torch.optim")
    name = loaded.optimizer_name
    if name and name not in config.DEEPSPEED_OPTIMIZERS and not isinstance(getattr(torch_optimizers, name), type):
        raise AttributeError(f"torch.optim.{name} is no optimiser")
    schedules = import_module("deepspeed.runtime.lr_schedules")
    if loaded.scheduler_name and not hasattr(schedules, loaded.scheduler_name):
        getattr(import_module("torch.optim.lr_scheduler"), loaded.scheduler_name)


if __name__ == "__main__":
    run(judge)
