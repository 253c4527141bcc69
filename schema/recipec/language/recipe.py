"""The whole recipe, version 1."""

from typing import Annotated, Any, Literal

from pydantic import Field

from recipec.language.base import Name, Section, Text, example
from recipec.language.data import Data
from recipec.language.evaluate import Evaluate, Track
from recipec.language.model import Adapter, Model
from recipec.language.platform import Hardware, Launch, Parallel
from recipec.language.train import Train

RawKeys = Annotated[dict[str, Any], Field()]


class Overrides(Section):
    """Raw keys of a tool, laid over what the compiler emits and checked against the tool's contract."""

    model_config = example({"axolotl": {"dataloader_prefetch_factor": 4}})

    axolotl: Annotated[RawKeys, Field(description="Keys of the Axolotl configuration.")] = {}
    deepspeed: Annotated[RawKeys, Field(description="Keys of ds_config.json.")] = {}
    accelerate: Annotated[RawKeys, Field(description="Keys of the accelerate configuration.")] = {}
    lm_eval: Annotated[RawKeys, Field(description="Keys of the lm-eval run configuration.")] = {}


class Recipe(Section):
    """One recipe: a model, its data, how it is trained, where it runs, and how it is judged."""

    recipe: Annotated[Literal[1], Field(description="Version of the recipe language.")]
    name: Annotated[
        Name,
        Field(description="Name of the recipe and of its folder: lower-case letters, digits, `.`, `_`, `-`."),
    ]
    description: Annotated[Text | None, Field(description="What it is for, for people.")] = None
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Seed of everything random.")] = 42
    model: Annotated[Model, Field(description="The model.")]
    adapter: Annotated[Adapter | None, Field(description="Train an adapter instead of all weights.")] = None
    data: Annotated[Data | None, Field(description="The data; needed by train.")] = None
    train: Annotated[Train | None, Field(description="Training.")] = None
    hardware: Annotated[Hardware, Field(description="The machine.")]
    parallel: Annotated[Parallel, Field(description="How the job is split over GPUs.")] = Parallel()
    evaluate: Annotated[Evaluate | None, Field(description="Evaluation.")] = None
    track: Annotated[Track, Field(description="Where metrics go.")] = Track()
    launch: Annotated[Launch, Field(description="Where the run goes.")] = Launch()
    overrides: Annotated[Overrides, Field(description="Raw keys per tool, for what the language does not say.")] = (
        Overrides()
    )
