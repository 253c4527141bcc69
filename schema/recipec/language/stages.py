"""`trainer`, `script` and `stages`: which system trains, and courses of several trainings."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Section, StageName, Text, example
from recipec.language.data import Data
from recipec.language.model import Adapter, Model
from recipec.language.platform import Parallel
from recipec.language.train import Reward, Rollout, Train

Trainer = Literal["axolotl", "trl", "llamafactory", "unsloth", "openrlhf", "script"]


class Script(Section):
    """A training script of one's own, started as it is on the declared hardware."""

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

    path: Annotated[Text, Field(description="Python file, from the folder one runs in.")]
    launcher: Annotated[
        Literal["accelerate", "torchrun", "deepspeed", "ray"], Field(description="What starts its processes.")
    ] = "accelerate"
    arguments: Annotated[
        dict[str, str | int | float | bool],
        Field(
            description="Its command line: `{learning-rate: 1e-4}` becomes `--learning-rate 0.0001`; true becomes a bare flag, false nothing. `${plan:train.batch.micro}` takes a value of the plan, `${file:ds_config.json}` the place of an emitted file."
        ),
    ] = {}


class TrainingStage(Section):
    """One training of a course. What it does not say, it takes from the recipe."""

    model_config = example({"name": "long", "model": {"max_length": 16384}, "train": {"epochs": 1}})

    name: Annotated[StageName, Field(description="Name of the stage, such as sft; evaluate.models names it.")]
    start_from: Annotated[
        StageName | None,
        Field(description="Stage whose result is trained further. Default: the one before, else the model."),
    ] = None
    parent_adapter: Annotated[
        Literal["merge", "continue"] | None,
        Field(
            description="Where start_from leaves an adapter: merge it into its base first, or go on training it. Needed then."
        ),
    ] = None
    model: Annotated[Model | None, Field(description="Words of the model that differ, such as max_length.")] = None
    adapter: Annotated[Adapter | None, Field(description="Adapter of this stage.")] = None
    data: Annotated[Data | None, Field(description="Data of this stage.")] = None
    trainer: Annotated[Trainer | None, Field(description="The system that trains this stage.")] = None
    train: Annotated[Train | None, Field(description="Training of this stage.")] = None
    rollout: Annotated[Rollout | None, Field(description="Sampling in reinforcement learning.")] = None
    rewards: Annotated[list[Reward] | None, Field(description="Reward functions.")] = None
    parallel: Annotated[Parallel | None, Field(description="How this stage is split over GPUs.")] = None
