"""`model` and `adapter`: what is trained."""

from typing import Annotated, Any, Literal

from pydantic import Field

from recipec.language.base import Fraction, Section, Text, example

ChatTemplate = Literal[
    "tokenizer", "alpaca", "aya", "chatml", "cohere", "command_a", "deepseek_v2", "deepseek_v3", "exaone", "exaone4",
    "falcon_h1", "gemma", "gemma3", "gemma4", "jamba", "llama3", "llama4", "metharme", "mistral_v1", "mistral_v2v3",
    "mistral_v3_tekken", "mistral_v7_tekken", "nemotron_h", "phi_3", "phi_35", "qwen_25", "qwen3", "qwen3_5"
]  # fmt: skip


class FromScratch(Section):
    """A new model with random weights, given by its sizes; its tokenizer is trained on the training data."""

    model_config = example({"family": "llama", "hidden_size": 128, "layers": 2, "heads": 4, "vocab_size": 1000})

    family: Annotated[
        Literal["llama", "mistral", "qwen2", "qwen3"],
        Field(description="Architecture family, by its Transformers name."),
    ]
    hidden_size: Annotated[int, Field(ge=8, le=65536, description="Width of the residual stream.")]
    layers: Annotated[int, Field(ge=1, le=1000, description="Number of transformer blocks.")]
    heads: Annotated[int, Field(ge=1, le=1024, description="Attention heads; must divide hidden_size.")]
    kv_heads: Annotated[
        int | None,
        Field(ge=1, le=1024, description="Key and value heads (GQA); must divide heads. Default: heads."),
    ] = None
    intermediate_size: Annotated[
        int | None,
        Field(ge=8, le=1048576, description="Width of the feed-forward layer. Default: 4 × hidden_size."),
    ] = None
    vocab_size: Annotated[int, Field(ge=300, le=1000000, description="Entries of the tokenizer, byte-level BPE.")] = 512
    tie_embeddings: Annotated[bool, Field(description="Share input and output embeddings.")] = True


class Model(Section):
    """The model that is trained or evaluated."""

    model_config = example(
        {"base": "mistralai/Mistral-7B-v0.3", "max_length": 4096, "load_in": "nf4", "chat_template": "chatml"}
    )

    base: Annotated[
        Text | None,
        Field(description="Hub name (`org/name`) or local folder of the model. Exactly one of base, from_scratch."),
    ] = None
    revision: Annotated[Text | None, Field(description="Hub branch, tag or commit of the base model.")] = None
    from_scratch: Annotated[
        FromScratch | None, Field(description="Start from random weights of this architecture.")
    ] = None
    max_length: Annotated[
        int, Field(ge=8, le=16777216, description="Longest sequence in tokens; longer rows are dropped.")
    ] = 2048
    load_in: Annotated[
        Literal["bf16", "fp16", "fp32", "int8", "nf4", "fp4"] | None,
        Field(
            description="Number format in which the base weights are kept. nf4, fp4, int8 need an adapter. Default: train.precision."
        ),
    ] = None
    double_quant: Annotated[
        bool | None,
        Field(description="Quantise the 4-bit scales too (about 0.4 bit per parameter). Default: true with 4-bit."),
    ] = None
    attention: Annotated[
        Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None,
        Field(description="Attention implementation. Default: sdpa, which comes with torch."),
    ] = None
    tokenizer: Annotated[
        Text | None, Field(description="Hub name or folder of another tokenizer. Default: the model's own.")
    ] = None
    chat_template: Annotated[
        ChatTemplate | None,
        Field(
            description="Template that renders conversations; `tokenizer` takes the tokenizer's own. Default: tokenizer."
        ),
    ] = None
    chat_template_file: Annotated[
        Text | None, Field(description="Jinja file with your own chat template, instead of chat_template.")
    ] = None
    special_tokens: Annotated[
        dict[Literal["bos", "eos", "pad", "unk"], Text],
        Field(description='Special tokens that differ from the tokenizer\'s, such as {pad: "<|end_of_text|>"}.'),
    ] = {}
    trust_remote_code: Annotated[bool, Field(description="Run Python code that comes with the model.")] = False
    resize_embeddings: Annotated[bool, Field(description="Round the vocabulary up to a multiple of 32.")] = False


AdapterType = Literal[
    "lora", "adalora", "loha", "lokr", "oft", "boft", "hra", "vera", "vblora", "fourierft", "bone", "ia3", "ln_tuning",
    "prompt_tuning", "prefix_tuning", "p_tuning",
]  # fmt: skip


class Adapter(Section):
    """Train a small adapter instead of all weights. Absent: full fine-tuning."""

    model_config = example({"type": "lora", "rank": 32, "alpha": 64, "targets": ["q_proj", "v_proj"]})

    type: Annotated[
        AdapterType, Field(description="Adapter method, as PEFT names it. QLoRA is lora with model.load_in: nf4.")
    ] = "lora"
    rank: Annotated[
        int | None,
        Field(
            ge=1,
            le=4096,
            description="Rank r of the low-rank update (lora, adalora, loha, lokr, vera, oft's block). Default: 16.",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        Field(gt=0, le=65536, description="LoRA alpha; the update is scaled by alpha / rank. Default: 2 × rank."),
    ] = None
    init: Annotated[
        Literal[
            "default", "gaussian", "orthogonal", "olora", "pissa", "pissa_niter_4", "pissa_niter_16", "loftq", "eva"
        ],
        Field(
            description="LoRA: initial weights; pissa and olora take them from the base's own, loftq from its quantisation error."
        ),
    ] = "default"
    lora_plus_ratio: Annotated[
        float | None,
        Field(gt=0, le=1000, description="LoRA+: learning rate of B over that of A (arXiv:2402.12354); 16 is usual."),
    ] = None
    virtual_tokens: Annotated[
        int | None,
        Field(
            ge=1,
            le=100000,
            description="Length of the learnt prompt (prompt_tuning, prefix_tuning, p_tuning). Default: 20.",
        ),
    ] = None
    options: Annotated[
        dict[str, Any],
        Field(description="Further fields of the adapter's PEFT configuration, checked against the pinned PEFT."),
    ] = {}
    dropout: Annotated[Fraction, Field(description="Dropout on the adapter's input.")] = 0.0
    targets: Annotated[
        Literal["all-linear"] | Annotated[list[Text], Field(min_length=1)],
        Field(description="Modules that get an adapter: all-linear, or module names such as q_proj."),
    ] = "all-linear"
    target_pattern: Annotated[
        Text | None,
        Field(
            description="Regular expression for the full names of the modules that get an adapter, instead of `targets`."
        ),
    ] = None
    also_train: Annotated[
        list[Text] | None,
        Field(
            min_length=1,
            description="Modules trained in full beside the adapter, such as embed_tokens, lm_head.",
        ),
    ] = None
    dora: Annotated[bool, Field(description="Weight-decomposed LoRA (arXiv:2402.09353).")] = False
    rslora: Annotated[bool, Field(description="Rank-stabilised scaling alpha / √rank (arXiv:2312.03732).")] = False
    start_from: Annotated[Text | None, Field(description="Folder or hub name of an adapter to continue training.")] = (
        None
    )
    merge: Annotated[bool, Field(description="Merge the adapter into the base after training.")] = False
