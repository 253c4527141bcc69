"""`model` and `adapter`: what is trained."""

from typing import Annotated, Any, Literal

from pydantic import Field

from recipec.language.base import Fraction, Section, Text, example

ChatTemplate = Literal[
    "tokenizer", "alpaca", "aya", "chatml", "cohere", "command_a", "deepseek_v2", "deepseek_v3", "exaone", "exaone4",
    "falcon_h1", "gemma", "gemma3", "gemma4", "jamba", "llama3", "llama4", "metharme", "mistral_v1", "mistral_v2v3",
    "mistral_v3_tekken", "mistral_v7_tekken", "nemotron_h", "phi_3", "phi_35", "qwen_25", "qwen3", "qwen3_5"
]  # fmt: skip


# templates of LLaMA-Factory 0.9.5 (llamafactory/data/template.py) that have no other name here
OtherTemplate = Literal[
    "aeva", "bailing", "bailing_v2", "breeze", "chatglm3", "chatml_de", "cpm4", "dbrx", "deepseek", "deepseek3",
    "deepseekcoder", "deepseekr1", "default", "dots_ocr", "empty", "ernie", "ernie_nothink", "ernie_vl", "falcon",
    "fewshot", "gemma2", "gemma3n", "gemma4n", "glm4", "glm4_5v", "glm4_7", "glm4_moe", "glm4v", "glm_ocr", "glmz1",
    "gpt_oss", "granite3", "granite3_vision", "granite4", "hunyuan", "hunyuan_small", "hy3", "index", "intern2",
    "intern_s1", "intern_vl", "keye_vl", "kimi_vl", "lfm2", "lfm2_vl", "llama2", "llama2_zh", "llava", "llava_next",
    "llava_next_llama3", "llava_next_mistral", "llava_next_qwen", "llava_next_video", "llava_next_video_mistral",
    "llava_next_video_yi", "llava_next_yi", "mimo", "mimo_v2", "mimo_vl", "minicpm_o", "minicpm_v", "minicpm_v_4_6",
    "minimax1", "minimax2", "ministral", "ministral3", "mistral", "mistral_small", "mllama", "moonlight", "olmo",
    "openchat", "openchat-3.6", "opencoder", "paligemma", "paligemma_chat", "phi", "phi4", "phi4_mini", "phi_small",
    "pixtral", "qwen", "qwen2_audio", "qwen2_omni", "qwen2_vl", "qwen3_5_nothink", "qwen3_6", "qwen3_nothink",
    "qwen3_omni", "qwen3_omni_nothink", "qwen3_vl", "qwen3_vl_nothink", "sailor", "seed_coder", "seed_oss", "smollm",
    "smollm2", "solar", "starchat", "telechat2", "vicuna", "video_llava", "xuanyuan", "yi", "yi_vl", "youtu",
    "youtu_vl", "yuan", "zephyr",
]  # fmt: skip


class FromScratch(Section):
    """A new model with random weights, given by its sizes; its tokenizer is trained on the training data."""

    model_config = example({"family": "llama", "hidden_size": 128, "layers": 2, "heads": 4, "vocab_size": 1000})

    family: Literal["llama", "mistral", "qwen2", "qwen3"] = Field(
        description="Architecture family, by its Transformers name."
    )
    hidden_size: int = Field(ge=8, le=65536, description="Width of the residual stream.")
    layers: int = Field(ge=1, le=1000, description="Number of transformer blocks.")
    heads: int = Field(ge=1, le=1024, description="Attention heads; must divide hidden_size.")
    kv_heads: int | None = Field(
        default=None, ge=1, le=1024, description="Key and value heads (GQA); must divide heads. Default: heads."
    )
    intermediate_size: int | None = Field(
        default=None, ge=8, le=1048576, description="Width of the feed-forward layer. Default: 4 × hidden_size."
    )
    vocab_size: int = Field(default=512, ge=300, le=1000000, description="Entries of the tokenizer, byte-level BPE.")
    tie_embeddings: bool = Field(default=True, description="Share input and output embeddings.")


class Model(Section):
    """The model that is trained or evaluated."""

    model_config = example({"base": "Qwen/Qwen2.5-7B", "max_length": 4096, "load_in": "nf4", "chat_template": "chatml"})

    base: Text | None = Field(
        default=None,
        description="Hub name (`org/name`) or local folder of the model. Exactly one of base, from_scratch.",
    )
    revision: Text | None = Field(default=None, description="Hub branch, tag or commit of the base model.")
    from_scratch: FromScratch | None = Field(
        default=None, description="Start from random weights of this architecture."
    )
    max_length: int = Field(
        default=2048, ge=8, le=16777216, description="Longest sequence in tokens; longer rows are dropped."
    )
    load_in: Literal["bf16", "fp16", "fp32", "int8", "nf4", "fp4"] | None = Field(
        default=None,
        description="Number format in which the weights are kept, whatever the computation is made in. nf4, fp4, int8 need an adapter. Default: fp32 where all weights are trained without ZeRO, which keeps fp32 copies itself; else train.precision.",
    )
    double_quant: bool | None = Field(
        default=None,
        description="Quantise the 4-bit scales too (about 0.4 bit per parameter). Default: true with 4-bit.",
    )
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = Field(
        default=None, description="Attention implementation. Default: sdpa, which comes with torch."
    )
    tokenizer: Text | None = Field(
        default=None, description="Hub name or folder of another tokenizer. Default: the model's own."
    )
    chat_template: ChatTemplate | OtherTemplate | None = Field(
        default=None,
        description="Template that renders conversations; `tokenizer` takes the tokenizer's own. Each trainer knows some of them: the names from aeva on are LLaMA-Factory's. Default: tokenizer; instructions and prompts then stay text where the model is a base model, or not known.",
    )
    chat_template_file: Text | None = Field(
        default=None, description="Jinja file with your own chat template, instead of chat_template."
    )
    special_tokens: dict[Literal["bos", "eos", "pad", "unk"], Text] = Field(
        default={}, description='Special tokens that differ from the tokenizer\'s, such as {pad: "<|end_of_text|>"}.'
    )
    trust_remote_code: bool = Field(default=False, description="Run Python code that comes with the model.")
    resize_embeddings: bool = Field(default=False, description="Round the vocabulary up to a multiple of 32.")


AdapterType = Literal[
    "lora", "adalora", "loha", "lokr", "oft", "boft", "hra", "vera", "vblora", "fourierft", "bone", "ia3", "ln_tuning",
    "prompt_tuning", "prefix_tuning", "p_tuning",
]  # fmt: skip


class Adapter(Section):
    """Train a small adapter instead of all weights. Absent: full fine-tuning."""

    model_config = example({"type": "lora", "rank": 32, "alpha": 64, "targets": ["q_proj", "v_proj"]})

    type: AdapterType = Field(
        default="lora", description="Adapter method, as PEFT names it. QLoRA is lora with model.load_in: nf4."
    )
    rank: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Rank r of the low-rank update (lora, adalora, loha, lokr, vera, oft's block). Default: 16.",
    )
    alpha: float | None = Field(
        default=None,
        gt=0,
        le=65536,
        description="LoRA alpha; the update is scaled by alpha / rank, with rslora by alpha / √rank. Default: 2 × rank, with rslora 2 × √rank.",
    )
    init: Literal[
        "default", "gaussian", "orthogonal", "olora", "pissa", "pissa_niter_4", "pissa_niter_16", "loftq", "eva"
    ] = Field(
        default="default",
        description="LoRA: initial weights; pissa and olora take them from the base's own, loftq from its quantisation error.",
    )
    lora_plus_ratio: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="LoRA+: learning rate of B over that of A (arXiv:2402.12354); 16 is usual.",
    )
    virtual_tokens: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description="Length of the learnt prompt (prompt_tuning, prefix_tuning, p_tuning). Default: 20.",
    )
    options: dict[str, Any] = Field(
        default={}, description="Further fields of the adapter's PEFT configuration, checked against the pinned PEFT."
    )
    dropout: Fraction = Field(default=0.0, description="Dropout on the adapter's input.")
    targets: Literal["all-linear"] | Annotated[list[Text], Field(min_length=1)] = Field(
        default="all-linear", description="Modules that get an adapter: all-linear, or module names such as q_proj."
    )
    target_pattern: Text | None = Field(
        default=None,
        description="Regular expression for the full names of the modules that get an adapter, instead of `targets`.",
    )
    also_train: list[Text] | None = Field(
        default=None,
        min_length=1,
        description="Modules trained in full beside the adapter, such as embed_tokens, lm_head.",
    )
    dora: bool = Field(default=False, description="Weight-decomposed LoRA (arXiv:2402.09353).")
    rslora: bool = Field(default=False, description="Rank-stabilised scaling alpha / √rank (arXiv:2312.03732).")
    start_from: Text | None = Field(default=None, description="Folder or hub name of an adapter to continue training.")
    merge: bool = Field(default=False, description="Merge the adapter into the base after training.")
