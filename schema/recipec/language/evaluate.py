"""`evaluate` and `track`: what is measured, and where the numbers go."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, Name, Section, Text, example


class Evaluate(Section):
    """Benchmarks of lm-evaluation-harness. Absent: nothing is evaluated."""

    model_config = example({"tasks": ["gsm8k", "mmlu"], "models": ["base", "tuned"], "few_shot": 5})

    tasks: Annotated[list[Text], Field(min_length=1, description="Task or group names, such as gsm8k, kobest.")]
    task_folder: Annotated[Text | None, Field(description="Folder with your own task files.")] = None
    models: Annotated[
        list[Name] | None,
        Field(
            min_length=1,
            description="Models that are evaluated, side by side: base, tuned (the last result), or names of stages. Default: base and tuned, or base and every stage.",
        ),
    ] = None
    backend: Annotated[Literal["hf", "vllm"], Field(description="Inference engine.")] = "hf"
    batch_size: Annotated[Count | Literal["auto"], Field(description="Requests per forward pass.")] = "auto"
    few_shot: Annotated[
        int | None, Field(ge=0, le=1000, description="Examples in the prompt. Default: the task's own.")
    ] = None
    limit: Annotated[Count | None, Field(description="Rows per task; for a trial, not for a result.")] = None
    chat_template: Annotated[
        bool | None,
        Field(description="Render prompts by the model's chat template. Default: true after chat or preference data."),
    ] = None
    log_samples: Annotated[bool, Field(description="Keep every prompt and answer with the scores.")] = True
    allow_code_execution: Annotated[
        bool, Field(description="Let tasks such as humaneval run code that the model wrote.")
    ] = False


class Wandb(Section):
    """Weights & Biases. The API key comes from the environment (WANDB_API_KEY)."""

    model_config = example({"project": "ko-chat", "entity": "my-team"})

    project: Annotated[Text, Field(description="Project name.")]
    entity: Annotated[Text | None, Field(description="Team or user.")] = None


class Mlflow(Section):
    """MLflow."""

    model_config = example({"tracking_uri": "http://mlflow.example:5000", "experiment": "ko-chat"})

    tracking_uri: Annotated[Text, Field(description="Tracking server or folder.")]
    experiment: Annotated[Text | None, Field(description="Experiment name.")] = None


class Trackio(Section):
    """Trackio, local or in a Space."""

    model_config = example({"project": "ko-chat", "space": "my-team/metrics"})

    project: Annotated[Text, Field(description="Project name.")]
    space: Annotated[Text | None, Field(description="Hugging Face Space, `org/name`. Default: local.")] = None


class Track(Section):
    """Where metrics go; everything is also kept in the run's own record."""

    model_config = example({"wandb": {"project": "ko-chat"}, "tensorboard": True})

    wandb: Annotated[Wandb | None, Field(description="Weights & Biases.")] = None
    mlflow: Annotated[Mlflow | None, Field(description="MLflow.")] = None
    trackio: Annotated[Trackio | None, Field(description="Trackio.")] = None
    tensorboard: Annotated[bool, Field(description="TensorBoard event files beside the checkpoints.")] = False
    telemetry: Annotated[bool, Field(description="Let the tools report usage to their makers.")] = False
