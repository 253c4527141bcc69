"""Extract what Ray Train's ScalingConfig and RunConfig may be given."""

from __future__ import annotations

from importlib import import_module

import common
from common import Node


def build() -> dict[str, Node]:
    """Return the documents of Ray's contract, by the name of the class."""
    train = import_module("ray.train")
    return {name: common.signature(getattr(train, name).__init__) for name in ("RunConfig", "ScalingConfig")}


if __name__ == "__main__":
    common.main("ray", "ray", "ray.py", build)
