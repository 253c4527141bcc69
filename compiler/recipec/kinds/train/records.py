"""What a training consists of: the body of a stage of kind `train`, section by section."""

from __future__ import annotations

from typing import Any, Literal

from recipec.plan import Hardware, Precision, Record, Track

Method = Literal[
    "pretrain", "sft", "dpo", "ipo", "orpo", "kto", "simpo", "cpo", "reward", "grpo", "rloo", "ppo"
]  # fmt: skip


Format = Literal["bf16", "fp16", "fp32", "int8", "nf4", "fp4"]


class Model(Record, frozen=True):
    """The model of a stage. `path` is a hub name or a folder; `load_in` is the format in which its weights are kept.

    `template` names the chat template that renders rows, the tokenizer's own too, as the facts have it; None where none
    renders any, or it is not known.

    `turn_end` is the token with which the chat template ends an answer, where rows are rendered by it and the tokenizer's
    EOS token is another one, or not known. `new_tokens` are the markers of the template that the tokenizer lacks.
    """

    path: str
    revision: str | None
    max_length: int
    load_in: Format
    double_quant: bool
    attention: str
    tokenizer: str
    chat_template: str
    chat_template_file: str | None
    template: str | None
    special_tokens: dict[str, str]
    turn_end: str | None
    new_tokens: tuple[str, ...]
    trust_remote_code: bool
    resize_embeddings: bool


class Adapter(Record, frozen=True):
    """A PEFT adapter. LoRA's update is scaled by alpha / rank, or alpha / √rank with rslora.

    `rank` and `alpha` are 0 and `virtual_tokens` is 0 for kinds that have none; `options` are further PEFT fields.
    """

    type: str
    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    target_pattern: str | None
    also_train: tuple[str, ...]
    dora: bool
    rslora: bool
    init: str
    lora_plus_ratio: float | None
    virtual_tokens: int
    options: dict[str, Any]
    start_from: str | None
    merge: bool


class DataSource(Record, frozen=True):
    """One source of rows; `columns` names every standard column of its format.

    `turns`: the rows are turns that the chat template renders; else they are text that is trained on as it is. `system` is
    the system prompt of rows that have none of their own.
    """

    path: str | None
    hub: str | None
    subset: str | None
    split: str
    revision: str | None
    format: str
    columns: dict[str, str]
    roles: dict[str, tuple[str, ...]]
    system: str | None
    weight: int
    turns: bool


class Data(Record, frozen=True):
    """The data of a training stage. `holdout` is a fraction below 1, or a number of rows, or 0."""

    train: tuple[DataSource, ...]
    validation: tuple[DataSource, ...]
    holdout: float | int
    packing: bool
    train_on: Literal["assistant", "all"]
    shuffle: bool
    group_by_length: bool
    workers: int
    streaming: bool
    cache: str


class Batch(Record, frozen=True):
    """Batch algebra in sequences: total = micro × accumulation × data_parallel."""

    micro: int
    accumulation: int
    data_parallel: int
    total: int


class Length(Record, frozen=True):
    """How long to train: passes over the data, or optimiser steps."""

    unit: Literal["epochs", "steps"]
    amount: float | int


class Optimizer(Record, frozen=True):
    """Optimiser and schedule. `warmup` and `decay` are a fraction below 1 of all steps, or a number of steps.

    `learning_rate` is None only where a script of the user trains.
    """

    name: str
    learning_rate: float | None
    weight_decay: float
    beta1: float
    beta2: float
    epsilon: float
    max_grad_norm: float
    scheduler: str
    min_lr_ratio: float
    cycles: int
    decay: float | int
    warmup: float | int
    embedding_learning_rate: float | None
    neftune_alpha: float | None


class Objective(Record, frozen=True):
    """What a preference or reinforcement method optimises; a leaf that the method does not know is 0 or None.

    `beta` is the pull towards the reference model in each method's own sense (see the language).
    """

    beta: float
    loss: str | None
    label_smoothing: float
    margin: float
    sft_weight: float
    desirable_weight: float
    undesirable_weight: float


class Reference(Record, frozen=True):
    """A model that stays as it is, and whose likelihoods a preference method compares with: weights, and an adapter over them."""

    path: str
    revision: str | None
    adapter: str | None


class Rollout(Record, frozen=True):
    """How completions are sampled and reused. Lengths in tokens; `engines` None: they share the trainer's GPUs."""

    completions: int
    max_new_tokens: int
    temperature: float
    top_p: float
    iterations: int
    clip: float
    clip_high: float
    scale_rewards: Literal["group", "batch", "none"]
    mask_truncated: bool
    engine: Literal["hf", "vllm"]
    engines: int | None
    tensor_parallel: int
    gpu_memory_share: float
    critic_learning_rate: float
    gae_lambda: float
    discount: float


class Reward(Record, frozen=True):
    """One reward function; only the leaves of its type are not None."""

    type: Literal["exact", "regex", "length", "language", "model", "remote", "python"]
    weight: float
    pattern: str | None
    max_words: int | None
    language: str | None
    path: str | None
    function: str | None
    url: str | None


class Script(Record, frozen=True):
    """A training script of the user. `arguments` are its command line, with `${plan:…}` still in them."""

    path: str
    launcher: Literal["accelerate", "torchrun", "deepspeed", "ray"]
    arguments: dict[str, Any]


class Numerics(Record, frozen=True):
    """Precision of the computation, and what trades time for memory."""

    precision: Precision
    gradient_checkpointing: bool
    liger_kernel: bool
    torch_compile: bool


class Parallel(Record, frozen=True):
    """Sharding and offload of one stage.

    `context_parallel` processes share each sequence, `tensor_parallel` each layer; together they are one data-parallel
    process of the batch. `bucket_size` and `nvme_buffer` are in elements: how many gradients are reduced together, and how
    large a piece of the weights is read from NVMe at once (None where they are not there).
    """

    strategy: Literal["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]
    context_parallel: int
    tensor_parallel: int
    optimizer_offload: Literal["none", "cpu", "nvme"]
    parameter_offload: Literal["none", "cpu", "nvme"]
    nvme_path: str | None
    reshard_after_forward: bool
    bucket_size: int
    nvme_buffer: int | None


class Watch(Record, frozen=True):
    """Checkpoints, validation and logs. Steps, or `epoch`.

    Validation also after a fraction below 1 of all steps; `never` without data for it, or where it is only kept back.
    """

    save_every: int | Literal["epoch"]
    save_keep: int | Literal["all"]
    save_only_model: bool
    evaluate_every: int | float | Literal["epoch", "never"]
    early_stopping: int | None
    log_every: int


class Train(Record, frozen=True):
    """One training. `trainer` and `release` say which system does it, and decide nothing else here.

    `name` is that of its stage, `output` the folder that it writes. Where there is no `reference`, a method that compares
    with one takes what the training starts from: the weights, with the adapter that is continued.
    """

    name: str
    trainer: str
    release: str
    method: Method
    seed: int
    output: str
    model: Model
    adapter: Adapter | None
    data: Data
    batch: Batch
    length: Length
    optimizer: Optimizer
    numerics: Numerics
    parallel: Parallel
    watch: Watch
    track: Track
    hardware: Hardware
    objective: Objective | None
    reference: Reference | None
    rollout: Rollout | None
    rewards: tuple[Reward, ...]
    script: Script | None
