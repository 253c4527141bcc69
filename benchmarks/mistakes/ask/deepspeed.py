"""Ask DeepSpeed: its loader, on the file, at the world size that it is for."""

from importlib import import_module
from unittest.mock import patch

from asking import Job, run


def validate(job: Job) -> None:
    """Load it. Raises whatever DeepSpeed raises."""
    config = import_module("deepspeed.runtime.config")
    with (
        patch.object(config.dist, "get_rank", lambda *_: 0),
        patch.object(config.dist, "get_world_size", lambda *_: job["world"]),
    ):
        config.DeepSpeedConfig(job["file"])


if __name__ == "__main__":
    run(validate)
