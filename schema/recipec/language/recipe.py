"""The whole recipe, version 1."""

from typing import Annotated, Any, Literal

from pydantic import Field

from recipec.language.base import Name, Section, Text, example
from recipec.language.data import Data
from recipec.language.evaluate import Evaluate, Track
from recipec.language.model import Adapter, Model
from recipec.language.platform import Hardware, Launch, Parallel
from recipec.language.stages import Script, Stage, Trainer
from recipec.language.sweep import Sweep
from recipec.language.train import Reward, Rollout, Train

RawKeys = Annotated[dict[str, Any], Field()]


class Overrides(Section):
    """Raw keys of a tool, merged over what the compiler emits and checked against what the tool accepts."""

    model_config = example({"axolotl": {"dataloader_prefetch_factor": 4}})

    axolotl: RawKeys = Field(default={}, description="Keys of the Axolotl configuration.")
    trl: RawKeys = Field(default={}, description="Keys of TRL's configuration file.")
    llamafactory: RawKeys = Field(default={}, description="Keys of the LLaMA-Factory configuration.")
    unsloth: RawKeys = Field(default={}, description="Keys of the Unsloth configuration.")
    openrlhf: RawKeys = Field(default={}, description="Options of OpenRLHF, without the leading dashes.")
    deepspeed: RawKeys = Field(default={}, description="Keys of ds_config.json.")
    accelerate: RawKeys = Field(default={}, description="Keys of the accelerate configuration.")
    lm_eval: RawKeys = Field(default={}, description="Keys of the lm-eval run configuration.")
    vllm: RawKeys = Field(default={}, description="Keys of the file that `vllm serve --config` reads.")
    gptqmodel: RawKeys = Field(default={}, description="Fields of GPTQModel's QuantizeConfig.")


class Recipe(Section):
    """One recipe: a model, its data, how it is trained, where it runs, and how it is evaluated."""

    # `extends`, `profiles` and `variables` are gone by the time a recipe is bound: `compose` makes one flat tree of them.
    # So is `sweep`: each variant is bound without it.

    recipe: Literal[1] = Field(description="Version of the recipe language.")
    name: Name = Field(description="Name of the recipe and of its folder: lower-case letters, digits, `.`, `_`, `-`.")
    extends: Text | list[Text] | None = Field(
        default=None,
        description="Recipe files that this one is merged over; paths are relative to the folder of this file.",
    )
    variables: dict[str, str | int | float | bool] = Field(
        default={}, description="Values that text refers to as `${var:NAME}`; `--var NAME=VALUE` changes one."
    )
    description: Text | None = Field(default=None, description="Free text about the recipe, for people.")
    seed: int = Field(default=42, ge=0, lt=2**32, description="Seed of everything random.")
    model: Model = Field(
        default=Model.model_construct(), description="The model. Required, except with trainer: script."
    )
    adapter: Adapter | None = Field(default=None, description="Train an adapter instead of all weights.")
    data: Data | None = Field(default=None, description="The data. Required by train, except with trainer: script.")
    trainer: Trainer = Field(
        default="axolotl", description="The system that trains; the rest of the recipe stays the same."
    )
    versions: dict[Trainer, Text] = Field(
        default={},
        description="Release of a tool, if not its default (the first in methods.md), such as {axolotl: 0.21.0}.",
    )
    train: Train | None = Field(default=None, description="Training.")
    rollout: Rollout = Field(
        default=Rollout.model_construct(), description="Sampling and reuse of completions in reinforcement learning."
    )
    rewards: list[Reward] = Field(default=[], description="Reward functions of grpo, rloo and ppo.")
    script: Script | None = Field(default=None, description="Your own training script; required by trainer: script.")
    stages: list[Stage] | None = Field(
        default=None,
        min_length=1,
        description="Several trainings, merges, generated rows and evaluations in order; the keys of each stage override those of the recipe.",
    )
    hardware: Hardware = Field(description="The machine.")
    parallel: Parallel = Field(default=Parallel.model_construct(), description="How the job is split over GPUs.")
    evaluate: Evaluate | None = Field(default=None, description="Evaluation.")
    track: Track = Field(default=Track.model_construct(), description="Where metrics go.")
    launch: Launch = Field(default=Launch.model_construct(), description="Where the run goes.")
    allow: dict[Text, Text] = Field(
        default={},
        description="Rules to waive for this recipe, each with the reason; `recipe rules` lists them.",
    )
    overrides: Overrides = Field(
        default=Overrides.model_construct(), description="Raw keys of a tool, for what the language does not cover."
    )
    sweep: Sweep | None = Field(default=None, description="Variants of the recipe, compiled and run one by one.")
    profiles: dict[Name, dict[str, Any]] = Field(
        default={},
        description="Keys merged over the recipe by `--profile NAME`, such as {debug: {train: {epochs: null, steps: 10}}}.",
    )
