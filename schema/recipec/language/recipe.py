"""The whole recipe, version 1."""

from typing import Annotated, Any, Literal

from pydantic import Field

from recipec.language.base import Name, Section, Text, example
from recipec.language.data import Data
from recipec.language.evaluate import Evaluate, Track
from recipec.language.model import Adapter, Model
from recipec.language.platform import Hardware, Launch, Parallel
from recipec.language.stages import Script, Stage, Trainer
from recipec.language.train import Reward, Rollout, Train

RawKeys = Annotated[dict[str, Any], Field()]


class Overrides(Section):
    """Raw keys of a tool, merged over what the compiler emits and checked against what the tool accepts."""

    model_config = example({"axolotl": {"dataloader_prefetch_factor": 4}})

    axolotl: Annotated[RawKeys, Field(description="Keys of the Axolotl configuration.")] = {}
    trl: Annotated[RawKeys, Field(description="Keys of TRL's configuration file.")] = {}
    llamafactory: Annotated[RawKeys, Field(description="Keys of the LLaMA-Factory configuration.")] = {}
    unsloth: Annotated[RawKeys, Field(description="Keys of the Unsloth configuration.")] = {}
    openrlhf: Annotated[RawKeys, Field(description="Options of OpenRLHF, without the leading dashes.")] = {}
    deepspeed: Annotated[RawKeys, Field(description="Keys of ds_config.json.")] = {}
    accelerate: Annotated[RawKeys, Field(description="Keys of the accelerate configuration.")] = {}
    lm_eval: Annotated[RawKeys, Field(description="Keys of the lm-eval run configuration.")] = {}


class Recipe(Section):
    """One recipe: a model, its data, how it is trained, where it runs, and how it is evaluated."""

    # `extends`, `profiles` and `variables` are gone by the time a recipe is bound: `compose` makes one flat tree of them.

    recipe: Annotated[Literal[1], Field(description="Version of the recipe language.")]
    name: Annotated[
        Name,
        Field(description="Name of the recipe and of its folder: lower-case letters, digits, `.`, `_`, `-`."),
    ]
    extends: Annotated[
        Text | list[Text] | None,
        Field(description="Recipe files that this one is merged over; paths are relative to the folder of this file."),
    ] = None
    variables: Annotated[
        dict[str, str | int | float | bool],
        Field(description="Values that text refers to as `${var:NAME}`; `--var NAME=VALUE` changes one."),
    ] = {}
    description: Annotated[Text | None, Field(description="Free text about the recipe, for people.")] = None
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Seed of everything random.")] = 42
    model: Annotated[Model, Field(description="The model. Required, except with trainer: script.")] = (
        Model.model_construct()
    )
    adapter: Annotated[Adapter | None, Field(description="Train an adapter instead of all weights.")] = None
    data: Annotated[Data | None, Field(description="The data. Required by train, except with trainer: script.")] = None
    trainer: Annotated[Trainer, Field(description="The system that trains; the rest of the recipe stays the same.")] = (
        "axolotl"
    )
    versions: Annotated[
        dict[Trainer, Text],
        Field(description="Release of a tool, if not the newest known one, such as {axolotl: 0.19.0}."),
    ] = {}
    train: Annotated[Train | None, Field(description="Training.")] = None
    rollout: Annotated[Rollout, Field(description="Sampling and reuse of completions in reinforcement learning.")] = (
        Rollout.model_construct()
    )
    rewards: Annotated[list[Reward], Field(description="Reward functions of grpo, rloo and ppo.")] = []
    script: Annotated[Script | None, Field(description="Your own training script; required by trainer: script.")] = None
    stages: Annotated[
        list[Stage] | None,
        Field(
            min_length=1,
            description="Several trainings and merges in order; the keys of each stage override those of the recipe.",
        ),
    ] = None
    hardware: Annotated[Hardware, Field(description="The machine.")]
    parallel: Annotated[Parallel, Field(description="How the job is split over GPUs.")] = Parallel.model_construct()
    evaluate: Annotated[Evaluate | None, Field(description="Evaluation.")] = None
    track: Annotated[Track, Field(description="Where metrics go.")] = Track.model_construct()
    launch: Annotated[Launch, Field(description="Where the run goes.")] = Launch.model_construct()
    allow: Annotated[
        dict[Text, Text],
        Field(description="Rules to waive for this recipe, each with the reason; `recipe rules` lists them."),
    ] = {}
    overrides: Annotated[Overrides, Field(description="Raw keys of a tool, for what the language does not cover.")] = (
        Overrides.model_construct()
    )
    profiles: Annotated[
        dict[Name, dict[str, Any]],
        Field(
            description="Keys merged over the recipe by `--profile NAME`, such as {debug: {train: {epochs: null, steps: 10}}}."
        ),
    ] = {}
