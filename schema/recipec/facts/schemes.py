"""Schemes of post-training quantisation: bits, formats, and the GPUs that compute in them."""

from functools import cache
from typing import Literal, NamedTuple

from recipec.facts import FOLDER
from recipec.source import Source, is_mapping, plain
from recipec.yaml_reader import read_text


class Scheme(NamedTuple):
    """What a scheme makes of weights and activations: bits of one value, whole or floating numbers.

    `groups`: weights share scales in groups that a recipe may choose. `reads`: rounding needs rows. vLLM serves it on GPUs of
    compute capability × 10 from `least` on and before `below`, and computes in it from `full` on. `preset` is the name that
    compressed-tensors has for all of it; `block` are the weights that share a scale where a recipe cannot choose.
    """

    weights: int
    activations: int
    number: Literal["whole", "floating"]
    groups: bool
    reads: bool
    least: int
    full: int
    below: int | None
    preset: str | None
    block: int | None

    def served(self, sm: int) -> bool:
        """Return whether vLLM serves it on a GPU of a compute capability × 10."""
        return self.least <= sm and self._before(sm)

    def computed(self, sm: int) -> bool:
        """Return whether vLLM computes in it on a GPU of a compute capability × 10."""
        return self.full <= sm and self._before(sm)

    def _before(self, sm: int) -> bool:
        return self.below is None or sm < self.below


@cache
def schemes() -> dict[str, Scheme]:
    """Return the schemes by name."""
    rows = plain(read_text(Source("schemes.yaml", (FOLDER / "schemes.yaml").read_text(encoding="utf-8"))))
    assert is_mapping(rows)
    return {str(name): Scheme(**row) for name, row in rows.items()}
