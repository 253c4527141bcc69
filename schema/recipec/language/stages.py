"""`trainer`, `script` and `stages`: which system trains, and courses of several stages."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Fraction, Section, StageName, Text, example
from recipec.language.data import Data
from recipec.language.model import Adapter, Model
from recipec.language.platform import Parallel
from recipec.language.train import Reward, Rollout, Train

Trainer = Literal["axolotl", "trl", "llamafactory", "unsloth", "openrlhf", "script"]


class Script(Section):
    """Your own training script, started as it is on the declared hardware."""

    model_config = example(
        {
            "path": "train.py",
            "arguments": {
                "output-dir": "'${plan:train.output}'",
                "batch-size": "'${plan:train.batch.micro}'",
                "learning-rate": "'${plan:train.optimizer.learning_rate}'",
            },
        }
    )

    path: Annotated[Text, Field(description="Python file, relative to the folder in which you run.")]
    launcher: Annotated[
        Literal["accelerate", "torchrun", "deepspeed", "ray"], Field(description="What starts its processes.")
    ] = "accelerate"
    arguments: Annotated[
        dict[str, str | int | float | bool],
        Field(
            description="Its command line: `{learning-rate: 1e-4}` becomes `--learning-rate 0.0001`; true becomes a bare flag, false nothing. `${plan:train.batch.micro}` takes a value of the plan, `${file:ds_config.json}` the path of an emitted file."
        ),
    ] = {}


class Merge(Section):
    """Several adapters of one base, combined by weight and merged into it, by PEFT."""

    model_config = example({"adapters": {"maths": 0.6, "korean": 0.4}, "how": "ties", "density": 0.5})

    adapters: Annotated[
        dict[StageName, float],
        Field(
            min_length=1, description="Stages that leave an adapter → the weight of each, such as {sft: 0.7, dpo: 0.3}."
        ),
    ]
    how: Annotated[
        Literal[
            "linear", "svd", "cat", "ties", "ties_svd", "dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd",
            "magnitude_prune", "magnitude_prune_svd",
        ],
        Field(description="How they are combined, as PEFT's add_weighted_adapter names it; only cat and the svd methods accept different ranks."),
    ] = "linear"  # fmt: skip
    density: Annotated[
        Fraction | None,
        Field(description="Share of values that ties, dare and magnitude_prune keep. Required by them."),
    ] = None
    majority: Annotated[
        Literal["total", "frequency"] | None,
        Field(description="ties: signs are elected by the sum of values, or by their number. Default: total."),
    ] = None
    precision: Annotated[
        Literal["bf16", "fp16", "fp32"] | None,
        Field(description="Number format of the merged weights. Default: that of the training's computation."),
    ] = None


class Stage(Section):
    """One stage: a training, or with `merge` a merge. Keys that it does not set are taken from the recipe."""

    model_config = example({"name": "long", "model": {"max_length": 16384}, "train": {"epochs": 1}})

    name: Annotated[StageName, Field(description="Name of the stage, such as sft; evaluate.models names it.")]
    start_from: Annotated[
        StageName | None,
        Field(
            description="Stage whose result is trained further, or `base` for the recipe's own model. Default: the one before, else the model."
        ),
    ] = None
    parent_adapter: Annotated[
        Literal["merge", "continue"] | None,
        Field(
            description="If start_from leaves an adapter: merge it into its base first, or continue training it. Required in that case."
        ),
    ] = None
    merge: Annotated[
        StageName | Merge | None,
        Field(description="Makes this a merge: the stage whose adapter is merged into its base, or several by weight."),
    ] = None
    model: Annotated[Model | None, Field(description="Keys of the model that differ, such as max_length.")] = None
    adapter: Annotated[Adapter | None, Field(description="Adapter of this stage.")] = None
    data: Annotated[Data | None, Field(description="Data of this stage.")] = None
    trainer: Annotated[Trainer | None, Field(description="The system that trains this stage.")] = None
    train: Annotated[Train | None, Field(description="Training of this stage.")] = None
    rollout: Annotated[Rollout | None, Field(description="Sampling in reinforcement learning.")] = None
    rewards: Annotated[list[Reward] | None, Field(description="Reward functions.")] = None
    parallel: Annotated[Parallel | None, Field(description="How this stage is split over GPUs.")] = None
