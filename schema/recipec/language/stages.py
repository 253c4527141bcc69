"""`trainer`, `script` and `stages`: which system trains, and courses of several stages."""

from typing import Literal

from pydantic import Field

from recipec.language.base import Count, Section, StageName, Start, Text, example
from recipec.language.benchmark import Benchmark
from recipec.language.data import Data, DataSource
from recipec.language.evaluate import Evaluate
from recipec.language.model import Adapter, Model
from recipec.language.platform import Parallel, Share
from recipec.language.quantize import Quantize
from recipec.language.serve import Serve
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

    path: Text = Field(pattern=r"^[^-]", description="Python file, relative to the folder in which you run.")
    launcher: Literal["accelerate", "torchrun", "deepspeed", "ray"] = Field(
        default="accelerate", description="What starts its processes."
    )
    arguments: dict[str, str | int | float | bool] = Field(
        default={},
        description="Its command line: `{learning-rate: 1e-4}` becomes `--learning-rate 0.0001`; true becomes a bare flag, false nothing. `${plan:train.batch.micro}` takes a value of the plan, `${file:ds_config.json}` the path of an emitted file.",
    )


class StageScript(Section):
    """Your own program between two stages, and what it makes in the folder of its stage."""

    model_config = example(
        {
            "path": "filter.py",
            "makes": "rows",
            "format": "preference",
            "arguments": {"rows": "'${plan:pairs.rows}'", "to": "'${plan:combined.output}/rows.jsonl'"},
        }
    )

    path: Text = Field(pattern=r"^[^-]", description="Python file, relative to the folder in which you run.")
    makes: Literal["rows", "model", "adapter", "files"] = Field(
        default="files",
        description="What is there when it has run: rows that a stage may train on, a model with its tokenizer, an adapter over what it starts from, or files that no stage of another kind takes.",
    )
    format: (
        Literal["text", "chat", "instruction", "completion", "preference", "unpaired-preference", "prompt"] | None
    ) = Field(default=None, description="rows: their format. Required by rows.")
    file: Text | None = Field(
        default=None,
        pattern=r"^[^/.][^/]*\.(jsonl|json|parquet|csv)$",
        description="rows: their file in the folder of the stage. Default: rows.jsonl.",
    )
    arguments: dict[str, str | int | float | bool] = Field(
        default={},
        description="Its command line, as in script.arguments. `${plan:kept.output}` is the folder of a stage, this one or one before, `${plan:pairs.rows}` the rows that one made, `${plan:kept.model.path}` what this one starts from. It waits for the stages that it names.",
    )
    reads: list[Text] = Field(
        default=[], description="Files that it reads beside, so that it runs again where they change."
    )
    launcher: Literal["python", "torchrun"] = Field(
        default="python", description="What starts it: one process, or one for each GPU."
    )


class Merge(Section):
    """Several adapters of one base, combined by weight and merged into it, by PEFT."""

    model_config = example({"adapters": {"maths": 0.6, "korean": 0.4}, "how": "ties", "density": 0.5})

    adapters: dict[StageName, float] = Field(
        min_length=1, description="Stages that leave an adapter → the weight of each, such as {sft: 0.7, dpo: 0.3}."
    )
    how: Literal[
            "linear", "svd", "cat", "ties", "ties_svd", "dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd",
            "magnitude_prune", "magnitude_prune_svd",
        ] = Field(default="linear", description="How they are combined, as PEFT's add_weighted_adapter names it; only cat and the svd methods accept different ranks.")  # fmt: skip
    density: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of values that ties, dare and magnitude_prune keep. Required by them.",
    )
    majority: Literal["total", "frequency"] | None = Field(
        default=None, description="ties: signs are elected by the sum of values, or by their number. Default: total."
    )
    precision: Literal["bf16", "fp16", "fp32"] | None = Field(
        default=None, description="Number format of the merged weights. Default: that of the training's computation."
    )


class Generate(Section):
    """Rows that a model writes: answers to prompts, sampled as `rollout` says, judged by `rewards` where there are any."""

    model_config = example({"prompts": [{"path": "data/questions.jsonl", "format": "prompt"}], "batch_size": 16})

    prompts: list[DataSource] = Field(min_length=1, description="What is asked: sources of format prompt.")
    makes: Literal["chat", "preference"] = Field(
        default="chat",
        description="Rows that are made: conversations, or pairs of the best and the worst answer to a prompt.",
    )
    keep: Literal["all", "best"] | None = Field(
        default=None,
        description="chat: every answer, or the best of each prompt. Default: best where there are rewards, else all.",
    )
    min_reward: float | None = Field(
        default=None, description="Least reward of an answer that is kept, and of one that is chosen. Default: any."
    )
    margin: float | None = Field(
        default=None, gt=0, description="preference: least difference of the two rewards. Default: any difference."
    )
    keep_truncated: bool = Field(
        default=False, description="Keep answers too that rollout.max_new_tokens cut off before their end."
    )
    batch_size: Count = Field(default=8, description="Prompts per forward pass of one process.")


class Stage(Section):
    """One stage: a training; with `merge` a merge, with `quantize` fewer bits, with `serve` a server, with `benchmark` its speed, with `generate` rows, with `script` your program, with `evaluate` scores.

    Keys that it does not set are taken from the recipe, but for `evaluate`.
    """

    model_config = example({"name": "long", "model": {"max_length": 16384}, "train": {"epochs": 1}})

    name: StageName = Field(description="Name of the stage, such as sft; evaluate.models names it.")
    start_from: Start | None = Field(
        default=None,
        description="Stage whose result is trained further, asked or evaluated, `NAME@best` for its best checkpoint (evaluate.when), or `base` for the recipe's own model. Default: the one before, else the model.",
    )
    parent_adapter: Literal["merge", "stack", "continue"] | None = Field(
        default=None,
        description="If start_from leaves an adapter: merge it into its base first; stack a new one on it, which makes one adapter of both; or continue training it. Required in that case.",
    )
    merge: Start | Merge | None = Field(
        default=None,
        description="Makes this a merge: the stage whose adapter is merged into its base, or several by weight.",
    )
    quantize: Quantize | None = Field(default=None, description="Makes this the model of start_from in fewer bits.")
    serve: Serve | None = Field(
        default=None, description="Makes this a server for start_from, which no other stage waits for."
    )
    benchmark: Benchmark | None = Field(
        default=None,
        description="Makes this a measurement of how fast the server of start_from answers, which no other stage waits for.",
    )
    generate: Generate | None = Field(default=None, description="Makes this rows that a model writes.")
    script: StageScript | None = Field(default=None, description="Makes this a program of your own.")
    evaluate: Evaluate | None = Field(
        default=None, description="Makes this an evaluation of start_from, which no other stage waits for."
    )
    model: Model | None = Field(default=None, description="Keys of the model that differ, such as max_length.")
    adapter: Adapter | None = Field(default=None, description="Adapter of this stage.")
    data: Data | None = Field(default=None, description="Data of this stage.")
    trainer: Trainer | None = Field(default=None, description="The system that trains this stage.")
    train: Train | None = Field(default=None, description="Training of this stage.")
    rollout: Rollout | None = Field(default=None, description="Sampling in reinforcement learning.")
    rewards: list[Reward] | None = Field(default=None, description="Reward functions.")
    parallel: Parallel | None = Field(default=None, description="How this stage is split over GPUs.")
    hardware: Share | None = Field(
        default=None, description="What this stage takes of the declared machine. Default: all."
    )
