"""Facts about the world, each row with its source: data, no code beyond reading it."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from recipec.source import Mapping, Source, plain
from recipec.yaml_reader import read_text

FOLDER = Path(__file__).parent


class Gpu(NamedTuple):
    """One GPU model; `none` stands for training on CPU."""

    name: str
    memory_gib: int
    sm: int
    bf16: bool
    bf16_tflops: int
    source: str


@cache
def gpus() -> dict[str, Gpu]:
    """Return the known GPUs by id."""
    tree = read_text(Source("hardware.yaml", (FOLDER / "hardware.yaml").read_text(encoding="utf-8")))
    assert isinstance(tree, Mapping)
    rows = plain(tree)
    assert isinstance(rows, dict)
    return {name: Gpu(name, **row) for name, row in rows.items()}  # type: ignore[arg-type]  # a test types each row
