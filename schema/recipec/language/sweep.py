"""`sweep`: the same recipe with other values, variant by variant."""

from typing import Annotated, Any, Literal

from pydantic import Field

from recipec.language.base import Section, Text, example

MOST = 10_000  # variants of one sweep
RANGES = ("log_uniform", "uniform", "integer", "choice")
Range = dict[Literal["log_uniform", "uniform", "integer", "choice"], Annotated[list[Any], Field(min_length=1)]]
Points = list[dict[Text, Any]]


class Random(Section):
    """Variants with random values, the same for the same seed; more samples keep those that there were."""

    model_config = example(
        {"samples": 20, "seed": 1, "over": {"train.learning_rate": {"log_uniform": [1.0e-6, 1.0e-4]}}}
    )

    samples: int = Field(ge=1, le=MOST, description="Variants; equal ones count once.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the values.")
    over: dict[Text, Range] = Field(
        min_length=1,
        description="Path → what its value is taken from: {log_uniform: [1e-6, 1e-3]}, {uniform: [0, 0.5]} (three digits are kept), {integer: [1, 9]}, both ends possible, or {choice: [a, b]}.",
    )


class Sweep(Section):
    """Variants of the recipe: all that grid, list and random give, equal ones once; at most 10,000.

    Values stand at dotted paths, as `--set` takes them; `stages.dpo.train.beta` is one of the stage dpo; null removes.
    """

    model_config = example({"grid": {"train.learning_rate": [1.0e-5, 2.0e-5], "adapter.rank": [8, 16]}, "best": "loss"})

    grid: dict[Text, list[Any]] | None = Field(
        default=None, min_length=1, description="Path → values; every combination is a variant."
    )
    random: Random | None = Field(default=None, description="Random values.")
    best: Text | None = Field(
        default=None,
        description="What marks the best variant: `loss` (the last of training; the least is best), a task such as gsm8k, or task/metric.",
    )
    list: Points | None = Field(
        default=None, min_length=1, description="Variants one by one: mappings of paths to values."
    )
