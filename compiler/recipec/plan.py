"""The plan: what will happen, fully decided, in the field's words. Frozen; no back end's vocabulary.

Named tuples rather than dataclasses: a cold start makes them five times as fast (`make bench`).
`None` here means that the thing does not exist (no adapter, no revision of a local folder), never "the default".
"""

from typing import Any, Literal, NamedTuple

from recipec.source import Span

Method = Literal[
    "pretrain", "sft", "dpo", "ipo", "orpo", "kto", "simpo", "cpo", "reward", "grpo", "rloo", "ppo"
]  # fmt: skip


class Origin(NamedTuple):
    """Why a plan leaf has its value: what was read of the recipe, and the reason in words.

    `span` is the recipe line that says it outright; `reads` are the recipe paths that went into it.
    """

    kind: Literal["recipe", "command line", "rule", "default", "fact"]
    why: str
    span: Span | None = None
    reads: tuple[str, ...] = ()


class Hardware(NamedTuple):
    """The declared machine. `world` = nodes × processes per node; `host_memory_gib` is a node's, None where not given."""

    gpu: str
    device: Literal["gpu", "cpu"]
    memory_gib: int
    sm: int
    bf16: bool
    per_node: int
    nodes: int
    world: int
    host_memory_gib: int | None


class Scratch(NamedTuple):
    """Sizes of a model that starts from random weights, and its tokenizer's."""

    family: str
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    intermediate_size: int
    vocab_size: int
    tie_embeddings: bool
    max_length: int
    chat_template: str


class Model(NamedTuple):
    """The model of a stage. `path` is a hub name or a folder."""

    path: str
    revision: str | None
    max_length: int
    load_in: Literal["bf16", "fp16", "fp32", "int8", "nf4", "fp4"]
    double_quant: bool
    attention: str
    tokenizer: str
    chat_template: str
    chat_template_file: str | None
    special_tokens: dict[str, str]
    trust_remote_code: bool
    resize_embeddings: bool


class Adapter(NamedTuple):
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


class DataSource(NamedTuple):
    """One source of rows; `columns` names every standard column of its format."""

    path: str | None
    hub: str | None
    subset: str | None
    split: str
    revision: str | None
    format: str
    columns: dict[str, str]
    roles: dict[str, tuple[str, ...]]
    weight: int


class Data(NamedTuple):
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


class Batch(NamedTuple):
    """Batch algebra in sequences: total = micro × accumulation × data_parallel."""

    micro: int
    accumulation: int
    data_parallel: int
    total: int


class Length(NamedTuple):
    """How long to train: passes over the data, or optimiser steps."""

    unit: Literal["epochs", "steps"]
    amount: float | int


class Optimizer(NamedTuple):
    """Optimiser and schedule. `warmup` and `decay` are a fraction below 1 of all steps, or a number of steps.

    `learning_rate` is None only where a script of the user's own trains.
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


class Objective(NamedTuple):
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


class Rollout(NamedTuple):
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


class Reward(NamedTuple):
    """One reward function; only the leaves of its type are not None."""

    type: Literal["exact", "regex", "length", "language", "model", "remote", "python"]
    weight: float
    pattern: str | None
    max_words: int | None
    language: str | None
    path: str | None
    function: str | None
    url: str | None


class Script(NamedTuple):
    """A training script of the user's own. `arguments` are its command line, with `${plan:…}` still in them."""

    path: str
    launcher: Literal["accelerate", "torchrun", "deepspeed", "ray"]
    arguments: dict[str, Any]


class Numerics(NamedTuple):
    """Precision of the computation, and what trades time for memory."""

    precision: Literal["bf16", "fp16", "fp32"]
    gradient_checkpointing: bool
    liger_kernel: bool
    torch_compile: bool


class Parallel(NamedTuple):
    """Sharding and offload of one stage."""

    strategy: Literal["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]
    optimizer_offload: Literal["none", "cpu", "nvme"]
    parameter_offload: Literal["none", "cpu", "nvme"]
    nvme_path: str | None
    reshard_after_forward: bool
    bucket_size: int


class Watch(NamedTuple):
    """Checkpoints, validation and logs. Steps, or `epoch`; validation `never` without data for it."""

    save_every: int | Literal["epoch"]
    save_keep: int | Literal["all"]
    save_only_model: bool
    evaluate_every: int | Literal["epoch", "never"]
    early_stopping: int | None
    log_every: int


class Track(NamedTuple):
    """Where metrics go; `None` for a tracker that is not used."""

    run_name: str
    wandb_project: str | None
    wandb_entity: str | None
    mlflow_uri: str | None
    mlflow_experiment: str | None
    trackio_project: str | None
    trackio_space: str | None
    tensorboard: bool
    telemetry: bool


class InitStage(NamedTuple):
    """Makes a tokenizer from the data and a model with random weights."""

    id: str
    name: str
    seed: int
    output: str
    model: Scratch
    data: tuple[DataSource, ...]


class TrainStage(NamedTuple):
    """One training. `trainer` and `release` say which system does it, and decide nothing else here."""

    id: str
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
    rollout: Rollout | None
    rewards: tuple[Reward, ...]
    script: Script | None


class MergeStage(NamedTuple):
    """Merges an adapter into its base, by PEFT. `precision` is the number format of the merged weights."""

    id: str
    name: str
    output: str
    base: str
    revision: str | None
    adapter: str
    tokenizer: str
    precision: Literal["bf16", "fp16", "fp32"]
    trust_remote_code: bool


class Judged(NamedTuple):
    """A model that is evaluated: a folder or hub name, with the adapter laid over it.

    `chat_template`: prompts are rendered by its tokenizer's template; `template` is `none` where that is known to be
    missing.
    """

    name: str
    path: str
    revision: str | None
    adapter: str | None
    tokenizer: str
    chat_template: bool
    template: str | None


class EvaluateStage(NamedTuple):
    """One evaluation of one or more models on the same tasks."""

    id: str
    name: str
    seed: int
    output: str
    models: tuple[Judged, ...]
    tasks: tuple[str, ...]
    task_folder: str | None
    backend: Literal["hf", "vllm"]
    batch_size: int | Literal["auto"]
    few_shot: int | Literal["task"]
    limit: int | Literal["all"]
    log_samples: bool
    allow_code_execution: bool
    precision: Literal["bf16", "fp16", "fp32"]
    max_length: int
    trust_remote_code: bool
    hardware: Hardware
    track: Track


Stage = InitStage | TrainStage | MergeStage | EvaluateStage


class Plan(NamedTuple):
    """A whole run: stages in order. `variables` are environment variables of every stage."""

    name: str
    description: str | None
    hardware: Hardware
    stages: tuple[Stage, ...]
    variables: dict[str, str]


class Resolved(NamedTuple):
    """A plan and, beside it, the origin of each leaf by dotted path that starts at a stage's name (`train.batch.micro`)."""

    plan: Plan
    origins: dict[str, Origin]


def leaf(stage: Any, path: str) -> Any:
    """Return the value at a dotted path below a stage. Raises AttributeError when there is none."""
    for step in path.split("."):
        stage = (
            stage[int(step)] if step.isdecimal() else stage[step] if isinstance(stage, dict) else getattr(stage, step)
        )
    return stage
