"""`train`: how it is trained."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, Fraction, Percent, Section, example

Optimizer = Literal[
    "adamw", "adamw_8bit", "adamw_paged", "adamw_paged_8bit", "adafactor", "sgd", "lion", "lion_8bit", "muon"
]
Scheduler = Literal["cosine", "linear", "constant", "constant_with_warmup", "cosine_with_min_lr"]


class Save(Section):
    """Checkpoints."""

    model_config = example({"every": 200, "keep": 3})

    every: Annotated[Count | Literal["epoch"], Field(description="Steps between checkpoints, or `epoch`.")] = "epoch"
    keep: Annotated[
        Count | None, Field(description="How many of the newest checkpoints stay on disk. Default: all.")
    ] = None


class Train(Section):
    """Method, batch algebra, optimiser, precision and checkpoints. Absent: nothing is trained."""

    model_config = example(
        {
            "epochs": 3,
            "batch_size": 64,
            "micro_batch_size": 4,
            "learning_rate": 2e-4,
            "warmup": "3%",
            "save": {"every": 200, "keep": 3},
        }
    )

    method: Annotated[Literal["sft", "pretrain", "dpo"], Field(description="Training method.")] = "sft"
    epochs: Annotated[
        float | None,
        Field(gt=0, le=10000, description="Passes over the data. At most one of epochs, steps. Default: 1."),
    ] = None
    steps: Annotated[Count | None, Field(description="Optimiser steps.")] = None
    batch_size: Annotated[
        Count | None,
        Field(
            description="Sequences per optimiser step over the whole job. Default: micro_batch_size × gradient_accumulation × data-parallel world."
        ),
    ] = None
    micro_batch_size: Annotated[Count | None, Field(description="Sequences per GPU and forward pass. Default: 1.")] = (
        None
    )
    gradient_accumulation: Annotated[
        Count | None,
        Field(description="Forward passes per optimiser step. Default: derived from batch_size, else 1."),
    ] = None
    learning_rate: Annotated[float, Field(gt=0, lt=10, description="Peak learning rate.")]
    optimizer: Annotated[Optimizer, Field(description="Optimiser.")] = "adamw"
    weight_decay: Annotated[float, Field(ge=0, lt=10, description="Decoupled weight decay.")] = 0.0
    beta1: Annotated[float, Field(ge=0, lt=1, description="Adam β₁.")] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1, description="Adam β₂.")] = 0.999
    epsilon: Annotated[float, Field(gt=0, lt=1, description="Adam ε.")] = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0, le=1e6, description="Gradient clipping by norm; 0 turns it off.")] = 1.0
    scheduler: Annotated[Scheduler, Field(description="Learning-rate schedule after warmup.")] = "cosine"
    min_lr_ratio: Annotated[
        Fraction | None,
        Field(description="Floor of the schedule, as a fraction of learning_rate; cosine_with_min_lr only."),
    ] = None
    warmup: Annotated[
        Percent | Annotated[int, Field(ge=0)],
        Field(description="Warmup: `3%` of all steps, or a number of steps."),
    ] = 0
    precision: Annotated[
        Literal["bf16", "fp16", "fp32"] | None,
        Field(
            description="Number format of the computation (mixed precision). Default: bf16 where the hardware has it, fp16 on older GPUs, fp32 on CPU."
        ),
    ] = None
    gradient_checkpointing: Annotated[
        bool | None, Field(description="Recompute activations instead of keeping them. Default: true on GPU.")
    ] = None
    torch_compile: Annotated[bool, Field(description="Compile the model with torch.compile.")] = False
    beta: Annotated[float | None, Field(gt=0, le=100, description="DPO β. Default: 0.1 with dpo.")] = None
    save: Annotated[Save, Field(description="Checkpoints.")] = Save()
    evaluate_every: Annotated[
        Count | Literal["epoch"] | None,
        Field(description="Steps between validations, or `epoch`. Default: epoch where there is validation data."),
    ] = None
    log_every: Annotated[Count, Field(description="Steps between log lines.")] = 1
