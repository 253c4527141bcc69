"""`train`, `rollout` and `rewards`: how it is trained."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, Fraction, Percent, Section, StageName, Text, example

Method = Literal[
    "pretrain", "sft", "dpo", "ipo", "orpo", "kto", "simpo", "cpo", "reward", "grpo", "rloo", "ppo"
]  # fmt: skip
Loss = Literal[
    "sigmoid", "hinge", "robust", "exo_pair", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "discopop",
    "apo_zero", "apo_down", "kto", "apo_zero_unpaired", "grpo", "dr_grpo", "dapo", "bnpo", "cispo", "gspo", "ppo", "reinforce++"
]  # fmt: skip
Optimizer = Literal[
    "adamw", "adamw_8bit", "adamw_8bit_torchao", "adamw_4bit", "adamw_paged", "adamw_paged_8bit", "adamw_schedule_free", "ademamix",
    "ademamix_8bit", "adafactor", "sgd", "lion", "lion_8bit", "muon"
]  # fmt: skip
Scheduler = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_min_lr", "cosine_with_restarts", "polynomial",
    "inverse_sqrt", "warmup_stable_decay"
]  # fmt: skip


class Save(Section):
    """Checkpoints."""

    model_config = example({"every": 200, "keep": 3})

    every: Count | Literal["epoch"] = Field(default="epoch", description="Steps between checkpoints, or `epoch`.")
    keep: Count | Literal["all"] | None = Field(
        default=None, description="How many of the newest checkpoints to keep on disk, or `all`. Default: all."
    )
    only_model: bool = Field(
        default=False,
        description="Save checkpoints without optimiser states: smaller, but training cannot resume from them.",
    )


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

    method: Method = Field(
        default="sft",
        description="Training method: next-token (pretrain, sft), preference (dpo, ipo, orpo, kto, simpo, cpo), reward model (reward), or reinforcement learning (grpo, rloo, ppo).",
    )
    epochs: float | None = Field(
        default=None, gt=0, le=10000, description="Passes over the data. At most one of epochs, steps. Default: 1."
    )
    steps: Count | None = Field(default=None, description="Optimiser steps.")
    batch_size: Count | None = Field(
        default=None,
        description="Sequences per optimiser step over the whole job. Default: micro_batch_size × gradient_accumulation × data-parallel world.",
    )
    micro_batch_size: Count | None = Field(default=None, description="Sequences per GPU and forward pass. Default: 1.")
    gradient_accumulation: Count | None = Field(
        default=None, description="Forward passes per optimiser step. Default: derived from batch_size, else 1."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, lt=10, description="Peak learning rate. Required, except with trainer: script."
    )
    optimizer: Optimizer = Field(
        default="adamw",
        description="Optimiser. States of 8 bit and paged ones are kept by bitsandbytes; adamw_4bit and adamw_8bit_torchao are torchao's, which FSDP2 can shard.",
    )
    weight_decay: float = Field(default=0.0, ge=0, lt=10, description="Decoupled weight decay.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="β₁ of Adam and its kin, and of Lion.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="β₂ of Adam and its kin, and of Lion.")
    epsilon: float = Field(default=1e-8, gt=0, lt=1, description="Adam ε.")
    max_grad_norm: float = Field(default=1.0, ge=0, le=1e6, description="Gradient clipping by norm; 0 turns it off.")
    scheduler: Scheduler = Field(default="cosine", description="Learning-rate schedule after warmup.")
    min_lr_ratio: Fraction | None = Field(
        default=None, description="Floor of the schedule, as a fraction of learning_rate; cosine_with_min_lr only."
    )
    cycles: int | None = Field(
        default=None, ge=1, le=10000, description="cosine_with_restarts: number of cosine cycles. Default: 1 with it."
    )
    decay: Percent | Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="warmup_stable_decay: the last `10%` of all steps, or a number of steps, that decay."
    )
    warmup: Percent | Annotated[int, Field(ge=0)] = Field(
        default=0, description="Warmup: `3%` of all steps, or a number of steps."
    )
    embedding_learning_rate: float | None = Field(
        default=None, gt=0, lt=10, description="Learning rate of the embeddings. Default: learning_rate."
    )
    neftune_alpha: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="NEFTune: noise on the embeddings (arXiv:2310.05914); 5 is usual. sft only.",
    )
    early_stopping: Count | None = Field(
        default=None,
        description="Stop after this many validations in a row without a lower loss, and keep the best checkpoint; evaluate_every must be in steps, and save.every a multiple of it.",
    )
    precision: Literal["bf16", "fp16", "fp32"] | None = Field(
        default=None,
        description="Number format of the computation (mixed precision). Default: bf16 where the hardware has it, fp16 on older GPUs, fp32 on CPU.",
    )
    gradient_checkpointing: bool | None = Field(
        default=None, description="Recompute activations instead of keeping them. Default: true on GPU."
    )
    liger_kernel: bool = Field(
        default=False,
        description="Liger's fused Triton kernels: RoPE, RMSNorm, GLU, linear cross-entropy. Needs a GPU.",
    )
    torch_compile: bool = Field(default=False, description="Compile the model with torch.compile.")
    beta: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="β, the pull towards the reference model: DPO's and KTO's β, IPO's τ, ORPO's λ, SimPO's reward scale, the KL coefficient of grpo, rloo and ppo. Default: 0.1; simpo 2.0; grpo 0; rloo and ppo 0.05.",
    )
    reference_model: StageName | None = Field(
        default=None,
        description="dpo, ipo, kto: the stage before, or `base`, whose result answers are compared with. Default: what the training starts from.",
    )
    loss: Loss | None = Field(
        default=None,
        description="Variant of the method's loss: of dpo sigmoid … apo_down, of kto kto or apo_zero_unpaired, of grpo grpo … gspo, of ppo ppo or reinforce++. Default: the first of each.",
    )
    label_smoothing: float | None = Field(
        default=None,
        ge=0,
        lt=0.5,
        description="Share of preference labels taken to be wrong (cDPO, robust DPO); dpo, cpo.",
    )
    margin: float | None = Field(
        default=None, ge=0, le=100, description="SimPO's target reward margin γ. Default: 1.0 with simpo."
    )
    sft_weight: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Weight of next-token loss on the chosen answer beside the preference loss (RPO's α, CPO's α).",
    )
    desirable_weight: float | None = Field(
        default=None, gt=0, le=1000, description="KTO's weight of desirable rows. Default: 1.0 with kto."
    )
    undesirable_weight: float | None = Field(
        default=None, gt=0, le=1000, description="KTO's weight of undesirable rows. Default: 1.0 with kto."
    )
    save: Save = Field(default=Save.model_construct(), description="Checkpoints.")
    evaluate_every: (
        Count
        | Literal["epoch", "never"]
        | Annotated[
            str, Field(pattern=r"^(epoch/([2-9]|[1-9][0-9]{1,2})|([1-9][0-9]?(\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)%)$")
        ]
        | None
    ) = Field(
        default=None,
        description="Steps between validations, `epoch`, `epoch/4` for four in each epoch, or `5%` of all steps; `never`: validation data is kept back and not used. Default: epoch where there is validation data, else never.",
    )
    log_every: Count = Field(default=1, description="Steps between log lines.")


class Rollout(Section):
    """How completions are sampled and reused in reinforcement learning (grpo, rloo, ppo)."""

    model_config = example({"completions": 8, "max_new_tokens": 512, "temperature": 0.9, "clip_high": 0.28})

    completions: Count | None = Field(
        default=None, description="Completions per prompt, the group size G. Default: 8; ppo 1."
    )
    max_new_tokens: Count = Field(default=256, description="Longest completion in tokens.")
    temperature: float = Field(default=1.0, gt=0, le=10, description="Sampling temperature.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus sampling: probability mass kept.")
    iterations: int = Field(
        default=1, ge=1, le=1000, description="Optimisation passes over each batch of completions, μ."
    )
    clip: float = Field(default=0.2, gt=0, le=10, description="Clip range ε of the probability ratio.")
    clip_high: float | None = Field(
        default=None, gt=0, le=10, description="Upper clip range where it differs (DAPO). Default: clip."
    )
    scale_rewards: Literal["group", "batch", "none"] | None = Field(
        default=None,
        description="Standard deviation by which advantages are divided: of the group, of the batch, or none. Default: group; rloo none.",
    )
    mask_truncated: bool = Field(default=False, description="Leave completions that were cut off out of the loss.")
    engine: Literal["hf", "vllm"] = Field(default="hf", description="What generates the completions.")
    engines: Count | None = Field(
        default=None, description="vLLM engines with GPUs of their own; absent: they share the trainer's GPUs."
    )
    tensor_parallel: Count = Field(default=1, description="GPUs per vLLM engine.")
    gpu_memory_share: float = Field(
        default=0.3, gt=0, le=1, description="Share of GPU memory that a vLLM engine takes."
    )
    critic_learning_rate: float | None = Field(
        default=None, gt=0, lt=10, description="PPO: learning rate of the critic. Default: 9e-6 (as OpenRLHF)."
    )
    gae_lambda: float | None = Field(default=None, ge=0, le=1, description="PPO: λ of GAE. Default: 0.95.")
    discount: float | None = Field(default=None, ge=0, le=1, description="PPO: discount γ. Default: 1.0.")


class Reward(Section):
    """One reward function; the rewards of a completion are summed by weight."""

    model_config = example({"type": "regex", "pattern": "'<think>.*</think>.*'", "weight": 0.5})

    type: Literal["exact", "regex", "length", "language", "model", "remote", "python"] = Field(
        description="exact: final answer equals the answer column after mathematical normalisation; regex: the completion matches pattern; length: full reward up to max_words words; language: written in language; model: a reward model; remote: an HTTP endpoint; python: your own function."
    )
    weight: float = Field(default=1.0, ge=-1000, le=1000, description="Factor in the sum.")
    pattern: Text | None = Field(
        default=None, description="regex: Python regular expression that the completion matches."
    )
    max_words: Count | None = Field(default=None, description="length: longest completion, in words, with full reward.")
    language: Literal["en", "ko", "zh", "ja", "ru", "ar"] | None = Field(
        default=None, description="language: the script that is expected."
    )
    path: Text | None = Field(
        default=None, description="model: folder or hub name of the reward model; python: file with the function."
    )
    stage: StageName | None = Field(
        default=None, description="model: stage before this one that trains the reward model, in the place of a path."
    )
    function: Text | None = Field(
        default=None,
        pattern=r"^[^\W\d]\w*$",
        description="python: name of `def f(completions, prompts, answers) -> list[float]`.",
    )
    url: Text | None = Field(default=None, pattern=r"^https?://", description="remote: where completions are posted.")
