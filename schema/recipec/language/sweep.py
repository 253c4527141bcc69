"""`sweep`: the same recipe with other values, variant by variant."""

from typing import Annotated, Any, Literal

from pydantic import Field

from recipec.language.base import Section, Text, example

MOST = 10_000  # variants of one sweep
TRIALS = 1_000  # of one search, which looks at all that there were before it chooses the next
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


class Search(Section):
    """Variants whose values are chosen one after the other, by what those before them have measured (TPE, by Optuna)."""

    model_config = example(
        {"trials": 40, "seed": 1, "over": {"train.learning_rate": {"log_uniform": [1.0e-6, 1.0e-4]}}}
    )

    trials: int = Field(ge=1, le=TRIALS, description="Variants; equal ones count once.")
    startup: int = Field(
        default=10, ge=1, le=TRIALS, description="The first so many are random, for there is nothing to go by yet."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the values.")
    over: dict[Text, Range] = Field(min_length=1, description="Path → what its value is taken from, as for random.")


class Sweep(Section):
    """Variants of the recipe: all that grid, list, random and search give, equal ones once; at most 10,000.

    Values stand at dotted paths, as `--set` takes them; `stages.dpo.train.beta` is one of the stage dpo; null removes.
    """

    model_config = example({"grid": {"train.learning_rate": [1.0e-5, 2.0e-5], "adapter.rank": [8, 16]}, "best": "loss"})

    grid: dict[Text, list[Any]] | None = Field(
        default=None, min_length=1, description="Path → values; every combination is a variant."
    )
    random: Random | None = Field(default=None, description="Random values.")
    search: Search | None = Field(
        default=None,
        description="Values chosen by results: each variant is chosen when those before it have ended, to make `best` better. With it, `list` holds variants to begin with; grid and random do not go with it.",
    )
    best: Text | None = Field(
        default=None,
        description="What marks the best variant, and what a search makes better: `loss` (the last of training; the least is best), `eval_loss` (the last of validation), a task such as gsm8k, or task/metric.",
    )
    list: Points | None = Field(
        default=None, min_length=1, description="Variants one by one: mappings of paths to values."
    )
