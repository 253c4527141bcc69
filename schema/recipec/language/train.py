"""`train`, `rollout` and `rewards`: how it is trained."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, Fraction, Percent, Section, Text, example

Method = Literal[
    "pretrain", "sft", "dpo", "ipo", "orpo", "kto", "simpo", "cpo", "reward", "grpo", "rloo", "ppo"
]  # fmt: skip
Loss = Literal[
    "sigmoid", "hinge", "robust", "exo_pair", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "discopop",
    "apo_zero", "apo_down", "kto", "apo_zero_unpaired", "grpo", "dr_grpo", "dapo", "bnpo", "cispo", "gspo", "reinforce++"
]  # fmt: skip
Optimizer = Literal[
    "adamw", "adamw_8bit", "adamw_4bit", "adamw_paged", "adamw_paged_8bit", "adamw_schedule_free", "ademamix",
    "ademamix_8bit", "adafactor", "sgd", "lion", "lion_8bit", "muon"
]  # fmt: skip
Scheduler = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_min_lr", "cosine_with_restarts", "polynomial",
    "inverse_sqrt", "warmup_stable_decay"
]  # fmt: skip


class Save(Section):
    """Checkpoints."""

    model_config = example({"every": 200, "keep": 3})

    every: Annotated[Count | Literal["epoch"], Field(description="Steps between checkpoints, or `epoch`.")] = "epoch"
    keep: Annotated[
        Count | None, Field(description="How many of the newest checkpoints to keep on disk. Default: all.")
    ] = None
    only_model: Annotated[
        bool,
        Field(description="Save checkpoints without optimiser states: smaller, but training cannot resume from them."),
    ] = False


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

    method: Annotated[
        Method,
        Field(
            description="Training method: next-token (pretrain, sft), preference (dpo, ipo, orpo, kto, simpo, cpo), reward model (reward), or reinforcement learning (grpo, rloo, ppo)."
        ),
    ] = "sft"
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
    learning_rate: Annotated[
        float | None, Field(gt=0, lt=10, description="Peak learning rate. Required, except with trainer: script.")
    ] = None
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
    cycles: Annotated[
        int | None,
        Field(ge=1, le=10000, description="cosine_with_restarts: number of cosine cycles. Default: 1 with it."),
    ] = None
    decay: Annotated[
        Percent | Annotated[int, Field(ge=1)] | None,
        Field(description="warmup_stable_decay: the last `10%` of all steps, or a number of steps, that decay."),
    ] = None
    warmup: Annotated[
        Percent | Annotated[int, Field(ge=0)],
        Field(description="Warmup: `3%` of all steps, or a number of steps."),
    ] = 0
    embedding_learning_rate: Annotated[
        float | None, Field(gt=0, lt=10, description="Learning rate of the embeddings. Default: learning_rate.")
    ] = None
    neftune_alpha: Annotated[
        float | None,
        Field(gt=0, le=1000, description="NEFTune: noise on the embeddings (arXiv:2310.05914); 5 is usual. sft only."),
    ] = None
    early_stopping: Annotated[
        Count | None,
        Field(
            description="Stop after this many validations in a row without a lower loss, and keep the best checkpoint; evaluate_every must be in steps, and save.every a multiple of it."
        ),
    ] = None
    precision: Annotated[
        Literal["bf16", "fp16", "fp32"] | None,
        Field(
            description="Number format of the computation (mixed precision). Default: bf16 where the hardware has it, fp16 on older GPUs, fp32 on CPU."
        ),
    ] = None
    gradient_checkpointing: Annotated[
        bool | None, Field(description="Recompute activations instead of keeping them. Default: true on GPU.")
    ] = None
    liger_kernel: Annotated[
        bool, Field(description="Liger's fused Triton kernels: RoPE, RMSNorm, GLU, linear cross-entropy. Needs a GPU.")
    ] = False
    torch_compile: Annotated[bool, Field(description="Compile the model with torch.compile.")] = False
    beta: Annotated[
        float | None,
        Field(
            ge=0,
            le=100,
            description="β, the pull towards the reference model: DPO's and KTO's β, IPO's τ, ORPO's λ, SimPO's reward scale, the KL coefficient of grpo, rloo and ppo. Default: 0.1; simpo 2.0; grpo 0; rloo and ppo 0.05.",
        ),
    ] = None
    loss: Annotated[
        Loss | None,
        Field(
            description="Variant of the method's loss: of dpo sigmoid … apo_down, of kto kto or apo_zero_unpaired, of grpo grpo … gspo, of ppo reinforce++. Default: sigmoid; kto; dapo."
        ),
    ] = None
    label_smoothing: Annotated[
        float | None,
        Field(ge=0, lt=0.5, description="Share of preference labels taken to be wrong (cDPO, robust DPO); dpo, cpo."),
    ] = None
    margin: Annotated[
        float | None, Field(ge=0, le=100, description="SimPO's target reward margin γ. Default: 1.0 with simpo.")
    ] = None
    sft_weight: Annotated[
        float | None,
        Field(
            ge=0,
            le=100,
            description="Weight of next-token loss on the chosen answer beside the preference loss (RPO's α, CPO's α).",
        ),
    ] = None
    desirable_weight: Annotated[
        float | None, Field(gt=0, le=1000, description="KTO's weight of desirable rows. Default: 1.0 with kto.")
    ] = None
    undesirable_weight: Annotated[
        float | None, Field(gt=0, le=1000, description="KTO's weight of undesirable rows. Default: 1.0 with kto.")
    ] = None
    save: Annotated[Save, Field(description="Checkpoints.")] = Save.model_construct()
    evaluate_every: Annotated[
        Count | Literal["epoch"] | None,
        Field(description="Steps between validations, or `epoch`. Default: epoch where there is validation data."),
    ] = None
    log_every: Annotated[Count, Field(description="Steps between log lines.")] = 1


class Rollout(Section):
    """How completions are sampled and reused in reinforcement learning (grpo, rloo, ppo)."""

    model_config = example({"completions": 8, "max_new_tokens": 512, "temperature": 0.9, "clip_high": 0.28})

    completions: Annotated[
        Count | None, Field(description="Completions per prompt, the group size G. Default: 8; ppo 1.")
    ] = None
    max_new_tokens: Annotated[Count, Field(description="Longest completion in tokens.")] = 256
    temperature: Annotated[float, Field(gt=0, le=10, description="Sampling temperature.")] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1, description="Nucleus sampling: probability mass kept.")] = 1.0
    iterations: Annotated[
        int, Field(ge=1, le=1000, description="Optimisation passes over each batch of completions, μ.")
    ] = 1
    clip: Annotated[float, Field(gt=0, le=10, description="Clip range ε of the probability ratio.")] = 0.2
    clip_high: Annotated[
        float | None, Field(gt=0, le=10, description="Upper clip range where it differs (DAPO). Default: clip.")
    ] = None
    scale_rewards: Annotated[
        Literal["group", "batch", "none"] | None,
        Field(
            description="Standard deviation by which advantages are divided: of the group, of the batch, or none. Default: group; rloo none."
        ),
    ] = None
    mask_truncated: Annotated[bool, Field(description="Leave completions that were cut off out of the loss.")] = False
    engine: Annotated[Literal["hf", "vllm"], Field(description="What generates the completions.")] = "hf"
    engines: Annotated[
        Count | None, Field(description="vLLM engines with GPUs of their own; absent: they share the trainer's GPUs.")
    ] = None
    tensor_parallel: Annotated[Count, Field(description="GPUs per vLLM engine.")] = 1
    gpu_memory_share: Annotated[
        float, Field(gt=0, le=1, description="Share of GPU memory that a vLLM engine takes.")
    ] = 0.3
    critic_learning_rate: Annotated[
        float | None, Field(gt=0, lt=10, description="PPO: learning rate of the critic. Default: 9e-6 (as OpenRLHF).")
    ] = None
    gae_lambda: Annotated[float | None, Field(ge=0, le=1, description="PPO: λ of GAE. Default: 0.95.")] = None
    discount: Annotated[float | None, Field(ge=0, le=1, description="PPO: discount γ. Default: 1.0.")] = None


class Reward(Section):
    """One reward function; the rewards of a completion are summed by weight."""

    model_config = example({"type": "regex", "pattern": "'<think>.*</think>.*'", "weight": 0.5})

    type: Annotated[
        Literal["exact", "regex", "length", "language", "model", "remote", "python"],
        Field(
            description="exact: final answer equals the answer column after mathematical normalisation; regex: the completion matches pattern; length: full reward up to max_words words; language: written in language; model: a reward model; remote: an HTTP endpoint; python: your own function."
        ),
    ]
    weight: Annotated[float, Field(ge=-1000, le=1000, description="Factor in the sum.")] = 1.0
    pattern: Annotated[
        Text | None, Field(description="regex: Python regular expression that the completion matches.")
    ] = None
    max_words: Annotated[Count | None, Field(description="length: longest completion, in words, with full reward.")] = (
        None
    )
    language: Annotated[
        Literal["en", "ko", "zh", "ja", "ru", "ar"] | None, Field(description="language: the script that is expected.")
    ] = None
    path: Annotated[
        Text | None, Field(description="model: folder or hub name of the reward model; python: file with the function.")
    ] = None
    function: Annotated[
        Text | None, Field(description="python: name of `def f(completions, prompts, answers) -> list[float]`.")
    ] = None
    url: Annotated[Text | None, Field(pattern=r"^https?://", description="remote: where completions are posted.")] = (
        None
    )
