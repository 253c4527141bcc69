"""`evaluate` and `track`: what is measured, and where the numbers go."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, ModelName, Section, Text, example
from recipec.language.judge import Judge


class Every(Section):
    """Checkpoints that are evaluated."""

    model_config = example({"every": 400})

    every: Count = Field(description="Steps between those that are evaluated: a multiple of train.save.every.")


class Code(Section):
    """How programs are written and run, for the tasks that run what the model wrote, such as humaneval."""

    model_config = example({"samples": 20, "temperature": 0.8, "pass_at": [1, 10]})

    tasks: list[Text] = Field(
        default=[],
        description="Further tasks whose answers are programs and whose targets are their tests, such as your own of task_folder.",
    )
    samples: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="Programs for each problem.")
    temperature: Annotated[float, Field(ge=0, le=10)] | None = Field(
        default=None, description="At 0 each is the likeliest. Default: 0 of one program, 0.8 of several."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Each token is one of the likeliest that have this share together. Default: 0.95 above temperature 0.",
    )
    max_new_tokens: Count | None = Field(default=None, description="Tokens of an answer. Default: each task's own.")
    pass_at: list[Count] | None = Field(
        default=None,
        min_length=1,
        description="The numbers k of pass@k, how likely one of k programs passes. Default: those of 1, 10 and 100 that samples allow.",
    )
    sandbox: Literal["required", "none"] = Field(
        default="required",
        description="Run programs in a sandbox of bubblewrap, or not at all; `none` runs them with your rights.",
    )
    seconds: Annotated[float, Field(gt=0, le=3600)] = Field(default=10.0, description="Time that each program has.")
    memory_gib: Annotated[float, Field(ge=0.1, le=1024)] = Field(
        default=4.0, description="Memory of each program, in GiB."
    )
    file_mib: Annotated[int, Field(ge=1, le=65536)] = Field(
        default=64, description="MiB that each program may write, into a folder in memory that goes with it."
    )
    jobs: Count | Literal["auto"] = Field(
        default="auto", description="Programs that run at once, or `auto` for one on each core."
    )


class Evaluate(Section):
    """Benchmarks, of lm-evaluation-harness in `tasks`. Absent: nothing is evaluated."""

    model_config = example({"tasks": ["gsm8k", "mmlu"], "models": ["base", "tuned"], "few_shot": 5})

    preset: Literal["open-llm-leaderboard-2", "kmmlu", "kobest", "haerae"] | None = Field(
        default=None,
        description="How published scores were measured: gives tasks, few_shot and chat_template, so that numbers can be compared.",
    )
    tasks: list[Text] = Field(
        default=[], min_length=1, description="Task or group names of lm-evaluation-harness, such as gsm8k, kobest."
    )
    judge: list[Judge] = Field(
        default=[], description="Benchmarks whose answers another model judges, such as MT-Bench and LogicKor."
    )
    task_folder: Text | None = Field(default=None, description="Folder with your own task files.")
    models: list[ModelName] | None = Field(
        default=None,
        min_length=1,
        description="Models that are evaluated, side by side: base, tuned (the last result), names of stages, or with `@best` behind it the best checkpoint of one. Default: base and tuned, or base and every stage.",
    )
    when: Literal["end", "every_checkpoint"] | Every = Field(
        default="end",
        description="Evaluate what a training leaves, and beside that every checkpoint of it, or those of some steps: `{every: 400}`. The best is then `NAME@best`.",
    )
    best: Text | None = Field(
        default=None,
        description="The task whose score says which checkpoint is the best, with a metric behind it or its first: gsm8k/exact_match. Default: the first of tasks.",
    )
    beside: bool | None = Field(
        default=None,
        description="Evaluate each checkpoint while the training goes on, on the same machine, not when it has ended. Default: true with early_stopping.",
    )
    early_stopping: Count | None = Field(
        default=None,
        description="End a training after this many evaluated checkpoints in a row without a better one.",
    )
    require: dict[Text, Text] = Field(
        default={},
        description='Scores without which the course ends here, with exit code 4: `{gsm8k: ">= base + 2pt", kmmlu/acc: "> 0.4"}`, of the last of the models. 2pt are 0.02; a metric behind the task, else its first.',
    )
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="How sure the scores must show what is required, from their standard errors; at 0.5 the scores alone decide.",
    )
    server: Literal["vllm_serve", "transformers_serve"] | None = Field(
        default=None,
        description="judge: what serves the models that are asked, where no stage does. Default: vllm_serve; on a CPU transformers_serve.",
    )
    backend: Literal["hf", "vllm"] = Field(default="hf", description="Inference engine.")
    batch_size: Count | Literal["auto"] = Field(default="auto", description="Requests per forward pass.")
    few_shot: Annotated[int, Field(ge=0, le=1000)] | Literal["task"] | None = Field(
        default=None, description="Examples in the prompt, or `task` for each task's own. Default: task."
    )
    limit: Count | Literal["all"] | None = Field(
        default=None, description="Rows per task, or `all`; fewer for a trial, not for a result. Default: all."
    )
    chat_template: bool | None = Field(
        default=None,
        description="Render prompts by the model's chat template. Default: true after chat or preference data.",
    )
    log_samples: bool = Field(default=True, description="Keep every prompt and answer with the scores.")
    allow_code_execution: bool = Field(
        default=False, description="Let tasks such as humaneval run code that the model wrote, in a sandbox."
    )
    code: Code | None = Field(default=None, description="How programs are written and run.")


class Wandb(Section):
    """Weights & Biases. The API key comes from the environment (WANDB_API_KEY)."""

    model_config = example({"project": "ko-chat", "entity": "my-team"})

    project: Text = Field(description="Project name.")
    entity: Text | None = Field(default=None, description="Team or user.")


class Mlflow(Section):
    """MLflow."""

    model_config = example({"tracking_uri": "http://mlflow.example:5000", "experiment": "ko-chat"})

    tracking_uri: Text = Field(description="Tracking server or folder.")
    experiment: Text | None = Field(default=None, description="Experiment name.")


class Trackio(Section):
    """Trackio, local or in a Space."""

    model_config = example({"project": "ko-chat", "space": "my-team/metrics"})

    project: Text = Field(description="Project name.")
    space: Text | None = Field(default=None, description="Hugging Face Space, `org/name`. Default: local.")


class Track(Section):
    """Where metrics go; everything is also kept in the run's own record."""

    model_config = example({"wandb": {"project": "ko-chat"}, "tensorboard": True})

    wandb: Wandb | None = Field(default=None, description="Weights & Biases.")
    mlflow: Mlflow | None = Field(default=None, description="MLflow.")
    trackio: Trackio | None = Field(default=None, description="Trackio.")
    tensorboard: bool = Field(default=False, description="TensorBoard event files beside the checkpoints.")
    telemetry: bool = Field(default=False, description="Let the tools report usage to their makers.")
